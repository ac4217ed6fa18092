"""Waveform to log-Mel image: the front end of paper 1 (Kim and Lee 2024), section 5-A.

Rate, length, hop, window, transform size and band count are the paper's; the rest
(Slaney bands, power, 80 dB below the clip's own maximum, half-pixel bilinear time
axis) are librosa's defaults and our choices.
"""

import keras
import numpy as np
from keras import ops

from keras_vitser.layers.mel_bank import mel_bank

_SMALLEST_POWER = 1e-10  # librosa's `amin`; a clip that never passes it is silence


@keras.saving.register_keras_serializable(package="keras_vitser")
class LogMelImage(keras.layers.Layer):
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
        sampling_rate=16000,
        clip_seconds=4.0,
        n_fft=1024,
        win_length=512,
        hop_length=64,
        n_mels=128,
        fmin=0.0,
        fmax=None,
        top_db=80.0,
        frames=128,
        highest_band_first=True,
        normalize_peak=False,
        **kwargs,
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
        self.clip_seconds = clip_seconds
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

        bank = mel_bank(sampling_rate, n_fft, n_mels, fmin, highest)
        self._bank = bank[:, ::-1].copy() if highest_band_first else bank
        phase = 2 * np.pi * np.arange(win_length) / win_length
        self._window = (0.54 - 0.46 * np.cos(phase)).astype(np.float32)

    @property
    def clip_samples(self):
        """Samples of a clip that are read: `clip_seconds` at `sampling_rate`."""
        return round(self.clip_seconds * self.sampling_rate)

    @property
    def spectrogram_frames(self):
        """Frames before the time axis is interpolated."""
        return self.clip_samples // self.hop_length + 1

    @property
    def image_size(self):
        """`(bands, frames)` of the images."""
        return (self.n_mels, self.frames or self.spectrogram_frames)

    def call(self, waveforms):
        waveforms = ops.cast(ops.convert_to_tensor(waveforms), "float32")
        if len(waveforms.shape) != 2:
            raise ValueError(
                "LogMelImage expects waveforms of shape (batch, samples); for one clip give waveform[None]. "
                f"Received: shape={tuple(waveforms.shape)}"
            )
        power = self._mel_power(self._cut_or_pad(waveforms))  # (batch, frames, bands)
        largest = ops.max(power, axis=(1, 2), keepdims=True)
        image = self._interpolated(power, largest)
        image = ops.where(largest > _SMALLEST_POWER, image, ops.zeros_like(image))
        return ops.cast(ops.expand_dims(ops.transpose(image, (0, 2, 1)), -1), self.compute_dtype)

    def _cut_or_pad(self, waveforms):
        waveforms = ops.pad(waveforms, ((0, 0), (0, self.clip_samples)))[:, : self.clip_samples]
        if self.normalize_peak:
            peak = ops.max(ops.abs(waveforms), axis=1, keepdims=True)
            waveforms = waveforms / ops.where(peak > 0, peak, ops.ones_like(peak))
        return waveforms

    def _mel_power(self, waveforms):
        # Frame t is centred on sample t * hop_length. The window is shorter than the transform, so
        # only its samples are framed; where they lie inside the transform turns phases, not power.
        before = self.n_fft // 2 - (self.n_fft - self.win_length) // 2
        after = (self.spectrogram_frames - 1) * self.hop_length + self.win_length - before - self.clip_samples
        padded = ops.pad(waveforms, ((0, 0), (before, max(after, 0))))
        frames = ops.extract_sequences(padded, self.win_length, self.hop_length)
        frames = frames[:, : self.spectrogram_frames] * ops.convert_to_tensor(self._window)
        return ops.matmul(self._power(frames), ops.convert_to_tensor(self._bank))

    def _power(self, frames):
        """Power spectra `(batch, frames, n_fft // 2 + 1)` of windowed samples `(batch, frames, win_length)`."""
        real, imaginary = ops.rfft(frames, fft_length=self.n_fft)
        return ops.square(real) + ops.square(imaginary)

    def _interpolated(self, power, largest):
        """Scaled dB at the columns' positions; logs are taken only of the frames read."""
        count = self.spectrogram_frames
        if self.frames in (None, count):
            return self._scaled(power, largest)
        position = np.clip((np.arange(self.frames) + 0.5) * count / self.frames - 0.5, 0, count - 1)
        left = np.floor(position).astype(np.int32)
        right = np.minimum(left + 1, count - 1)
        weight = ops.convert_to_tensor((position - left).astype(np.float32)[:, None])
        at_left = self._scaled(ops.take(power, left, axis=1), largest)
        at_right = self._scaled(ops.take(power, right, axis=1), largest)
        return at_left + weight * (at_right - at_left)

    def _scaled(self, power, largest):
        ratio = ops.maximum(power, _SMALLEST_POWER) / ops.maximum(largest, _SMALLEST_POWER)
        decibels = 10.0 * ops.log10(ratio)
        return ops.maximum(decibels + self.top_db, 0.0) / self.top_db

    def compute_output_shape(self, input_shape):
        return (input_shape[0], *self.image_size, 1)

    def get_config(self):
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
