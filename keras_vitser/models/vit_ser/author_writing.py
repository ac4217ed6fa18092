"""Writing the authors' PyTorch checkpoints of ViT-SER (paper 1; format as in the authors' published network)."""

import os
from pathlib import Path
from types import ModuleType

import numpy as np
from keras import ops

from keras_vitser.errors import BackendError, CheckpointError
from keras_vitser.files import whole_file
from keras_vitser.models.finite_weights import check_finite
from keras_vitser.models.vit_ser.author_checkpoint import STATE
from keras_vitser.models.vit_ser.author_keys import author_weights, to_torch_layout, variable_of
from keras_vitser.models.vit_ser.vit_ser import ViTSER


def to_author_checkpoint(model: ViTSER, path: str | os.PathLike) -> Path:
    """Writes a network as the authors' PyTorch code loads it; whole or not at all.

    The file is `{"model_state_dict": ...}` in float32. Image size, patch size, width of the heads and pooling are
    not part of the format: their network must be built with the same.

    Args:
        model: A `ViTSER` with stem and coordinates, or with neither.
        path: The file.

    Returns:
        The path.

    Raises:
        BackendError: PyTorch is not installed.
        CheckpointError: The authors' code has no such network, or there is no such folder.
        NonFiniteWeightsError: A weight is NaN or infinite; nothing is written.

    Example:
        >>> import tempfile
        >>> path = to_author_checkpoint(ViTSER.student(7, depth=1), Path(tempfile.mkdtemp()) / "student.pth")
        >>> ViTSER.from_author_checkpoint(path).count_params()
        496903
    """
    torch, path = _torch(), Path(path)
    _check_publishable(model)
    if not path.parent.is_dir():
        raise CheckpointError(f"{path}: cannot be written; there is no folder {path.parent}")
    check_finite(model, path)
    state = {}
    for key, weight in author_weights(model.get_config()).items():
        values = ops.convert_to_numpy(ops.cast(variable_of(model, weight), "float32"))
        state[key] = torch.from_numpy(np.array(to_torch_layout(values), order="C"))
    with whole_file(path) as part, part.open("wb") as file:
        torch.save({STATE: state}, file)
    return path


def _torch() -> ModuleType:
    try:
        import torch
    except ImportError:
        raise BackendError("checkpoints of the authors' code need PyTorch: pip install 'keras-vitser[torch]'") from None
    return torch


def _check_publishable(model: ViTSER) -> None:
    if not isinstance(model, ViTSER):
        raise CheckpointError(f"the authors' format holds a ViTSER. Received: {type(model).__name__}")
    if model.conv_stem is not bool(model.coordinates):
        raise CheckpointError(
            "the authors' code has networks with its stem of six convolutions and coordinates, or with neither. "
            f"Received: conv_stem={model.conv_stem}, coordinates={model.coordinates!r}"
        )
    bands, frames = model.image_size
    if model.coordinates is True and bands != frames:
        raise CheckpointError(
            f"the authors' code has other coordinates on images of {bands} x {frames} than this network was trained "
            "with; train one with coordinates='published'"
        )
