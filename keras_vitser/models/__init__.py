"""The networks, and loading them."""

from keras_vitser.models.front_ends import register_front_end
from keras_vitser.models.loading import load_model
from keras_vitser.models.vit_ser import ViTSER, to_author_checkpoint

__all__ = ["ViTSER", "load_model", "register_front_end", "to_author_checkpoint"]
