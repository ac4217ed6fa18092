"""Made-up voices: a source of glottal pulses and breath, shaped by formants, four ways of speaking.

A classical source-filter synthesis (Fant 1960), NumPy only. Every cue of a class (pitch level, pitch
movement, tempo, vocal effort, loudness) is relative to the speaker and varies from clip to clip. The classes
are acted as on a stage, far clearer than in recordings, yet the speakers differ more in pitch than the
classes do, so that no single number tells the class of an unseen speaker.
"""

from dataclasses import dataclass

import numpy as np

SAMPLING_RATE = 16000

_FRAME = 512  # samples of the filter's frames, 32 ms
_HOP = 128
_PULSE_REACH = 8  # samples either side of a band-limited glottal pulse


@dataclass(frozen=True)
class Voice:
    """One speaker.

    Attributes:
        pitch: Base pitch, Hz.
        formant_scale: Formant frequencies relative to an adult average.
        breathiness: Noise relative to the pulses.
        roughness: Jitter of the period, relative.
        tilt: dB an octave, added to the class' own.
    """

    pitch: float
    formant_scale: float
    breathiness: float
    roughness: float
    tilt: float


@dataclass(frozen=True)
class Style:
    """One class: how it departs from the speaker's own way; means, from which each clip departs again.

    Attributes:
        pitch_shift: Semitones from the speaker's base.
        pitch_range: Semitones of an accent.
        tempo: Syllables a second.
        tilt: dB an octave of the source: vocal effort.
        level: dB of the loudest sample, full scale being 0.
        ending: Semitones from first to last syllable.
    """

    pitch_shift: float
    pitch_range: float
    tempo: float
    tilt: float
    level: float
    ending: float


_FIRST_VOICES = (
    Voice(pitch=98.0, formant_scale=0.92, breathiness=0.03, roughness=0.012, tilt=-0.8),
    Voice(pitch=115.0, formant_scale=0.98, breathiness=0.06, roughness=0.006, tilt=0.6),
    Voice(pitch=136.0, formant_scale=0.95, breathiness=0.02, roughness=0.020, tilt=0.0),
    Voice(pitch=168.0, formant_scale=1.08, breathiness=0.08, roughness=0.005, tilt=-0.5),
    Voice(pitch=196.0, formant_scale=1.12, breathiness=0.03, roughness=0.010, tilt=0.9),
    Voice(pitch=224.0, formant_scale=1.17, breathiness=0.05, roughness=0.007, tilt=-0.2),
)


def _drawn_voice(rng: np.random.Generator) -> Voice:
    """A voice from the range of the first ones; of a higher pitch, the formants are higher too."""
    low, high = _FIRST_VOICES[0], _FIRST_VOICES[-1]
    pitch = float(np.exp(rng.uniform(np.log(90.0), np.log(240.0))))
    place = np.log(pitch / low.pitch) / np.log(high.pitch / low.pitch)
    return Voice(
        pitch=pitch,
        formant_scale=float(low.formant_scale + place * (high.formant_scale - low.formant_scale) + rng.normal(0, 0.03)),
        breathiness=float(rng.uniform(0.02, 0.08)),
        roughness=float(np.exp(rng.uniform(np.log(0.005), np.log(0.02)))),
        tilt=float(rng.uniform(-0.9, 0.9)),
    )


VOICES: tuple[Voice, ...] = (
    *_FIRST_VOICES,
    *(_drawn_voice(np.random.default_rng([1960, number])) for number in range(7, 61)),
)

STYLES: dict[str, Style] = {
    "anger": Style(pitch_shift=3.9, pitch_range=4.5, tempo=5.7, tilt=-3.5, level=-3.6, ending=-3.3),
    "happiness": Style(pitch_shift=6.5, pitch_range=7.8, tempo=5.1, tilt=-7.4, level=-8.8, ending=3.2),
    "neutral": Style(pitch_shift=0.0, pitch_range=2.2, tempo=4.3, tilt=-10.0, level=-14.0, ending=-2.0),
    "sadness": Style(pitch_shift=-1.3, pitch_range=0.9, tempo=2.5, tilt=-14.5, level=-20.5, ending=-3.3),
}

# How far a clip's own style lies from its class' (standard deviations).
_SPREAD = Style(pitch_shift=0.5, pitch_range=0.08, tempo=0.15, tilt=0.5, level=1.3, ending=0.5)

# The first four formants in Hz of five vowels (a, e, i, o, u) of an adult voice.
_VOWELS = np.array(
    [
        [730.0, 1250.0, 2500.0, 3600.0],
        [500.0, 1850.0, 2550.0, 3600.0],
        [310.0, 2200.0, 2950.0, 3700.0],
        [490.0, 900.0, 2450.0, 3500.0],
        [340.0, 980.0, 2350.0, 3450.0],
    ]
)
_FORMANT_GAINS = np.array([1.0, 0.6, 0.35, 0.22])
_FORMANT_HALF_WIDTHS = np.array([45.0, 60.0, 85.0, 130.0])  # Hz


def speak(voice: Voice, style: Style, rng: np.random.Generator) -> np.ndarray:
    """One utterance of nonsense syllables.

    Args:
        voice: The speaker.
        style: The class.
        rng: NumPy generator that everything else is drawn from.

    Returns:
        int16 array of shape `(samples,)`, 16 kHz, 1.5 to 3 s.

    Example:
        >>> samples = speak(VOICES[0], STYLES["anger"], np.random.default_rng(0))
        >>> samples.dtype.name, 1.5 <= len(samples) / SAMPLING_RATE <= 3.0
        ('int16', True)
    """
    style = _clip_style(style, rng)
    samples = int(rng.uniform(1.5, 3.0) * SAMPLING_RATE)
    onsets, lengths = _syllables(samples / SAMPLING_RATE, style.tempo, rng)
    time = np.arange(samples) / SAMPLING_RATE
    envelope = _envelope(time, onsets, lengths, rng)
    pulses = _pulses(_pitch(time, onsets, lengths, voice, style, rng), voice.roughness, rng)
    breath = rng.standard_normal(samples) * voice.breathiness
    formants = _formants(time[::_HOP], onsets, lengths, voice.formant_scale, rng)
    voiced = _shape((pulses + breath) * envelope, _response(formants, style.tilt + voice.tilt))
    waveform = voiced / np.abs(voiced).max() + _consonants(time, onsets, rng)
    waveform *= 10 ** (style.level / 20) / np.abs(waveform).max()
    room = 10 ** (rng.uniform(-66, -54) / 20)
    waveform += rng.standard_normal(samples) * room
    return np.round(np.clip(waveform, -1, 1) * 32767).astype(np.int16)


def _clip_style(style: Style, rng: np.random.Generator) -> Style:
    """A clip's own style: stronger or weaker than its class, and off by a random amount in each cue."""
    neutral = STYLES["neutral"]
    strength = rng.uniform(0.85, 1.15)

    def around(cue: str, spread: float) -> float:
        plain = getattr(neutral, cue)
        return plain + strength * (getattr(style, cue) - plain) + spread * rng.standard_normal()

    return Style(
        pitch_shift=around("pitch_shift", _SPREAD.pitch_shift),
        pitch_range=max(around("pitch_range", 0.0), 0.4) * np.exp(_SPREAD.pitch_range * rng.standard_normal()),
        tempo=np.clip(around("tempo", _SPREAD.tempo), 2.0, 7.0),
        tilt=around("tilt", _SPREAD.tilt),
        level=min(around("level", _SPREAD.level), -1.0),
        ending=around("ending", _SPREAD.ending),
    )


def _syllables(seconds: float, tempo: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Onsets and lengths in seconds, with silence at both ends and now and then a pause."""
    onset, end = rng.uniform(0.05, 0.2), seconds - rng.uniform(0.05, 0.2)
    onsets, lengths = [], []
    while onset < end - 0.12:
        length = min(rng.uniform(0.75, 1.3) / tempo, end - onset)
        onsets.append(onset)
        lengths.append(length)
        onset += length + (rng.uniform(0.1, 0.3) if rng.random() < 0.12 else 0.0)
    return np.array(onsets), np.array(lengths)


def _envelope(time: np.ndarray, onsets: np.ndarray, lengths: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    envelope = np.zeros_like(time)
    for onset, length in zip(onsets, lengths, strict=True):
        place = (time - onset) / length
        inside = (place > 0) & (place < 1)
        height, attack = rng.uniform(0.5, 1.0), rng.uniform(0.6, 1.0)
        envelope[inside] = height * np.sin(np.pi * place[inside] ** attack) ** 0.8
    return envelope


def _pitch(
    time: np.ndarray,
    onsets: np.ndarray,
    lengths: np.ndarray,
    voice: Voice,
    style: Style,
    rng: np.random.Generator,
) -> np.ndarray:
    """Fundamental frequency in Hz: base and class, a slope to the end, and an accent on some syllables."""
    semitones = np.full_like(time, style.pitch_shift) + style.ending * (time / time[-1] - 0.5)
    for onset, length in zip(onsets, lengths, strict=True):
        accent = style.pitch_range * rng.uniform(-0.3, 1.0)
        semitones += accent * np.exp(-0.5 * ((time - onset - length / 2) / (length / 2)) ** 2)
    return voice.pitch * 2 ** (semitones / 12)


def _pulses(pitch: np.ndarray, roughness: float, rng: np.random.Generator) -> np.ndarray:
    """Band-limited pulses, one a period, with a little jitter in time and in height."""
    phase = np.cumsum(pitch) / SAMPLING_RATE
    places = np.interp(np.arange(1, int(phase[-1])), phase, np.arange(len(pitch), dtype=float))
    places += roughness * SAMPLING_RATE / pitch.mean() * rng.standard_normal(len(places))
    heights = 1 + 4 * roughness * rng.standard_normal(len(places))
    offsets = np.arange(-_PULSE_REACH, _PULSE_REACH + 1)
    at = np.floor(places).astype(int)[:, None] + offsets  # (pulses, samples of a pulse)
    distance = at - places[:, None]
    shape = np.sinc(distance) * np.cos(np.pi * np.clip(distance / (_PULSE_REACH + 1), -1, 1) / 2) ** 2
    pulses = np.zeros(len(pitch))
    is_inside = (at >= 0) & (at < len(pitch))
    np.add.at(pulses, at[is_inside], (shape * heights[:, None])[is_inside])
    return pulses


def _formants(
    time: np.ndarray, onsets: np.ndarray, lengths: np.ndarray, scale: float, rng: np.random.Generator
) -> np.ndarray:
    """Formant frequencies in Hz at each time, gliding from vowel to vowel: (times, formants)."""
    vowels = _VOWELS[rng.integers(len(_VOWELS), size=len(onsets))] * scale
    vowels = vowels * rng.normal(1.0, 0.04, size=vowels.shape)
    middles = onsets + lengths / 2
    return np.stack([np.interp(time, middles, vowels[:, index]) for index in range(vowels.shape[1])], axis=1)


def _response(formants: np.ndarray, tilt: float) -> np.ndarray:
    """Magnitude of the filter, (frames, frequencies): formant peaks on a slope of `tilt` dB an octave."""
    frequencies = np.fft.rfftfreq(_FRAME, 1 / SAMPLING_RATE)
    distance = (frequencies - formants[:, :, None]) / _FORMANT_HALF_WIDTHS[:, None]
    peaks = np.sum(_FORMANT_GAINS[:, None] / np.sqrt(1 + distance**2), axis=1)
    slope = (np.maximum(frequencies, 150.0) / 500.0) ** (tilt / (20 * np.log10(2)))
    slope[0] = 0.0
    return peaks * slope


def _shape(source: np.ndarray, response: np.ndarray) -> np.ndarray:
    """Filters frame by frame: windowed, multiplied in the frequency domain, added up again."""
    window = np.hanning(_FRAME + 1)[:-1]
    padded = np.pad(source, _FRAME)
    starts = np.arange(len(response)) * _HOP + _FRAME // 2
    frames = padded[starts[:, None] + np.arange(_FRAME)] * window
    frames = np.fft.irfft(np.fft.rfft(frames, axis=1) * response, n=_FRAME, axis=1)
    shaped = np.zeros_like(padded)
    np.add.at(shaped, starts[:, None] + np.arange(_FRAME), frames)
    return shaped[_FRAME : _FRAME + len(source)]


def _consonants(time: np.ndarray, onsets: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Short bursts of high-passed noise before some syllables."""
    noise = np.diff(rng.standard_normal(len(time) + 1))
    bursts = np.zeros_like(time)
    for onset in onsets:
        if rng.random() < 0.6:
            width = rng.uniform(0.012, 0.035)
            bursts += rng.uniform(0.01, 0.06) * np.exp(-0.5 * ((time - onset) / width) ** 2)
    return noise * bursts
