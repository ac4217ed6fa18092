"""Arrays by key in memory-mapped files of many each: a folder of safetensors files.

A file is whole or not there; one that cannot be read is dropped, and its arrays are missing. Several processes may add
to a folder.
"""

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from keras_vitser.files import whole_file

_SUFFIX = ".safetensors"


class Shards:
    """The arrays of a folder.

    Args:
        folder: The folder; made by the first `add`.

    Example:
        >>> import tempfile
        >>> shards = Shards(tempfile.mkdtemp())
        >>> shards.add({"a": np.zeros((2, 3), "float16")})
        >>> shards["a"].shape, "b" in shards
        ((2, 3), False)
    """

    def __init__(self, folder: str | os.PathLike):
        self._folder = Path(folder)
        self._files: dict[str, safe_open] = {}
        self._homes: dict[str, safe_open] = {}  # by the key of an array
        self.refresh()

    def refresh(self) -> None:
        """Looks for files that are new, of other processes too."""
        for path in sorted(self._folder.glob(f"[!.]*{_SUFFIX}")):
            if path.name not in self._files:
                self._open(path)

    def add(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Writes arrays as one file.

        Args:
            arrays: By key; any dtype but objects.

        Raises:
            OSError: They cannot be written.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        name = hashlib.sha256("\n".join(sorted(arrays)).encode()).hexdigest()[:32] + _SUFFIX
        with whole_file(self._folder / name) as part:
            part.write_bytes(save({key: np.asarray(array, order="C") for key, array in arrays.items()}))
        self._open(self._folder / name)

    def __contains__(self, key: str) -> bool:
        return key in self._homes

    def __getitem__(self, key: str) -> np.ndarray:
        """A copy of an array."""
        return self._homes[key].get_tensor(key)

    def shape(self, key: str) -> tuple[int, ...]:
        """The shape of an array, which is not read."""
        return tuple(self._homes[key].get_slice(key).get_shape())

    def _open(self, path: Path) -> None:
        try:
            file = safe_open(path, "numpy")
        except SafetensorError:  # damaged from outside
            path.unlink(missing_ok=True)
            return
        self._files[path.name] = file
        self._homes |= dict.fromkeys(file.keys(), file)
