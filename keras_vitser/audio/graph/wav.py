"""WAV files to waveforms in TensorFlow's own ops, as `keras_vitser.audio.read_waveform` does it outside a graph.

A served model cannot call libsndfile or soxr. So the graph reads the header, decodes PCM of 8, 16, 24 and 32 bits and
32-bit float, takes the mean of the channels, and resamples by the filters that `resampling_filters` measured. Other
files are refused as `read_waveform` refuses them; the message says which file of a batch, and what is wrong with it.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from keras_vitser.audio.full_scale import BEYOND
from keras_vitser.audio.graph.faults import NOT_FINITE, first_fault, is_beyond_full_scale, refuse
from keras_vitser.audio.graph.resampling import Resampler
from keras_vitser.audio.graph.resampling_filters import COMMON_RATES
from keras_vitser.audio.reading import LIMIT_SECONDS, SAMPLING_RATE
from keras_vitser.audio.sound_header import (
    CUT_SHORT,
    EXTENSIBLE,
    FLOAT,
    FORMAT_BYTES,
    HEADER_LENGTHS,
    MAX_CHUNKS,
    OPEN_LENGTH,
    PCM,
    PRINTABLE,
    SUB_FORMAT_TAIL,
)

if TYPE_CHECKING:
    import tensorflow as tf

_ENCODINGS = ((PCM, 8), (PCM, 16), (PCM, 24), (PCM, 32), (FLOAT, 32))  # tag, bits a sample


class WavReader:
    """A part of a graph that turns WAV files into waveforms.

    Args:
        sampling_rate: Positive int, Hz. Rate of the waveforms. Defaults to 16000.
        rates: Rates that files may have, Hz.

    Example:
        >>> WavReader(rates=[8000, 16000]).rates
        (8000, 16000)
    """

    def __init__(self, sampling_rate: int = SAMPLING_RATE, rates: Iterable[int] = COMMON_RATES):
        self.sampling_rate = sampling_rate
        self._resampler = Resampler(sampling_rate, rates)

    @property
    def rates(self) -> tuple[int, ...]:
        """Rates that files may have, Hz."""
        return self._resampler.rates

    def batch(self, files: "tf.Tensor", samples: int) -> "tf.Tensor":
        """The first `samples` of each file, padded with zeros at their end.

        Args:
            files: String tensor `(batch,)`, whole files.
            samples: Positive int.

        Returns:
            float32 tensor `(batch, samples)`. Where a file is refused, running it raises `InvalidArgumentError`.
        """
        import tensorflow as tf

        def row(place_and_file):
            place, file = place_and_file
            waveform = self.waveform(file, tf.strings.format("audio_bytes[{}] ", place), samples)
            return tf.pad(waveform, [[0, samples - tf.shape(waveform)[0]]])

        with tf.control_dependencies([refuse([(tf.size(files) == 0, "audio_bytes holds no file")])]):
            places = tf.range(tf.shape(files)[0])
        return tf.map_fn(row, (places, files), fn_output_signature=tf.TensorSpec((samples,), tf.float32))

    def waveform(self, file: "tf.Tensor", name: "tf.Tensor", most_samples: int | None = None) -> "tf.Tensor":
        """One file.

        Args:
            file: String tensor `()`, a whole file.
            name: String tensor `()`, what messages call it, with a space behind.
            most_samples: Positive int; what comes later in the file is not resampled. Defaults to all.

        Returns:
            float32 tensor `(samples,)`.
        """
        words, waveform, rate = decoded_wav(file, self._resampler)
        return self._resampler.or_refuse(words, waveform, rate, name, most_samples)


def decoded_wav(file: "tf.Tensor", resampler: Resampler) -> "tuple[tf.Tensor, tf.Tensor, tf.Tensor]":
    """One file at its own rate.

    Args:
        file: String tensor `()`, a whole file.
        resampler: Says which rates files may have.

    Returns:
        String tensor `()`, what is wrong with the file, or nothing; float32 tensor `(samples,)`, the mean of the
        channels, empty where the file is refused; int64 tensor `()`, its rate in Hz.
    """
    import tensorflow as tf

    data = tf.io.decode_raw(file, tf.uint8)
    header = _Header(data)
    words = first_fault(header.faults(resampler))
    waveform = tf.cond(words == "", lambda: _decoded(header.sound(data), header), lambda: tf.zeros(0))
    is_finite, is_beyond = tf.reduce_all(tf.math.is_finite(waveform)), is_beyond_full_scale(waveform[None])[0]
    faults = [(words != "", words), (~is_finite, NOT_FINITE), (is_beyond, BEYOND)]
    return first_fault(faults), waveform, header.rate


class _Header:
    """What the chunks of a WAV file say, as int64 tensors `()`; nonsense where there are faults."""

    def __init__(self, data):
        import tensorflow as tf

        self._size = tf.size(data, tf.int64)
        start = tf.pad(data[:12], [[0, 12 - tf.size(data[:12])]])
        self._is_wav = little_endian(start[:4]) == _code(b"RIFF")
        self._is_wav &= little_endian(start[8:]) == _code(b"WAVE")
        format_at, format_length, self._data_at, self._declared = self._chunks(data)
        self._has_format = (format_at >= 0) & (format_length >= 16) & (format_at + 16 <= self._size)
        self._has_data = self._data_at >= 0

        fields = data[tf.maximum(format_at, 0) :][: tf.clip_by_value(format_length, 0, FORMAT_BYTES)]
        fields = tf.ensure_shape(tf.pad(fields, [[0, FORMAT_BYTES - tf.size(fields)]]), (FORMAT_BYTES,))
        self.channels = little_endian(fields[2:4])
        self.rate = little_endian(fields[4:8])
        self._frame_bytes = little_endian(fields[12:14])
        self.bits = little_endian(fields[14:16])
        tag, sub_tag = little_endian(fields[:2]), little_endian(fields[24:26])
        is_extensible = tf.reduce_all(fields[26:] == list(SUB_FORMAT_TAIL)) & (tag == EXTENSIBLE)
        self.tag = tf.where(is_extensible, sub_tag, tag)

        there = self._size - self._data_at
        missing = self._declared - there
        is_open = tf.cond(
            self._declared == 0,
            lambda: ~_are_chunks(data, self._data_at),
            lambda: (self._declared >= OPEN_LENGTH) & (missing > 0),
        )
        headers = [*HEADER_LENGTHS, self._data_at - 8, self._data_at]
        self._is_cut_short = ~is_open & (missing >= tf.maximum(self._frame_bytes, 2))
        self._is_cut_short &= tf.reduce_all(missing != headers)
        self._length = tf.where(is_open, there, tf.minimum(self._declared, there))
        self.frames = self._length // tf.maximum(self._frame_bytes, 1)

    @staticmethod
    def _chunks(data):
        """Where the chunks `fmt ` and `data` begin and how long they say they are; -1 where there is none."""
        import tensorflow as tf

        size = tf.size(data, tf.int64)

        def goes_on(count, position, format_at, format_length, data_at, declared):
            return (count < MAX_CHUNKS) & (position + 8 <= size) & ((format_at < 0) | (data_at < 0))

        def look(count, position, format_at, format_length, data_at, declared):
            begin = position + 8
            name, length = little_endian(data[position : position + 4]), little_endian(data[position + 4 : begin])
            is_format = (name == _code(b"fmt ")) & (format_at < 0)
            is_data = (name == _code(b"data")) & (data_at < 0)
            return (
                count + 1,
                begin + length + length % 2,
                tf.where(is_format, begin, format_at),
                tf.where(is_format, length, format_length),
                tf.where(is_data, begin, data_at),
                tf.where(is_data, length, declared),
            )

        none = tf.constant(-1, tf.int64)
        start = (tf.constant(0), tf.constant(12, tf.int64), none, none, none, none)
        return tf.while_loop(goes_on, look, start)[2:]

    def faults(self, resampler):
        """Pairs of a bool tensor and what is wrong where it holds, the gravest first."""
        import tensorflow as tf

        is_known = [(self.tag == tag) & (self.bits == bits) for tag, bits in _ENCODINGS]
        encoding = [
            "is a WAV with codec 0x",
            _hexadecimal(self.tag),
            ", which cannot be decoded here; convert it to PCM (codec 0x0001) of 8, 16, 24 or 32 bits, or float ",
            tf.strings.format("(0x0003) of 32 bits; its samples have {}", self.bits),
        ]
        return [
            (self._size == 0, "is empty; expected the bytes of a WAV file"),
            (~self._is_wav, "is no WAV file: it does not begin with RIFF and WAVE"),
            (~self._has_data & ~self._has_format, CUT_SHORT),
            (~self._has_format, "is damaged: it has no whole chunk `fmt `"),
            (~self._has_data, CUT_SHORT),
            (~tf.reduce_any(is_known), tf.strings.join(encoding)),
            (
                (self.channels == 0) | (self._frame_bytes * 8 != self.channels * self.bits),
                "is damaged: channels, bits and bytes a frame do not fit together",
            ),
            *resampler.faults(self.rate),
            (self._is_cut_short, CUT_SHORT),
            (self.frames == 0, "holds no samples; expected a recording"),
            (
                self.frames > tf.cast(LIMIT_SECONDS, tf.int64) * self.rate,
                f"lasts longer than {LIMIT_SECONDS:g} s; cut it into shorter files",
            ),
        ]

    def sound(self, data):
        """The bytes of the whole frames."""
        return data[self._data_at :][: self.frames * self._frame_bytes]


def _are_chunks(data, position):
    """Whether all from `position` to the file's end is well-formed chunks, or nothing."""
    import tensorflow as tf

    size = tf.size(data, tf.int64)

    def goes_on(count, position, is_well_formed):
        return is_well_formed & (position < size) & (count < MAX_CHUNKS)

    def look(count, position, is_well_formed):
        begin = position + 8
        name, length = data[position : position + 4], little_endian(data[position + 4 : begin])
        is_well_formed = tf.reduce_all((name >= PRINTABLE[0]) & (name <= PRINTABLE[-1])) & (begin + length <= size)
        return count + 1, begin + length + length % 2, is_well_formed

    _, position, is_well_formed = tf.while_loop(goes_on, look, (tf.constant(0), position, tf.constant(True)))
    return is_well_formed & (position >= size)


def _hexadecimal(code):
    """String tensor: four digits."""
    import tensorflow as tf

    return tf.strings.reduce_join(tf.gather(list("0123456789ABCDEF"), code // [4096, 256, 16, 1] % 16))


def _code(name: bytes) -> int:
    return int.from_bytes(name, "little")


def little_endian(code: "tf.Tensor") -> "tf.Tensor":
    """An int64 of a few bytes."""
    import tensorflow as tf

    values = tf.cast(code, tf.int64)
    return tf.reduce_sum(values * 256 ** tf.range(tf.size(values, tf.int64)))


def _decoded(sound, header):
    """float32 `(frames,)`: the mean of the channels, full scale at -1 and 1."""
    import tensorflow as tf

    def whole(size, kind):
        return lambda: tf.cast(tf.bitcast(tf.reshape(sound, (-1, size)), kind), tf.float32) / 2.0 ** (8 * size - 1)

    def three_bytes():
        low = tf.pad(tf.reshape(sound, (-1, 3)), [[0, 0], [1, 0]])
        return tf.cast(tf.bitcast(low, tf.int32), tf.float32) / 2.0**31

    decoders = [
        lambda: (tf.cast(sound, tf.float32) - 128) / 128,
        whole(2, tf.int16),
        three_bytes,
        whole(4, tf.int32),
        lambda: tf.bitcast(tf.reshape(sound, (-1, 4)), tf.float32),
    ]
    matches = tf.stack([(header.tag == tag) & (header.bits == bits) for tag, bits in _ENCODINGS])
    place = tf.cast(tf.argmax(tf.cast(matches, tf.int32)), tf.int32)
    samples = tf.switch_case(place, decoders)
    return tf.reduce_mean(tf.reshape(samples, (-1, header.channels)), axis=1)  # of (frames, channels)
