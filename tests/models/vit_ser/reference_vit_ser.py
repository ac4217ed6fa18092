"""ViT-SER once more, in plain PyTorch functions, written from the paper's facts and not from the package.

It knows the package only by the names of the weights it is given.
"""

import numpy as np
import torch
from torch.nn import functional as F


def weights_of(model):
    """The weights of a Keras ViTSER as torch tensors, by `layer/.../name`."""
    weights = {}
    for variable, value in zip(model.weights, model.get_weights(), strict=True):
        weights[variable.path.removeprefix(f"{model.name}/")] = torch.tensor(np.asarray(value))
    return weights


def reference(weights, images, *, patch_size, depth, heads, width=64, coordinates=False, mean_pooling=False):
    """Images `(batch, bands, frames, 1)` to `(logits, feature map)` as NumPy arrays."""
    with torch.no_grad():
        x = torch.tensor(images)[..., 0].unsqueeze(1)  # (batch, 1, bands, frames)
        for kernel, bias in _convolutions(weights):
            x = F.gelu(F.instance_norm(F.conv2d(x, kernel, bias, padding=1), eps=1e-5))
        if coordinates:
            x = torch.cat([x, _coordinates(*x.shape)], dim=1)
        x = _patches(x, *patch_size)
        x = _norm(x, weights, "patches/patch_norm")
        x = _norm(_linear(x, weights, "patches/projection"), weights, "patches/token_norm")
        x = torch.cat([weights["class_token/token"].expand(len(x), -1, -1), x], dim=1)
        for index in range(depth):
            x = x + _attention(x, weights, f"encoder_block_{index}", heads, width)
            x = x + _mlp(x, weights, f"encoder_block_{index}")
        x = _norm(x, weights, "encoder_norm")
        feature = x.mean(dim=1) if mean_pooling else x[:, 0]
        return _linear(feature, weights, "head").numpy(), feature.numpy()


def _convolutions(weights):
    for index in range(6):
        name = f"conv_stem/conv_{index}"
        if f"{name}/kernel" in weights:
            yield weights[f"{name}/kernel"].permute(3, 2, 0, 1), weights[f"{name}/bias"]


def _coordinates(batch, _, bands, frames):
    vertical = torch.linspace(-1, 1, bands)[:, None].expand(bands, frames)
    horizontal = torch.linspace(-1, 1, frames)[None, :].expand(bands, frames)
    return torch.stack([vertical, horizontal]).expand(batch, 2, bands, frames)


def _patches(x, height, width):
    tiles = x.unfold(2, height, height).unfold(3, width, width)  # (batch, channel, row, column, in row, in column)
    return tiles.permute(0, 2, 3, 4, 5, 1).flatten(3).flatten(1, 2)


def _linear(x, weights, name):
    return F.linear(x, weights[f"{name}/kernel"].T, weights.get(f"{name}/bias"))


def _norm(x, weights, name):
    return F.layer_norm(x, x.shape[-1:], weights[f"{name}/gamma"], weights[f"{name}/beta"], eps=1e-5)


def _attention(x, weights, block, heads, width):
    stacked = _linear(_norm(x, weights, f"{block}/attention_norm"), weights, f"{block}/query_key_value")
    query, key, value = (part.unflatten(-1, (heads, width)).transpose(1, 2) for part in stacked.chunk(3, dim=-1))
    rows = torch.softmax(query @ key.transpose(-1, -2) / width**0.5, dim=-1)
    gathered = (rows @ value).transpose(1, 2).flatten(2)
    if f"{block}/attention_output/kernel" not in weights:
        return gathered
    return _linear(gathered, weights, f"{block}/attention_output")


def _mlp(x, weights, block):
    hidden = F.gelu(_linear(_norm(x, weights, f"{block}/mlp_norm"), weights, f"{block}/mlp_in"))
    return _linear(hidden, weights, f"{block}/mlp_out")
