"""The text that goes with a model: what it is, what it learned from, how well it did, what it is not for."""

import os
from collections.abc import Sequence
from pathlib import Path

import keras

from keras_vitser.corpora import Split
from keras_vitser.files import sha256
from keras_vitser.layers import FrontEnd

_NOT_FOR = """## Not for

Acted speech of a few speakers in one language is not how people sound in life. Do not use this model to judge a
person: not in hiring, policing, schooling, insurance or health. Its probabilities are not calibrated.
"""


def model_card(
    title: str,
    about: str,
    network: keras.Model,
    front_end: FrontEnd,
    labels: tuple[str, ...],
    split: Split,
    scores: str,
    notes: Sequence[str] = (),
) -> str:
    """A model card in Markdown.

    Args:
        title: System and role.
        about: What the network reads and whose method it is, a sentence or two.
        network: The network.
        front_end: What it hears by.
        labels: Its labels.
        split: What it was trained and measured on.
        scores: Its scores beside chance, one line, or `""` where it was not measured.
        notes: What was out of the ordinary in its training, a sentence each.
    """
    training = "## Training\n\n" + "".join(f"- {note}\n" for note in notes) + "\n" if notes else ""
    warnings = "".join(f"- {warning}\n" for warning in split.warnings)
    return f"""# {title}, trained on {split.corpus.name}

Hears which of {len(labels)} acted emotions a recording of speech expresses: {", ".join(labels)}.
{network.count_params():,} parameters. {about}

{_samples(front_end)}

## Figures

{scores or "Not measured on this split."}

WA is accuracy over clips, UA the mean of the classes' recalls.

{training}## Data

{split.description}

{warnings}
Terms of the recordings: {split.corpus.terms}

{_NOT_FOR}"""


def imported_model_card(
    network: keras.Model, front_end: FrontEnd, labels: Sequence[str], file: str | os.PathLike
) -> str:
    """The card of a network that came from a checkpoint of the paper's authors.

    Args:
        network: The network.
        front_end: What it hears by.
        labels: Its labels, as the user named them.
        file: The checkpoint; its name and SHA-256 are written down.
    """
    return f"""# ViT-SER {network.name}, from a checkpoint of the paper's authors

Hears which of {len(labels)} acted emotions a recording of speech expresses: {", ".join(labels)}.
{network.count_params():,} parameters. Reads the first {front_end.clip_seconds:g} s of a recording as a log-Mel
image in patches of {network.patch_size[0]} bands and {network.patch_size[1]} frames
(Kim and Lee, IEEE Access 2024, doi 10.1109/ACCESS.2024.3447770).

{_samples(front_end)}

Read from `{Path(file).name}`, SHA-256 {sha256(file)}. The labels and the sizes of image and patch are not in
that file: whoever imported it gave them.

## Figures

Not measured here; `keras-vitser evaluate` does it. The figures that the authors publish were, by our inference,
measured on copies of clips that the network was trained on, and on the same speakers.

## Data

Not in the file: see the paper. It is not known which clips and speakers the network was trained on.

{_NOT_FOR}"""


def _samples(front_end: FrontEnd) -> str:
    return (
        "Sound files say how fast they were recorded. A list of samples, as in a request to a server, does not: give\n"
        f"floats at {front_end.sampling_rate} Hz with full scale at -1 and 1."
    )
