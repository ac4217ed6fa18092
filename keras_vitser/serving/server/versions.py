"""The versions of a model in a folder: which are loaded, in which state, and under which labels.

As in TensorFlow Serving a version is a folder named by a number, the states are START, LOADING, AVAILABLE, UNLOADING
and END, and an old version goes only once a new one is available. Stricter than there: where a wanted version cannot be
loaded, the next older one that can is served instead, and a broken folder is tried again only when its files change.
"""

import asyncio
import logging
import os
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from keras_vitser.errors import ModelFolderError
from keras_vitser.serving.server.status import StatusError, invalid

_log = logging.getLogger(__name__)
Policy = Literal["latest", "all"] | tuple[int, ...]


@dataclass
class Version:
    """A version of the model, and how far it is.

    Attributes:
        number: The version.
        state: START, LOADING, AVAILABLE, UNLOADING or END.
        error: Why it ended, or `None`.
        model: What the loader gave, while the version is available.
        in_use: Requests that use it.
    """

    number: int
    state: str = "START"
    error: StatusError | None = None
    model: Any = None
    in_use: int = 0

    def status(self) -> dict[str, Any]:
        """The version as the status API answers it."""
        code, message = (self.error.code, self.error.message) if self.error else ("OK", "")
        return {
            "version": str(self.number),
            "state": self.state,
            "status": {"error_code": code, "error_message": message},
        }


class Versions:
    """The versions of one model. All but the loading happens in the event loop.

    Args:
        folder: Folder of version folders, `1/`, `2/` and so on.
        name: The model's name, for messages.
        load: Called with a version's folder, in a thread; what it raises ends the version.
        policy: `"latest"`, `"all"`, or the numbers of the versions to serve. Versions with a label are served too.
        labels: Label to version.

    Raises:
        ModelFolderError: There is no version in the folder.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> (folder / "3").mkdir()
        >>> versions = Versions(folder, "vit_ser", load=lambda folder: folder.name)
        >>> asyncio.run(versions.refresh())
        >>> versions.find().number, versions.find().model
        (3, '3')
    """

    def __init__(
        self,
        folder: str | os.PathLike,
        name: str,
        load: Callable[[Path], Any],
        policy: Policy = "latest",
        labels: Mapping[str, int] | None = None,
    ):
        self.folder, self.name = Path(folder), name
        self._load, self._policy, self._labels = load, policy, dict(labels or {})
        self._versions: dict[int, Version] = {}
        self._broken: dict[int, Any] = {}  # the files of versions that could not be loaded
        self._thread = ThreadPoolExecutor(1, "versions")
        if not self._on_disk():
            raise ModelFolderError(
                f"{self.folder}: holds no version of a model; give the folder that holds 1/saved_model.pb, as "
                "`keras-vitser export` writes it"
            )

    def check(self) -> None:
        """Refuses to go on where no version is available.

        Raises:
            ModelFolderError: None is; the message says why.
        """
        if not self._available():
            reasons = [
                f"{version.number}: {version.error.message}" for version in self._versions.values() if version.error
            ]
            raise ModelFolderError(
                f"{self.folder}: no version can be served ({'; '.join(reasons) or 'those asked for are not there'})"
            )

    def status(self, number: int | None = None) -> dict[str, Any]:
        """What the status API answers, of one version or of all.

        Raises:
            StatusError: There is no such version.
        """
        if number is None:
            found = sorted(self._versions.values(), key=lambda version: -version.number)
            if not found:
                raise StatusError("NOT_FOUND", f"Could not find any versions of model {self.name}")
        else:
            found = [self._versions[number]] if number in self._versions else []
            if not found:
                raise StatusError("NOT_FOUND", f"Could not find version {number} of model {self.name}")
        return {"model_version_status": [version.status() for version in found]}

    def number_of(self, label: str) -> int:
        """The version of a label.

        Raises:
            StatusError: There is no such label.
        """
        if label not in self._labels:
            raise invalid(f"Unrecognized servable version label: {label}")
        return self._labels[label]

    def find(self, number: int | None = None) -> Version:
        """An available version: the one asked for, or the newest.

        Raises:
            StatusError: It is not available.
        """
        available = self._available()
        if number is None and available:
            return self._versions[max(available)]
        if number in available:
            return self._versions[number]
        wanted = f"Latest({self.name})" if number is None else f"Specific({self.name}, {number})"
        raise StatusError("NOT_FOUND", f"Servable not found for request: {wanted}")

    @contextmanager
    def use(self, number: int | None = None) -> Iterator[Version]:
        """An available version that is not unloaded before the block ends."""
        version = self.find(number)
        version.in_use += 1
        try:
            yield version
        finally:
            version.in_use -= 1
            self._release(version)

    async def refresh(self) -> None:
        """Looks at the folder once: loads what is new, unloads what is no longer wanted."""
        on_disk = self._on_disk()
        wanted = []
        for candidates in self._wanted(list(on_disk)):
            for number in candidates:
                if await self._is_available(number, on_disk[number]):
                    wanted.append(number)
                    break
        for number in self._available() - set(wanted) if wanted else ():
            self._versions[number].state = "UNLOADING"
            _log.info("%s: version %d is unloaded", self.name, number)
            self._release(self._versions[number])

    async def keep_refreshing(self, seconds: float) -> None:
        """Looks at the folder again and again, until it is cancelled."""
        while True:
            await asyncio.sleep(seconds)
            try:
                await self.refresh()
            except Exception as error:  # a disk that comes back, a folder that went away in between
                _log.warning("%s: cannot be looked at: %s: %s", self.folder, type(error).__name__, error)

    def close(self) -> None:
        """Ends the loading thread."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _available(self) -> set[int]:
        return {number for number, version in self._versions.items() if version.state == "AVAILABLE"}

    def _on_disk(self) -> dict[int, Path]:
        """The folders of versions, the newest first."""
        if not self.folder.is_dir():
            return {}
        named = (path for path in self.folder.iterdir() if path.name.isascii() and path.name.isdigit())
        folders = {int(path.name): path for path in named if path.is_dir()}
        return dict(sorted(folders.items(), reverse=True))

    def _wanted(self, on_disk: list[int]) -> list[list[int]]:
        """For each version to serve, itself and what may stand in for it."""
        if self._policy == "latest":
            wanted = [on_disk]
        else:
            numbers = on_disk if self._policy == "all" else self._policy
            wanted = [[number] for number in numbers if number in on_disk]
        return wanted + [[number] for number in set(self._labels.values()) if number in on_disk]

    async def _is_available(self, number: int, folder: Path) -> bool:
        """Loads a version unless it is there, or is known to be broken."""
        version = self._versions.get(number)
        if version and version.state == "AVAILABLE":
            return True
        files = _files(folder)
        if version and version.error and self._broken.get(number) == files:
            return False
        version = self._versions[number] = Version(number, "LOADING")
        _log.info("%s: version %d is loaded", self.name, number)
        try:
            version.model = await asyncio.get_running_loop().run_in_executor(self._thread, self._load, folder)
        except Exception as error:
            words = f"{type(error).__name__}: {error}"
            version.error = error if isinstance(error, StatusError) else StatusError("INTERNAL", words)
            version.state = "END"
            self._broken[number] = files
            _log.error("%s: version %d cannot be loaded: %s", self.name, number, version.error.message)
            return False
        version.state = "AVAILABLE"
        _log.info("%s: version %d is available", self.name, number)
        return True

    def _release(self, version: Version) -> None:
        if version.state == "UNLOADING" and not version.in_use:
            version.model, version.state = None, "END"


def _files(folder: Path) -> Any:
    """Names, sizes and times of a folder's files; differs once one was written again."""
    found = []
    for path in sorted(folder.rglob("*")):
        stat = path.stat()
        found.append((str(path), stat.st_size, stat.st_mtime_ns))
    return found
