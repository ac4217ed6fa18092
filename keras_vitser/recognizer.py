"""`Recognizer`: a sound goes in, an emotion comes out. The door for people who only want answers."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, overload

import keras
import numpy as np

import keras_vitser
from keras_vitser.audio import read_waveform, waveform_of
from keras_vitser.audio.unheard import warn_of_unheard
from keras_vitser.errors import CheckpointError, PredictionError, PresetError
from keras_vitser.files import sha256, strict_json, whole_folder
from keras_vitser.layers import FrontEnd, LogMelImage
from keras_vitser.models import ViTSER
from keras_vitser.models.finite_weights import check_finite
from keras_vitser.models.front_ends import saved_front_end
from keras_vitser.models.model_folder import (
    CARD_FILE,
    FORMAT,
    NETWORK_FILE,
    SETTINGS_FILE,
    damaged,
    model_folder,
    read_settings,
)
from keras_vitser.models.presets import NETWORKS, preset_folder
from keras_vitser.prediction.answering import NOT_FINITE, Answer, Excerpt, answers_of, excerpt_of
from keras_vitser.prediction.classifier import Classifier, read_parts


@dataclass(frozen=True)
class Provenance:
    """What a network has learned or been chosen from, so that it is not tested on it.

    Attributes:
        protocol: Name of the protocol, or `""` where nothing is known.
        leaky: Whether copies of test clips were trained on.
        clips: Content hashes of the recordings.
        speakers: `corpus/speaker` names.
        sentence: The scores beside chance, as one line.
    """

    protocol: str = ""
    leaky: bool = False
    clips: frozenset[str] = frozenset()
    speakers: frozenset[str] = frozenset()
    sentence: str = ""

    def to_dict(self) -> dict[str, Any]:
        return {
            "protocol": self.protocol,
            "leaky": self.leaky,
            "sentence": self.sentence,
            "speakers": sorted(self.speakers),
            "clips": sorted(self.clips),
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Provenance":
        return cls(
            protocol=values["protocol"],
            leaky=values["leaky"],
            sentence=values["sentence"],
            speakers=frozenset(values["speakers"]),
            clips=frozenset(values["clips"]),
        )


class Recognizer(Classifier):
    """A trained network with the front end and the labels that belong to it.

    Args:
        network: Model from what the front end makes, images `(batch, bands, frames, 1)`, to logits
            `(batch, classes)`.
        labels: Names of the classes, in the order of the logits.
        front_end: The `FrontEnd` that the network was trained on. Defaults to `LogMelImage()`.
        provenance: What the network was trained on.
        card: Text of the model card, Markdown.

    Raises:
        ModelFolderError: Labels, network and front end do not fit together.

    Example:
        >>> import numpy as np
        >>> from keras_vitser.models import ViTSER
        >>> recognizer = Recognizer(ViTSER.student(2, depth=1), ["calm", "upset"])
        >>> answer = recognizer.predict(np.zeros(16000, "float32"), sampling_rate=16000)
        >>> answer.label in answer.labels, answer.seconds_used
        (True, 1.0)
    """

    def __init__(
        self,
        network: keras.Model,
        labels: Sequence[str],
        front_end: FrontEnd | None = None,
        provenance: Provenance | None = None,
        card: str = "",
    ):
        super().__init__(network, labels, front_end)
        self.provenance = provenance or Provenance()
        self.card = card

    def __repr__(self) -> str:
        seconds = self.front_end.clip_seconds
        used = "all" if seconds is None else f"the first {seconds:g} s"
        return (
            f"Recognizer({', '.join(self.labels)}; {self.network.count_params():,} parameters; {used} at "
            f"{self.front_end.sampling_rate} Hz)"
        )

    @classmethod
    def load(cls, folder: str | os.PathLike) -> "Recognizer":
        """Loads a model folder, on any backend. Nothing in it is run as code.

        Args:
            folder: Folder that `save` or a training run wrote (`RUN/model`), or the run itself.

        Raises:
            ModelFolderError: The folder is missing, is no model folder, or a file in it is
                missing, was changed, comes from a newer version, holds a weight that is NaN or infinite, or names a
                front end that is neither ours nor registered (`keras_vitser.models.register_front_end`).
        """
        return cls._load(model_folder(folder))

    @classmethod
    def _load(cls, folder: Path, ours_alone: bool = False) -> "Recognizer":
        settings = read_settings(folder)
        parts = read_parts(folder, settings, ours_alone=ours_alone)
        try:
            provenance = Provenance.from_dict(settings["provenance"])
        except (ValueError, KeyError, TypeError, AttributeError):
            raise damaged(folder / SETTINGS_FILE) from None
        card = folder / CARD_FILE
        text = card.read_text(encoding="utf-8", errors="replace") if card.is_file() else ""
        return cls(*parts, provenance, text)

    @classmethod
    def from_preset(cls, preset: str | os.PathLike) -> "Recognizer":
        """Loads a preset: a folder that `save_to_preset` wrote, here or on a hub. Nothing in it is run as code.

        Args:
            preset: As in `keras_vitser.models.presets.preset_folder`: a folder, a name, `hf://USER/REPO@REVISION` or
                `kaggle://USER/MODEL/FRAMEWORK/VARIATION/VERSION`; revision and version may be left out.

        Raises:
            PresetError: There is no such preset, it cannot be downloaded, or it holds what does not belong there.
            ModelFolderError: A file in it is missing or damaged, comes from a newer version, holds a weight that is
                NaN or infinite, or names a front end that is not ours.
        """
        return cls._load(preset_folder(preset), ours_alone=True)

    @classmethod
    def from_author_checkpoint(
        cls, path: str | os.PathLike, labels: Sequence[str], *, highest_band_first: bool = True, **sizes: Any
    ) -> "Recognizer":
        """A checkpoint of the paper's authors, with the front end of the paper.

        Args:
            path: The file, in PyTorch's format.
            labels: Names of the classes in the order in which the network was trained on them; they are not in
                the file.
            highest_band_first: Bool. Whether row 0 of the images is the highest band, as in the authors'
                pictures. Defaults to `True`.
            **sizes: `image_size`, `patch_size`, `num_heads`, `pooling` of `ViTSER.from_author_checkpoint`. As
                many frames as the spectrogram has (1001) are not interpolated.

        Raises:
            CheckpointError: The file is not their format, or does not fit labels and sizes.
        """
        network = ViTSER.from_author_checkpoint(path, **sizes)
        if len(labels) != network.num_classes:
            raise CheckpointError(
                f"{path}: mlp_head.weight is of {network.num_classes} classes, and {len(labels)} labels were given: "
                f"{', '.join(labels)}"
            )
        bands, frames = network.image_size
        front_end = LogMelImage(n_mels=bands, frames=frames, highest_band_first=highest_band_first)
        return cls(network, labels, front_end)

    def save(self, folder: str | os.PathLike, card: str | None = None) -> Path:
        """Writes a model folder: network, settings and model card; atomic.

        Args:
            folder: New folder.
            card: Text of the model card, Markdown. Defaults to the recognizer's own.

        Returns:
            The folder.

        Raises:
            FileExistsError: The folder is already there.
            NonFiniteWeightsError: A weight is NaN or infinite.
        """
        check_finite(self.network, folder)
        card = self.card if card is None else card
        with whole_folder(folder) as part:
            _without_optimizer(self.network).save(part / NETWORK_FILE)
            (part / CARD_FILE).write_text(card, encoding="utf-8")
            settings = {
                "format": FORMAT,
                "keras_vitser": keras_vitser.__version__,
                "labels": list(self.labels),
                "sampling_rate": self.front_end.sampling_rate,
                "front_end": saved_front_end(self.front_end),
                "sha256": {name: sha256(part / name) for name in (NETWORK_FILE, CARD_FILE)},
                "provenance": self.provenance.to_dict(),
            }
            (part / SETTINGS_FILE).write_text(strict_json(settings, indent=1) + "\n", encoding="utf-8")
        return Path(folder)

    def save_to_preset(self, folder: str | os.PathLike) -> Path:
        """Writes a preset: a model folder to publish, with a model card and without code; atomic.

        Args:
            folder: New folder. Its three files are uploaded as they are. Of the recordings that were trained on,
                `recognizer.json` holds hashes and the names of the speakers (`provenance`), and so does a preset.

        Returns:
            The folder.

        Raises:
            PresetError: There is no model card, or the network is of another package.
            FileExistsError: The folder is already there.
            NonFiniteWeightsError: A weight is NaN or infinite.
        """
        if not self.card.strip():
            raise PresetError(
                "a preset needs a model card: set `card` to what the network learned from, how well it does and what "
                "it is not for"
            )
        network = keras.saving.get_registered_name(type(self.network))
        if network not in NETWORKS:
            raise PresetError(
                f"a preset holds one of {', '.join(NETWORKS)}, and no code of its own. Received: {network}"
            )
        return self.save(folder)

    @overload
    def predict(
        self,
        source: list | tuple,
        *,
        sampling_rate: float | None = ...,
        batch_size: int = ...,
        skip_silence: bool = ...,
    ) -> list[Answer]: ...

    @overload
    def predict(
        self,
        source: str | os.PathLike | bytes | np.ndarray,
        *,
        sampling_rate: float | None = ...,
        batch_size: int = ...,
        skip_silence: bool = ...,
    ) -> Answer: ...

    def predict(
        self,
        source: str | os.PathLike | bytes | np.ndarray | list | tuple,
        *,
        sampling_rate: float | None = None,
        batch_size: int = 32,
        skip_silence: bool = False,
    ) -> Answer | list[Answer]:
        """Says which emotion is heard.

        Of a recording longer than the network's window (`front_end.clip_seconds`, 4 s in the
        paper) the beginning is used, as in the paper; the answer's `seconds_used` and one warning a call say so.
        Silence has an answer too; the answer's `heard` is then 0, and one warning a call says so.

        Args:
            source: Path of a sound file, the bytes of one, a float array `(samples,)` with
                full scale at -1 and 1, or a list of these.
            sampling_rate: Hz, needed for arrays and used for nothing else.
            batch_size: Positive int, recordings that are worked on at a time.
            skip_silence: Bool. Whether a recording longer than the network's window is used from its
                first sound on, as `keras_vitser.audio.from_first_sound` finds it, and not from its
                start. Defaults to `False`, as in the paper.

        Returns:
            An `Answer`, or a list of them for a list.

        Raises:
            AudioError: A file cannot be used; the message names it.
            PredictionError: An argument cannot be answered, or the network's answer is no number; the message says why.
        """
        if not isinstance(batch_size, int) or isinstance(batch_size, bool) or batch_size < 1:
            raise PredictionError(f"`batch_size` must be a positive int. Received: {batch_size!r}")
        single = not isinstance(source, list | tuple)
        sources: Sequence[Any] = source if isinstance(source, list | tuple) else [source]
        answers: list[Answer] = []
        for start in range(0, len(sources), batch_size):
            batch = [self._excerpt(item, sampling_rate, skip_silence) for item in sources[start : start + batch_size]]
            for answer in answers_of(self, batch):
                if answer is None:
                    raise PredictionError(NOT_FINITE)
                answers.append(answer)
        cut, silent = sum(answer.is_cut for answer in answers), sum(answer.heard == 0 for answer in answers)
        warn_of_unheard(len(answers), cut, silent, self.front_end.clip_seconds, skip_silence)
        return answers[0] if single else answers

    def _excerpt(self, item: Any, sampling_rate: float | None, skip_silence: bool) -> Excerpt:
        rate = self.front_end.sampling_rate
        if isinstance(item, str | os.PathLike | bytes | bytearray | memoryview):
            waveform = read_waveform(item, sampling_rate=rate)
        else:
            waveform = waveform_of(item, sampling_rate, rate)
        return excerpt_of(waveform, self.front_end, skip_silence)


def _without_optimizer(network: keras.Model) -> keras.Model:
    """The network as an answer needs it: Adam's state is twice the size of the weights."""
    bare = type(network).from_config(network.get_config())
    bare.set_weights(network.get_weights())
    return bare
