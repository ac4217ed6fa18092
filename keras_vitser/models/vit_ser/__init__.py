"""ViT-SER (paper 1), and the checkpoints of its authors' code."""

from keras_vitser.models.vit_ser.author_writing import to_author_checkpoint
from keras_vitser.models.vit_ser.vit_ser import ViTSER

__all__ = ["ViTSER", "to_author_checkpoint"]
