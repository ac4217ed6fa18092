"""One page a run, self-contained, that a colleague can open."""

import base64
import importlib.resources
import os
from pathlib import Path
from typing import Any

from keras_vitser.evaluation.metrics import Scores, sentence
from keras_vitser.files import whole_file


def write_report(
    path: str | os.PathLike,
    *,
    title: str,
    protocol: str,
    description: str,
    leaky: bool,
    warnings: list[str],
    leaks_sentence: str,
    labels: list[str],
    networks: dict[str, Scores],
    part_sizes: dict[str, int],
    figures: dict[str, Path],
    environment: dict[str, Any],
    notes: list[str],
) -> None:
    """Writes the report, whole or not at all.

    Args:
        path: The HTML file.
        title: Name of the run.
        protocol: Name of the protocol.
        description: The split in words.
        leaky: Whether copies of test clips were trained on; said at the top and beside each score.
        warnings: Sentences that belong beside the scores.
        leaks_sentence: What was found on both sides of the split.
        labels: Names of the classes.
        networks: Scores by network.
        part_sizes: Examples a part.
        figures: PNG files by caption.
        environment: Versions and machine.
        notes: Further sentences.
    """
    from jinja2 import Environment

    template = importlib.resources.files(__package__).joinpath("report.html.j2").read_text(encoding="utf-8")
    page = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True).from_string(template)
    html = page.render(
        title=title,
        protocol=protocol,
        description=description,
        leaky=leaky,
        warnings=warnings,
        leaks_sentence=leaks_sentence,
        labels=labels,
        networks=networks,
        sentences={name: sentence(scores, protocol, leaky) for name, scores in networks.items()},
        part_sizes=part_sizes,
        figures={caption: base64.b64encode(Path(file).read_bytes()).decode() for caption, file in figures.items()},
        environment=environment,
        notes=notes,
    )
    with whole_file(path) as part:
        part.write_text(html, encoding="utf-8")
