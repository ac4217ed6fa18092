"""Tiny networks that can be stated in NumPy, and the data they learn from."""

import keras
import numpy as np
from keras import ops

GENERATOR = np.random.default_rng(0)
X = GENERATOR.standard_normal((8, 6)).astype("float32")
Y = np.array([0, 1, 2, 0, 1, 2, 2, 1])
WEIGHT = GENERATOR.uniform(0.1, 2, 8).astype("float32")


@keras.saving.register_keras_serializable(package="tests")
class Counting(keras.layers.Layer):
    """Passes its input on and counts how often it is called."""

    count = 0

    def call(self, inputs):
        self.count += 1
        return inputs

    def compute_output_shape(self, input_shape):
        return input_shape


def network(seed, width=5, classes=3, inputs=6, middle=(), **hidden):
    """`Dense(tanh)`, further layers, `Dense`: the feature is what goes into the last."""
    x = images = keras.Input((inputs,))
    x = keras.layers.Dense(width, "tanh", name="hidden", **hidden)(x)
    for layer in middle:
        x = layer(x)
    model = keras.Model(images, keras.layers.Dense(classes, name="logits")(x))
    generator = np.random.default_rng(seed)
    for layer in ("hidden", "logits"):
        weights = model.get_layer(layer).get_weights()
        model.get_layer(layer).set_weights([generator.normal(0, 0.5, weight.shape) for weight in weights])
    return model


def forward(model, x=X):
    """Feature and logits of a plain `network`, in float64 NumPy."""
    kernel, bias, head_kernel, head_bias = [weight.astype("float64") for weight in model.get_weights()]
    feature = np.tanh(x @ kernel + bias)
    return feature, feature @ head_kernel + head_bias


def cross_entropy(logits, y=Y):
    """Of each example."""
    shifted = logits - logits.max(axis=1, keepdims=True)
    return np.log(np.exp(shifted).sum(axis=1)) - shifted[np.arange(len(y)), y]


def weights_of(model):
    return [ops.convert_to_numpy(variable.value).copy() for variable in model.weights]


def same(first, second):
    return all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))
