"""The paper's teacher and student with their training steps by labels, in Keras, for the benchmarks that time them."""

import keras
import numpy as np
from harness import timed_fit

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
    return lambda: timed_fit(model, images, labels, batch, shuffle=False)[1] / steps
