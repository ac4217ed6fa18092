"""Which clips are one recording: the same file, or files with the same bytes."""

from collections import Counter
from collections.abc import Iterable

from keras_vitser.corpora.corpus import Clip
from keras_vitser.errors import CorpusError


def recording_keys(clips: Iterable[Clip]) -> dict[Clip, str]:
    """A key for each clip, equal for clips of equal bytes.

    Only files whose size another one shares are read; the others cannot be equal to any.

    Args:
        clips: Clips, each any number of times.

    Returns:
        Dict from clip to key. Keys of two calls must not be compared.

    Raises:
        CorpusError: A file is missing or cannot be read.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> folder = Path(tempfile.mkdtemp())
        >>> clips = [Clip(folder / name, "anger") for name in ("a.wav", "b.wav", "c.wav")]
        >>> for clip, content in zip(clips, (b"hear", b"hear", b"hear me")):
        ...     _ = clip.path.write_bytes(content)
        >>> len(set(recording_keys(clips).values()))
        2
    """
    sizes = {clip: _size(clip) for clip in dict.fromkeys(clips)}
    paths_of_size = Counter(sizes[clip] for clip in {clip.path: clip for clip in sizes}.values())
    return {
        clip: clip.content_hash if paths_of_size[size] > 1 else f"the only one of {size} bytes"
        for clip, size in sizes.items()
    }


def _size(clip: Clip) -> int:
    try:
        return clip.path.stat().st_size
    except OSError as error:
        raise CorpusError(
            f"A clip of the corpus is not where it was. Received: {clip.path} ({error.strerror}). "
            "Restore the file or load the corpus again."
        ) from error
