"""Waveforms of 4 s in which there is nothing to hear, and a tone, for the tests of several rooms."""

import numpy as np


def lsb_noise(samples=64000, seed=0):
    """Noise of one step of 16 bits, float32 `(samples,)`."""
    return np.random.default_rng(seed).integers(-1, 2, samples).astype(np.float32) / 32768


def tone(amplitudes):
    """100 Hz at 16 kHz, of a root mean square of the amplitudes."""
    return amplitudes * np.sqrt(2) * np.sin(2 * np.pi * 100 * np.arange(len(amplitudes)) / 16000)


UNHEARD = {
    "digital silence": np.zeros(64000, np.float32),
    "one step of 16 bits": lsb_noise(),
    "a square wave of one step": np.tile(np.float32([1, -1]), 32000) / 32768,
    "a constant offset": np.full(64000, 0.01, np.float32),
    "silence of an A-law line": np.full(64000, 8 / 32768, np.float32),
    "the smallest steps of A-law": np.tile(np.float32([8, -8]), 32000) / 32768,
}
