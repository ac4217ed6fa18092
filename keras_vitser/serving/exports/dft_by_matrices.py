"""The log-Mel image for what is exported: without loops, and for formats that have no RFFT without one."""

import numpy as np
from keras import ops

from keras_vitser.layers import FrontEnd, LogMelImage


class LogMelImageWithoutLoops(LogMelImage):
    """`LogMelImage` that transforms all frames of a whole batch at once, and so needs no loop.

    Example:
        >>> noise = np.random.default_rng(0).normal(0, 0.1, (1, 16000)).astype("float32")
        >>> difference = np.abs(np.asarray(LogMelImageWithoutLoops()(noise)) - np.asarray(LogMelImage()(noise)))
        >>> bool(difference.max() < 1e-5)
        True
    """

    def _in_turn(self, blocks):
        return self._images(blocks)

    def _largest(self, blocks, power):
        largest = ops.max(power, axis=(1, 2), keepdims=True)
        if self._unread.size:
            unread = self._mel_power(self._frames(blocks, self._unread))
            largest = ops.maximum(largest, ops.max(unread, axis=(1, 2), keepdims=True))
        return largest


class DFTByMatrices(LogMelImageWithoutLoops):
    """The same for ONNX, whose converter has no RFFT.

    The transform is two matrix products, `(win_length, n_fft // 2 + 1)`: 512 by 513.

    Example:
        >>> noise = np.random.default_rng(0).normal(0, 0.1, (1, 16000)).astype("float32")
        >>> difference = np.abs(np.asarray(DFTByMatrices()(noise)) - np.asarray(LogMelImage()(noise)))
        >>> bool(difference.max() * 80 < 0.02)  # dB
        True
    """

    def _power(self, frames):
        turns = np.outer(np.arange(self.win_length), np.arange(self.n_fft // 2 + 1)) / self.n_fft
        real = ops.matmul(frames, np.cos(2 * np.pi * turns).astype(np.float32))
        imaginary = ops.matmul(frames, np.sin(2 * np.pi * turns).astype(np.float32))
        return ops.square(real) + ops.square(imaginary)


def without_loops(front_end: FrontEnd) -> FrontEnd:
    """The front end for a graph that works on whole batches; of another class, as it is.

    Example:
        >>> type(without_loops(LogMelImage())).__name__
        'LogMelImageWithoutLoops'
    """
    return _as(LogMelImageWithoutLoops, front_end)


def without_rfft(front_end: FrontEnd) -> FrontEnd:
    """The front end for ONNX; of another class, as it is.

    Example:
        >>> type(without_rfft(LogMelImage())).__name__
        'DFTByMatrices'
    """
    return _as(DFTByMatrices, front_end)


def _as(cls: type[LogMelImage], front_end: FrontEnd) -> FrontEnd:
    return cls.from_config(front_end.get_config()) if type(front_end) is LogMelImage else front_end
