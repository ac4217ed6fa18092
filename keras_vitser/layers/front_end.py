"""What every front end promises: recordings go in, and come out as what a network reads (ours)."""

import functools
import json
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_vitser.files import strict_json
from keras_vitser.layers.tensors import Tensor


class FrontEnd(keras.layers.Layer):
    """Turns recordings into the inputs of a network, each by itself.

    A front end of your own is a subclass with `sampling_rate`, `output_spec` and `call`, registered with Keras
    (`keras.saving.register_keras_serializable`) and, to be loaded from model folders, with
    `keras_vitser.models.register_front_end`. It makes the same of a recording whatever else is in the batch.

    Attributes:
        sampling_rate: Positive int, Hz. Rate of the waveforms.
        clip_samples: Positive int, samples of a recording that are used, from its start; shorter ones are padded with
            zeros. `None` where all of it is used, however long.
        output_spec: `keras.KerasTensor`, or a dict of them, with an open batch axis: what comes out.
        exportable: Bool. Whether `call` is `keras.ops` alone, so that it can be part of a graph. Defaults to `True`;
            where it is `False`, `features` is overridden. An export also needs `clip_samples`.

    Example:
        >>> class Energy(FrontEnd):
        ...     sampling_rate, clip_samples, output_spec = 8000, 8000, keras.KerasTensor((None, 1))
        ...     def call(self, clips):
        ...         return ops.mean(ops.square(clips), axis=1, keepdims=True)
        >>> front_end = Energy()
        >>> clips, lengths = front_end.clips([np.ones(2000, "float32"), np.ones(9000, "float32")])
        >>> clips.shape, lengths.tolist(), front_end.features(clips, lengths).tolist()
        ((2, 8000), [2000, 8000], [[0.25], [1.0]])
    """

    sampling_rate: int
    clip_samples: int | None
    output_spec: Any
    exportable = True

    @property
    def clip_seconds(self) -> float | None:
        """Seconds of a recording that are used, or `None` for all."""
        return None if self.clip_samples is None else self.clip_samples / self.sampling_rate

    def settings(self) -> dict[str, Any]:
        """Class and arguments but for name and dtype: what makes two front ends the same.

        Example:
            >>> from keras_vitser.layers import LogMelImage
            >>> LogMelImage(name="a").settings() == LogMelImage(name="b").settings()
            True
        """
        config = {key: value for key, value in self.get_config().items() if key not in ("name", "dtype")}
        return {"class": keras.saving.get_registered_name(type(self)), **config}

    def used(self, waveform: np.ndarray) -> np.ndarray:
        """The part of a recording that is used, a view: its beginning, or all of it.

        Args:
            waveform: Array `(samples,)` at `sampling_rate`.
        """
        return waveform[: self.clip_samples]

    def clips(self, waveforms: Sequence[np.ndarray], rows: int | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Recordings as one batch, cut or padded with zeros at their ends.

        Args:
            waveforms: float32 arrays `(samples,)` at `sampling_rate`, full scale at -1 and 1.
            rows: Int, at least as many as there are waveforms. Rows behind the last are zeros, of length 0, so that
                batches have few shapes. Defaults to as many as there are.

        Returns:
            float32 array `(rows, samples)`, of `clip_samples`, or of the longest one where that is `None`; int32 array
            `(rows,)`, the samples of each that are no padding.
        """
        used = [self.used(waveform) for waveform in waveforms]
        rows = len(used) if rows is None else rows
        lengths = np.zeros(rows, np.int32)
        lengths[: len(used)] = [len(waveform) for waveform in used]
        samples = self.clip_samples or max(lengths, default=0)
        clips = np.zeros((rows, samples), np.float32)
        for clip, waveform in zip(clips, used, strict=False):
            clip[: len(waveform)] = waveform
        return clips, lengths

    def fitted(self, clips: Tensor) -> Tensor:
        """A batch of any length cut, or padded with zeros, to `clip_samples`, in `keras.ops`; as it is where open.

        Args:
            clips: Tensor `(batch, samples)`.
        """
        if self.clip_samples is None:
            return clips
        return ops.pad(clips, ((0, 0), (0, self.clip_samples)))[:, : self.clip_samples]

    def features(self, clips: np.ndarray, lengths: np.ndarray | None = None) -> Any:
        """What the network reads of a batch, NumPy to NumPy; the graph for a shape is compiled once a process.

        Args:
            clips: float32 array `(batch, samples)`, as `clips` gives it.
            lengths: int32 array `(batch,)`, the samples that are no padding; for front ends that ask.

        Returns:
            Arrays of the structure and shapes of `output_spec`.
        """
        config = strict_json(self.get_config())
        return _compiled(type(self), config, clips.shape[1])(clips)  # type: ignore[arg-type]  # a class can be hashed


@functools.lru_cache(maxsize=4)
def _compiled(cls: type[FrontEnd], config: str, samples: int) -> Callable[[np.ndarray], Any]:
    front_end = cls.from_config(json.loads(config))
    clips = keras.Input((samples,))
    return keras.Model(clips, front_end(clips)).predict_on_batch
