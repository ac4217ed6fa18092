"""WAV, FLAC, MP3 and Ogg Vorbis to waveforms at their own rates, in a graph, with tensorflow-io's decoders.

tensorflow-io does not tell a file's rate and wants to be told its sample type, so both are read from the header here.
What it would not survive is kept from it:

- WAV is decoded by `graph.wav`: `tfio.audio.decode_wav` refuses recordings with chunks behind the sound, as RAVDESS has
  them, and PCM of 32 bits.
- A FLAC file that ends early would make it wait for ever, so frames that no recording can have are put behind each
  file, and it stops at them with an error. A damaged frame would become silence: where a whole frame is digital
  silence, libsndfile is asked, outside the graph, whether the file is whole.
- A Vorbis file that ends early would be a shorter recording; `read_waveform` refuses it, and so does this.
"""

import io
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from keras_vitser.audio.containers import other_container, what_it_is_instead
from keras_vitser.audio.graph.faults import NOT_FINITE, first_fault
from keras_vitser.audio.graph.resampling import Resampler
from keras_vitser.audio.graph.wav import decoded_wav, little_endian
from keras_vitser.audio.reading import LIMIT_SECONDS, SAMPLING_RATE, read_waveform
from keras_vitser.audio.sound_header import CUT_SHORT
from keras_vitser.errors import AudioError

EMPTY = "is an empty file; expected a sound file"
DAMAGED = "is cut off or damaged and cannot be decoded; copy or record it again"
_DECODED = "WAV, FLAC, MP3 or Ogg Vorbis"

# A FLAC frame of 16 samples of silence, mono, which says that it is the last that a recording can have (RFC 9639,
# section 9). Behind a file there are more of them than a frame can be long that was cut off.
_LAST_FRAME = bytes.fromhex("fff96008febfbfbfbfbfbf0fc50000006b91")
_LAST_FRAMES = _LAST_FRAME * (2**17 // len(_LAST_FRAME))

_LARGEST_OGG_PAGE = 65307
_MPEG_RATES = (44100, 48000, 32000)  # of MPEG-1; half of it in MPEG-2, a quarter in MPEG-2.5


class _Header(NamedTuple):
    """What the first bytes of a file say."""

    faults: list
    rate: object  # int64 tensor (), Hz
    samples: Callable  # gives float32 (samples, channels)
    is_doubtful: Callable = lambda samples: False  # whether these may be the samples of a damaged file


class Decoder:
    """A part of a graph that decodes sound files.

    Args:
        resampler: Says which rates files may have.

    Example:
        >>> Decoder(Resampler()).resampler.sampling_rate
        16000
    """

    def __init__(self, resampler: Resampler):
        self.resampler = resampler

    def __call__(self, file):
        """One file at its own rate.

        Args:
            file: String tensor `()`, a whole file.

        Returns:
            String tensor `()`, what is wrong with the file, or nothing; float32 tensor `(samples,)`, the mean of the
            channels, empty where the file is refused; int64 tensor `()`, its rate in Hz. Where a file is damaged
            behind its header, tensorflow-io's op raises.
        """
        import tensorflow as tf

        magic = tf.strings.substr(file, 0, 4)
        compressed = (_flac, _vorbis, _mp3)
        is_mpeg = _begins_mpeg(magic) | (tf.strings.substr(magic, 0, 3) == b"ID3")
        kinds = [magic == b"RIFF", magic == b"fLaC", magic == b"OggS", is_mpeg, tf.constant(True)]
        readers = [
            lambda: decoded_wav(file, self.resampler),
            *(lambda header=header: self._decoded(file, header(file)) for header in compressed),
            lambda: (
                tf.where(tf.strings.length(file) == 0, EMPTY, _named(file)),
                tf.zeros(0),
                tf.constant(0, tf.int64),
            ),
        ]
        return tf.switch_case(tf.cast(tf.argmax(tf.cast(kinds, tf.int32)), tf.int32), readers)

    def _decoded(self, file, header):
        import tensorflow as tf

        words = first_fault([*header.faults, *self.resampler.faults(header.rate)])
        samples = tf.cond(words == "", header.samples, lambda: tf.zeros((0, 1)))
        waveform = tf.reduce_mean(samples, axis=1)
        faults = [
            (words != "", words),
            (tf.size(waveform) == 0, "holds no samples; expected a recording"),
            (_is_longer(tf.size(waveform, tf.int64), header.rate), _too_long()),
            (~tf.reduce_all(tf.math.is_finite(waveform)), NOT_FINITE),
        ]
        words = first_fault(faults)
        is_doubtful = (words == "") & header.is_doubtful(samples)
        return tf.cond(is_doubtful, lambda: _fault_outside(file), lambda: words), waveform, header.rate


def waveform_or_fault(file: bytes, sampling_rate: int = SAMPLING_RATE) -> tuple[str, np.ndarray]:
    """What is wrong with a file in the eyes of `read_waveform`, or nothing, and its waveform.

    Example:
        >>> waveform_or_fault(b"")[0]
        'is an empty file; expected a sound file'
    """
    nothing = np.zeros(0, np.float32)
    if not file:
        return EMPTY, nothing
    try:
        return "", read_waveform(file, sampling_rate=sampling_rate)
    except AudioError as error:
        return str(error).removeprefix("the given bytes: "), nothing


def _named(file):
    """Words for a file of another kind, which is named where phones and browsers write it."""
    import tensorflow as tf

    def words(file):
        opened = io.BytesIO(file)
        container = other_container(opened)
        if container:
            return f"is {container.title}, which is not decoded here; convert it to {_DECODED}"
        return what_it_is_instead(opened) or f"is no sound file that is decoded here: {_DECODED}"

    return tf.ensure_shape(tf.numpy_function(words, [file], tf.string), ())


def _fault_outside(file):
    import tensorflow as tf

    return tf.ensure_shape(tf.numpy_function(lambda file: waveform_or_fault(file)[0], [file], tf.string), ())


def _is_longer(samples, rate):
    import tensorflow as tf

    return samples > tf.cast(LIMIT_SECONDS, tf.int64) * rate


def _too_long():
    return f"lasts longer than {LIMIT_SECONDS:g} s; cut it into shorter files"


def _flac(file):
    """The block STREAMINFO, which is the first (RFC 9639, section 8.2)."""
    import tensorflow as tf
    import tensorflow_io as tfio

    start = _bytes(file, 0, 26)
    packed = little_endian(start[18:26][::-1])  # 20 bits of rate, 3 of channels, 5 of sample size, 36 of length
    rate, bits, frames = packed // 2**44, packed // 2**36 % 32 + 1, packed % 2**36
    guarded = tf.strings.join([file, _LAST_FRAMES])

    def decoded(dtype, middle, scale):
        return lambda: (tf.cast(tfio.audio.decode_flac(guarded, dtype=dtype), tf.float32) - middle) / scale

    decoders = [decoded(tf.uint8, 128, 2.0**7), decoded(tf.int16, 0, 2.0**15), decoded(tf.int32, 0, 2.0**31)]
    faults = [
        (tf.strings.length(file) < 42, CUT_SHORT),
        (start[4] % 128 != 0, DAMAGED),
        (
            ~tf.reduce_any(bits == [8, 16, 24]),
            tf.strings.format("has {} bits a sample; tensorflow-io decodes FLAC of 8, 16 or 24", bits),
        ),
        (frames == 0, "does not say how many samples it holds; encode it again"),
        (_is_longer(frames, rate), _too_long()),
    ]

    def is_doubtful(samples):
        shortest, longest = (tf.cast(little_endian(start[at : at + 2][::-1]), tf.int32) for at in (8, 10))  # frames
        is_silent = tf.reduce_all(samples == 0, axis=1)
        missing = -tf.size(is_silent) % tf.maximum(longest, 1)
        frames = tf.reshape(tf.pad(is_silent, [[0, missing]], constant_values=True), (-1, tf.maximum(longest, 1)))
        return (shortest != longest) | tf.reduce_any(tf.reduce_all(frames, axis=1))

    return _Header(faults, rate, lambda: tf.switch_case(tf.cast(bits // 8 - 1, tf.int32), decoders), is_doubtful)


def _vorbis(file):
    """The first packet (Vorbis I specification, section 4.2.2), and whether the last page is whole."""
    import tensorflow as tf
    import tensorflow_io as tfio

    start = _bytes(file, 0, 44)
    rate = little_endian(start[40:44])
    faults = [
        (
            tf.strings.substr(file, 28, 7) != b"\x01vorbis",
            "is an Ogg file without Vorbis; only Ogg Vorbis is decoded here",
        ),
        (_last_page_passes_end(file), CUT_SHORT),
    ]
    return _Header(faults, rate, lambda: tfio.audio.decode_vorbis(file))


def _last_page_passes_end(file):
    import tensorflow as tf

    size = tf.strings.length(file)
    tail = tf.io.decode_raw(tf.strings.substr(file, tf.maximum(size - _LARGEST_OGG_PAGE, 0), size), tf.uint8)
    tail = tf.concat([tail, tf.zeros(3, tf.uint8)], axis=0)
    is_start = tf.reduce_all([tail[place : tf.size(tail) - 3 + place] == code for place, code in enumerate(b"OggS")], 0)
    starts = tf.where(is_start)
    page = tail[tf.reduce_max(starts) : -3]
    header = tf.pad(page[:27], [[0, 27 - tf.size(page[:27])]])
    lengths = page[27 : 27 + tf.cast(header[26], tf.int32)]
    whole = 27 + tf.cast(header[26], tf.int32) + tf.reduce_sum(tf.cast(lengths, tf.int32))
    return (tf.size(starts) == 0) | (tf.size(page) < whole)


def _mp3(file):
    """The first frame (ISO/IEC 11172-3, section 2.4.1.3), which may stand behind an ID3v2 tag."""
    import tensorflow as tf
    import tensorflow_io as tfio

    start = tf.cast(_bytes(file, 0, 10), tf.int32)
    has_tag = tf.strings.substr(file, 0, 3) == b"ID3"
    length = tf.reduce_sum(start[6:10] % 128 * [2**21, 2**14, 2**7, 1])
    frame = tf.strings.substr(file, tf.where(has_tag, tf.minimum(10 + length, tf.strings.length(file)), 0), 4)
    code = tf.cast(_bytes(frame, 0, 4), tf.int32)
    version, place = code[1] // 8 % 4, code[2] // 4 % 4  # 0: MPEG-2.5, 2: MPEG-2, 3: MPEG-1
    rate = tf.gather([*_MPEG_RATES, 0], place) // tf.gather([4, 1, 2, 1], version)
    faults = [(~_begins_mpeg(frame) | (rate == 0) | (version == 1), DAMAGED)]
    return _Header(faults, tf.cast(rate, tf.int64), lambda: tfio.audio.decode_mp3(file))


def _begins_mpeg(file):
    """Whether an MPEG audio frame begins here: eleven bits that are set, a layer, a rate (UTF-16 text has none)."""
    import tensorflow as tf

    code = tf.cast(_bytes(file, 0, 3), tf.int32)
    return (code[0] == 255) & (code[1] >= 0xE0) & (code[1] // 2 % 4 != 0) & (code[2] // 4 % 4 != 3)


def _bytes(file, start, count):
    """uint8 tensor `(count,)`, zeros where the file has ended."""
    import tensorflow as tf

    there = tf.io.decode_raw(tf.strings.substr(file, tf.minimum(start, tf.strings.length(file)), count), tf.uint8)
    return tf.ensure_shape(tf.pad(there, [[0, count - tf.size(there)]]), (count,))
