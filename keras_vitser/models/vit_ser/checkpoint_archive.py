"""A PyTorch checkpoint, checked before PyTorch sees it.

`torch.load(weights_only=True)` runs no code from a file, but it believes the sizes that
the file declares: it takes memory for them, reads past the end of a record that is
smaller, and leaves memory as it was for a record that the archive calls a folder. So the
archive and its pickle are read here first, with nothing but stand-ins called, and PyTorch
is given a new archive of the records that were checked.
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
_LARGEST_PICKLE = 2**20  # bytes; the large teacher's has 2**15, and 2**17 with its optimizer's state
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
_OPCODES = {
    *("PROTO", "STOP", "MARK", "GLOBAL", "REDUCE", "BUILD", "BINPERSID"),
    *("BINGET", "LONG_BINGET", "BINPUT", "LONG_BINPUT"),
    *("EMPTY_DICT", "SETITEM", "SETITEMS", "EMPTY_LIST", "APPEND", "APPENDS"),
    *("EMPTY_TUPLE", "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3"),
    *("NONE", "NEWTRUE", "NEWFALSE", "BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "BINUNICODE"),
}


def checked_archive(path: str | os.PathLike) -> io.BytesIO:
    """Refuses a file that is no checkpoint of plain tensors, or that would unfold to more than itself.

    Until all is checked, memory is taken for the pickle alone, 1 MB at most.

    Args:
        path: The file.

    Returns:
        A zip archive of the same pickle and numbers, for `torch.load(..., weights_only=True)`.

    Raises:
        CheckpointError: The file is missing, too large, no zip archive as `torch.save` writes it,
            compressed, damaged, holds anything but dicts, lists, numbers, text and tensors, or declares
            a tensor that it does not hold.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "teacher.pth"
        >>> _ = path.write_bytes(b"no archive")
        >>> try:
        ...     checked_archive(path)
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
    try:
        if not zipfile.is_zipfile(path):
            raise _RefusedError("is not the zip archive that torch.save writes since PyTorch 1.6")
        with zipfile.ZipFile(path) as archive:
            records = _records(archive, size)
            pickled = archive.read(records["data.pkl"])
            _check_opcodes(pickled)
            _Declarations(pickled, records).load()
            return _copy(archive, records)
    except _RefusedError as error:
        raise CheckpointError(f"{path}: {error}") from None
    except Exception as error:  # a hostile archive or pickle can make its reader raise anything
        raise CheckpointError(f"{path}: is damaged ({_one_line(error)}); copy it again") from None


class _RefusedError(Exception):
    """The reason, without the file's name."""


def _records(archive: zipfile.ZipFile, size: int) -> dict[str, zipfile.ZipInfo]:
    """The entries by their name below the archive's own folder: `data.pkl`, `data/0` and so on."""
    entries = archive.infolist()
    for entry in entries:
        if entry.compress_type != zipfile.ZIP_STORED or entry.compress_size != entry.file_size:
            raise _RefusedError(f"{_shown(entry.filename)} is compressed, as torch.save never does; is it a zip bomb?")
    if sum(entry.file_size for entry in entries) > size:
        raise _RefusedError("its records overlap, as torch.save never writes them; is it a zip bomb?")
    pickles = [entry for entry in entries if entry.filename.endswith("/data.pkl")]
    if len(pickles) != 1:
        raise _RefusedError(f"holds {len(pickles)} records data.pkl, and a checkpoint one")
    if pickles[0].file_size > _LARGEST_PICKLE:
        raise _RefusedError(f"data.pkl has {pickles[0].file_size:,} bytes, and at most {_LARGEST_PICKLE:,} are read")
    root = pickles[0].filename.removesuffix("data.pkl")
    return {entry.filename.removeprefix(root): entry for entry in entries}


def _copy(archive: zipfile.ZipFile, records: dict[str, zipfile.ZipInfo]) -> io.BytesIO:
    copied = io.BytesIO()
    with zipfile.ZipFile(copied, "w", zipfile.ZIP_STORED) as copy:
        for name, entry in records.items():
            if name in ("data.pkl", "byteorder") or name.startswith("data/"):
                copy.writestr(f"archive/{name}", archive.read(entry))
        copy.writestr("archive/version", "3")
    copied.seek(0)
    return copied


def _check_opcodes(pickled: bytes) -> None:
    for opcode, argument, _ in pickletools.genops(pickled):
        if opcode.name not in _OPCODES:
            raise _RefusedError(f"data.pkl has the instruction {opcode.name}, which plain tensors do not need")
        if opcode.name in ("BINPUT", "LONG_BINPUT") and argument > len(pickled):  # memory is taken up to it
            raise _RefusedError(f"data.pkl numbers an object {argument:,}, more than it can hold")


class _Declarations(pickle.Unpickler):
    """Reads the pickle with stand-ins in place of tensors; a storage is its number of items."""

    def __init__(self, pickled: bytes, records: dict[str, zipfile.ZipInfo]):
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
        name = f"data/{key}"
        if name not in self._records:
            raise _RefusedError(f"declares the record {_shown(name)}, and holds none")
        found = self._records[name].file_size
        if found != count * _ITEM_SIZES[storage_type]:
            raise _RefusedError(f"declares {count:,} numbers in {_shown(name)}, and that has {found:,} bytes")
        return count


def _check_tensor(items: int, offset: int, shape: tuple[int, ...], *_: Any) -> None:
    if min(shape, default=0) < 0 or math.prod(shape) > items:
        raise _RefusedError(f"declares a tensor of the shape {_shown(shape)} in a record of {items:,} numbers")


def _shown(value: Any) -> str:
    """Text of a file, short and on one line."""
    return repr(str(value)[:80])[1:-1]


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:120] or type(error).__name__
