"""What weights in 8 bits cost: the scores of both LiteRT files on the clips that their run kept for its test."""

import os
from pathlib import Path

import numpy as np

from keras_vitser.audio import read_waveform
from keras_vitser.corpora import Clip
from keras_vitser.evaluation import score
from keras_vitser.experiments import load_config
from keras_vitser.experiments.preparation import split_of
from keras_vitser.experiments.run_folder import RunFolder
from keras_vitser.recognizer import Recognizer
from keras_vitser.serving.exports.litert import litert_probabilities

_CHUNK = 32


def clips_of_test(run: str | os.PathLike, data: str | None) -> list[Clip]:
    """The clips of a run's test part as they were recorded, without augmented copies.

    Args:
        run: The run folder.
        data: Where the recordings are. Defaults to where they were.

    Raises:
        RunFolderError: The folder is no run folder, or the recordings are not those of the run.
        CorpusError: The data is not the corpus.
    """
    folder = RunFolder.open(run)
    if data is None:
        data = folder.read_json("environment.json")["data"]
    split = split_of(load_config(folder.path / "config.yaml"), data, folder.left_out())
    folder.check_split(split)
    return [example.clip for example in split.test if example.copy == 0]


def int8_loss(clips: list[Clip], recognizer: Recognizer, float32: Path, int8: Path) -> str:
    """Measures two LiteRT files of one model.

    Args:
        clips: What to measure on.
        recognizer: The model.
        float32: The file with weights in float32.
        int8: The file with weights in 8 bits.

    Returns:
        One line with both unweighted accuracies and their difference.
    """
    labels = np.array([recognizer.labels.index(clip.label) for clip in clips])
    before, after = (
        score(labels, _probabilities(file, clips, recognizer), recognizer.labels).unweighted_accuracy * 100
        for file in (float32, int8)
    )
    return (
        f"int8: UA {after:.1f} % on the run's {len(clips)} test clips, float32 {before:.1f} %: "
        f"{before - after:.1f} points lost"
    )


def _probabilities(file: Path, clips: list[Clip], recognizer: Recognizer) -> np.ndarray:
    front_end, parts = recognizer.front_end, []
    for start in range(0, len(clips), _CHUNK):
        chunk = clips[start : start + _CHUNK]
        # Copies: views would keep long recordings in memory.
        read = (read_waveform(clip.path, sampling_rate=front_end.sampling_rate) for clip in chunk)
        batch, _ = front_end.clips([front_end.used(waveform).copy() for waveform in read])
        parts.append(litert_probabilities(file, batch))
    return np.concatenate(parts)
