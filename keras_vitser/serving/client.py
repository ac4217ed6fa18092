"""A client of TensorFlow Serving's REST API, for TensorFlow Serving and for `keras-vitser serve`; on httpx, no Keras.

Recordings travel as 16-bit WAV files in base64, about an eighth of the size of samples as JSON numbers. A log-Mel image
shows what is 80 dB under the loudest, so that of a quiet recording 16 bits would show their own rounding (a peak of
0.04 moved a probability by 0.013): those travel in 24 bits, as a fifth.
"""

import asyncio
import base64
import json
import os
import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import numpy as np

from keras_vitser.audio import SAMPLING_RATE, read_waveform, waveform_of
from keras_vitser.audio.full_scale import check_full_scale
from keras_vitser.audio.wav_writing import wav_file
from keras_vitser.errors import PredictionError, ServingError

_SIGNATURE = "wav"
_QUIET = 1 / 8  # peak under which 16 bits are too coarse
_HEADERS = {"Content-Type": "application/json"}
_RETRIED = {429, 503, 504}
_FIRST_PAUSE = 0.1  # seconds; doubled each time
_LONGEST_PAUSE = 5.0

Source = str | os.PathLike | bytes | np.ndarray


@dataclass(frozen=True)
class Prediction:
    """What a server heard in one recording.

    Attributes:
        label: The most probable label.
        score: Its probability.
        probabilities: float32 array `(classes,)`, in the order of the model's labels.
        heard: Share of the network's window in which something is heard, 0 to 1; where it is 0, do not rely on
            the label. `None` from a model that was exported without it.

    Example:
        >>> Prediction("calm", 0.75, np.array([0.75, 0.25], "float32")).label
        'calm'
    """

    label: str
    score: float
    probabilities: np.ndarray
    heard: float | None = None


class _Requests:
    """What the two clients share: addresses, bodies, answers, and when to ask again."""

    def __init__(
        self,
        url: str,
        model: str = "vit_ser",
        *,
        version: int | None = None,
        label: str | None = None,
        timeout: float = 30.0,
        retries: int = 4,
        batch_size: int = 8,
    ):
        if version is not None and label is not None:
            raise PredictionError(f"give `version` or `label`, not both. Received: {version!r} and {label!r}")
        which = "" if version is None else f"/versions/{version}"
        which = which if label is None else f"/labels/{quote(label, safe='')}"
        self.url = f"{url.rstrip('/')}/v1/models/{quote(model, safe='')}{which}:predict"
        self._timeout, self._retries, self._batch_size = timeout, retries, batch_size

    def _bodies(self, source: Source | Sequence[Source], sampling_rate: float | None) -> Iterator[bytes]:
        sources: Sequence[Any] = source if isinstance(source, list | tuple) else [source]
        for start in range(0, len(sources), self._batch_size):
            yield _body([_wav(item, sampling_rate) for item in sources[start : start + self._batch_size]])

    def _pauses(self) -> Iterator[float]:
        """Seconds before each further attempt, drawn between the half and the whole so that clients spread."""
        for attempt in range(self._retries):
            yield min(_FIRST_PAUSE * 2**attempt, _LONGEST_PAUSE) * random.uniform(0.5, 1.0)

    def _pause_after(self, response: Any, pauses: Iterator[float]) -> float | None:
        """Seconds to the next attempt; `None` where the response is the answer."""
        if response.status_code == 200:
            return None
        pause = next(pauses, None) if response.status_code in _RETRIED else None
        if pause is None:
            raise ServingError(f"{self.url}: {response.status_code}: {_reason(response)}", response.status_code)
        asked = response.headers.get("retry-after", "")
        return max(pause, min(float(asked), _LONGEST_PAUSE)) if asked.isdigit() else pause

    def _unreachable(self, error: Exception) -> ServingError:
        return ServingError(f"{self.url}: gave no answer ({type(error).__name__}: {error}); is the server running?")


class Client(_Requests):
    """Asks a server which emotion is heard. Connections are kept and used again; close it, or use it in `with`.

    Args:
        url: The server, `"http://127.0.0.1:8501"`.
        model: The model's name there.
        version: Version to ask. Defaults to the newest.
        label: Label of the version to ask, `"stable"`.
        timeout: Seconds to wait for each answer.
        retries: Further attempts, with growing pauses, where the server answers 429, 503 or 504; nothing else is
            tried again.
        batch_size: Positive int, recordings a request.

    Raises:
        PredictionError: Both a version and a label were given.

    Example:
        >>> with Client("http://127.0.0.1:8501", label="stable") as client:
        ...     print(client.url)
        http://127.0.0.1:8501/v1/models/vit_ser/labels/stable:predict
    """

    def __init__(self, url: str, model: str = "vit_ser", **options: Any):
        import httpx

        super().__init__(url, model, **options)
        self._http = httpx.Client(timeout=self._timeout)
        self._no_answer = httpx.HTTPError

    def predict(
        self, source: Source | Sequence[Source], *, sampling_rate: float | None = None
    ) -> Prediction | list[Prediction]:
        """Says which emotion is heard.

        Args:
            source: Path of a sound file, the bytes of one, a float array `(samples,)` with full scale at -1 and 1,
                or a list of these. Any format and rate that `read_waveform` reads; mono 16 kHz is sent.
            sampling_rate: Hz, needed for arrays and used for nothing else.

        Returns:
            A `Prediction`, or a list of them for a list.

        Raises:
            AudioError: A file cannot be used; the message names it.
            PredictionError: An array cannot be used.
            ServingError: The server did not answer, or refused.
        """
        predictions = []
        for body in self._bodies(source, sampling_rate):
            predictions += _predictions(self._post(body))
        return predictions if isinstance(source, list | tuple) else predictions[0]

    def _post(self, body: bytes) -> bytes:
        pauses = self._pauses()
        while True:
            try:
                response = self._http.post(self.url, content=body, headers=_HEADERS)
            except self._no_answer as error:
                raise self._unreachable(error) from None
            pause = self._pause_after(response, pauses)
            if pause is None:
                return response.content
            time.sleep(pause)

    def close(self) -> None:
        """Closes the connections."""
        self._http.close()

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


class AsyncClient(_Requests):
    """The client for asyncio: takes what `Client` takes; `await` its `predict` and `close`, or use it in `async with`.

    Example:
        >>> import asyncio
        >>> async def main():
        ...     async with AsyncClient("http://127.0.0.1:8501", version=2) as client:
        ...         return client.url
        >>> asyncio.run(main())
        'http://127.0.0.1:8501/v1/models/vit_ser/versions/2:predict'
    """

    def __init__(self, url: str, model: str = "vit_ser", **options: Any):
        import httpx

        super().__init__(url, model, **options)
        self._http = httpx.AsyncClient(timeout=self._timeout)
        self._no_answer = httpx.HTTPError

    async def predict(
        self, source: Source | Sequence[Source], *, sampling_rate: float | None = None
    ) -> Prediction | list[Prediction]:
        """As `Client.predict`; several calls may run at once."""
        predictions = []
        for body in self._bodies(source, sampling_rate):
            predictions += _predictions(await self._post(body))
        return predictions if isinstance(source, list | tuple) else predictions[0]

    async def _post(self, body: bytes) -> bytes:
        pauses = self._pauses()
        while True:
            try:
                response = await self._http.post(self.url, content=body, headers=_HEADERS)
            except self._no_answer as error:
                raise self._unreachable(error) from None
            pause = self._pause_after(response, pauses)
            if pause is None:
                return response.content
            await asyncio.sleep(pause)

    async def close(self) -> None:
        """Closes the connections."""
        await self._http.aclose()

    async def __aenter__(self) -> "AsyncClient":
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.close()


def _wav(source: Source, sampling_rate: float | None) -> bytes:
    """The bytes of a mono WAV file at 16 kHz, of 16 bits, or of 24 where the recording is quiet."""
    if isinstance(source, str | os.PathLike | bytes | bytearray | memoryview):
        waveform = read_waveform(source)
    else:
        waveform = waveform_of(source, sampling_rate, SAMPLING_RATE)
        check_full_scale(source, sampling_rate)  # type: ignore[arg-type]  # it would be clipped
    width = 3 if np.abs(waveform).max(initial=0.0) < _QUIET else 2
    scale = 2 ** (8 * width - 1)
    return wav_file(np.clip(np.round(waveform * float(scale)), -scale, scale - 1), SAMPLING_RATE, width)


def _body(recordings: list[bytes]) -> bytes:
    instances = [{"b64": base64.b64encode(recording).decode()} for recording in recordings]
    return json.dumps({"signature_name": _SIGNATURE, "instances": instances}).encode()


def _predictions(body: bytes) -> list[Prediction]:
    try:
        predictions = [
            Prediction(row["label"], row["score"], np.array(row["probabilities"], np.float32), row.get("heard"))
            for row in json.loads(body)["predictions"]
        ]
    except (ValueError, KeyError, TypeError):
        raise ServingError(f"the answer is not that of a model of keras_vitser: {body[:200]!r}", 200) from None
    if not all(np.isfinite(prediction.probabilities).all() for prediction in predictions):
        raise ServingError("the model's answer is NaN or infinite, so its label says nothing; export it anew", 200)
    return predictions


def _reason(response: Any) -> str:
    try:
        return response.json()["error"]
    except (ValueError, KeyError, TypeError):
        return response.text[:200]
