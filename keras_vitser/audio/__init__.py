"""Sound files to waveforms, and copies of waveforms."""

from keras_vitser.audio.arrays import waveform_of
from keras_vitser.audio.augmentation import COPIES, Augmentation, augment
from keras_vitser.audio.reading import SAMPLING_RATE, read_waveform, resample

__all__ = ["COPIES", "SAMPLING_RATE", "Augmentation", "augment", "read_waveform", "resample", "waveform_of"]
