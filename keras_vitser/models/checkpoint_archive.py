"""What a PyTorch checkpoint declares, checked before PyTorch reads its numbers.

`torch.load(weights_only=True)` runs no code from a file, but it believes the sizes that
the file declares: it takes memory for them, and reads past the end of a record that is
smaller. Here the archive and its pickle are read alone, and nothing but stand-ins is called.
"""

import io
import math
import os
import pickle
import pickletools
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

from keras_vitser.errors import CheckpointError

_LARGEST_FILE = 2**29  # bytes; the large teacher has 2**26 with its optimizer's state
_LARGEST_PICKLE = 2**22  # bytes; the large teacher's has 2**15
_ITEM_SIZES = {
    "DoubleStorage": 8,
    "FloatStorage": 4,
    "HalfStorage": 2,
    "BFloat16Storage": 2,
    "LongStorage": 8,
    "IntStorage": 4,
    "ShortStorage": 2,
    "CharStorage": 1,
    "ByteStorage": 1,
    "BoolStorage": 1,
}
# What `torch.save` writes of dicts, lists, numbers, text and tensors; nothing that makes other objects.
_OPCODES = frozenset(
    "PROTO STOP MARK GLOBAL REDUCE BUILD BINPERSID BINGET LONG_BINGET BINPUT LONG_BINPUT "
    "EMPTY_DICT SETITEM SETITEMS EMPTY_LIST APPEND APPENDS EMPTY_TUPLE TUPLE TUPLE1 TUPLE2 TUPLE3 "
    "NONE NEWTRUE NEWFALSE BININT BININT1 BININT2 LONG1 BINFLOAT BINUNICODE".split()
)


def check_archive(path: str | os.PathLike) -> None:
    """Refuses a file that is no checkpoint of plain tensors, or that would unfold to more than itself.

    Takes memory for the pickle (4 MB at most) and none for the numbers.

    Args:
        path: The file.

    Raises:
        CheckpointError: The file is missing, too large, no zip archive as `torch.save` writes it,
            compressed, damaged, holds anything but dicts, lists, numbers, text and tensors, or declares
            a tensor that it does not hold.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "teacher.pth"
        >>> _ = path.write_bytes(b"no archive")
        >>> try:
        ...     check_archive(path)
        ... except CheckpointError as error:
        ...     print(str(error).partition(": ")[2])
        is not the zip archive that torch.save writes since PyTorch 1.6
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"{path}: is no file; give a checkpoint that torch.save wrote")
    size = path.stat().st_size
    if size > _LARGEST_FILE:
        raise CheckpointError(f"{path}: has {size:,} bytes, and a checkpoint of a ViT-SER at most {_LARGEST_FILE:,}")
    if not zipfile.is_zipfile(path):
        raise CheckpointError(f"{path}: is not the zip archive that torch.save writes since PyTorch 1.6")
    try:
        with zipfile.ZipFile(path) as archive:
            pickled, records = _read(archive, size)
        _check_opcodes(pickled)
        _Declarations(pickled, records).load()
    except _RefusedError as error:
        raise CheckpointError(f"{path}: {error}") from None
    except Exception as error:  # a hostile pickle or archive can make the readers of both raise anything
        raise CheckpointError(f"{path}: is damaged ({_one_line(error)}); copy it again") from None


class _RefusedError(Exception):
    """The reason, without the file's name."""


def _read(archive: zipfile.ZipFile, size: int) -> tuple[bytes, dict[str, int]]:
    """The pickle, and the bytes of each record of numbers by its key."""
    entries = archive.infolist()
    for entry in entries:
        if entry.compress_type != zipfile.ZIP_STORED or entry.compress_size != entry.file_size:
            raise _RefusedError(f"{_shown(entry.filename)} is compressed, as torch.save never does; it may be a zip bomb")
    names = {entry.filename.lower() for entry in entries}  # PyTorch does not tell cases apart
    if sum(entry.file_size for entry in entries) > size or len(names) < len(entries):
        raise _RefusedError("its records overlap, as torch.save never writes them; it may be a zip bomb")
    pickles = [entry for entry in entries if entry.filename.endswith("/data.pkl")]
    if len(pickles) != 1:
        raise _RefusedError(f"holds {len(pickles)} records data.pkl, and a checkpoint one")
    if pickles[0].file_size > _LARGEST_PICKLE:
        raise _RefusedError(f"data.pkl has {pickles[0].file_size:,} bytes, and at most {_LARGEST_PICKLE:,} are read")
    damaged = archive.testzip()
    if damaged is not None:
        raise _RefusedError(f"is damaged (the checksum of {_shown(damaged)} is wrong); copy it again")
    root = pickles[0].filename.removesuffix("data.pkl")
    records = {
        entry.filename.removeprefix(f"{root}data/"): entry.file_size
        for entry in entries
        if entry.filename.startswith(f"{root}data/")
    }
    return archive.read(pickles[0]), records


def _check_opcodes(pickled: bytes) -> None:
    for opcode, argument, _ in pickletools.genops(pickled):
        if opcode.name not in _OPCODES:
            raise _RefusedError(f"data.pkl has the instruction {opcode.name}, which plain tensors do not need")
        if opcode.name in ("BINPUT", "LONG_BINPUT") and argument > len(pickled):  # memory is taken up to it
            raise _RefusedError(f"data.pkl numbers an object {argument:,}, more than it can hold")


class _Declarations(pickle.Unpickler):
    """Reads the pickle with stand-ins in place of tensors; a storage is its number of items."""

    def __init__(self, pickled: bytes, records: dict[str, int]):
        super().__init__(io.BytesIO(pickled))
        self._records = records

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if module == "torch" and name in _ITEM_SIZES:
            return name
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _check_tensor
        if (module, name) == ("torch._utils", "_rebuild_parameter"):
            return lambda data, requires_grad, hooks: None
        raise _RefusedError(
            f"asks for {_shown(f'{module}.{name}')}, and only tensors, numbers and text are read; where you trust the "
            "file, load it with PyTorch and save the model_state_dict alone"
        )

    def persistent_load(self, declared: Any) -> int:
        _, storage_type, key, _, count = declared
        found = self._records.get(key)
        if found is None:
            raise _RefusedError(f"declares the record data/{_shown(key)}, and holds none")
        if found != count * _ITEM_SIZES[storage_type]:
            raise _RefusedError(f"declares {count:,} numbers in data/{_shown(key)}, and that has {found:,} bytes")
        return count


def _check_tensor(items: int, offset: int, shape: tuple[int, ...], *_: Any) -> None:
    if min(shape, default=0) < 0 or math.prod(shape) > items:
        raise _RefusedError(f"declares a tensor of the shape {_shown(shape)} in a record of {items:,} numbers")


def _shown(value: Any) -> str:
    """Text of a file, short and on one line."""
    return repr(str(value)[:80])[1:-1]


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:120] or type(error).__name__
