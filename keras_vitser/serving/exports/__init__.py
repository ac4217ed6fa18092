"""What leaves Keras: SavedModels for TensorFlow Serving, files for ONNX Runtime and LiteRT."""
