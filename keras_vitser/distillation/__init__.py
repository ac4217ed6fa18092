"""One network teaches another: the Distiller, its losses and the stages."""

from keras_vitser.distillation.distiller import Distiller
from keras_vitser.distillation.feature_cache import attach_teacher_features
from keras_vitser.distillation.losses import FeatureMatching
from keras_vitser.distillation.transfer import halving_schedule, transfer

__all__ = ["Distiller", "FeatureMatching", "attach_teacher_features", "halving_schedule", "transfer"]
