"""TensorFlow's C++ loader, as a C++ server uses it, through the C interface: no Python TensorFlow, no Keras.

As a program, in a process of its own: `python -m tests.serving.c_library JOB` reads a pickled `Job` and prints the
pickled answers to a file. What it needs of protocol buffers' wire format it reads itself.
"""

import ctypes
import dataclasses
import importlib.util
import os
import pickle
import struct
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

OTHER_LIBRARY_VARIABLE = "KERAS_VITSER_OTHER_TENSORFLOW"
_STRING = 7
_DTYPES = {1: np.float32, 2: np.float64, 3: np.int32, 9: np.int64}
_ROOT = Path(__file__).resolve().parents[2]


def installed_library() -> Path:
    """The folder of the installed TensorFlow, which is not imported."""
    return Path(importlib.util.find_spec("tensorflow").origin).parent


@dataclasses.dataclass
class Job:
    """What a process shall do.

    Attributes:
        library: Folder of `libtensorflow_cc.so.2`.
        model: Folder of a SavedModel.
        requests: Pairs of a signature and its inputs by name, arrays or lists of bytes.
        threads: How many requests are made at the same time.
    """

    library: Path
    model: Path
    requests: list
    threads: int = 1


@dataclasses.dataclass
class Done:
    """What it did.

    Attributes:
        answers: For each request its outputs by name, or the message of its error.
        version: Of the library.
        library_ops: All ops that the library knows.
        model_ops: All ops that the model's graph and functions name.
        signatures: Names of inputs and outputs by signature.
    """

    answers: list
    version: str
    library_ops: set
    model_ops: set
    signatures: dict


def run(library: Path, model: Path, requests=(), threads=1) -> Done:
    """Does a job in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        job, done = Path(folder) / "job", Path(folder) / "done"
        job.write_bytes(pickle.dumps(Job(Path(library), Path(model), list(requests), threads)))
        command = [sys.executable, "-m", __name__, str(job), str(done)]
        environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "2"}
        ended = subprocess.run(command, cwd=_ROOT, env=environment, capture_output=True, text=True, check=False)
        assert ended.returncode == 0, ended.stderr[-3000:]
        return pickle.loads(done.read_bytes())


def fields(message: bytes):
    """Pairs of number and value of a message's fields: ints, and bytes where they have a length."""
    place = 0

    def varint():
        nonlocal place
        value = shift = 0
        while True:
            byte = message[place]
            place += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    while place < len(message):
        key = varint()
        number, kind = key >> 3, key & 7
        if kind == 0:
            yield number, varint()
            continue
        length = varint() if kind == 2 else {1: 8, 5: 4}[kind]
        yield number, message[place : place + length]
        place += length


def every(message: bytes, *path: int):
    """All values at a path of field numbers."""
    if not path:
        yield message
        return
    for number, value in fields(message):
        if number == path[0]:
            yield from every(value, *path[1:])


def text(message: bytes, number: int) -> str:
    return next(every(message, number), b"").decode()


def ops_of(graph: bytes) -> set:
    """Ops of a GraphDef, those in its functions too; calls of these are none."""
    functions = list(every(graph, 2, 1))
    nodes = [*every(graph, 1), *(node for function in functions for node in every(function, 3))]
    names = {text(signature, 1) for function in functions for signature in every(function, 1)}
    return {text(node, 2) for node in nodes} - names


class _Buffer(ctypes.Structure):
    _fields_ = [("data", ctypes.c_void_p), ("length", ctypes.c_size_t), ("free", ctypes.c_void_p)]

    def bytes(self):
        return ctypes.string_at(self.data, self.length)


class _Output(ctypes.Structure):
    _fields_ = [("operation", ctypes.c_void_p), ("index", ctypes.c_int)]


def _load(folder: Path):
    """The library, with the types of the functions that are used."""
    ctypes.CDLL(str(next(folder.glob("libtensorflow_framework.so.*"))), ctypes.RTLD_GLOBAL)
    library = ctypes.CDLL(str(next(folder.glob("libtensorflow_cc.so.*"))), ctypes.RTLD_GLOBAL)
    pointer, size = ctypes.c_void_p, ctypes.c_size_t
    buffer = ctypes.POINTER(_Buffer)
    outputs, tensors = ctypes.POINTER(_Output), ctypes.POINTER(pointer)
    for name, result, arguments in [
        ("TF_Version", ctypes.c_char_p, []),
        ("TF_GetAllOpList", buffer, []),
        ("TF_NewBuffer", buffer, []),
        ("TF_NewStatus", pointer, []),
        ("TF_GetCode", ctypes.c_int, [pointer]),
        ("TF_Message", ctypes.c_char_p, [pointer]),
        ("TF_NewGraph", pointer, []),
        ("TF_NewSessionOptions", pointer, []),
        (
            "TF_LoadSessionFromSavedModel",
            pointer,
            [
                pointer,
                pointer,
                ctypes.c_char_p,
                ctypes.POINTER(ctypes.c_char_p),
                ctypes.c_int,
                pointer,
                buffer,
                pointer,
            ],
        ),
        ("TF_GraphOperationByName", pointer, [pointer, ctypes.c_char_p]),
        ("TF_AllocateTensor", pointer, [ctypes.c_int, ctypes.POINTER(ctypes.c_int64), ctypes.c_int, size]),
        ("TF_DeleteTensor", None, [pointer]),
        ("TF_TensorData", pointer, [pointer]),
        ("TF_TensorType", ctypes.c_int, [pointer]),
        ("TF_TensorByteSize", size, [pointer]),
        ("TF_NumDims", ctypes.c_int, [pointer]),
        ("TF_Dim", ctypes.c_int64, [pointer, ctypes.c_int]),
        (
            "TF_SessionRun",
            None,
            [
                pointer,
                pointer,
                outputs,
                tensors,
                ctypes.c_int,
                outputs,
                tensors,
                ctypes.c_int,
                pointer,
                ctypes.c_int,
                pointer,
                pointer,
            ],
        ),
    ]:
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


class _Model:
    """A SavedModel in a session."""

    def __init__(self, library, folder: Path):
        self._library = library
        self._graph = library.TF_NewGraph()
        meta_graph, status = library.TF_NewBuffer(), library.TF_NewStatus()
        tags = (ctypes.c_char_p * 1)(b"serve")
        options = library.TF_NewSessionOptions()
        self._session = library.TF_LoadSessionFromSavedModel(
            options, None, str(folder).encode(), tags, 1, self._graph, meta_graph, status
        )
        assert library.TF_GetCode(status) == 0, library.TF_Message(status).decode()
        meta_graph = meta_graph.contents.bytes()
        self.ops = set().union(*map(ops_of, every(meta_graph, 2)))
        self.signatures = {}
        for entry in every(meta_graph, 5):
            names = [
                {text(end, 1): text(next(every(end, 2)), 1) for end in every(next(every(entry, 2)), place)}
                for place in (1, 2)
            ]
            self.signatures[text(entry, 1)] = names

    def run(self, signature: str, inputs: dict):
        """Outputs by name, or the message of the error."""
        library = self._library
        ins, outs = self.signatures[signature]
        kept = [_tensor(library, inputs[name]) for name in ins]
        values = (ctypes.c_void_p * len(ins))(*(tensor for tensor, _ in kept))
        results = (ctypes.c_void_p * len(outs))()
        status = library.TF_NewStatus()
        library.TF_SessionRun(
            self._session,
            None,
            self._ends(ins.values()),
            values,
            len(ins),
            self._ends(outs.values()),
            results,
            len(outs),
            None,
            0,
            None,
            status,
        )
        for tensor, _ in kept:
            library.TF_DeleteTensor(tensor)
        if library.TF_GetCode(status):
            return library.TF_Message(status).decode()
        return {name: _array(library, tensor) for name, tensor in zip(outs, results, strict=True)}

    def _ends(self, names):
        pairs = [name.split(":") for name in names]
        found = [(self._library.TF_GraphOperationByName(self._graph, name.encode()), int(at)) for name, at in pairs]
        assert all(operation for operation, _ in found)
        return (_Output * len(found))(*(_Output(*pair) for pair in found))


def _tensor(library, value):
    """A tensor, and what must live as long as it."""
    if isinstance(value, np.ndarray):
        dtype = next(number for number, kind in _DTYPES.items() if kind == value.dtype)
        shape, data, kept = value.shape, np.ascontiguousarray(value).tobytes(), None
    else:  # string tensors hold 24 bytes each: here a view, its length shifted by its kind, and an address
        kept = [ctypes.create_string_buffer(item, max(len(item), 1)) for item in value]
        views = [
            struct.pack("<QQQ", len(item) << 2 | 3, ctypes.addressof(place), 0)
            for item, place in zip(value, kept, strict=True)
        ]
        dtype, shape, data = _STRING, (len(value),), b"".join(views)
    tensor = library.TF_AllocateTensor(dtype, (ctypes.c_int64 * len(shape))(*shape), len(shape), len(data))
    if data:
        ctypes.memmove(library.TF_TensorData(tensor), data, len(data))
    return tensor, kept


def _array(library, tensor):
    shape = [library.TF_Dim(tensor, axis) for axis in range(library.TF_NumDims(tensor))]
    address, size = library.TF_TensorData(tensor), library.TF_TensorByteSize(tensor)
    kind = library.TF_TensorType(tensor)
    if kind == _STRING:
        value = [_string(address + 24 * row) for row in range(size // 24)]
    else:
        value = np.frombuffer(ctypes.string_at(address, size), _DTYPES[kind]).reshape(shape)
    library.TF_DeleteTensor(tensor)
    return value


def _string(address: int) -> bytes:
    """One string; the low two bits say how it is kept."""
    first = ctypes.string_at(address, 1)[0]
    if first & 3 == 0:
        return ctypes.string_at(address + 1, first >> 2)
    length, place, _ = struct.unpack("<QQQ", ctypes.string_at(address, 24))
    assert first & 3 == 1, first
    return ctypes.string_at(place, length >> 2)


def _main(job: str, done: str) -> None:
    job = pickle.loads(Path(job).read_bytes())
    library = _load(job.library)
    model = _Model(library, job.model)
    with ThreadPoolExecutor(job.threads) as pool:
        answers = list(pool.map(lambda request: model.run(*request), job.requests))
    assert not {"tensorflow", "keras", "keras_vitser"} & set(sys.modules)
    library_ops = {text(op, 1) for op in every(library.TF_GetAllOpList().contents.bytes(), 1)}
    signatures = {name: tuple(map(tuple, ends)) for name, ends in model.signatures.items()}
    outcome = Done(answers, library.TF_Version().decode(), library_ops, model.ops, signatures)
    Path(done).write_bytes(pickle.dumps(outcome))


if __name__ == "__main__":
    # Pickled classes are to be found by the process that reads them.
    sys.modules["tests.serving.c_library"] = sys.modules["__main__"]
    Job.__module__ = Done.__module__ = "tests.serving.c_library"
    _main(*sys.argv[1:])
