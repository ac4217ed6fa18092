"""Labels of one's own recordings: what differs only in case or spaces is one class by mistake more often than two."""

from collections import defaultdict

from keras_vitser.corpora.corpus import Corpus
from keras_vitser.errors import CorpusError
from keras_vitser.wording import listed


def refuse_labels_alike(corpus: Corpus) -> None:
    """Refuses labels that differ only in case or spaces, by name.

    Args:
        corpus: The corpus.

    Raises:
        CorpusError: There are such labels; the message says how many clips have each.

    Example:
        >>> from pathlib import Path
        >>> refuse_labels_alike(Corpus("mine", Path(), (), ("angry", "calm"), "mine"))
        >>> try:
        ...     refuse_labels_alike(Corpus("mine", Path(), (), ("Angry", "angry"), "mine"))
        ... except CorpusError as error:
        ...     print("'Angry' (0 clips) beside 'angry' (0 clips)" in str(error))
        True
    """
    alike = defaultdict(list)
    for label in corpus.labels:
        alike[" ".join(label.casefold().split())].append(label)
    groups = [labels for labels in alike.values() if len(labels) > 1]
    if not groups:
        return
    raise CorpusError(
        f"Labels that differ only in case or spaces are taken for one class that was written in two ways. Received: "
        f"{listed([_counted(corpus, labels) for labels in groups])} in {corpus.folder}. Write them alike, or keep "
        "them apart with --labels-as-written (in a config: corpus.labels_as_written)."
    )


def _counted(corpus: Corpus, labels: list[str]) -> str:
    return " beside ".join(f"{label!r} ({sum(clip.label == label for clip in corpus.clips)} clips)" for label in labels)
