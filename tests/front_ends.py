"""Front ends that are no log-Mel image: what a second system may bring."""

import keras
import numpy as np
from keras import ops

from keras_vitser.layers import FrontEnd


@keras.saving.register_keras_serializable(package="tests")
class Energies(FrontEnd):
    """Mean square of each tenth of a second, `(batch, 10)`, in `keras.ops`."""

    sampling_rate, clip_samples = 8000, 8000
    output_spec = keras.KerasTensor((None, 10))

    def call(self, clips):
        return ops.mean(ops.square(ops.reshape(self.fitted(clips), (-1, 10, 800))), axis=2)


@keras.saving.register_keras_serializable(package="tests")
class Moments(FrontEnd):
    """Mean and deviation of a whole recording, however long, by NumPy alone; in a dict with its seconds."""

    sampling_rate, clip_samples, exportable = 8000, None, False

    @property
    def output_spec(self):
        return {"moments": keras.KerasTensor((None, 2)), "seconds": keras.KerasTensor((None, 1))}

    def features(self, clips, lengths=None):
        heard = [clip[: max(length, 1)] for clip, length in zip(clips, lengths, strict=True)]
        moments = np.array([[clip.mean(), clip.std()] for clip in heard], np.float32)
        return {"moments": moments, "seconds": (lengths[:, None] / self.sampling_rate).astype(np.float32)}


def dense(classes=2):
    """A network for `Energies`."""
    inputs = keras.Input((10,))
    return keras.Model(inputs, keras.layers.Dense(classes)(inputs))


def dense_of_dict(classes=2):
    """A network for `Moments`."""
    inputs = {"moments": keras.Input((2,)), "seconds": keras.Input((1,))}
    joined = keras.layers.Concatenate()([inputs["moments"], inputs["seconds"]])
    return keras.Model(inputs, keras.layers.Dense(classes)(joined))
