"""What phones, browsers and others write, to one channel at its own rate: m4a, webm, AMR, AAC and more, by FFmpeg.

FFmpeg comes in the wheels of PyAV, the extra `av`, and is imported only for such a file.
"""

from collections.abc import Iterator
from itertools import chain
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from keras_vitser.audio import adts
from keras_vitser.audio.containers import AAC, MPEG_4, Container
from keras_vitser.audio.gathering import gathered, mono_blocks
from keras_vitser.audio.mpeg import length_of_tags
from keras_vitser.errors import AudioCodecError, NoSamplesError, TruncatedAudioError

if TYPE_CHECKING:
    import av

_SLACK = 0.1  # seconds by which a container may count more than can be decoded
_LARGEST_FRAME = 2048  # samples of AAC, with silence behind a recording's end
_TAG = 128  # bytes of an ID3v1 tag


def decoded(file: BinaryIO, container: Container, name: str, limit_seconds: float) -> tuple[np.ndarray, int]:
    """Decodes the first sound of a container.

    Args:
        file: The file, open to be read and to be sought in.
        container: What it is.
        name: What messages call it.
        limit_seconds: Positive float, seconds.

    Returns:
        float32 array `(samples,)`, the mean of the channels; int, its rate in Hz.

    Raises:
        AudioCodecError: PyAV is not installed, or has no decoder for the codec.
        AudioError: Else as in `read_waveform`.
    """
    try:
        import av
    except ImportError as error:
        broken = "" if isinstance(error, ModuleNotFoundError) else f", whose import fails here ({error})"
        raise AudioCodecError(
            f"{name}: is {container.title}, which needs PyAV{broken}: pip install 'keras-vitser[av]'; or convert it: "
            "ffmpeg -i INPUT OUTPUT.wav"
        ) from None
    start = adts.find_frame(file, length_of_tags(file)) if container is AAC else 0
    options = {"skip_initial_bytes": str(start)}  # half a frame would be damage
    file.seek(0)
    try:
        # The demuxer is named, as others open what a file refers to.
        with av.open(file, format=container.demuxer, options=options, metadata_errors="ignore") as opened:
            if not opened.streams.audio:
                raise NoSamplesError(f"{name}: is {container.title} without sound; expected a recording")
            return _waveform(opened, container, name, limit_seconds)
    except av.error.DecoderNotFoundError:
        raise AudioCodecError(
            f"{name}: is {container.title} with a codec that PyAV cannot decode; convert it"
        ) from None
    except av.error.FFmpegError as error:
        raise TruncatedAudioError(
            f"{name}: is {container.title}, cut off or damaged ({error.strerror}); copy or record it again"
        ) from None


def _waveform(
    opened: "av.container.InputContainer", container: Container, name: str, limit_seconds: float
) -> tuple[np.ndarray, int]:
    seconds = _promised_seconds(opened) if container.states_its_length else None
    frames = _frames(opened, is_promised=seconds is not None)
    first = next(frames, None)
    if first is None:
        raise NoSamplesError(f"{name}: holds no samples; expected a recording")
    rate = first.sample_rate
    promised = None if seconds is None else round(seconds * rate)
    blocks = map(_samples, chain([first], frames))
    slack = round(_SLACK * rate)
    waveform = gathered(mono_blocks(blocks, rate, name, limit_seconds, promised=promised, slack=slack))
    is_filled = container is MPEG_4 and promised and len(waveform) - promised <= _LARGEST_FRAME
    return waveform[:promised] if is_filled else waveform, rate


def _promised_seconds(opened: "av.container.InputContainer") -> float | None:
    """How long the sound lasts by the header; recorders that write to a pipe leave it open."""
    stream = opened.streams.audio[0]
    if stream.duration:
        return float(stream.duration * stream.time_base)
    if opened.duration and len(opened.streams) == 1:
        return opened.duration / 1e6
    return None


def _frames(opened: "av.container.InputContainer", is_promised: bool) -> Iterator["av.AudioFrame"]:
    """All frames. One that cannot be decoded is damage, but for the last where no length was promised.

    Raises:
        InvalidDataError: There is damage, or FFmpeg gave up long before the file's end.
    """
    import av

    damage, end, largest = None, 0, 0
    try:
        for packet in opened.demux(opened.streams.audio[0]):
            try:
                frames = packet.decode()
            except av.error.InvalidDataError as error:
                damage = damage or error
                continue
            if frames and damage:
                raise damage
            end, largest = (packet.pos or end) + packet.size, max(largest, packet.size)
            yield from frames
    except av.error.FFmpegError as error:
        damage = error
    if damage and is_promised:
        raise damage
    if not is_promised and opened.size - end > max(2 * largest + _TAG, 0 if damage else opened.size // 10):
        raise damage or av.error.InvalidDataError(0, "nothing is found in its last part")


def _samples(frame: "av.AudioFrame") -> np.ndarray:
    """float32 `(frames, channels)`, full scale at -1 and 1."""
    samples = frame.to_ndarray()
    if frame.format.is_planar:
        samples = samples.T
    else:
        samples = samples.reshape(frame.samples, -1)
    if samples.dtype == np.uint8:
        return (samples.astype(np.float32) - 128) / 128
    if samples.dtype.kind == "i":
        return samples.astype(np.float32) / np.float32(2.0 ** (8 * samples.dtype.itemsize - 1))
    return samples.astype(np.float32)
