"""Reading the authors' PyTorch checkpoints of ViT-SER (paper 1; format as in the authors' published network).

Their network is the `ViTSER` that stands here, weight by weight, in all but the scale of the coordinates
on images that are no squares.
"""

import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from keras_vitser.errors import CheckpointError
from keras_vitser.models.vit_ser.author_keys import author_weights, to_keras_layout, variable_of
from keras_vitser.models.vit_ser.checkpoint_archive import StoredTensor, read_checkpoint

Network = TypeVar("Network")

STATE = "model_state_dict"
_HEAD_DIM = 64
_QUERY_KEY_VALUE = "transformer.layers.0.0.to_qkv.weight"
_PATCH_NORM = "to_patch_embedding.1.weight"


def from_author_checkpoint(
    network: Callable[..., Network],
    path: str | os.PathLike,
    image_size: tuple[int, int],
    patch_size: tuple[int, int],
    num_heads: int | None,
    pooling: str,
) -> Network:
    """What `ViTSER.from_author_checkpoint` does; its docstring says what and how."""
    path = Path(path)
    try:
        state = _read(path)
        config = _config(state, tuple(image_size), tuple(patch_size), num_heads)
        weights = author_weights(config)
        _check_shapes(state, {key: weight.shape for key, weight in weights.items()})
    except _RefusedError as error:
        raise CheckpointError(f"{path}: {error}") from None
    model = network(**config, pooling=pooling)
    for key, weight in weights.items():
        variable_of(model, weight).assign(to_keras_layout(state[key]))
    return model


class _RefusedError(Exception):
    """The reason, without the file's name."""


def _read(path: Path) -> dict[str, np.ndarray]:
    checkpoint = read_checkpoint(path)
    state = checkpoint.content.get(STATE) if isinstance(checkpoint.content, dict) else None
    if not isinstance(state, dict):
        raise _RefusedError(f"{STATE} is missing; save it with torch.save({{'{STATE}': network.state_dict()}}, path)")
    tensors = [value for value in state.values() if isinstance(value, StoredTensor)]
    if sum(tensor.nbytes for tensor in tensors) > path.stat().st_size:
        raise _RefusedError(f"{STATE}: its tensors are larger than the file, so they share their numbers")
    arrays = {}
    for key, value in state.items():
        if not isinstance(value, StoredTensor) or value.dtype != "torch.float32":
            found = value.dtype if isinstance(value, StoredTensor) else type(value).__name__
            raise _RefusedError(f"{_shown(key)}: is {found}, and a weight is torch.float32")
        arrays[str(key)] = array = checkpoint.array(value)
        if not np.isfinite(array).all():
            raise _RefusedError(f"{_shown(key)}: has a weight that is NaN or infinite; its training had failed")
    return arrays


def _config(
    state: Mapping[str, np.ndarray], image_size: tuple[int, ...], patch_size: tuple[int, ...], num_heads: int | None
) -> dict[str, Any]:
    """The arguments of `ViTSER` that the shapes tell."""
    conv_stem = any(key.startswith("conv_stem.") for key in state)
    blocks = {match[1] for key in state if (match := re.match(r"transformer\.layers\.(\d+)\.", key))}
    num_classes, _ = _shape(state, "mlp_head.weight", 2)
    mlp_dim, _ = _shape(state, "transformer.layers.0.1.net.1.weight", 2)
    num_heads, head_dim = _heads(_shape(state, _QUERY_KEY_VALUE, 2)[0], num_heads)
    _check_sizes(image_size, patch_size, _shape(state, _PATCH_NORM, 1)[0], 3 if conv_stem else 1)
    is_square = image_size[0] == image_size[1]
    return {
        "num_classes": num_classes,
        "image_size": image_size,
        "patch_size": patch_size,
        "hidden_dim": _shape(state, "cls_token", 3)[-1],
        "depth": len(blocks),
        "num_heads": num_heads,
        "head_dim": head_dim,
        "mlp_dim": mlp_dim,
        "conv_stem": conv_stem,
        "coordinates": conv_stem and (is_square or "published"),
        "name": "teacher" if conv_stem else "student",
    }


def _shape(state: Mapping[str, np.ndarray], key: str, rank: int) -> tuple[int, ...]:
    if key not in state:
        raise _RefusedError(f"{key} is missing; is it a ViT-SER of the authors' code?")
    shape = state[key].shape
    if len(shape) != rank or 0 in shape:
        raise _RefusedError(f"{key}: has the shape {shape}, and must have {rank} dimensions, none of them 0")
    return shape


def _heads(rows: int, num_heads: int | None) -> tuple[int, int]:
    """Heads, and the width of one."""
    inner_dim, rest = divmod(rows, 3)
    if rest:
        raise _RefusedError(f"{_QUERY_KEY_VALUE}: has {rows} rows, which cannot be queries, keys and values")
    if num_heads is None and inner_dim % _HEAD_DIM:
        raise _RefusedError(
            f"{_QUERY_KEY_VALUE}: an inner width of {inner_dim} is not made of heads {_HEAD_DIM} wide; "
            "give the number of heads"
        )
    num_heads = num_heads if num_heads is not None else inner_dim // _HEAD_DIM
    if not isinstance(num_heads, int) or num_heads < 1 or inner_dim % num_heads:
        raise _RefusedError(
            f"{_QUERY_KEY_VALUE}: an inner width of {inner_dim} cannot be {num_heads} heads; give a divisor of it"
        )
    return num_heads, inner_dim // num_heads


def _check_sizes(image_size: tuple[int, ...], patch_size: tuple[int, ...], values: int, channels: int) -> None:
    for name, size in (("image", image_size), ("patch", patch_size)):
        if len(size) != 2 or not all(isinstance(length, int) and length > 0 for length in size):
            raise _RefusedError(f"the {name} size must be two positive ints, bands and frames. Received: {size}")
    (bands, frames), (height, width) = image_size, patch_size
    if bands % height or frames % width:
        raise _RefusedError(f"patches of {height} x {width} do not fill images of {bands} x {frames}; give both sizes")
    if height * width * channels != values:
        raise _RefusedError(
            f"{_PATCH_NORM}: is for patches of {values} values, and {height} x {width} in {channels} channel(s) are "
            f"{height * width * channels}; give the patch size that the network was trained with"
        )


def _check_shapes(state: Mapping[str, np.ndarray], shapes: Mapping[str, tuple[int, ...]]) -> None:
    missing = [key for key in shapes if key not in state]
    if missing:
        raise _RefusedError(f"{missing[0]} is missing")
    for key, value in state.items():
        if key not in shapes:
            raise _RefusedError(f"{_shown(key)}: the authors' network has no such weight")
        if value.shape != shapes[key]:
            raise _RefusedError(f"{key}: has the shape {value.shape}, and beside the other weights needs {shapes[key]}")


def _shown(key: Any) -> str:
    """Text of a file, short and on one line."""
    return repr(str(key)[:80])[1:-1]
