"""What an answer needs of a model folder: a network, its front end and its labels. Clips in, probabilities out."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_vitser.errors import ModelFolderError
from keras_vitser.layers import FrontEnd, LogMelImage
from keras_vitser.layers.probability import probabilities
from keras_vitser.models.front_ends import loaded_front_end
from keras_vitser.models.model_folder import (
    NETWORK_FILE,
    SETTINGS_FILE,
    damaged,
    model_folder,
    read_network,
    read_settings,
)


class Classifier:
    """A network with the front end and the labels that belong to it. `Recognizer` is one.

    Args:
        network: Model from what the front end makes to logits `(batch, classes)`.
        labels: Names of the classes, in the order of the logits.
        front_end: The `FrontEnd` that the network was trained on. Defaults to `LogMelImage()`.

    Raises:
        ModelFolderError: Labels, network and front end do not fit together.

    Example:
        >>> from keras_vitser.models import ViTSER
        >>> classifier = Classifier(ViTSER.student(2, depth=1), ["calm", "upset"])
        >>> classifier.probabilities(np.zeros((3, 64000), "float32")).shape
        (3, 2)
    """

    def __init__(self, network: keras.Model, labels: Sequence[str], front_end: FrontEnd | None = None):
        self.network = network
        self.labels: tuple[str, ...] = tuple(labels)
        self.front_end: FrontEnd = front_end or LogMelImage()
        self._check()
        self._probabilities = self._build()

    @classmethod
    def load(cls, folder: str | os.PathLike) -> "Classifier":
        """Loads what a model folder holds, on any backend. Nothing in it is run as code.

        Args:
            folder: Folder that `Recognizer.save` or a training run wrote (`RUN/model`), or the run itself.

        Raises:
            ModelFolderError: The folder is missing, is no model folder, or a file in it is missing, was changed, comes
                from a newer version, holds a weight that is NaN or infinite, or names a front end that is neither ours
                nor registered (`keras_vitser.models.register_front_end`).
        """
        folder = model_folder(folder)
        return cls(*read_parts(folder, read_settings(folder)))

    def probabilities(self, clips: np.ndarray, lengths: np.ndarray | None = None) -> np.ndarray:
        """The probabilities of a batch of clips; a batch of a new size is compiled for once.

        Args:
            clips: float32 array `(batch, samples)` as `front_end.clips` gives it: `clip_samples` at `sampling_rate`,
                full scale at -1 and 1, zeros behind what is shorter.
            lengths: int32 array `(batch,)`, the samples that are no padding, for a front end that asks.

        Returns:
            float32 array `(batch, classes)`, rows sum to 1.
        """
        inputs = clips if self.front_end.exportable else self.front_end.features(clips, lengths)
        return self._probabilities.predict_on_batch(inputs)

    def _check(self) -> None:
        classes = self.network.output_shape[-1]
        if len(self.labels) != classes or len(set(self.labels)) != classes:
            raise ModelFolderError(
                f"a network of {classes} classes needs {classes} different labels. Received: {list(self.labels)}"
            )
        spec, wanted = self.front_end.output_spec, self.network.input_shape[1:]
        if isinstance(spec, dict):
            wanted = _shapes(getattr(self.network, "input", None))
        given = _shapes(spec)
        if wanted != given:
            raise ModelFolderError(f"the network takes {wanted}, and the front end makes {given}")

    def _build(self) -> keras.Model:
        """One graph from clips to probabilities, or, where the front end cannot be in it, from features."""
        if self.front_end.exportable:
            inputs = keras.Input((self.front_end.clip_samples,), name="waveform")
            features = self.front_end(inputs)
        else:
            spec = self.front_end.output_spec
            inputs = features = keras.tree.map_structure(lambda it: keras.Input(it.shape[1:], dtype=it.dtype), spec)
        return keras.Model(inputs, probabilities(self.network(features, training=False)))


def read_parts(
    folder: Path, settings: dict[str, Any], *, ours_alone: bool = False
) -> tuple[keras.Model, tuple[str, ...], FrontEnd]:
    """The network, the labels and the front end of a model folder.

    Args:
        folder: The model folder.
        settings: What `read_settings` gives of it.
        ours_alone: Bool. Whether front ends that this process has registered are refused too.

    Raises:
        ModelFolderError: As in `Classifier.load`.
    """
    try:
        labels = tuple(settings["labels"])
        front_end = loaded_front_end(settings["front_end"], folder / SETTINGS_FILE, ours_alone=ours_alone)
    except ModelFolderError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError):
        raise damaged(folder / SETTINGS_FILE) from None
    return read_network(folder / NETWORK_FILE), labels, front_end


def _shapes(specs: Any) -> Any:
    """The shape of one example, or a structure of them."""
    return keras.tree.map_structure(lambda spec: None if spec is None else tuple(spec.shape[1:]), specs)
