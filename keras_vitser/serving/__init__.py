"""A trained model for others to use: exported for TensorFlow Serving, ONNX Runtime and LiteRT."""

from keras_vitser.serving.export import Exported, export

__all__ = ["Exported", "export"]
