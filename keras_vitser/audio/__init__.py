"""Sound files to waveforms, copies of waveforms, and whether anything is heard in one."""

from keras_vitser.audio.arrays import waveform_of
from keras_vitser.audio.augmentation import COPIES, Augmentation, augment
from keras_vitser.audio.hearing import FLOOR_DB, from_first_sound, heard_share
from keras_vitser.audio.reading import SAMPLING_RATE, read_waveform, resample

__all__ = [
    "COPIES",
    "FLOOR_DB",
    "SAMPLING_RATE",
    "Augmentation",
    "augment",
    "from_first_sound",
    "heard_share",
    "read_waveform",
    "resample",
    "waveform_of",
]
