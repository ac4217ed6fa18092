"""One network teaches another: the Distiller, what it matches by which loss, and the stages."""

from keras_vitser.distillation.distiller import Distiller
from keras_vitser.distillation.feature_cache import attach_teacher_features
from keras_vitser.distillation.losses import AttentionTransfer, FeatureMatching, SoftLabels
from keras_vitser.distillation.matches import Match
from keras_vitser.distillation.taught import Taught
from keras_vitser.distillation.transfer import transfer
from keras_vitser.training.recipe import halving_schedule

__all__ = [
    "AttentionTransfer",
    "Distiller",
    "FeatureMatching",
    "Match",
    "SoftLabels",
    "Taught",
    "attach_teacher_features",
    "halving_schedule",
    "transfer",
]
