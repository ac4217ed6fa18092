"""Files and folders that are there whole or not at all."""

import hashlib
import json
import math
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def whole_file(path: str | os.PathLike) -> Iterator[Path]:
    """A path to write to, beside the wanted one; it is flushed and takes the wanted name when the block ends.

    Where the block raises, nothing is left and an older file stays as it was.

    Example:
        >>> folder = Path(tempfile.mkdtemp())
        >>> with whole_file(folder / "a.txt") as part:
        ...     _ = part.write_text("whole")
        >>> [file.name for file in folder.iterdir()]
        ['a.txt']
    """
    path = Path(path)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".part-", suffix="".join(path.suffixes))
    os.close(handle)
    part = Path(name)
    try:
        yield part
        part.chmod(0o666 & ~_umask())
        with part.open("rb+") as file:
            os.fsync(file.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def whole_folder(path: str | os.PathLike) -> Iterator[Path]:
    """A folder to fill, beside the wanted one; it takes the wanted name when the block ends.

    Raises:
        FileExistsError: The folder is already there; nothing is overwritten.

    Example:
        >>> folder = Path(tempfile.mkdtemp())
        >>> with whole_folder(folder / "model") as part:
        ...     _ = (part / "a.txt").write_text("whole")
        >>> [file.name for file in folder.iterdir()]
        ['model']
    """
    path = Path(path)
    if path.exists():
        raise FileExistsError(f"{path}: is already there, and nothing is overwritten; choose another name")
    path.parent.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}-"))
    try:
        yield part
        part.chmod(0o777 & ~_umask())
        part.replace(path)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def strict_json(value: Any, **options: Any) -> str:
    """`json.dumps` as the standard has it: a number that is NaN or infinite, for which JSON has no form, is `null`.

    Args:
        value: Dicts, lists, texts, numbers, bools and `None`.
        **options: As for `json.dumps`.

    Example:
        >>> strict_json({"loss": float("nan"), "epochs": 3})
        '{"loss": null, "epochs": 3}'
    """
    try:
        return json.dumps(value, allow_nan=False, **options)
    except ValueError:
        return json.dumps(_without_nan(value), allow_nan=False, **options)


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {_without_nan(key): _without_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def sha256(path: str | os.PathLike) -> str:
    """The SHA-256 of a file's bytes, 64 hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
