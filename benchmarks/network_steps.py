"""The paper's teacher and student with their training steps by labels, in Keras, for the benchmarks that time them."""

import tempfile
from pathlib import Path

import harness
import keras
import numpy as np

from keras_vitser.models import ViTSER

CLASSES = 7
LEARNING_RATE = 1e-4
NETWORKS = ("student", "teacher")
TINY = {"image_size": (16, 16), "patch_size": (16, 1), "hidden_dim": 16, "mlp_dim": 16, "depth": 1}


def network(name, tiny=False, jit_compile="auto"):
    """A compiled network, the same weights every time."""
    keras.utils.set_random_seed(0)
    model = getattr(ViTSER, name)(CLASSES, **(TINY if tiny else {}))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(LEARNING_RATE), loss, jit_compile=jit_compile)
    return model


def batches(model, batch, steps):
    """Images and labels for a first step and `steps` that are timed."""
    random = np.random.default_rng(0)
    images = random.random(((steps + 1) * batch, *model.input_shape[1:]), dtype="float32")
    return images, random.integers(0, CLASSES, len(images))


def timed_steps(model, images, labels, batch):
    """A contestant: seconds a training step of `fit`, from the end of its first to the end of its last."""
    steps = len(images) // batch - 1
    return lambda: harness.timed_fit(model, images, labels, batch, shuffle=False)[1] / steps


def plain_peer(model, images, labels, folder, *how):
    """The same network in plain PyTorch, with the same weights and batches, in a process of its own.

    Args:
        model: A `ViTSER`.
        images: `(examples, bands, frames, 1)`.
        labels: `(examples,)`.
        folder: Where a folder is made for what the process reads; to be kept while it runs.
        *how: What else `plain_torch.py` takes.

    Returns:
        A `harness.Peer`.
    """
    import torch
    from plain_torch import PlainViTSER

    own = Path(tempfile.mkdtemp(dir=folder))
    network, arrays = own / "network.pt", own / "batches.npz"
    torch.save(PlainViTSER(model), network)
    np.savez(arrays, images=images.transpose(0, 3, 1, 2), labels=labels)
    return harness.Peer(Path(__file__).with_name("plain_torch.py"), network, arrays, LEARNING_RATE, *how)
