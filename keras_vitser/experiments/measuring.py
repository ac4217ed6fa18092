"""Measuring a trained model on a corpus, on nothing that it was trained on."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from keras_vitser.audio import read_waveform
from keras_vitser.corpora import Corpus
from keras_vitser.errors import CorpusError, LeakageError
from keras_vitser.evaluation import Scores, score, sentence
from keras_vitser.recognizer import Recognizer

_CHUNK = 32


@dataclass(frozen=True)
class Measured:
    """Scores of a model on the clips that it does not know.

    Attributes:
        scores: The `Scores`.
        sentence: The scores as one line beside chance.
        notes: What was left out, and what the model knows of the speakers.

    Example:
        >>> from keras_vitser.evaluation import score
        >>> scores = score([0, 1], [[0.9, 0.1], [0.2, 0.8]], ["calm", "upset"])
        >>> Measured(scores, sentence(scores, "unseen clips", leaky=False), ()).sentence
        'UA 100.0 % (chance 50.0 %), WA 100.0 % (chance 50.0 %), 2 clips, unseen clips'
    """

    scores: Scores
    sentence: str
    notes: tuple[str, ...]


def evaluate_model(
    recognizer: Recognizer,
    corpus: Corpus,
    progress: Callable[[str, int, int], None] = lambda task, done, total: None,
) -> Measured:
    """Measures a recognizer on the clips of a corpus that it was neither trained on nor chosen by.

    Args:
        recognizer: The model. Its provenance says what it knows.
        corpus: The clips; each label must be one of the recognizer's.
        progress: Called with a task's name, the clips done and the clips of all.

    Returns:
        The `Measured` scores.

    Raises:
        CorpusError: The corpus has a label that the model does not know.
        LeakageError: The model was trained on every clip.
        AudioError: A recording cannot be used.

    Example:
        >>> from keras_vitser import corpora
        >>> from keras_vitser.models import ViTSER
        >>> demo = corpora.load("demo", classes=["anger", "sadness"])
        >>> evaluate_model(Recognizer(ViTSER.student(2, depth=1), demo.labels), demo).scores.clips
        96
    """
    unknown = sorted(set(corpus.labels) - set(recognizer.labels))
    if unknown:
        raise CorpusError(
            f"{corpus.name} has clips of {', '.join(unknown)}, and the model knows {', '.join(recognizer.labels)}; "
            "leave those clips out"
        )
    known = recognizer.provenance
    clips = [clip for clip in corpus.clips if clip.content_hash not in known.clips]
    if not clips:
        raise LeakageError(f"the model was trained on all {len(corpus)} clips of {corpus.name}; give it others")
    answers = []
    for start in range(0, len(clips), _CHUNK):
        progress("clips", start, len(clips))
        rate = recognizer.front_end.sampling_rate
        waveforms = [
            read_waveform(clip.path, sampling_rate=rate)[: recognizer.front_end.clip_samples]
            for clip in clips[start : start + _CHUNK]
        ]
        answers += recognizer.predict(waveforms, sampling_rate=rate, batch_size=_CHUNK)
    progress("clips", len(clips), len(clips))
    speakers = [clip.speaker for clip in clips]
    scores = score(
        np.array([recognizer.labels.index(clip.label) for clip in clips]),
        np.stack([answer.probabilities for answer in answers]),
        recognizer.labels,
        None if None in speakers else speakers,
    )
    heard = sum(f"{corpus.name}/{speaker}" in known.speakers for speaker in speakers)
    left_out = len(corpus) - len(clips)
    line = sentence(scores, "unseen clips", leaky=False)
    return Measured(scores, line, _notes(known, left_out, heard, speakers))


def _notes(known, left_out: int, heard: int, speakers: list[str | None]) -> tuple[str, ...]:
    notes = []
    if not known.protocol:
        notes.append("the model does not say what it was trained on, so nothing could be left out")
    if left_out:
        notes.append(f"{left_out} clips were left out, because the model was trained on them or chosen by them")
    if heard:
        notes.append(f"in {heard} of the {len(speakers)} clips someone speaks whom the model was trained on")
    elif None in speakers:
        notes.append("the clips do not say who speaks, so the model may know the speakers")
    return tuple(notes)
