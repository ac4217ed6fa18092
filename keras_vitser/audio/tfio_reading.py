"""File names to waveforms and images in a `tf.data` pipeline that stays inside the graph.

For data that lies where `tf.io.gfile` reads: local disks, and what TensorFlow has file systems for, such as gs://.
tensorflow-io decodes (`graph.tfio_decoding`); the filters of `graph.resampling_filters` resample, because
`tfio.audio.resample` delays what it gives. tensorflow-io 0.37.1, the newest there is, works with TensorFlow 2.16 and
2.17. Under another one its import succeeds and each call fails, so it is called once, and where that fails soundfile
reads, outside the graph.
"""

import functools
import io
import logging
import os
import warnings
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import soundfile

from keras_vitser.audio.graph.faults import refuse
from keras_vitser.audio.graph.resampling import Resampler
from keras_vitser.audio.graph.tfio_decoding import DAMAGED, Decoder, waveform_or_fault
from keras_vitser.audio.reading import SAMPLING_RATE
from keras_vitser.errors import BackendError

if TYPE_CHECKING:
    import tensorflow as tf

log = logging.getLogger(__name__)


class _FrontEnd(Protocol):
    """What a front end of `keras_vitser.layers` has that is read here."""

    sampling_rate: int
    clip_samples: int | None

    def __call__(self, waveforms: Any) -> Any: ...


def waveforms(
    paths: Iterable[str | os.PathLike], *, samples: int | None = None, sampling_rate: int = SAMPLING_RATE
) -> "tf.data.Dataset":
    """The waveforms of sound files, in the order of their names.

    They are those of `read_waveform` within a 16-bit step. WAV, FLAC, MP3 and Ogg Vorbis of the usual rates are read
    (`graph.resampling_filters.COMMON_RATES`); where tensorflow-io does not work, all that `read_waveform` reads.

    Args:
        paths: File names that `tf.io.gfile` reads.
        samples: Positive int. Waveforms are cut to so many, or padded with zeros at their ends, and can then be
            batched. Defaults to each one's own length.
        sampling_rate: Positive int, Hz. Rate of the waveforms. Defaults to 16000.

    Returns:
        A `tf.data.Dataset` of float32 tensors `(samples,)`, full scale at -1 and 1. For a file that cannot be used the
        iterator raises a `tf.errors.OpError` that names it and says what is wrong; `.ignore_errors()` leaves such
        files out.

    Raises:
        BackendError: TensorFlow is not installed.

    Example:
        >>> import tempfile
        >>> path = tempfile.mkdtemp() + "/clip.wav"
        >>> soundfile.write(path, np.zeros((44100, 2)), 44100)
        >>> [batch.shape.as_list() for batch in waveforms([path, path], samples=8000).batch(2)]
        [[2, 8000]]
    """
    tf = _tensorflow()
    names = tf.data.Dataset.from_tensor_slices(tf.constant([os.fspath(path) for path in paths], tf.string))
    files = names.map(lambda name: (name, tf.io.read_file(name)), num_parallel_calls=tf.data.AUTOTUNE)
    read = _in_graph if tensorflow_io_works() else _by_soundfile
    dataset = read(tf, files, sampling_rate, samples)
    if samples is None:
        return dataset
    return dataset.map(lambda waveform: _padded(tf, waveform[:samples], samples))


def images(paths: Iterable[str | os.PathLike], front_end: "_FrontEnd") -> "tf.data.Dataset":
    """The log-Mel images of sound files, in the order of their names.

    Args:
        paths: File names that `tf.io.gfile` reads.
        front_end: A `keras_vitser.layers.LogMelImage`; Keras runs on TensorFlow.

    Returns:
        A `tf.data.Dataset` of float32 tensors `(bands, frames, 1)`; files that cannot be used as in `waveforms`.

    Raises:
        BackendError: TensorFlow is not installed, or Keras runs on another backend.

    Example:
        >>> import keras, tempfile
        >>> from keras_vitser import layers
        >>> path = tempfile.mkdtemp() + "/clip.wav"
        >>> soundfile.write(path, np.zeros(16000), 16000)
        >>> if keras.backend.backend() == "tensorflow":
        ...     for batch in images([path], layers.LogMelImage()).batch(32):
        ...         assert batch.shape == (1, 128, 128, 1)
    """
    import keras

    tf = _tensorflow()
    if keras.backend.backend() != "tensorflow":
        raise BackendError(
            "images are computed inside a TensorFlow graph, and Keras runs on "
            f"{keras.backend.backend()}; set KERAS_BACKEND=tensorflow, or take `waveforms`, which feeds every backend"
        )
    heard = waveforms(paths, samples=front_end.clip_samples, sampling_rate=front_end.sampling_rate)
    return heard.map(lambda waveform: front_end(waveform[None])[0], num_parallel_calls=tf.data.AUTOTUNE)


@functools.cache
def tensorflow_io_works() -> bool:
    """Whether tensorflow-io decodes here. Found once; where it does not, the log says so in a line.

    Example:
        >>> tensorflow_io_works() in (True, False)
        True
    """
    tf = _tensorflow()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import tensorflow_io as tfio

            tfio.audio.decode_flac(_trial(), dtype=tf.int16)
    except Exception as error:
        reason = " ".join(str(error).split())[:80]
        log.warning(
            f"tensorflow-io does not work with TensorFlow {tf.__version__} ({reason}); soundfile reads, outside the "
            "graph. An environment of its own has both: pip install 'keras-vitser[tfio]'"
        )
        return False
    return True


def _trial() -> bytes:
    file = io.BytesIO()
    soundfile.write(file, np.zeros(16), SAMPLING_RATE, format="FLAC")
    return file.getvalue()


def _in_graph(tf, files, sampling_rate, samples):
    resampler = Resampler(sampling_rate)
    decode = tf.autograph.experimental.do_not_convert(Decoder(resampler).__call__)
    damaged = tf.data.Dataset.from_tensors((DAMAGED, tf.zeros(0), tf.constant(0, tf.int64)))

    @tf.autograph.experimental.do_not_convert
    def attempt(name, file):
        # What the decoder of a damaged file raises does not name it: here is a graph's `try` and `except`.
        decoded = tf.data.Dataset.from_tensors(file).map(decode).ignore_errors()
        return decoded.concatenate(damaged).take(1).map(lambda *found: (*found, name + ": "))

    @tf.autograph.experimental.do_not_convert
    def waveform(words, waveform, rate, name):
        return resampler.or_refuse(words, waveform, rate, name, samples)

    decoded = files.interleave(attempt, num_parallel_calls=tf.data.AUTOTUNE)
    return decoded.map(waveform, num_parallel_calls=tf.data.AUTOTUNE)


def _by_soundfile(tf, files, sampling_rate, samples):
    def read(file):
        words, waveform = waveform_or_fault(file, sampling_rate)
        return words, waveform[:samples]

    def waveform(name, file):
        words, waveform = tf.numpy_function(read, [file], [tf.string, tf.float32])
        with tf.control_dependencies([refuse([(words != "", words)], name + ": ")]):
            return tf.ensure_shape(waveform, (None,))

    return files.map(waveform, num_parallel_calls=tf.data.AUTOTUNE)


def _padded(tf, waveform, samples):
    return tf.ensure_shape(tf.pad(waveform, [[0, samples - tf.size(waveform)]]), (samples,))


def _tensorflow():
    try:
        import tensorflow
    except ImportError:
        raise BackendError(
            "reading in a tf.data pipeline needs TensorFlow: pip install 'keras-vitser[tfio]', or [tensorflow]"
        ) from None
    return tensorflow
