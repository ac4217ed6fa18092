"""What a server takes on at most. Over a bound a request is refused at once, before work is spent on it."""

import io
from dataclasses import dataclass

import numpy as np

from keras_vitser.audio.sound_header import sound_of
from keras_vitser.serving.server.rest_json import check_rows
from keras_vitser.serving.server.status import invalid

_RATE = 16000  # Hz, of waveforms given as numbers


@dataclass(frozen=True)
class Bounds:
    """The bounds of a server.

    Attributes:
        body_bytes: Bytes of a request's body, as it comes and unpacked; more is 413. 60 s fit, as numbers of 17 digits
            at 16 kHz, and as 16-bit stereo at 48 kHz in base64.
        batch_size: Rows of a request and of a batch; more is 400.
        clip_seconds: Seconds of a clip; a longer one is 400.
        queue: Rows that wait to be computed, beside those being computed; more is 503.
        requests: Requests that are read, wait or are computed, which bounds the memory for bodies; more is 429.
        seconds: Seconds from a request's arrival to its answer; later is 504.

    Example:
        >>> Bounds(seconds=5.0).batch_size
        32
    """

    body_bytes: int = 24 * 2**20
    batch_size: int = 32
    clip_seconds: float = 60.0
    queue: int = 64
    requests: int = 128
    seconds: float = 30.0

    def check(self, inputs: dict[str, np.ndarray]) -> None:
        """Refuses inputs of too many rows, or with a clip that is too long.

        Raises:
            StatusError: They are.

        Example:
            >>> Bounds().check({"waveform": np.zeros((1, 16000), "float32")})
        """
        for name, array in inputs.items():
            if not array.ndim:
                continue
            check_rows(len(array), self.batch_size)
            if array.dtype.kind == "O":
                seconds = max((wav_seconds(value) for value in array.flat), default=0.0)
            else:
                seconds = array[0].size / _RATE if len(array) else 0.0
            if seconds > self.clip_seconds:
                raise invalid(
                    f"Input {name} has a clip of {seconds:.1f} s; at most {self.clip_seconds:g} s are taken. "
                    "Cut it into shorter clips"
                )


def wav_seconds(data: bytes) -> float:
    """Seconds of sound in the bytes of a WAV file, by its header and its size; 0 where it is no WAV file.

    Example:
        >>> wav_seconds(b"hello")
        0.0
    """
    sound = sound_of(io.BytesIO(data))
    if sound is None or sound.codec is None or not sound.bytes_a_second:
        return 0.0
    return sound.length / sound.bytes_a_second
