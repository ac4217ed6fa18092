"""Recordings as lists of samples in JSON: what a server makes of them, one table for ours and for MLflow's."""

import math
from dataclasses import dataclass

import numpy as np

RATE = 16000
TONE = 0.3 * np.sin(0.1 * np.arange(RATE))  # float64, whose digits JSON keeps
SCALE = "expected floats at 16000 Hz with full scale at -1 and 1, such as 16-bit samples divided by 32768"

TOO_LONG = "Input waveform has a clip of 61.0 s; at most 60 s are taken"
NOT_FINITE = "holds samples that are NaN or infinite"


@dataclass(frozen=True)
class Case:
    """Recordings, and what is wrong with them; nothing where they are answered.

    Attributes:
        value: Of `instances` and `inputs`.
        rows: Of `instances`: words of our server's refusal.
        columns: The same of `inputs`.
        mlflow: The same of MLflow's server.
    """

    value: list
    rows: str = ""
    columns: str = ""
    mlflow: str = ""


def refused(value, words, columns="", mlflow=""):
    return Case(value, words, columns or words, mlflow or words)


def integers(peak):
    return np.round(TONE / np.abs(TONE).max() * peak).astype(int).tolist()


CASES = {
    "float64": Case([TONE.tolist()]),
    "whole numbers within full scale": Case([[0, 1, -1, 0]]),
    "what resampling overshoots": Case([[0.5, 1.25, -2.75]]),
    "60 s": Case([np.tile(TONE, 60).tolist()]),
    "more than 60 s": Case([[0.5] * (61 * RATE)], TOO_LONG, TOO_LONG),
    "16-bit integers": refused([integers(32767)], f"waveform[0] holds samples up to 32767; {SCALE}"),
    "quiet 16-bit integers": refused([integers(2)], f"waveform[0] holds samples up to 2; {SCALE}"),
    "integers of 8 bits without a sign": refused([[128, 127, 255]], f"waveform[0] holds samples up to 255; {SCALE}"),
    "16-bit samples in the second clip": refused([[0.5, 0.25], [3, 4]], f"waveform[1] holds samples up to 4; {SCALE}"),
    "floats on the scale of 16 bits": refused([(20000.5 * TONE).tolist()], "waveform[0] holds samples up to 6000."),
    "too large for float32": refused([[1e39]], "without loss of precision", mlflow=NOT_FINITE),
    "NaN": refused([[0.5, math.nan]], f"waveform[0] {NOT_FINITE}", mlflow=NOT_FINITE),
    "infinite": refused([[0.5], [-math.inf]], f"waveform[1] {NOT_FINITE}", mlflow=NOT_FINITE),
    "ragged": refused(
        [[0.5, 0.25], [0.5]],
        "Expecting tensor size: 2 but got: 1",
        "Encountered list at unexpected size: 1 at level: 1 expected size: 2",
        "inhomogeneous shape",
    ),
    "one clip without the outer list": refused(
        TONE.tolist(),
        "Input waveform must have shape [-1,-1] but got: [16000]; put the row into a list",
        mlflow="Shape of input (16000,) does not match expected shape (-1, -1)",
    ),
    "a list too many": refused(
        [[[0.5, 0.25]]], "Input waveform must have shape [-1,-1] but got: [1,1,2]", mlflow="Shape of input (1, 1, 2)"
    ),
    "no clip": refused(
        [],
        "No values in 'instances' array",
        "Input waveform must have shape [-1,-1] but got: [0]",
        "Failed to enforce schema",
    ),
    "a clip of no samples": refused([[]], "waveform holds no samples", mlflow="waveform holds no samples"),
    "text": refused([["x"]], "Type: String is not of expected type: float", mlflow="could not convert string to float"),
    "null": refused([[0.5, None]], "Type: Null is not of expected type: float", mlflow=NOT_FINITE),
}
