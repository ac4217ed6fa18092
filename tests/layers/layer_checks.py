"""What every layer of ours must do, whatever it computes."""

import json
import re

import keras
import numpy as np
from keras import ops


def to_numpy(tensor):
    """A tensor of any float dtype as float32 (NumPy has no bfloat16)."""
    return ops.convert_to_numpy(ops.cast(tensor, "float32"))


def run(layer, inputs, **arguments):
    """The layer's output as float32, compiled as one on JAX (where compiling each operation alone takes seconds)."""
    if keras.backend.backend() != "jax":
        return to_numpy(layer(inputs, **arguments))
    import jax

    if not layer.built:
        layer.build(inputs.shape)
    state = [[v.value for v in of] for of in (layer.trainable_variables, layer.non_trainable_variables)]
    return to_numpy(jax.jit(lambda t, n, x: layer.stateless_call(t, n, x, **arguments)[0])(*state, inputs))


def check_layer(layer_class, arguments, inputs, tmp_path, *, half_atol, gradient_free=None):
    """Runs the checks that all layers share, with arguments that are not the defaults.

    Args:
        layer_class: The layer's class.
        arguments: Dict of constructor arguments.
        inputs: float32 array, a batch of at least two.
        tmp_path: An empty folder.
        half_atol: Largest allowed difference between the output in half precision and in float32.
        gradient_free: Regular expression of weight paths whose gradient is zero by mathematics.
    """
    layer = layer_class(**arguments)
    expected = run(layer, inputs)
    _check_shape(layer, inputs, expected)
    _check_batch_of_one(layer, inputs, expected)
    _check_config(layer_class, layer, inputs, expected)
    _check_saving(layer, inputs, expected, tmp_path / "layer.keras")
    _check_half_precision(layer_class, arguments, layer, inputs, expected, half_atol)
    if layer.trainable_variables:
        _check_training_step(layer, inputs, gradient_free)


def _check_shape(layer, inputs, expected):
    assert tuple(layer.compute_output_shape(inputs.shape)) == expected.shape
    symbolic = layer(keras.Input(inputs.shape[1:]))
    assert tuple(symbolic.shape) == (None, *expected.shape[1:])


def _check_batch_of_one(layer, inputs, expected):
    # 1e-5: float32 sums may run in another order for another batch size.
    np.testing.assert_allclose(run(layer, inputs[:1]), expected[:1], rtol=1e-5, atol=1e-5)


def _check_config(layer_class, layer, inputs, expected):
    config = layer.get_config()
    assert "registered_name" in keras.saving.serialize_keras_object(layer)
    through_json = json.loads(json.dumps(keras.saving.serialize_keras_object(layer)))
    for clone in (layer_class.from_config(config), keras.saving.deserialize_keras_object(through_json)):
        if not clone.built:
            clone.build(inputs.shape)
        clone.set_weights(layer.get_weights())
        np.testing.assert_array_equal(run(clone, inputs), expected)  # the same operations on the same numbers
        assert clone.get_config() == config


def _check_saving(layer, inputs, expected, path):
    images = keras.Input(inputs.shape[1:])
    keras.Model(images, layer(images)).save(path)
    loaded = keras.saving.load_model(path)
    np.testing.assert_array_equal(run(loaded, inputs), expected)  # weights are stored as they are


def _check_half_precision(layer_class, arguments, layer, inputs, expected, half_atol):
    for policy in ("mixed_float16", "mixed_bfloat16"):
        half = layer_class(**arguments, dtype=policy)
        half.build(inputs.shape)
        half.set_weights(layer.get_weights())
        assert half(keras.Input(inputs.shape[1:])).dtype == policy.removeprefix("mixed_")
        assert all(variable.dtype == "float32" for variable in half.weights)
        np.testing.assert_allclose(run(half, inputs), expected, atol=half_atol, rtol=0)


def _check_training_step(layer, inputs, gradient_free):
    images = keras.Input(inputs.shape[1:])
    model = keras.Model(images, layer(images))
    targets = np.random.default_rng(7).standard_normal(run(layer, inputs).shape).astype("float32")
    before = {variable.path: ops.convert_to_numpy(variable.value).copy() for variable in layer.trainable_variables}
    compiled = keras.backend.backend() == "jax"  # one compilation there is quicker than one for each operation
    model.compile(keras.optimizers.SGD(1e-2), "mse", jit_compile=compiled)
    first = float(np.mean((run(model, inputs) - targets) ** 2))
    model.train_on_batch(inputs, targets)
    second = float(np.mean((run(model, inputs) - targets) ** 2))
    assert second < first, "a step down the gradient must lower the loss"
    for variable in layer.trainable_variables:
        after = ops.convert_to_numpy(variable.value)
        assert np.isfinite(after).all()
        if gradient_free is None or not re.search(gradient_free, variable.path):
            assert (after != before[variable.path]).any(), f"{variable.path} was not trained"
