"""Measuring a trained model on a corpus, on nothing that it was trained on."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from keras_vitser.audio import read_waveform
from keras_vitser.audio.file_names import composed
from keras_vitser.corpora import Clip, Corpus
from keras_vitser.corpora.unreadable import left_out_sentence, unreadable_error
from keras_vitser.errors import AudioError, CorpusError, LeakageError
from keras_vitser.evaluation import Scores, score, sentence
from keras_vitser.recognizer import Answer, Recognizer

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
    *,
    leave_out_unreadable: bool = False,
) -> Measured:
    """Measures a recognizer on the clips of a corpus that it was neither trained on nor chosen by.

    Args:
        recognizer: The model. Its provenance says what it knows.
        corpus: The clips; each label must be one of the recognizer's.
        progress: Called with a task's name, the clips done and the clips of all.
        leave_out_unreadable: Bool. Whether recordings that cannot be read are left out and counted in the notes; else
            they are refused, all in one error.

    Returns:
        The `Measured` scores.

    Raises:
        CorpusError: The corpus has a label that the model does not know.
        LeakageError: The model was trained on every clip.
        UnreadableRecordingsError: Recordings cannot be read; the message names them all.

    Example:
        >>> from keras_vitser import corpora
        >>> from keras_vitser.models import ViTSER
        >>> demo = corpora.load("demo", classes=["anger", "sadness"])
        >>> evaluate_model(Recognizer(ViTSER.student(2, depth=1), demo.labels), demo).scores.clips
        240
    """
    labels = [composed(label) for label in recognizer.labels]
    unknown = sorted({composed(label) for label in corpus.labels} - set(labels))
    if unknown:
        raise CorpusError(
            f"{corpus.name} has clips of {', '.join(unknown)}, and the model knows {', '.join(recognizer.labels)}; "
            "leave those clips out"
        )
    known = recognizer.provenance
    clips = [clip for clip in corpus.clips if not _is_known(clip, known)]
    if not clips:
        raise LeakageError(f"the model was trained on all {len(corpus)} clips of {corpus.name}; give it others")
    left_out = len(corpus) - len(clips)
    answers, reasons = _answers(recognizer, clips, progress, leave_out_unreadable)
    if reasons and not answers:
        advice = ["Nothing is left to measure on: mend them, or give others"] if leave_out_unreadable else []
        raise unreadable_error(corpus, reasons, *advice)
    clips = [clip for clip in clips if clip not in reasons]
    speakers = [clip.speaker for clip in clips]
    named = [speaker for speaker in speakers if speaker is not None]
    scores = score(
        np.array([labels.index(composed(clip.label)) for clip in clips]),
        np.stack([answer.probabilities for answer in answers]),
        recognizer.labels,
        named if len(named) == len(speakers) else None,
    )
    known_speakers = {composed(speaker) for speaker in known.speakers}
    heard = sum(composed(f"{corpus.name}/{speaker}") in known_speakers for speaker in speakers)
    line = sentence(scores, "unseen clips", leaky=False)
    unreadable = left_out_sentence(replace(corpus, unreadable=frozenset(reasons)))
    notes = (*([unreadable] if unreadable else ()), *_notes(known, left_out, heard, speakers))
    return Measured(scores, line, notes)


def _is_known(clip: Clip, known) -> bool:
    try:
        return clip.content_hash in known.clips
    except CorpusError:  # what cannot even be opened is told with all that cannot be read
        return False


def _answers(
    recognizer: Recognizer, clips: list[Clip], progress, goes_on: bool
) -> tuple[list[Answer], dict[Clip, AudioError]]:
    """The answers to what can be read, none where it shall not go on without the rest; and why the rest cannot."""
    front_end, rate = recognizer.front_end, recognizer.front_end.sampling_rate
    answers: list[Answer] = []
    reasons: dict[Clip, AudioError] = {}
    for start in range(0, len(clips), _CHUNK):
        progress("clips", start, len(clips))
        waveforms = []
        for clip in clips[start : start + _CHUNK]:
            try:
                waveforms.append(front_end.used(read_waveform(clip.path, sampling_rate=rate)))
            except AudioError as error:
                reasons[clip] = error
        if waveforms and (goes_on or not reasons):
            answers += recognizer.predict(waveforms, sampling_rate=rate, batch_size=_CHUNK)
    progress("clips", len(clips), len(clips))
    return (answers if goes_on or not reasons else []), reasons


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
