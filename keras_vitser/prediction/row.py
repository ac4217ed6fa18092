"""What is told of one recording, and how it stands in a table."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Row:
    """The answer for one path, or why there is none.

    Attributes:
        path: The path as it was given.
        label: The most probable label, or `None`.
        probabilities: One number a label, in their order, to 6 digits; empty where there is an error.
        seconds_used: Seconds of the recording that were read, or `None`.
        is_cut: Whether the recording lasts longer than what is read of it.
        error: Why the recording could not be read, one line, or `None`.
        heard: Share of the network's window in which something is heard, to 6 digits, or `None`; 0 is silence.

    Example:
        >>> Row("a.wav", "calm", (0.75, 0.25), 1.5, heard=0.375).to_csv()
        'a.wav,calm,1.5,0.75,0.25,0.375,\\n'
    """

    path: str
    label: str | None = None
    probabilities: Sequence[float] = ()
    seconds_used: float | None = None
    is_cut: bool = False
    error: str | None = None
    heard: float | None = None

    def to_dict(self, labels: Sequence[str]) -> dict[str, Any]:
        """For a JSON line."""
        row: dict[str, Any] = {
            "path": self.path,
            "label": self.label,
            "probability": max(self.probabilities, default=None),
            "seconds_used": self.seconds_used,
            "heard": self.heard,
            "error": self.error,
        }
        if self.error is None:
            row["probabilities"] = dict(zip(labels, self.probabilities, strict=True))
        return row

    def to_csv(self, labels: Sequence[str] | None = None, *, has_heard: bool = True) -> str:
        """A line under `csv_header(labels)`. `labels` need only be given where the row may hold an error."""
        numbers: Sequence[float | str] = self.probabilities or [""] * len(labels or ())
        heard = [self.heard] if has_heard else []
        return csv_line([self.path, self.label, self.seconds_used, *numbers, *heard, self.error])


def csv_header(labels: Sequence[str], *, has_heard: bool = True) -> str:
    """The first line of a table.

    Args:
        labels: The labels of the model.
        has_heard: Bool. Whether there is a column `heard`, which earlier versions did not write. Defaults to `True`.

    Example:
        >>> csv_header(["calm", "upset"])
        'path,label,seconds_used,calm,upset,heard,error\\n'
    """
    heard = ["heard"] if has_heard else []
    return csv_line(["path", "label", "seconds_used", *labels, *heard, "error"])


def csv_line(cells: Sequence[Any]) -> str:
    line = io.StringIO()
    # A lone carriage return would otherwise stand unquoted, and end the line for a reader.
    has_return = any(isinstance(cell, str) and "\r" in cell for cell in cells)
    csv.writer(line, lineterminator="\n", quoting=csv.QUOTE_ALL if has_return else csv.QUOTE_MINIMAL).writerow(cells)
    return line.getvalue()
