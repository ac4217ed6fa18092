"""The text that goes with a model: what it is, what it learned from, how well it did, what it is not for."""

import keras

from keras_vitser.corpora import Split


def model_card(role: str, network: keras.Model, labels: tuple[str, ...], split: Split, scores: str) -> str:
    """A model card in Markdown.

    Args:
        role: `"teacher"` or `"student"`.
        network: The network.
        labels: Its labels.
        split: What it was trained and measured on.
        scores: Its scores beside chance, one line, or `""` where it was not measured.
    """
    warnings = "".join(f"- {warning}\n" for warning in split.warnings)
    return f"""# ViT-SER {role}, trained on {split.corpus.name}

Hears which of {len(labels)} acted emotions a recording of speech expresses: {", ".join(labels)}.
{network.count_params():,} parameters. Reads the first 4 s of a recording as a log-Mel image in vertical patches
(Kim and Lee, IEEE Access 2024, doi 10.1109/ACCESS.2024.3447770).

## Figures

{scores or "Not measured on this split."}

WA is accuracy over clips, UA the mean of the classes' recalls.

## Data

{split.description}

{warnings}
Terms of the recordings: {split.corpus.terms}

## Not for

Acted speech of a few speakers in one language is not how people sound in life. Do not use this model to judge a
person: not in hiring, policing, schooling, insurance or health. Its probabilities are not calibrated.
"""
