"""keras_vitser/models/vit_ser/checkpoint_archive.py: no file runs code or takes more memory than it is large."""

import io
import os
import pickle
import struct
import sys
import tracemalloc
import zipfile
from collections import Counter, OrderedDict

import numpy as np
import pytest

from keras_vitser.errors import CheckpointError
from keras_vitser.models import ViTSER
from keras_vitser.models.vit_ser.checkpoint_archive import StoredTensor, read_checkpoint
from tests.requirements import require

torch = require("torch")

pytestmark = pytest.mark.backends("tensorflow")

STATE = {"model_state_dict": OrderedDict(a=torch.arange(6.0).view(2, 3), b=torch.ones(500))}


def saved(content, **options):
    file = io.BytesIO()
    torch.save(content, file, **options)
    return file.getvalue()


GOOD = saved(STATE)


def rewritten(change=None, compression=zipfile.ZIP_STORED, more=()):
    """The good archive with records changed by name, and further ones."""
    file = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(GOOD)) as old, zipfile.ZipFile(file, "w", compression) as new:
        for entry in old.infolist():
            content = old.read(entry)
            new.writestr(entry.filename, change.get(entry.filename, content) if change else content)
        for name, content in more:
            new.writestr(name, content)
    return file.getvalue()


def pickle_of(archive):
    with zipfile.ZipFile(io.BytesIO(archive)) as opened:
        return opened.read("archive/data.pkl")


def with_pickle(pickled):
    return rewritten({"archive/data.pkl": pickled})


def overlapping():
    """A second name for the numbers of the first record."""
    file = io.BytesIO(rewritten())
    with zipfile.ZipFile(file, "a") as archive:
        twin = zipfile.ZipInfo("archive/data/9")
        source = archive.getinfo("archive/data/1")
        for name in ("header_offset", "CRC", "compress_size", "file_size"):
            setattr(twin, name, getattr(source, name))
        archive.filelist += [twin] * 3
        archive._didModify = True
    return file.getvalue()


class Runs:
    """Runs code as it is unpickled."""

    def __reduce__(self):
        return os.mkdir, ("/nowhere/made by a checkpoint",)


class Zeros:
    """What PyTorch's own list of harmless names lets through: memory of any size."""

    def __reduce__(self):
        return bytearray, (2**40,)


def numbering(index):
    return with_pickle(b"\x80\x02" + b"}" + b"r" + struct.pack("<I", index) + b".")


def flipped():
    """One bit of a weight."""
    place = GOOD.index(np.ones(500, "<f4").tobytes()) + 40
    return GOOD[:place] + bytes([GOOD[place] ^ 1]) + GOOD[place + 1 :]


HUGE = torch.zeros(1).expand(10**6, 10**6)
DECLARED = pickle_of(GOOD).replace(b"M\xf4\x01", b"J\xff\xff\xff\x7f")  # 500 numbers become 2**31 - 1
BAD = {
    "nothing": (b"", "is not the zip archive"),
    "text": (b"weights " * 99, "is not the zip archive"),
    "the format before PyTorch 1.6": (saved(STATE, _use_new_zipfile_serialization=False), "is not the zip archive"),
    "a bare pickle": (pickle.dumps({"model_state_dict": {}}), "is not the zip archive"),
    "cut off": (GOOD[:-200], "is not the zip archive"),
    "cut at the start": (GOOD[300:], "is damaged"),
    "one bit": (flipped(), "is damaged (Bad CRC-32 for file 'archive/data/1')"),
    "another archive": (rewritten()[:0] + b"PK\x05\x06" + bytes(18), "holds 0 records data.pkl"),
    "two pickles": (rewritten(more=[("other/data.pkl", b"")]), "holds 2 records data.pkl"),
    "a zip bomb": (
        rewritten({"archive/data/1": bytes(2**26)}, zipfile.ZIP_DEFLATED),
        "is compressed, as torch.save never does; is it a zip bomb?",
    ),
    "overlapping records": (overlapping(), "its records overlap"),
    "a pickle too large": (with_pickle(bytes(2**20 + 1)), "data.pkl has 1,048,577 bytes"),
    "no pickle": (with_pickle(b"weights"), "is damaged"),
    "half a pickle": (with_pickle(pickle_of(GOOD)[:-9]), "is damaged"),
    "a pickle of another protocol": (with_pickle(pickle.dumps("text", 4)), "has the instruction FRAME"),
    "an object's number": (numbering(2**31), "numbers an object 2,147,483,648"),
    "code": (saved({"model_state_dict": {}, "x": Runs()}), "asks for posix.mkdir"),
    "zeros": (saved({"model_state_dict": {}, "x": Zeros()}), "asks for __builtin__.bytearray"),
    "a NumPy number": (saved({"accuracy": np.float64(0.98)}), "and only tensors, numbers and text are read"),
    "another class": (saved(Counter("aab")), "asks for collections.Counter"),
    "a whole network": (saved(torch.nn.Linear(2, 3)), "has the instruction NEWOBJ"),
    "a record too small": (with_pickle(DECLARED), "declares 2,147,483,647 numbers in data/1, and that has 2,000 bytes"),
    "a record that is not there": (
        with_pickle(pickle_of(GOOD).replace(b"X\x01\x00\x00\x001", b"X\x01\x00\x00\x008")),
        "declares the record data/8, and holds none",
    ),
    "a huge tensor": (saved({"model_state_dict": {"a": HUGE}}), "declares a tensor of the shape (1000000, 1000000)"),
}


def leaves(content):
    """What dicts, lists and tuples hold in the end, in order."""
    if isinstance(content, dict):
        return [leaf for item in content.items() for leaf in leaves(item)]
    if isinstance(content, list | tuple) and not isinstance(content, StoredTensor):
        return [leaf for item in content for leaf in leaves(item)]
    return [content]


def test_what_torch_save_writes_is_let_through(tmp_path):
    network = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.LayerNorm(4)).to(torch.bfloat16)
    optimizer = torch.optim.Adam(network.parameters())
    network(torch.ones(2, 3, dtype=torch.bfloat16)).sum().backward()
    optimizer.step()
    scalars = {"epoch": 3, "loss": 0.5, "name": "teacher", "history": [1, (2.5, None)], "best": True, "big": 2**40}
    states = {"model_state_dict": network.state_dict(), "optimizer": optimizer.state_dict()}
    views = {"view": torch.arange(6.0).view(2, 3).T, "parameter": torch.nn.Parameter(torch.ones(1)), "none": []}
    empty = {"empty": torch.zeros(0, 3), "scalar": torch.tensor(3), "flags": torch.ones(2, dtype=torch.bool)}
    content = states | scalars | views | empty
    torch.save(content, tmp_path / "a.pth")
    checkpoint = read_checkpoint(tmp_path / "a.pth")
    expected = torch.load(tmp_path / "a.pth", weights_only=True)
    read = checkpoint.content
    assert read.keys() == content.keys()
    assert {name: read[name] for name in scalars} == scalars
    compared = 0
    for given, wanted in zip(leaves(read), leaves(expected), strict=True):
        if isinstance(wanted, torch.Tensor):
            assert (given.dtype, given.shape, given.nbytes) == (str(wanted.dtype), tuple(wanted.shape), wanted.nbytes)
            if wanted.dtype == torch.float32:
                np.testing.assert_array_equal(checkpoint.array(given), wanted.detach().numpy())
                compared += 1
        else:
            assert given == wanted
    assert compared > 3


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_is_refused_in_one_line_and_without_memory(tmp_path, name, monkeypatch):
    content, words = BAD[name]
    path = tmp_path / "bad.pth"
    path.write_bytes(content)
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("PyTorch was given the file"))
    tracemalloc.start()
    try:
        with pytest.raises(CheckpointError) as refused:
            ViTSER.from_author_checkpoint(path)
        assert tracemalloc.get_traced_memory()[1] < 3 * 2**20
    finally:
        tracemalloc.stop()
    message = str(refused.value)
    assert message.startswith(f"{path}: ")
    assert words in message
    assert len(message.splitlines()) == 1
    assert [file.name for file in tmp_path.iterdir()] == ["bad.pth"]


def test_there_are_twenty_and_more():
    assert len(BAD) >= 20


@pytest.mark.skipif(sys.platform == "win32", reason="files without content are made otherwise there")
def test_a_file_too_large_is_not_opened(tmp_path):
    path = tmp_path / "large.pth"
    with path.open("wb") as file:
        file.truncate(2**29 + 1)
    with pytest.raises(CheckpointError, match="has 536,870,913 bytes, and a checkpoint of a ViT-SER at most"):
        read_checkpoint(path)


@pytest.mark.parametrize("name", [".", "no.pth"])
def test_refuses_what_is_no_file(tmp_path, name):
    with pytest.raises(CheckpointError, match="is no file; give a checkpoint"):
        read_checkpoint(tmp_path / name)


def check_state(checkpoint):
    """It has the numbers of the good file."""
    state = checkpoint.content["model_state_dict"]
    for key, value in STATE["model_state_dict"].items():
        np.testing.assert_array_equal(checkpoint.array(state[key]), value.numpy())


def test_records_are_found_by_their_whole_names(tmp_path):
    """One is a folder by its attributes; names differ by case."""
    content = bytearray(rewritten(more=[("archive/DATA/1", bytes(4)), ("other/data/1", bytes(4))]))
    entry = content.rindex(b"archive/data/1") - 46
    content[entry + 38] |= 0x10
    path = tmp_path / "a.pth"
    path.write_bytes(content)
    check_state(read_checkpoint(path))


def test_the_order_of_bytes_is_that_of_the_file(tmp_path):
    path = tmp_path / "big.pth"
    with zipfile.ZipFile(io.BytesIO(GOOD)) as archive:
        turned = {name: archive.read(name)[::-1] for name in archive.namelist() if "/data/" in name}
    for name, content in turned.items():  # each number turned, and not their order
        turned[name] = np.frombuffer(content, "<f4")[::-1].tobytes()
    path.write_bytes(rewritten(turned | {"archive/byteorder": b"big"}))
    check_state(read_checkpoint(path))
    path.write_bytes(rewritten({"archive/byteorder": b"middle"}))
    with pytest.raises(CheckpointError, match="is damaged"):
        read_checkpoint(path)


@pytest.mark.parametrize(
    ("offset", "shape", "strides"),
    [
        (0, (500,), (2,)),
        (1, (500,), (1,)),
        (0, (2, 3), (-1, 1)),
        (-1, (1,), (1,)),
        (0, (2, 2), (1,)),
        (0, (2.0,), (1,)),
    ],
)
def test_a_tensor_outside_of_its_record_is_refused(tmp_path, offset, shape, strides):
    class Tensor:
        def __reduce__(self):
            return torch._utils._rebuild_tensor_v2, (Storage(), offset, shape, strides, False, OrderedDict())

    class Storage:
        pass

    class Pickler(pickle.Pickler):
        def persistent_id(self, thing):
            return ("storage", torch.FloatStorage, "1", "cpu", 500) if isinstance(thing, Storage) else None

    file = io.BytesIO()
    Pickler(file, 2).dump({"model_state_dict": {"a": Tensor()}})
    path = tmp_path / "outside.pth"
    path.write_bytes(with_pickle(file.getvalue()))
    with pytest.raises(CheckpointError, match="declares a tensor of the shape"):
        read_checkpoint(path)


def test_no_pickle_changes_what_reads_it(tmp_path):
    """BUILD writes into the attributes of whatever stands before it."""
    rebuild = b"ctorch._utils\n_rebuild_tensor_v2\n"
    for built in (b"}X\x01\x00\x00\x00aK\x01s", b"N}X\x0c\x00\x00\x00__defaults__K\x01\x85s\x86"):
        path = tmp_path / "build.pth"
        path.write_bytes(with_pickle(b"\x80\x02" + rebuild + built + b"b."))
        with pytest.raises(CheckpointError):
            ViTSER.from_author_checkpoint(path)
    path.write_bytes(GOOD)
    check_state(read_checkpoint(path))


@pytest.mark.parametrize("seed", range(10))
def test_changed_bytes_never_escape(tmp_path, seed):
    """Whatever the bytes: the file is refused, or has the same numbers."""
    generator = np.random.default_rng(seed)
    path = tmp_path / "changed.pth"
    refusals = []
    for number in range(60):
        content = bytearray(GOOD)
        for place in generator.integers(0, len(content), 1 + number % 3):
            content[place] = generator.integers(0, 256)
        path.write_bytes(content)
        try:
            checkpoint = read_checkpoint(path)
        except CheckpointError as error:
            refusals.append(str(error))
            continue
        check_state(checkpoint)
    assert 0 < len(refusals) < 60
    assert all(len(reason.splitlines()) == 1 for reason in refusals)
