"""TensorFlow Serving's REST API on a laptop. Nothing here imports Keras."""
