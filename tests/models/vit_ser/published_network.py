"""The network that the paper's authors publish, stated in plain PyTorch from the paper's facts alone.

It knows nothing of the package. Its modules are named so that `state_dict()` has the published keys.
"""

import copy

import torch
from torch import nn
from torch.nn import functional as F

CHANNELS = (1, 16, 32, 64, 32, 16, 1)


class PublishedNetwork(nn.Module):
    """Images `(batch, 1, bands, frames)` to the pair of logits and feature map."""

    def __init__(self, *, teacher, classes, patch, depth, heads, width=256, mlp=256, head_width=64):
        super().__init__()
        self.patch = patch
        self.cls_token = nn.Parameter(torch.randn(1, 1, width))
        if teacher:
            layers = [part for i in range(6) for part in convolution(CHANNELS[i], CHANNELS[i + 1])]
            self.conv_stem = nn.Sequential(*layers)
        values = patch[0] * patch[1] * (3 if teacher else 1)
        # Place 0 is the published cutting into patches, which has no weights.
        embedding = [nn.Identity(), nn.LayerNorm(values), nn.Linear(values, width), nn.LayerNorm(width)]
        self.to_patch_embedding = nn.Sequential(*embedding)
        self.transformer = nn.Module()
        self.transformer.norm = nn.LayerNorm(width)
        blocks = ([Attention(width, heads, head_width), FeedForward(width, mlp)] for _ in range(depth))
        self.transformer.layers = nn.ModuleList(nn.ModuleList(block) for block in blocks)
        self.mlp_head = nn.Linear(width, classes)

    def forward(self, images):
        if hasattr(self, "conv_stem"):
            images = with_coordinates(self.conv_stem(images))
        tokens = self.to_patch_embedding(cut(images, *self.patch))
        tokens = torch.cat([self.cls_token.repeat(len(tokens), 1, 1), tokens], dim=1)
        for attention, feed_forward in self.transformer.layers:
            tokens = tokens + attention(tokens)
            tokens = tokens + feed_forward(tokens)
        feature = self.transformer.norm(tokens)[:, 0]
        return self.mlp_head(feature), feature


def convolution(taken, given):
    return nn.Conv2d(taken, given, kernel_size=3, stride=1, padding=1), nn.InstanceNorm2d(given), nn.GELU()


def with_coordinates(images):
    """The row's index over (frames - 1) and the column's over (bands - 1): the published accident."""
    count, _, bands, frames = images.shape
    coordinates = images.new_empty(count, 2, bands, frames)
    for row in range(bands):
        coordinates[:, 0, row, :] = 2 * row / (frames - 1) - 1
    for column in range(frames):
        coordinates[:, 1, :, column] = 2 * column / (bands - 1) - 1
    return torch.cat([images, coordinates], dim=1)


def cut(images, height, width):
    """Patches row by row, each flattened by row, column and channel."""
    _, _, bands, frames = images.shape
    corners = [(top, left) for top in range(0, bands, height) for left in range(0, frames, width)]
    patches = [images[:, :, top : top + height, left : left + width] for top, left in corners]
    return torch.stack([patch.permute(0, 2, 3, 1).reshape(len(images), -1) for patch in patches], dim=1)


class Attention(nn.Module):
    def __init__(self, width, heads, head_width):
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(width)
        self.to_qkv = nn.Linear(width, 3 * heads * head_width, bias=False)
        if heads > 1 or head_width != width:
            self.to_out = nn.Sequential(nn.Linear(heads * head_width, width))

    def forward(self, tokens):
        query, key, value = self.to_qkv(self.norm(tokens)).chunk(3, dim=-1)
        gathered = []
        for q, k, v in zip(*(part.chunk(self.heads, dim=-1) for part in (query, key, value)), strict=True):
            gathered.append(F.softmax(q @ k.mT / q.shape[-1] ** 0.5, dim=-1) @ v)
        gathered = torch.cat(gathered, dim=-1)
        return self.to_out(gathered) if hasattr(self, "to_out") else gathered


class FeedForward(nn.Module):
    def __init__(self, width, inner):
        super().__init__()
        # Places 3 and 5 are the published dropout of 0, which has no weights.
        parts = [nn.LayerNorm(width), nn.Linear(width, inner), nn.GELU(), nn.Identity(), nn.Linear(inner, width)]
        self.net = nn.Sequential(*parts)

    def forward(self, tokens):
        return self.net(tokens)


def random_network(seed=0, **sizes):
    """A network with every weight drawn, scales and shifts too, of the size that keeps activations near 1."""
    network = PublishedNetwork(**sizes)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in network.parameters():
            drawn = torch.randn(weight.shape, generator=generator)
            if weight.ndim in (2, 4):
                weight.copy_(drawn / weight[0].numel() ** 0.5)
            else:
                weight.copy_(1 + drawn / 4 if weight.ndim == 1 and weight.min() == 1 else drawn / 4)
    return network.eval()


def save(network, path):
    """In the published format."""
    torch.save({"model_state_dict": network.state_dict(), "epoch": 49, "loss": 0.25}, path)
    return path


def run(network, images):
    """NumPy images `(batch, bands, frames, 1)` to logits and feature map, in float64: the difference is then ours."""
    exact = copy.deepcopy(network).double()
    with torch.no_grad():
        logits, feature = exact(torch.from_numpy(images.transpose(0, 3, 1, 2).astype("float64")))
    return logits.numpy(), feature.numpy()
