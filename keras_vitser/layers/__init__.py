"""The building blocks, one Keras layer a file."""

from keras_vitser.layers.class_token import ClassToken
from keras_vitser.layers.conv_stem import ConvStem
from keras_vitser.layers.coordinate_concat import CoordinateConcat
from keras_vitser.layers.encoder_block import EncoderBlock
from keras_vitser.layers.front_end import FrontEnd
from keras_vitser.layers.log_mel_image import LogMelImage
from keras_vitser.layers.token_pooling import TokenPooling
from keras_vitser.layers.vertical_patches import VerticalPatches

__all__ = [
    "ClassToken",
    "ConvStem",
    "CoordinateConcat",
    "EncoderBlock",
    "FrontEnd",
    "LogMelImage",
    "TokenPooling",
    "VerticalPatches",
]
