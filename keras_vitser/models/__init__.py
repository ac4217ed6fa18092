"""The networks, one a file, and loading them."""

from keras_vitser.models.loading import load_model
from keras_vitser.models.vit_ser import ViTSER

__all__ = ["ViTSER", "load_model"]
