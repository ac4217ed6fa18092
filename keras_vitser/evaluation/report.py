"""One self-contained page a run, that a colleague can open without anything installed."""

import base64
import importlib.resources
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from keras_vitser.evaluation.metrics import Scores, sentence
from keras_vitser.files import whole_file
from keras_vitser.wording import by_number

_TEMPLATE = "report.html.j2"


def write_report(
    path: str | os.PathLike,
    *,
    title: str,
    protocol: str,
    description: str,
    leaky: bool,
    warnings: Sequence[str],
    leaks_sentence: str,
    labels: Sequence[str],
    networks: Mapping[str, Scores],
    part_sizes: Mapping[str, int],
    figures: Mapping[str, str | os.PathLike],
    environment: Mapping[str, Any],
    notes: Sequence[str],
) -> None:
    """Writes the report of a run as one HTML page, whole or not at all.

    Every score stands beside chance, interval, number of clips and protocol. The figures are inside
    the page; it has no scripts and loads nothing. All text is escaped.

    Args:
        path: The HTML file; its folder must exist.
        title: Name of the run.
        protocol: Name of the protocol.
        description: The split in words.
        leaky: Whether copies of test clips were trained on; said at the top and in each line of scores.
        warnings: Sentences that belong beside the scores.
        leaks_sentence: What was found on both sides of the split.
        labels: Names of the classes.
        networks: Scores by name of the network, for example `teacher` and `student`.
        part_sizes: Number of examples by part.
        figures: PNG files by caption.
        environment: Versions and machine; a value may be a dict, and `None` is left out.
        notes: Further sentences, such as the terms of the recordings.

    Raises:
        FileNotFoundError: A figure is missing.

    Example:
        >>> import tempfile
        >>> import numpy as np
        >>> from keras_vitser.evaluation import score
        >>> path = Path(tempfile.mkdtemp()) / "report.html"
        >>> scores = score(np.array([0, 1]), np.array([[0.9, 0.1], [0.2, 0.8]]), ["calm", "upset"])
        >>> write_report(
        ...     path,
        ...     title="two clips",
        ...     protocol="random",
        ...     description="Two clips of one speaker.",
        ...     leaky=False,
        ...     warnings=[],
        ...     leaks_sentence="",
        ...     labels=["calm", "upset"],
        ...     networks={"student": scores},
        ...     part_sizes={"train": 6, "test": 2},
        ...     figures={},
        ...     environment={"backend": "jax"},
        ...     notes=[],
        ... )
        >>> "UA 100.0 % (chance 50.0 %)" in path.read_text(encoding="utf-8")
        True
    """
    from jinja2 import Environment, StrictUndefined

    template = importlib.resources.files(__package__).joinpath(_TEMPLATE).read_text(encoding="utf-8")
    page = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=StrictUndefined)
    html = page.from_string(template).render(
        title=title,
        protocol=protocol,
        description=description,
        leaky=leaky,
        warnings=warnings,
        leaks_sentence=leaks_sentence,
        labels=labels,
        networks=networks,
        sentences={name: sentence(scores, protocol, leaky) for name, scores in networks.items()},
        uniform_log_loss=math.log(len(labels)),
        part_sizes=part_sizes,
        figures={caption: base64.b64encode(Path(file).read_bytes()).decode() for caption, file in figures.items()},
        environment=environment,
        notes=notes,
        by_speaker=lambda rows: sorted(rows, key=lambda row: by_number(row["speaker"])),
    )
    with whole_file(path) as part:
        part.write_text(html, encoding="utf-8")
