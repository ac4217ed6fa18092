"""A corpus: labelled recordings on disk, by speaker, with nothing decoded."""

import hashlib
import os
from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from keras_vitser.errors import CorpusError
from keras_vitser.wording import by_number


@dataclass(frozen=True)
class Clip:
    """One recording of one utterance.

    Attributes:
        path: `pathlib.Path` of the sound file. It is not opened until its content is asked for.
        label: The class, a plain noun such as `"anger"`.
        speaker: The speaker's name, or `None` where the corpus names none.

    Example:
        >>> from pathlib import Path
        >>> Clip(Path("DC/a01.wav"), label="anger", speaker="DC").label
        'anger'
    """

    path: Path
    label: str
    speaker: str | None = None

    @cached_property
    def content_hash(self) -> str:
        """Hexadecimal SHA-256 of the file's bytes, read once for each `Clip` object.

        Raises:
            CorpusError: The file cannot be read.
        """
        try:
            with open(self.path, "rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise CorpusError(
                f"A clip of the corpus cannot be read. Received: {self.path} ({error.strerror}). "
                "Restore the file or load the corpus again without it."
            ) from error


@dataclass(frozen=True, repr=False)
class Corpus:
    """Labelled clips in a fixed order.

    Attributes:
        name: The reader's name, such as `"savee"`.
        folder: `pathlib.Path` that relative paths start from.
        clips: Clips in any order; kept sorted by relative path, so that every machine has one order.
        labels: Strings. The classes in their fixed order: class index 0 is `labels[0]`.
        terms: The publishers' terms of use, one line.
        unreadable: Those of the clips that are known to be unreadable. Protocols assign them to a part as all
            others, so that no other clip's part changes, and then leave them out.

    Raises:
        CorpusError: A clip has a label that is not in `labels`, or two clips have one path.

    Example:
        >>> from pathlib import Path
        >>> clips = [Clip(Path("x/b.wav"), "sadness", "s1"), Clip(Path("x/a.wav"), "anger", "s2")]
        >>> corpus = Corpus("mine", Path("x"), clips, labels=("anger", "sadness"), terms="mine")
        >>> corpus
        Corpus(mine: 2 clips, 2 classes, 2 speakers)
        >>> [corpus.label_index(clip) for clip in corpus.clips], corpus.speakers
        ([0, 1], ('s1', 's2'))
    """

    name: str
    folder: Path
    clips: tuple[Clip, ...]
    labels: tuple[str, ...]
    terms: str
    unreadable: frozenset[Clip] = frozenset()

    def __post_init__(self) -> None:
        object.__setattr__(self, "labels", tuple(self.labels))
        object.__setattr__(self, "clips", tuple(sorted(self.clips, key=self.relative_path)))
        unknown = [clip for clip in self.clips if clip.label not in self.labels]
        if unknown:
            raise CorpusError(
                f"Every clip's label must be one of `labels` {list(self.labels)}. "
                f"Received: label {unknown[0].label!r} of {unknown[0].path}. Add the label or leave the clip "
                "out."
            )
        path, count = Counter(clip.path for clip in self.clips).most_common(1)[0] if self.clips else (None, 0)
        if count > 1:
            raise CorpusError(f"A path may stand in a corpus once. Received: {path} {count} times.")

    def __len__(self) -> int:
        return len(self.clips)

    def __repr__(self) -> str:
        speakers = f"{len(self.speakers)} speakers" if self.speakers else "speakers not named"
        return f"Corpus({self.name}: {len(self)} clips, {len(self.labels)} classes, {speakers})"

    @cached_property
    def speakers(self) -> tuple[str, ...]:
        """The speakers' names, sorted; clips without a named speaker add none."""
        return tuple(sorted({clip.speaker for clip in self.clips if clip.speaker is not None}))

    @cached_property
    def fingerprint(self) -> str:
        """Hexadecimal SHA-256 over relative path, label, speaker and content of every clip that is not `unreadable`.

        Reads every file.

        Raises:
            CorpusError: A file cannot be read.
        """
        digest = hashlib.sha256()
        for clip in self.clips:
            if clip in self.unreadable:
                continue
            fields = (self.relative_path(clip), clip.label, clip.speaker, clip.content_hash)
            digest.update(repr(fields).encode())
        return digest.hexdigest()

    def relative_path(self, clip: Clip) -> str:
        """The clip's path from the corpus' folder, with forward slashes."""
        try:
            return Path(os.path.relpath(clip.path, self.folder)).as_posix()
        except ValueError:  # another drive of Windows
            return clip.path.as_posix()

    def label_index(self, clip: Clip) -> int:
        """The integer class of a clip: its label's place in `labels`."""
        return self.labels.index(clip.label)

    def counts(self) -> dict[str, dict[str | None, int]]:
        """Clips by label and then by speaker, zeros included; clips without a named speaker under `None`."""
        found = Counter((clip.label, clip.speaker) for clip in self.clips)
        speakers: list[str | None] = list(self.speakers)
        if any(clip.speaker is None for clip in self.clips):
            speakers.append(None)
        return {label: {speaker: found[label, speaker] for speaker in speakers} for label in self.labels}

    def summary(self) -> str:
        """Several lines of text: the corpus, its terms, and the clips of each class and each speaker."""
        counts = self.counts()
        classes = ", ".join(f"{label} {sum(by_speaker.values())}" for label, by_speaker in counts.items())
        by_speaker = Counter("not named" if clip.speaker is None else clip.speaker for clip in self.clips)
        speakers = ", ".join(f"{speaker} {by_speaker[speaker]}" for speaker in sorted(by_speaker, key=by_number))
        return f"{self!r}\nclasses: {classes}\nspeakers: {speakers}\nterms: {self.terms}"
