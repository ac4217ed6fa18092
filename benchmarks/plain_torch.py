"""ViT-SER as PyTorch users write it, and its training step: the peer of what is trained in Keras here.

    python plain_torch.py NETWORK.pt BATCHES.npz LEARNING_RATE [compiled]

A `harness.Peer`. A job takes a step on each batch and gives the first loss and the seconds of a step after the first.
"""

import sys
import time
from itertools import pairwise

import harness
import numpy as np
import torch
from torch import nn
from torch.nn import functional


class PlainViTSER(nn.Module):
    """The network of a Keras `ViTSER`, with its weights; images are `(batch, 1, bands, frames)`."""

    def __init__(self, model):
        super().__init__()
        channels = (1, 16, 32, 64, 32, 16, 1) if model.conv_stem else ()
        self.stem = nn.Sequential(
            *(
                nn.Sequential(nn.Conv2d(before, after, 3, padding=1), nn.InstanceNorm2d(after), nn.GELU())
                for before, after in pairwise(channels)
            )
        )
        bands, frames = model.image_size
        self.patch_size = model.patch_size
        vertical, horizontal = torch.linspace(-1, 1, bands), torch.linspace(-1, 1, frames)
        self.register_buffer("grid", torch.stack(torch.meshgrid(vertical, horizontal, indexing="ij")))
        self.coordinates = model.coordinates
        numbers = model.patch_size[0] * model.patch_size[1] * (3 if model.coordinates else 1)
        self.patches = nn.Sequential(
            nn.LayerNorm(numbers), nn.Linear(numbers, model.hidden_dim), nn.LayerNorm(model.hidden_dim)
        )
        self.class_token = nn.Parameter(torch.zeros(1, 1, model.hidden_dim))
        sizes = (model.hidden_dim, model.num_heads, model.head_dim, model.mlp_dim)
        self.blocks = nn.Sequential(*(_Block(*sizes) for _ in range(model.depth)))
        self.norm = nn.LayerNorm(model.hidden_dim)
        self.head = nn.Linear(model.hidden_dim, model.num_classes)
        _copy(model, self)

    def forward(self, images):
        images = self.stem(images)
        if self.coordinates:
            images = torch.cat([images, self.grid.expand(len(images), -1, -1, -1)], dim=1)
        height, width = self.patch_size
        patches = images.unfold(2, height, height).unfold(3, width, width)
        patches = patches.permute(0, 2, 3, 4, 5, 1).flatten(3).flatten(1, 2)  # (batch, patches, numbers)
        tokens = torch.cat([self.class_token.expand(len(images), -1, -1), self.patches(patches)], dim=1)
        return self.head(self.norm(self.blocks(tokens))[:, 0])


class _Block(nn.Module):
    def __init__(self, hidden_dim, num_heads, head_dim, mlp_dim):
        super().__init__()
        self.num_heads, self.head_dim = num_heads, head_dim
        self.attention_norm = nn.LayerNorm(hidden_dim)
        self.query_key_value = nn.Linear(hidden_dim, 3 * num_heads * head_dim, bias=False)
        self.attention_output = nn.Linear(num_heads * head_dim, hidden_dim)
        self.mlp = nn.Sequential(
            nn.LayerNorm(hidden_dim), nn.Linear(hidden_dim, mlp_dim), nn.GELU(), nn.Linear(mlp_dim, hidden_dim)
        )

    def forward(self, tokens):
        tokens = tokens + self._attend(self.attention_norm(tokens))
        return tokens + self.mlp(tokens)

    def _attend(self, tokens):
        stacked = self.query_key_value(tokens).unflatten(-1, (3, self.num_heads, self.head_dim))
        query, key, value = stacked.unbind(2)  # (batch, tokens, heads, head_dim)
        scores = torch.einsum("bihd,bjhd->bhij", query, key) * self.head_dim**-0.5
        gathered = torch.einsum("bhij,bjhd->bihd", scores.softmax(-1), value)
        return self.attention_output(gathered.flatten(2))


def _copy(model, plain):
    """Gives a plain network the weights of a Keras one."""
    values = {
        variable.path.removeprefix(f"{model.name}/"): torch.tensor(value)
        for variable, value in zip(model.weights, model.get_weights(), strict=True)
    }

    def put(layer, name):
        weight = values.pop(f"{name}/gamma" if isinstance(layer, nn.LayerNorm) else f"{name}/kernel")
        axes = {4: (3, 2, 0, 1), 2: (1, 0), 1: (0,)}[weight.dim()]
        layer.weight.copy_(weight.permute(axes))
        if layer.bias is not None:
            layer.bias.copy_(values.pop(f"{name}/beta" if isinstance(layer, nn.LayerNorm) else f"{name}/bias"))

    with torch.no_grad():
        for index, (convolution, _, _) in enumerate(plain.stem):
            put(convolution, f"conv_stem/conv_{index}")
        for layer, name in zip(plain.patches, ("patch_norm", "projection", "token_norm"), strict=True):
            put(layer, f"patches/{name}")
        plain.class_token.copy_(values.pop("class_token/token"))
        for index, block in enumerate(plain.blocks):
            layers = {
                "attention_norm": block.attention_norm,
                "query_key_value": block.query_key_value,
                "attention_output": block.attention_output,
                "mlp_norm": block.mlp[0],
                "mlp_in": block.mlp[1],
                "mlp_out": block.mlp[3],
            }
            for name, layer in layers.items():
                put(layer, f"encoder_block_{index}/{name}")
        put(plain.norm, "encoder_norm")
        put(plain.head, "head")
    assert not values, f"weights that the plain network lacks: {sorted(values)}"


class Trainer:
    """Training steps by labels, with the Adam of the Keras side."""

    def __init__(self, plain, learning_rate, compiled=False):
        self.plain = plain
        self._network = torch.compile(plain) if compiled else plain
        self._optimizer = torch.optim.Adam(plain.parameters(), learning_rate, eps=1e-7)

    def step(self, images, labels):
        """One step; the loss before it."""
        self._optimizer.zero_grad()
        loss = functional.cross_entropy(self._network(images), labels)
        loss.backward()
        self._optimizer.step()
        return loss.item()


def main():
    network, batches, learning_rate, *compiled = sys.argv[1:]
    torch.set_num_threads(harness.threads())
    trainer = Trainer(torch.load(network, weights_only=False), float(learning_rate), bool(compiled))
    arrays = np.load(batches)
    images, labels = torch.from_numpy(arrays["images"]), torch.from_numpy(arrays["labels"])

    def job(batch):
        parts = list(zip(images.split(batch), labels.split(batch), strict=True))
        loss = trainer.step(*parts[0])
        start = time.perf_counter()
        for part in parts[1:]:
            trainer.step(*part)
        return {"loss": loss, "seconds": (time.perf_counter() - start) / len(parts[1:])}

    harness.answer(job)


if __name__ == "__main__":
    main()
