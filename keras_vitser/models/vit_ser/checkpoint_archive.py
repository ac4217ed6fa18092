"""A PyTorch checkpoint, read without PyTorch.

`torch.load(weights_only=True)` runs no code from a file, but it believes the sizes that the file declares: it takes
memory for them, and reads past the end of a record that is smaller. Here the archive and its pickle are checked first,
with nothing but stand-ins called, and the numbers are then read by NumPy.
"""

import io
import math
import os
import pickle
import pickletools
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from keras_vitser.errors import CheckpointError

_LARGEST_FILE = 2**29  # bytes; the large teacher has 2**26 with its optimizer's state
_LARGEST_PICKLE = 2**20  # bytes; the large teacher's has 2**15, and 2**17 with its optimizer's state
_STORAGES = {  # their type of number, and its bytes
    "DoubleStorage": ("torch.float64", 8),
    "FloatStorage": ("torch.float32", 4),
    "HalfStorage": ("torch.float16", 2),
    "BFloat16Storage": ("torch.bfloat16", 2),
    "LongStorage": ("torch.int64", 8),
    "IntStorage": ("torch.int32", 4),
    "ShortStorage": ("torch.int16", 2),
    "CharStorage": ("torch.int8", 1),
    "ByteStorage": ("torch.uint8", 1),
    "BoolStorage": ("torch.bool", 1),
}
_FLOAT32 = {b"little": "<f4", b"big": ">f4"}  # by the record `byteorder`, which files of PyTorch before 2.1 lack
# What `torch.save` writes of dicts, lists, numbers, text and tensors; nothing that makes other objects.
_OPCODES = {
    *("PROTO", "STOP", "MARK", "GLOBAL", "REDUCE", "BUILD", "BINPERSID"),
    *("BINGET", "LONG_BINGET", "BINPUT", "LONG_BINPUT"),
    *("EMPTY_DICT", "SETITEM", "SETITEMS", "EMPTY_LIST", "APPEND", "APPENDS"),
    *("EMPTY_TUPLE", "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3"),
    *("NONE", "NEWTRUE", "NEWFALSE", "BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "BINUNICODE"),
}


class StoredTensor(NamedTuple):
    """A tensor of a checkpoint, which was checked to lie within its record.

    A tuple, so that no instruction of a pickle can change one.

    Attributes:
        dtype: Its name, such as `"torch.float32"`.
        nbytes: Bytes of its numbers.
        shape: Its lengths.
        strides: Numbers from one element to the next, along each axis.
        offset: Numbers of the record before its first.
        record: Name of the record.
    """

    dtype: str
    nbytes: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    offset: int
    record: str


class Checkpoint:
    """What a checkpoint holds.

    Attributes:
        content: The dicts, lists, numbers and text that were saved, with a `StoredTensor` for each tensor.
    """

    def __init__(self, content: Any, records: dict[str, bytes], float32: str):
        self.content = content
        self._records = records
        self._float32 = float32

    def array(self, tensor: StoredTensor) -> np.ndarray:
        """The numbers of a tensor of `torch.float32`, as a new array of its shape."""
        numbers = np.frombuffer(self._records[tensor.record], self._float32)[tensor.offset :]
        strides = [4 * stride for stride in tensor.strides]
        return np.lib.stride_tricks.as_strided(numbers, tensor.shape, strides, writeable=False).astype(np.float32)


def read_checkpoint(path: str | os.PathLike) -> Checkpoint:
    """Reads a file that `torch.save` wrote; refuses what is no checkpoint of plain tensors, or unfolds to more.

    Until all is checked, memory is taken for the pickle alone, 1 MB at most; then for what the file holds.

    Args:
        path: The file.

    Returns:
        What it holds.

    Raises:
        CheckpointError: The file is missing, too large, no zip archive as `torch.save` writes it,
            compressed, damaged, holds anything but dicts, lists, numbers, text and tensors, or declares
            a tensor that it does not hold.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "teacher.pth"
        >>> _ = path.write_bytes(b"no archive")
        >>> try:
        ...     read_checkpoint(path)
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
            content = _Declarations(pickled, records).load()
            order = archive.read(records["byteorder"]) if "byteorder" in records else b"little"
            stored = {name: archive.read(entry) for name, entry in records.items() if name.startswith("data/")}
            return Checkpoint(content, stored, _FLOAT32[order])
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


def _check_opcodes(pickled: bytes) -> None:
    for opcode, argument, _ in pickletools.genops(pickled):
        if opcode.name not in _OPCODES:
            raise _RefusedError(f"data.pkl has the instruction {opcode.name}, which plain tensors do not need")
        if opcode.name in ("BINPUT", "LONG_BINPUT") and (argument or 0) > len(pickled):  # memory is taken up to it
            raise _RefusedError(f"data.pkl numbers an object {argument:,}, more than it can hold")


class _Storage(NamedTuple):
    """Numbers of one type, a record of the archive."""

    record: str
    dtype: str
    item_bytes: int
    items: int


class _Declarations(pickle.Unpickler):
    """Reads the pickle with stand-ins in place of tensors and their storages.

    What it calls are methods, of which a pickle can change no attribute.
    """

    def __init__(self, pickled: bytes, records: dict[str, zipfile.ZipInfo]):
        super().__init__(io.BytesIO(pickled))
        self._records = records

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if module == "torch" and name in _STORAGES:
            return name
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return self._tensor
        if (module, name) == ("torch._utils", "_rebuild_parameter"):
            return self._parameter
        raise _RefusedError(
            f"asks for {_shown(f'{module}.{name}')}, and only tensors, numbers and text are read; where you trust the "
            "file, load it with PyTorch and save the model_state_dict alone"
        )

    def persistent_load(self, declared: Any) -> _Storage:
        _, storage_type, key, _, count = declared
        name = f"data/{key}"
        if name not in self._records:
            raise _RefusedError(f"declares the record {_shown(name)}, and holds none")
        found = self._records[name].file_size
        dtype, item_bytes = _STORAGES[storage_type]
        if type(count) is not int or found != count * item_bytes:
            raise _RefusedError(f"declares {count:,} numbers in {_shown(name)}, and that has {found:,} bytes")
        return _Storage(name, dtype, item_bytes, count)

    def _tensor(self, storage: Any, offset: Any, shape: Any, strides: Any, *_: Any) -> StoredTensor:
        if not isinstance(storage, _Storage):
            raise TypeError("a tensor has no storage")
        if not _lies_within(storage.items, offset, shape, strides):
            raise _RefusedError(
                f"declares a tensor of the shape {_shown(shape)} in a record of {storage.items:,} numbers"
            )
        nbytes = math.prod(shape) * storage.item_bytes
        return StoredTensor(storage.dtype, nbytes, tuple(shape), tuple(strides), offset, storage.record)

    def _parameter(self, data: Any, *_: Any) -> Any:
        return data


def _lies_within(items: int, offset: Any, shape: Any, strides: Any) -> bool:
    """Whether a tensor has no number outside of its record, and no more numbers than that."""
    if any(type(number) is not int or number < 0 for number in (offset, *shape, *strides)):
        return False
    if len(strides) != len(shape) or math.prod(shape) > items:
        return False
    last = offset + sum((length - 1) * stride for length, stride in zip(shape, strides, strict=True))
    return 0 in shape or last < items


def _shown(value: Any) -> str:
    """Text of a file, short and on one line."""
    return repr(str(value)[:80])[1:-1]


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:120] or type(error).__name__
