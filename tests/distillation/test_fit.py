"""Everything that `fit` offers, used with the Distiller: each option gives the numbers it should, on each backend."""

import json
import os
import subprocess
import sys

import keras
import numpy as np
import pytest
from keras import ops

from keras_vitser.distillation import Distiller

from .networks import WEIGHT, X, Y, cross_entropy, forward, network, same, weights_of

pytestmark = pytest.mark.backends("tensorflow", "jax", "torch")

BACKEND = keras.backend.backend()
# The same float32 sums in another order: losses of about 10 and weights of about 1, a few roundings of 6e-8 a step.
CLOSE = {"rtol": 1e-5, "atol": 1e-6}
# One rounding is 2**-11 = 5e-4 in float16 and 2**-8 = 4e-3 in bfloat16; losses and weights pass through a few of them.
HALF = {"mixed_float16": {"rtol": 4e-3, "atol": 4e-3}, "mixed_bfloat16": {"rtol": 3e-2, "atol": 3e-2}}
# The same steps again, from a file.
REPEATED = {"rtol": 1e-6, "atol": 1e-6}
CLASS_WEIGHT = {0: 0.5, 1: 2.0, 2: 1.25}
# Compiling takes PyTorch half a minute; one test does it.
COMPILED = pytest.mark.backends("tensorflow", "jax")


def distiller(teacher=None, student=None):
    """With a projection from width 5 to 7 whose first weights are always the same.

    An alpha of 10 brings gradients near 2, where they are next to an overflow at Keras' first loss scale, 2**15.
    """
    teacher = network(1, width=7) if teacher is None else teacher
    built = Distiller(teacher, network(2) if student is None else student, alpha=2.0)
    kernel = np.random.default_rng(3).normal(0, 0.5, (5, 7))
    built.adapters[0].projection.set_weights([kernel, np.zeros(7)])
    return built


def of_dtype(model, dtype):
    """The same weights in layers of this dtype; the global policy stays float32."""
    again = keras.models.clone_model(
        model, clone_function=lambda layer: type(layer).from_config({**layer.get_config(), "dtype": dtype})
    )
    again.set_weights(model.get_weights())
    return again


def compiled(built, optimizer=None, jit_compile=False, **kwargs):
    built.compile(keras.optimizers.SGD(0.05) if optimizer is None else optimizer, jit_compile=jit_compile, **kwargs)
    return built


def fitted(built, epochs=2, batch_size=4, **kwargs):
    """Losses of each epoch."""
    return built.fit(X, Y, batch_size=batch_size, epochs=epochs, shuffle=False, verbose=0, **kwargs).history


def trained_weights(built):
    return [ops.convert_to_numpy(variable.value).copy() for variable in built.trainable_variables]


def steps(built):
    """How many steps moved the weights."""
    return int((built.optimizer.inner_optimizer if scales_loss(built) else built.optimizer).iterations.value)


def scales_loss(built):
    return isinstance(built.optimizer, keras.optimizers.LossScaleOptimizer)


def assert_equal_logs(ours, theirs, **tolerance):
    assert set(ours) == set(theirs)
    for name in ours:
        np.testing.assert_allclose(ours[name], theirs[name], err_msg=name, **(tolerance or CLOSE))


def assert_equal_weights(ours, theirs, **tolerance):
    for first, second in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(first, second, **(tolerance or CLOSE))


@pytest.fixture(scope="module")
def plain():
    """What all of `fit`'s options are compared with: logs and trained weights of two epochs in float32."""
    built = compiled(distiller())
    return fitted(built), trained_weights(built)


# How a step is run


@pytest.mark.backends("tensorflow", "jax", "torch", more=["torch"])  # Inductor takes a minute
def test_jit_compile_on_and_off_are_equal(plain):
    built = compiled(distiller(), jit_compile=True)
    assert_equal_logs(fitted(built), plain[0])
    assert_equal_weights(trained_weights(built), plain[1])


def test_eager_and_traced_steps_are_equal(plain):
    built = compiled(distiller(), run_eagerly=True)
    assert_equal_logs(fitted(built), plain[0])
    assert_equal_weights(trained_weights(built), plain[1])


def test_two_accumulated_steps_are_one_step_on_twice_the_batch():
    accumulating = compiled(distiller(), keras.optimizers.SGD(0.05, gradient_accumulation_steps=2))
    whole = compiled(distiller())
    start = trained_weights(whole)
    for batch_size, built in ((4, accumulating), (8, whole)):
        logs = fitted(built, epochs=1, batch_size=batch_size)
        assert logs["feature_loss"][0] > 0
    assert_equal_weights(trained_weights(accumulating), trained_weights(whole))
    assert not any(same([new], [old]) for new, old in zip(trained_weights(whole), start, strict=True))


def test_nothing_moves_before_the_gradients_are_accumulated():
    built = compiled(distiller(), keras.optimizers.SGD(0.05, gradient_accumulation_steps=3))
    start = trained_weights(built)
    fitted(built, epochs=1, batch_size=4)
    assert same(trained_weights(built), start)


@pytest.mark.backends("tensorflow", "jax")  # Keras offers no steps_per_execution on PyTorch
def test_two_steps_an_execution_are_two_steps(plain):
    built = compiled(distiller(), steps_per_execution=2)
    assert_equal_logs(fitted(built), plain[0])
    assert_equal_weights(trained_weights(built), plain[1])
    assert steps(built) == 4


@pytest.mark.backends("torch")
def test_pytorch_takes_one_step_an_execution():
    with pytest.raises(ValueError, match="`steps_per_execution` must be 1 with the PyTorch backend"):
        fitted(compiled(distiller(), steps_per_execution=2))


# Mixed precision


@pytest.mark.parametrize(
    ("of_teacher", "of_student"),
    [
        ("float32", "mixed_float16"),
        ("mixed_float16", "float32"),
        ("float32", "mixed_bfloat16"),
        ("mixed_bfloat16", "mixed_float16"),
    ],
)
def test_unequal_dtypes_train_as_float32_does(of_teacher, of_student, plain):
    expected_logs, expected_weights = plain
    got = distiller(of_dtype(network(1, width=7), of_teacher), of_dtype(network(2), of_student))
    logs = fitted(compiled(got))
    tolerance = HALF["mixed_bfloat16" if "mixed_bfloat16" in (of_teacher, of_student) else "mixed_float16"]
    for name in ("loss", "label_loss", "feature_loss"):
        np.testing.assert_allclose(logs[name], expected_logs[name], err_msg=name, **tolerance)
    assert logs["loss"] != expected_logs["loss"]
    assert_equal_weights(trained_weights(got), expected_weights, **tolerance)
    assert {variable.dtype for variable in got.trainable_variables} == {"float32"}
    assert got.adapters[0].compute_dtype == got.adapters[0].projection.compute_dtype == "float32"


@pytest.fixture
def policy(request):
    keras.config.set_dtype_policy(request.param)
    yield request.param
    keras.config.set_dtype_policy("float32")


@pytest.mark.parametrize(
    ("policy", "jit_compile"),
    [
        ("mixed_float16", False),
        pytest.param("mixed_float16", True, marks=COMPILED),
        ("mixed_bfloat16", False),
    ],
    indirect=["policy"],
)
def test_a_global_policy_trains_as_float32_does(plain, policy, jit_compile):
    built = compiled(distiller(), jit_compile=jit_compile)
    logs = fitted(built)
    assert built.student.layers[-1].compute_dtype == policy.removeprefix("mixed_")
    assert built.adapters[0].projection.compute_dtype == "float32"
    assert scales_loss(built) == (policy == "mixed_float16")
    for name in ("loss", "label_loss", "feature_loss"):
        np.testing.assert_allclose(logs[name], plain[0][name], err_msg=name, **HALF[policy])
    assert_equal_weights(trained_weights(built), plain[1], **HALF[policy])


@pytest.mark.parametrize("policy", ["mixed_float16"], indirect=True)
def test_the_global_policy_does_not_scale_the_loss_where_that_is_declined(policy):
    assert not scales_loss(compiled(distiller(), auto_scale_loss=False))


def nested(model):
    return keras.Sequential([keras.Input((6,)), model, keras.layers.Dense(3, name="head")])


@pytest.mark.parametrize(
    ("dtype", "expected"), [("mixed_float16", True), ("mixed_bfloat16", False), ("float32", False)]
)
def test_the_loss_is_scaled_where_the_student_s_layers_are_float16(dtype, expected):
    assert keras.config.dtype_policy().name == "float32"
    within = Distiller(nested(network(1)), nested(of_dtype(network(2), dtype)))
    for built in (distiller(student=of_dtype(network(2), dtype)), within):
        assert scales_loss(compiled(built)) == expected
        assert not scales_loss(compiled(built, auto_scale_loss=False))


def test_the_loss_is_not_scaled_where_only_the_teacher_is_float16():
    assert not scales_loss(compiled(distiller(of_dtype(network(1, width=7), "mixed_float16"))))


def test_a_scaled_optimizer_is_not_scaled_again():
    mine = keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.05))
    assert compiled(distiller(student=of_dtype(network(2), "mixed_float16")), mine).optimizer is mine


def test_an_overflow_skips_the_step():
    # 2**127 is next to the largest float32, so that the scaled loss, of about 10, is infinite.
    scaled = keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.05), initial_scale=2.0**127)
    built = compiled(distiller(student=of_dtype(network(2), "mixed_float16")), scaled)
    start = trained_weights(built)
    fitted(built, epochs=1, batch_size=8)
    assert same(trained_weights(built), start)
    assert float(scaled.dynamic_scale.value) == 2.0**126
    assert steps(built) == 0
    scaled.dynamic_scale.assign(2.0**10)
    fitted(built, epochs=1, batch_size=8)
    assert steps(built) == 1
    once = compiled(distiller())
    fitted(once, epochs=1, batch_size=8)
    assert_equal_weights(trained_weights(built), trained_weights(once), **HALF["mixed_float16"])


# Class weights


def test_class_weights_are_the_sample_weights_of_their_examples(plain):
    weight = np.array([CLASS_WEIGHT[label] for label in Y], "float32")
    runs = [compiled(distiller()) for _ in range(2)]
    logs = [fitted(runs[0], class_weight=CLASS_WEIGHT), fitted(runs[1], sample_weight=weight)]
    assert_equal_logs(*logs)
    assert_equal_weights(*[trained_weights(built) for built in runs])
    for name in ("label_loss", "feature_loss"):
        assert np.abs(np.subtract(logs[0][name], plain[0][name])).min() > 0.01


def test_weighted_losses_as_stated_in_numpy():
    built = compiled(distiller(), keras.optimizers.SGD(0.0))
    kernel, bias = built.adapters[0].projection.get_weights()
    (taught, _), (feature, logits) = forward(built.teacher), forward(built.student)
    distance = np.abs(taught - (feature @ kernel + bias)).mean(axis=1)
    for given, weight in (
        ({"class_weight": CLASS_WEIGHT}, np.array([CLASS_WEIGHT[label] for label in Y])),
        ({"sample_weight": WEIGHT}, WEIGHT),
    ):
        logs = fitted(built, epochs=1, batch_size=8, **given)
        np.testing.assert_allclose(logs["label_loss"][0], np.mean(weight * cross_entropy(logits)), **CLOSE)
        np.testing.assert_allclose(logs["feature_loss"][0], np.mean(weight * distance), **CLOSE)


# Callbacks that save


def other_distiller(dtype="float32"):
    """Of the same layers with other weights, as a new process would build it."""
    built = distiller(network(4, width=7), of_dtype(network(5), dtype))
    built.adapters[0].projection.set_weights([np.ones((5, 7)), np.ones(7)])
    return compiled(built, adam())


def all_weights(built):
    """Both networks, the projection, the optimizer with its count of steps and its moments."""
    variables = [*built.teacher.variables, *built.student.variables]
    variables += [*built.adapters[0].variables, *built.optimizer.variables]
    return [ops.convert_to_numpy(variable.value).copy() for variable in variables]


def adam():
    return keras.optimizers.Adam(0.01)


@pytest.mark.parametrize(("kind", "dtype"), [("whole", "float32"), ("weights", "float32"), ("whole", "mixed_float16")])
def test_model_checkpoint_restores_everything(kind, dtype, tmp_path):
    path = str(tmp_path / {"whole": "epoch-{epoch}.keras", "weights": "epoch-{epoch}.weights.h5"}[kind])
    saves = keras.callbacks.ModelCheckpoint(path, save_weights_only=kind == "weights")
    saved = compiled(distiller(student=of_dtype(network(2), dtype)), adam())
    fitted(saved, epochs=2, callbacks=[saves])

    def restored(epoch):
        if kind == "whole":
            return keras.saving.load_model(path.format(epoch=epoch))
        built = other_distiller(dtype)
        built.optimizer.build(built.trainable_variables)
        built.load_weights(path.format(epoch=epoch))
        return built

    first, second = restored(1), restored(2)
    assert [scales_loss(built) for built in (first, second)] == [dtype == "mixed_float16"] * 2
    assert [steps(first), steps(second)] == [2, 4]
    assert same(all_weights(second), all_weights(saved))
    assert_equal_logs(fitted(second), fitted(saved), **REPEATED)
    assert_equal_weights(all_weights(second), all_weights(saved), **REPEATED)
    fitted(first, epochs=3)
    assert_equal_weights(all_weights(first), all_weights(saved), **REPEATED)


class Interruption(keras.callbacks.Callback):
    """Ends a run in its third epoch, as Ctrl-C would."""

    def on_train_batch_end(self, batch, logs=None):
        if steps(self.model) == 5:
            raise KeyboardInterrupt


def test_backup_and_restore_goes_on_after_an_interruption(tmp_path):
    whole = compiled(distiller(), adam())
    logs = fitted(whole, epochs=5)
    interrupted = compiled(distiller(), adam())
    with pytest.raises(KeyboardInterrupt):
        fitted(interrupted, epochs=5, callbacks=[keras.callbacks.BackupAndRestore(tmp_path), Interruption()])
    resumed = other_distiller()
    assert not same(weights_of(resumed.teacher), weights_of(whole.teacher))
    rest = fitted(resumed, epochs=5, callbacks=[keras.callbacks.BackupAndRestore(tmp_path)])
    assert_equal_logs(rest, {name: values[2:] for name, values in logs.items()}, **REPEATED)
    assert_equal_weights(all_weights(resumed), all_weights(whole), **REPEATED)
    assert steps(resumed) == 10


def test_early_stopping_restores_the_best_weights():
    built = compiled(distiller())
    rates = keras.callbacks.LearningRateScheduler(lambda epoch: [0.01, 50.0][min(epoch, 1)])
    best = keras.callbacks.EarlyStopping("val_loss", patience=1, restore_best_weights=True)
    logs = fitted(built, epochs=5, validation_data=(X, Y), callbacks=[rates, best])
    assert len(logs["loss"]) == 2
    once = compiled(distiller(), keras.optimizers.SGD(0.01))
    fitted(once, epochs=1)
    assert_equal_weights(trained_weights(built), trained_weights(once))


# Two devices

CASES = ("regularised and weighed", "cached")


def two_devices(path):
    """Writes what each case gives on one device and on two, with whichever backend is set; run in its own process."""
    if BACKEND == "tensorflow":
        import tensorflow as tf

        cpu = tf.config.list_physical_devices("CPU")[0]
        tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    results = {case: {"1": run(case)} for case in CASES}
    if BACKEND == "tensorflow":
        strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
        devices = strategy.num_replicas_in_sync
        for case in CASES:
            with strategy.scope():
                results[case]["2"] = run(case)
    else:
        keras.distribution.set_distribution(keras.distribution.DataParallel())
        devices = keras.distribution.distribution().device_mesh.devices.size
        for case in CASES:
            results[case]["2"] = run(case)
    with open(path, "w", encoding="utf-8") as file:
        json.dump({"devices": int(devices), "cases": results}, file)


def run(case):
    regularizer = keras.regularizers.L2(0.1) if case != "cached" else None
    student = network(2, middle=[keras.layers.LayerNormalization()], kernel_regularizer=regularizer)
    built = compiled(distiller(student=student), adam())
    weight = {"sample_weight": WEIGHT} if case != "cached" else {}
    logs = fitted(built, epochs=3, cache_teacher=case == "cached", **weight)
    evaluated = built.evaluate(X, Y, batch_size=4, verbose=0, return_dict=True)
    return {"logs": logs, "evaluated": evaluated, "weights": [weight.tolist() for weight in trained_weights(built)]}


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    path = tmp_path_factory.mktemp("devices") / "results.json"
    environment = {
        **os.environ,
        "KERAS_BACKEND": BACKEND,
        "PYTHONPATH": os.pathsep.join(sys.path),
        "CUDA_VISIBLE_DEVICES": "",
        "JAX_PLATFORMS": "cpu",
        "XLA_FLAGS": "--xla_force_host_platform_device_count=2",
    }
    program = f"from {__name__} import two_devices; two_devices({str(path)!r})"
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    results = json.loads(path.read_text(encoding="utf-8"))
    assert results["devices"] == 2
    return results["cases"]


@pytest.mark.more
@pytest.mark.backends("tensorflow", "jax")  # Keras spreads a batch over devices on these only
@pytest.mark.parametrize("case", CASES)
def test_two_devices_are_as_one(both, case):
    """MirroredStrategy on TensorFlow, DataParallel on JAX: the batch is split, the numbers are the same."""
    one, two = both[case]["1"], both[case]["2"]
    assert set(one["logs"]) == {"loss", "label_loss", "feature_loss", "accuracy"}
    assert set(one["evaluated"]) == {"loss", "accuracy"}
    assert_equal_logs(two["logs"], one["logs"])
    assert_equal_logs(two["evaluated"], one["evaluated"])
    # 1e-5: Adam divides by the root of a mean square, which makes more of a rounding in a small gradient.
    assert_equal_weights(two["weights"], one["weights"], rtol=1e-4, atol=1e-5)
