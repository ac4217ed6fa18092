"""The weights of the authors' published network by key: their shapes there, and where they are in a `ViTSER`."""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import keras
import numpy as np

_STEM_CHANNELS = (1, 16, 32, 64, 32, 16, 1)


class AuthorWeight(NamedTuple):
    """One weight.

    Attributes:
        name: Attributes of the `ViTSER` that lead to it, from the layer on, joined by dots.
        shape: In PyTorch's layout: Linear (out, in), Conv (out, in, rows, columns).
    """

    name: str
    shape: tuple[int, ...]


def author_weights(config: Mapping[str, Any]) -> dict[str, AuthorWeight]:
    """All weights by key.

    Args:
        config: Arguments of `ViTSER`, all that it has no default for and all sizes.

    Returns:
        An `AuthorWeight` by key.

    Example:
        >>> from keras_vitser.models import ViTSER
        >>> weights = author_weights(ViTSER.teacher(7, depth=1).get_config())
        >>> weights["conv_stem.3.weight"]
        AuthorWeight(name='conv_stem.convolutions.1.kernel', shape=(32, 16, 3, 3))
        >>> sum(math.prod(weight.shape) for weight in weights.values()) == ViTSER.teacher(7, depth=1).count_params()
        True
    """
    hidden, mlp = config["hidden_dim"], config["mlp_dim"]
    inner = config["num_heads"] * config["head_dim"]
    values = math.prod(config["patch_size"]) * (3 if config["coordinates"] else 1)

    weights = {"cls_token": AuthorWeight("class_token.token", (1, 1, hidden))}
    if config["conv_stem"]:
        for index in range(len(_STEM_CHANNELS) - 1):
            taken, given = _STEM_CHANNELS[index : index + 2]
            ours = f"conv_stem.convolutions.{index}"
            weights |= _affine(f"conv_stem.{3 * index}", ours, "kernel", (given, taken, 3, 3))
    weights |= _affine("to_patch_embedding.1", "patches.patch_norm", "gamma", (values,))
    weights |= _affine("to_patch_embedding.2", "patches.projection", "kernel", (hidden, values))
    weights |= _affine("to_patch_embedding.3", "patches.token_norm", "gamma", (hidden,))
    for index in range(config["depth"]):
        theirs, ours = f"transformer.layers.{index}", f"encoder_block_{index}"
        weights |= _affine(f"{theirs}.0.norm", f"{ours}.attention_norm", "gamma", (hidden,))
        weights[f"{theirs}.0.to_qkv.weight"] = AuthorWeight(f"{ours}.query_key_value.kernel", (3 * inner, hidden))
        if config["num_heads"] > 1 or inner != hidden:
            weights |= _affine(f"{theirs}.0.to_out.0", f"{ours}.attention_output", "kernel", (hidden, inner))
        weights |= _affine(f"{theirs}.1.net.0", f"{ours}.mlp_norm", "gamma", (hidden,))
        weights |= _affine(f"{theirs}.1.net.1", f"{ours}.mlp_in", "kernel", (mlp, hidden))
        weights |= _affine(f"{theirs}.1.net.4", f"{ours}.mlp_out", "kernel", (hidden, mlp))
    weights |= _affine("transformer.norm", "encoder_norm", "gamma", (hidden,))
    weights |= _affine("mlp_head", "head", "kernel", (config["num_classes"], hidden))
    return weights


def variable_of(model: keras.Model, weight: AuthorWeight) -> keras.Variable:
    """The variable of a `ViTSER` that holds a weight."""
    layer, *attributes = weight.name.split(".")
    found = model.get_layer(layer)
    for attribute in attributes:
        found = found[int(attribute)] if attribute.isdigit() else getattr(found, attribute)
    return found


def to_keras_layout(values: np.ndarray) -> np.ndarray:
    """Linear (out, in) to (in, out), Conv (out, in, rows, columns) to (rows, columns, in, out), others as they are.

    Example:
        >>> to_keras_layout(np.zeros((32, 16, 3, 5))).shape, to_keras_layout(np.zeros((7, 256))).shape
        ((3, 5, 16, 32), (256, 7))
    """
    return values.transpose({2: (1, 0), 4: (2, 3, 1, 0)}.get(values.ndim, range(values.ndim)))


def to_torch_layout(values: np.ndarray) -> np.ndarray:
    """The way back.

    Example:
        >>> to_torch_layout(np.zeros((3, 5, 16, 32))).shape, to_torch_layout(np.zeros((256, 7))).shape
        ((32, 16, 3, 5), (7, 256))
    """
    return values.transpose({2: (1, 0), 4: (3, 2, 0, 1)}.get(values.ndim, range(values.ndim)))


def _affine(theirs: str, ours: str, factor: str, shape: tuple[int, ...]) -> dict[str, AuthorWeight]:
    """A layer's weight, under our name for it, and its bias: one number an output."""
    bias = "beta" if factor == "gamma" else "bias"
    return {
        f"{theirs}.weight": AuthorWeight(f"{ours}.{factor}", shape),
        f"{theirs}.bias": AuthorWeight(f"{ours}.{bias}", shape[:1]),
    }
