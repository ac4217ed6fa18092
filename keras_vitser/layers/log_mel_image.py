"""Waveform to log-Mel image: the front end of paper 1 (Kim and Lee 2024), section 5-A.

Rate, length, hop, window, transform size and band count are the paper's; the rest
(Slaney bands, power, 80 dB below the clip's own maximum, half-pixel bilinear time
axis) are librosa's defaults and our choices.
"""

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_vitser.audio.frames import clip_samples, frame_count
from keras_vitser.layers.bounded_search import bounded_argmax
from keras_vitser.layers.device import computes_on_cpu, names_devices
from keras_vitser.layers.front_end import FrontEnd
from keras_vitser.layers.mel_bank import mel_bank
from keras_vitser.layers.tensors import Shape, Tensor

_SMALLEST_POWER = 1e-10  # librosa's `amin`; a clip that never passes it is silence
_ROUNDING = 1.001  # far above what float32 sums of 1024 numbers lose
_BANK_PARTS = 4  # the filters are narrow: four products take a quarter of the operations of one, eight are no faster
_SEARCHED_AT_A_TIME = 32


@keras.saving.register_keras_serializable(package="keras_vitser")
class LogMelImage(FrontEnd):
    """Turns waveforms into log-Mel images in 0..1, each clip by itself.

    A clip is cut or padded with zeros at its end, its power spectrogram is gathered
    into mel bands and expressed in dB below the clip's own largest value, floored at
    `-top_db` and scaled to 0..1; then the time axis is interpolated to `frames`.
    Digital silence is 0 everywhere. The layer has no weights, computes in float32
    under every dtype policy, and a clip's image does not depend on the batch.

    Args:
        sampling_rate: Positive int, Hz. Rate of the waveforms. Defaults to 16000.
        clip_seconds: Positive float, seconds of sound in an image. Defaults to 4.
        n_fft: Positive int, samples. Length of the Fourier transform. Defaults to 1024.
        win_length: Positive int, samples, at most `n_fft`. Length of the periodic
            Hamming window, centred in the transform. Defaults to 512 (32 ms).
        hop_length: Positive int, samples between frames. Defaults to 64 (4 ms).
        n_mels: Positive int. Mel bands, the rows of the image. Defaults to 128.
        fmin: Float, Hz. Lower edge of the lowest band. Defaults to 0.
        fmax: Float, Hz, or `None` for half the sampling rate. Defaults to `None`.
        top_db: Positive float, dB. Depth of the image. Defaults to 80.
        frames: Positive int, columns of the image, or `None` for one column a
            spectrogram frame (1001 with the defaults). Defaults to 128.
        highest_band_first: Bool. Whether row 0 is the highest band, as in a
            printed spectrogram. Defaults to `True`.
        normalize_peak: Bool. Whether each clip is first scaled to a peak of 1,
            which makes the image of very quiet clips (peak under 0.01)
            independent of their level. Defaults to `False`.

    Input shape:
        `(batch, samples)`, any number of samples, full scale at -1 and 1.

    Output shape:
        `(batch, n_mels, frames, 1)`.

    Raises:
        ValueError: An argument is out of its range, or the input is not two-dimensional.

    Example:
        >>> import numpy as np
        >>> LogMelImage()(np.zeros((2, 16000), "float32")).shape == (2, 128, 128, 1)
        True

    Reference:
        Kim and Lee, IEEE Access 2024, doi 10.1109/ACCESS.2024.3447770, section 5-A.
    """

    def __init__(
        self,
        sampling_rate: int = 16000,
        clip_seconds: float = 4.0,
        n_fft: int = 1024,
        win_length: int = 512,
        hop_length: int = 64,
        n_mels: int = 128,
        fmin: float = 0.0,
        fmax: float | None = None,
        top_db: float = 80.0,
        frames: int | None = 128,
        highest_band_first: bool = True,
        normalize_peak: bool = False,
        **kwargs: Any,
    ):
        super().__init__(autocast=False, trainable=False, **kwargs)
        positive = {
            "sampling_rate": sampling_rate,
            "clip_seconds": clip_seconds,
            "n_fft": n_fft,
            "win_length": win_length,
            "hop_length": hop_length,
            "n_mels": n_mels,
            "top_db": top_db,
            "frames": 1 if frames is None else frames,
        }
        for name, value in positive.items():
            if not value > 0:
                raise ValueError(f"`{name}` must be positive. Received: {name}={value}")
        if win_length > n_fft:
            raise ValueError(f"`win_length` must be at most `n_fft`. Received: win_length={win_length}, n_fft={n_fft}")
        highest = sampling_rate / 2 if fmax is None else fmax
        if not 0 <= fmin < highest <= sampling_rate / 2:
            raise ValueError(
                "`fmin` and `fmax` must satisfy 0 <= fmin < fmax <= sampling_rate / 2. "
                f"Received: fmin={fmin}, fmax={fmax}, sampling_rate={sampling_rate}"
            )
        self.sampling_rate = sampling_rate
        self._clip_seconds = clip_seconds
        self.n_fft = n_fft
        self.win_length = win_length
        self.hop_length = hop_length
        self.n_mels = n_mels
        self.fmin = fmin
        self.fmax = fmax
        self.top_db = top_db
        self.frames = frames
        self.highest_band_first = highest_band_first
        self.normalize_peak = normalize_peak

        phase = 2 * np.pi * np.arange(win_length) / win_length
        self._window = (0.54 - 0.46 * np.cos(phase)).astype(np.float32)
        self._blocks_a_frame = -(-win_length // hop_length)
        squares = np.zeros(self._blocks_a_frame * hop_length, np.float32)
        squares[:win_length] = np.square(self._window)
        self._squares = squares.reshape(self._blocks_a_frame, hop_length).T.copy()  # (hop_length, blocks)

        bank = mel_bank(sampling_rate, n_fft, n_mels, fmin, highest)
        self._bound_a_unit_of_energy = n_fft / 2 * float(bank.max()) * _ROUNDING
        self._bank_parts = _parts(bank[:, ::-1] if highest_band_first else bank)
        self._read, self._unread, self._columns = self._plan()

    @property
    def clip_seconds(self) -> float:
        """Seconds of sound in an image."""
        return self._clip_seconds

    @property
    def clip_samples(self) -> int:  # type: ignore[override]  # of a front end nobody sets it
        """Samples of a clip that are read: `clip_seconds` at `sampling_rate`."""
        return clip_samples(self.clip_seconds, self.sampling_rate)

    @property
    def spectrogram_frames(self) -> int:
        """Frames before the time axis is interpolated."""
        return frame_count(self.clip_samples, self.hop_length)

    @property
    def image_size(self) -> tuple[int, int]:
        """`(bands, frames)` of the images."""
        return (self.n_mels, self.frames or self.spectrogram_frames)

    @property
    def output_spec(self) -> keras.KerasTensor:
        """Images `(batch, n_mels, frames, 1)`."""
        return keras.KerasTensor((None, *self.image_size, 1), self.compute_dtype)

    def _plan(self) -> tuple[np.ndarray, np.ndarray, tuple[np.ndarray, np.ndarray, np.ndarray] | None]:
        """Frames that columns read, all others, and each column's two among the first with the second's weight."""
        count = self.spectrogram_frames
        frames = np.arange(count, dtype=np.int32)
        if self.frames in (None, count):
            return frames, frames[:0], None
        position = np.clip((np.arange(self.frames) + 0.5) * count / self.frames - 0.5, 0, count - 1)
        left = np.floor(position).astype(np.int32)
        right = np.minimum(left + 1, count - 1)
        read = np.union1d(left, right)
        first, second = (np.searchsorted(read, side).astype(np.int32) for side in (left, right))
        return read, np.setdiff1d(frames, read), (first, second, (position - left).astype(np.float32)[:, None])

    def call(self, waveforms: Tensor) -> Tensor:
        waveforms = ops.cast(ops.convert_to_tensor(waveforms), "float32")
        if len(waveforms.shape) != 2:
            raise ValueError(
                "LogMelImage expects waveforms of shape (batch, samples); for one clip give waveform[None]. "
                f"Received: shape={tuple(waveforms.shape)}"
            )
        if waveforms.shape[0] == 0:
            return ops.zeros((0, *self.image_size, 1), self.compute_dtype)
        return self._in_turn(self._blocks(self._cut_or_pad(waveforms)))

    def _in_turn(self, blocks: Tensor) -> Tensor:
        """A clip at a time on CPUs, where the spectra of a batch leave the caches.

        Not on a backend that names no devices, where each step of a loop is Python's.
        """
        if blocks.shape[0] == 1 or not (names_devices() and computes_on_cpu()):
            return self._images(blocks)
        return ops.map(lambda clip: self._images(clip[None])[0], blocks)

    def _images(self, blocks: Tensor) -> Tensor:
        power = self._mel_power(self._frames(blocks, self._read))  # (batch, frames read, bands)
        largest = self._largest(blocks, power)
        image = self._interpolated(self._scaled(power, largest))
        image = ops.where(largest > _SMALLEST_POWER, image, ops.zeros_like(image))
        image = ops.expand_dims(ops.transpose(image, (0, 2, 1)), -1)  # (batch, bands, frames, 1)
        return ops.cast(image, self.compute_dtype)

    def _cut_or_pad(self, waveforms: Tensor) -> Tensor:
        waveforms = self.fitted(waveforms)
        if self.normalize_peak:
            peak = ops.max(ops.abs(waveforms), axis=1, keepdims=True)
            waveforms = waveforms / ops.where(peak > 0, peak, ops.ones_like(peak))
        return waveforms

    def _blocks(self, waveforms: Tensor) -> Tensor:
        """The samples that frames are made of, `(batch, blocks, hop_length)`: frame t begins with block t.

        Frame t is centred on sample `t * hop_length`. The window is shorter than the transform, so only its
        samples are framed; where they lie inside the transform turns phases, not power.
        """
        before = self.n_fft // 2 - (self.n_fft - self.win_length) // 2
        samples = (self.spectrogram_frames + self._blocks_a_frame - 1) * self.hop_length
        padded = ops.pad(waveforms, ((0, 0), (before, max(samples - before - self.clip_samples, 0))))
        return ops.reshape(padded[:, :samples], (ops.shape(padded)[0], samples // self.hop_length, self.hop_length))

    def _frames(self, blocks: Tensor, places: np.ndarray) -> Tensor:
        """The frames at the same places of all clips, `(batch, places, blocks of a frame * hop_length)`."""
        of_blocks = places[:, None] + np.arange(self._blocks_a_frame, dtype=np.int32)
        return ops.reshape(ops.take(blocks, of_blocks, axis=1), (ops.shape(blocks)[0], len(places), self._squares.size))

    def _frames_at(self, blocks: Tensor, places: Tensor) -> Tensor:
        """Frames of each clip's own choice: `places` is int32 `(batch, frames)`."""
        clips, count = ops.shape(blocks)[0], blocks.shape[1]
        first = ops.expand_dims(places + ops.arange(clips, dtype="int32")[:, None] * count, -1)  # (batch, frames, 1)
        all_blocks = ops.reshape(blocks, (clips * count, self.hop_length))
        frames = ops.take(all_blocks, first + ops.arange(self._blocks_a_frame, dtype="int32"), axis=0)
        return ops.reshape(frames, (clips, places.shape[1], self._squares.size))  # (batch, frames, samples)

    def _mel_power(self, frames: Tensor) -> Tensor:
        power = self._power(frames[..., : self.win_length] * ops.convert_to_tensor(self._window))
        parts = [ops.matmul(power[..., bins], ops.convert_to_tensor(weights)) for bins, weights in self._bank_parts]
        return ops.concatenate(parts, axis=-1)

    def _power(self, frames: Tensor) -> Tensor:
        """Power spectra `(batch, frames, n_fft // 2 + 1)` of windowed samples `(batch, frames, win_length)`."""
        real, imaginary = ops.rfft(frames, fft_length=self.n_fft)
        return ops.square(real) + ops.square(imaginary)

    def _largest(self, blocks: Tensor, power: Tensor) -> Tensor:
        """The clip's largest mel power, `(batch, 1, 1)`, also of the frames that no column reads.

        The energy of a windowed frame bounds its mel powers, as the weights at 0 Hz and at half the sampling rate
        are zero: the bins between sum to at most `n_fft / 2` times the energy. So few frames need a transform.
        """
        largest = ops.max(power, axis=(1, 2))
        if self._unread.size:
            unread = ops.convert_to_tensor(self._unread)
            blocks_alone, so_far = ops.stop_gradient(blocks), ops.stop_gradient(largest)

            def values_of(places: Tensor) -> Tensor:
                return ops.max(self._mel_power(self._frames_at(blocks_alone, ops.take(unread, places))), axis=2)

            bounds = self._bound_a_unit_of_energy * ops.take(self._energies(blocks_alone), self._unread, axis=1)
            place = bounded_argmax(bounds, so_far, values_of, min(_SEARCHED_AT_A_TIME, self._unread.size))
            loudest = self._frames_at(blocks, ops.take(unread, place)[:, None])  # again, for its gradient
            largest = ops.maximum(largest, ops.max(self._mel_power(loudest), axis=(1, 2)))
        return largest[:, None, None]

    def _energies(self, blocks: Tensor) -> Tensor:
        """Energy of each windowed frame, `(batch, frames)`: of its blocks, each under its part of the window."""
        of_blocks = ops.matmul(ops.square(blocks), ops.convert_to_tensor(self._squares))
        count = self.spectrogram_frames
        return sum(of_blocks[:, block : block + count, block] for block in range(self._blocks_a_frame))

    def _interpolated(self, scaled: Tensor) -> Tensor:
        if self._columns is None:
            return scaled
        left, right, weight = self._columns
        at_left, at_right = ops.take(scaled, left, axis=1), ops.take(scaled, right, axis=1)
        return at_left + ops.convert_to_tensor(weight) * (at_right - at_left)

    def _scaled(self, power: Tensor, largest: Tensor) -> Tensor:
        ratio = ops.maximum(power, _SMALLEST_POWER) / ops.maximum(largest, _SMALLEST_POWER)
        decibels = 10.0 * ops.log10(ratio)
        return ops.maximum(decibels + self.top_db, 0.0) / self.top_db

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return (input_shape[0], *self.image_size, 1)

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        del config["trainable"]
        names = (
            "sampling_rate",
            "clip_seconds",
            "n_fft",
            "win_length",
            "hop_length",
            "n_mels",
            "fmin",
            "fmax",
            "top_db",
            "frames",
            "highest_band_first",
            "normalize_peak",
        )
        return {**config, **{name: getattr(self, name) for name in names}}


def _parts(bank: np.ndarray) -> list[tuple[slice, np.ndarray]]:
    """A bank as pairs of a slice of bins and the weights there of some bands, `(bins, bands)`, in the bands' order."""
    parts = []
    for weights in np.array_split(bank, min(_BANK_PARTS, bank.shape[1]), axis=1):
        bins = np.flatnonzero(weights.any(axis=1))
        heard = slice(int(bins[0]), int(bins[-1]) + 1) if bins.size else slice(0, 1)
        parts.append((heard, weights[heard].copy()))
    return parts
