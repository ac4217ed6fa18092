"""keras_vitser/distillation/feature_cache.py"""

import logging

import keras
import numpy as np
import pytest
from keras import ops

from keras_vitser.distillation import Distiller, Match, attach_teacher_features, feature_cache
from keras_vitser.distillation.feature_cache import FeatureCache, detach_teacher_features
from keras_vitser.errors import DistillationError
from tests.requirements import require

from .networks import network, same, weights_of

pytestmark = pytest.mark.backends("tensorflow", "jax", "torch")

GENERATOR = np.random.default_rng(3)
X = GENERATOR.standard_normal((20, 6)).astype("float32")
Y = np.arange(20) % 3
CLOSE = {"rel": 1e-6, "abs": 1e-6}


class Pool(keras.utils.PyDataset):
    """A fixed pool in an order that changes from epoch to epoch, a remainder left out; or noise on top, drawn anew."""

    def __init__(self, noise=None, shuffled=True, **kwargs):
        super().__init__(**kwargs)
        self.epoch, self.noise, self.shuffled = 0, noise, shuffled

    def __len__(self):
        return 3

    def __getitem__(self, index):
        order = np.random.default_rng(self.epoch).permutation(20) if self.shuffled else np.arange(20)
        rows = order[6 * index : 6 * index + 6]
        x = X[rows]
        if self.noise == "each time":
            x = x + np.random.default_rng().standard_normal(x.shape).astype("float32")
        if self.noise == "each epoch":
            x = x + np.float32(self.epoch)
        return x, Y[rows]

    def on_epoch_end(self):
        self.epoch += 1


class Listed:
    """Something that can be read again and again, and is neither array nor Keras' own, such as a DataLoader."""

    def __init__(self, batches):
        self.batches = batches

    def __iter__(self):
        return iter(self.batches())


def tf_dataset(shuffle=False):
    tf = require("tensorflow")
    dataset = tf.data.Dataset.from_tensor_slices((X, Y))
    return (dataset.shuffle(20, seed=1) if shuffle else dataset).batch(6)


def torch_loader():
    torch = require("torch")
    return torch.utils.data.DataLoader(list(zip(X, Y, strict=True)), batch_size=6)


def taught(data, cache_teacher, epochs=3, teacher=None, **kwargs):
    """Losses of each epoch, and the student's weights."""
    keras.utils.set_random_seed(4)
    student = network(2, middle=[keras.layers.Dropout(0.3, seed=1)])
    distiller = Distiller(network(1, width=7) if teacher is None else teacher, student)
    distiller.compile(keras.optimizers.Adam(0.01), jit_compile=False)
    history = distiller.fit(*data, epochs=epochs, verbose=0, cache_teacher=cache_teacher, **kwargs)
    return history.history, weights_of(student)


# What a batch carries


def test_what_was_attached_comes_back():
    inputs, features = np.zeros((4, 8)), np.ones((4, 3))
    detached = detach_teacher_features(attach_teacher_features(inputs, features))
    assert detached[0] is inputs
    assert detached[1] == [features]
    assert detach_teacher_features(attach_teacher_features(inputs, (features, inputs)))[1] == [features, inputs]


@pytest.mark.backends("torch")
@pytest.mark.parametrize("x", [np.zeros(3), {"inputs": 1}, {"inputs": 1, "other": 2}, [1, 2]])
def test_plain_inputs_are_left_alone(x):
    inputs, features = detach_teacher_features(x)
    assert inputs is x
    assert features is None


# The same losses


@pytest.mark.parametrize(
    ("data", "kwargs"),
    [
        (lambda: (X, Y), {"batch_size": 6}),
        (lambda: (X, Y), {"batch_size": 6, "validation_split": 0.2, "class_weight": {0: 1.0, 1: 2.0, 2: 0.5}}),
        (lambda: (X, Y), {"sample_weight": np.linspace(0, 2, 20)}),
        (lambda: (Pool(),), {}),
        pytest.param(lambda: (Pool(workers=2),), {}, marks=pytest.mark.backends("torch")),
        (lambda: (tf_dataset(),), {}),
        (lambda: (torch_loader(),), {}),
    ],
    ids=["arrays", "arrays split", "arrays weighed", "PyDataset", "PyDataset workers", "tf.data", "DataLoader"],
)
def test_the_same_losses_as_without(data, kwargs):
    expected, weights = taught(data(), False, **kwargs)
    got, cached_weights = taught(data(), True, **kwargs)
    assert set(got) == set(expected)
    for name, values in expected.items():
        assert got[name] == pytest.approx(values, **CLOSE), name
    for ours, theirs in zip(cached_weights, weights, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-6)


@pytest.mark.backends("torch")
def test_a_dataset_that_shuffles_itself_is_read_whole_in_each_epoch():
    losses, _ = taught((tf_dataset(shuffle=True),), True, epochs=4)
    assert all(np.isfinite(losses["loss"]))
    assert len(losses["loss"]) == 4


def test_inputs_of_several_arrays():
    inputs = {"a": keras.Input((2,), name="a"), "b": keras.Input((4,), name="b")}

    def build(width):
        x = keras.layers.Dense(width, name="hidden")(keras.layers.Concatenate()([inputs["a"], inputs["b"]]))
        return keras.Model(inputs, keras.layers.Dense(3)(x))

    teacher, student = build(5), build(5)
    x = {"a": X[:, :2], "b": X[:, 2:]}
    start = weights_of(student)
    losses = []
    for cache_teacher in (False, True):
        for variable, value in zip(student.weights, start, strict=True):
            variable.assign(value)
        distiller = Distiller(teacher, student)
        distiller.compile(keras.optimizers.SGD(0.1), jit_compile=False)
        losses.append(distiller.fit(x, Y, shuffle=False, epochs=2, verbose=0, cache_teacher=cache_teacher).history)
    assert losses[1]["loss"] == pytest.approx(losses[0]["loss"], **CLOSE)


def test_several_matches():
    matches = [Match("hidden", "hidden", weight=2.0), Match("logits", "logits")]
    histories = []
    for cache_teacher in (False, True):
        distiller = Distiller(network(1, width=7), network(2), matches=matches)
        distiller.adapters[0].projection.set_weights([np.full((5, 7), 0.2), np.zeros(7)])
        distiller.compile(keras.optimizers.SGD(0.1), jit_compile=False)
        histories.append(distiller.fit(X, Y, shuffle=False, verbose=0, epochs=2, cache_teacher=cache_teacher).history)
    for name, values in histories[0].items():
        assert histories[1][name] == pytest.approx(values, **CLOSE), name


# Once an example


@pytest.mark.parametrize("data", [lambda: (X, Y), lambda: (Pool(shuffled=False),), lambda: (tf_dataset(),)])
def test_the_teacher_is_run_once_an_example(data, monkeypatch):
    caches = []
    original = FeatureCache.__init__
    monkeypatch.setattr(FeatureCache, "__init__", lambda self, *args: (caches.append(self), original(self, *args))[1])

    def fail(self, inputs):
        raise AssertionError("the teacher was run in a step")

    monkeypatch.setattr(Distiller, "teacher_features", fail)
    taught(data(), True, epochs=5)
    (cache,) = caches
    assert cache.computed == (18 if isinstance(data()[0], Pool) else 20)


def test_what_an_epoch_leaves_out_is_computed_when_it_comes():
    """18 of the 20 examples in the first reading; the other two come with later epochs."""
    losses, _ = taught((Pool(),), True, epochs=8)
    assert len(losses["loss"]) == 8


def test_a_second_fit_runs_the_teacher_no_more():
    distiller = Distiller(network(1), network(2))
    distiller.fit(X, Y, verbose=0, cache_teacher=True)
    (cache,) = distiller._feature_caches.values()
    distiller.fit(X[:7], Y[:7], verbose=0, cache_teacher=True)
    assert list(distiller._feature_caches.values()) == [cache]
    assert cache.computed == 20


def test_a_teacher_that_has_changed_is_run_again():
    teacher = network(1)
    distiller = Distiller(teacher, network(2))
    distiller.fit(X, Y, verbose=0, cache_teacher=True)
    teacher.get_layer("hidden").set_weights(network(5).get_layer("hidden").get_weights())
    expected = ops.convert_to_numpy(distiller.teacher_features(X)[0])
    distiller.fit(X, Y, verbose=0, cache_teacher=True)
    (cache,) = distiller._feature_caches.values()
    np.testing.assert_allclose(cache(X)[0][0], expected, atol=1e-6)


def test_without_a_feature_loss_nothing_is_cached():
    distiller = Distiller(network(1), network(2), alpha=0)
    distiller.fit(X, Y, verbose=0, cache_teacher=True)
    assert not distiller._feature_caches


# On disk


def shards(folder):
    return sorted(path.name for path in folder.glob("*/*.npy"))


@pytest.mark.backends("torch")
def test_features_are_kept_in_shards_for_later_runs(tmp_path, monkeypatch):
    monkeypatch.setattr(feature_cache, "_SHARD_BYTES", 6 * 7 * 4)  # six examples of seven numbers
    expected, _ = taught((X, Y), False, batch_size=6)
    got, _ = taught((X, Y), tmp_path / "cache", batch_size=6)
    assert got["loss"] == pytest.approx(expected["loss"], **CLOSE)
    assert len(shards(tmp_path / "cache")) == 2 * 4  # 20 examples in shards of 6, features and digests
    assert not list(tmp_path.rglob(".part*"))

    def fail(self, *args):
        raise AssertionError("the teacher was run again")

    monkeypatch.setattr(FeatureCache, "_add", fail)
    again, _ = taught((X, Y), tmp_path / "cache", batch_size=6)
    assert again["loss"] == got["loss"]
    from_batches, _ = taught((Pool(shuffled=False),), tmp_path / "cache")
    assert np.isfinite(from_batches["loss"]).all()


@pytest.mark.backends("torch")
def test_features_from_disk_are_memory_mapped(tmp_path):
    distiller = Distiller(network(1), network(2))
    cache = FeatureCache(distiller.teacher_feature_model, "key", tmp_path)
    cache(X)
    cache.flush()
    again = FeatureCache(distiller.teacher_feature_model, "key", tmp_path)
    assert [type(shard) for shard in again._shards] == [np.memmap]
    features, new = again(X)
    assert new == 0
    expected = ops.convert_to_numpy(distiller.teacher_features(X)[0])
    np.testing.assert_allclose(features[0], expected, atol=1e-6)


@pytest.mark.backends("torch")
def test_another_teacher_or_tap_has_a_folder_of_its_own(tmp_path):
    taught((X, Y), tmp_path)
    taught((X, Y), tmp_path, teacher=network(5, width=7))
    distiller = Distiller(network(1, width=7), network(2), matches=[Match("logits", "logits")])
    distiller.fit(X, Y, verbose=0, cache_teacher=tmp_path)
    assert len(list(tmp_path.iterdir())) == 3


@pytest.mark.backends("torch")
def test_changed_examples_are_other_examples(tmp_path):
    cache = FeatureCache(Distiller(network(1), network(2)).teacher_feature_model, "key", tmp_path)
    assert cache(X)[1] == 20
    changed = X.copy()
    changed[3, 2] = np.nextafter(changed[3, 2], 9)
    assert cache(changed)[1] == 1
    assert cache(X[::-1].copy())[1] == 0


@pytest.mark.backends("torch")
def test_a_shard_without_its_digests_does_not_count(tmp_path):
    """A kill between the two files: the features are there, what they belong to is not."""
    model = Distiller(network(1), network(2)).teacher_feature_model
    cache = FeatureCache(model, "key", tmp_path)
    cache(X)
    cache.flush()
    next(tmp_path.glob("*/*.digests.npy")).unlink()
    again = FeatureCache(model, "key", tmp_path)
    assert again(X)[1] == 20
    again.flush()
    assert FeatureCache(model, "key", tmp_path)(X)[1] == 0


@pytest.mark.backends("torch")
def test_says_how_many_were_computed(caplog):
    with caplog.at_level(logging.INFO, "keras_vitser"):
        taught((Pool(shuffled=False),), True, epochs=1)
    assert "teacher features: 18 examples computed" in caplog.text


# Refusals


def noisy_tf_dataset():
    tf = require("tensorflow")
    spec = (tf.TensorSpec((6, 6), tf.float32), tf.TensorSpec((6,), tf.int64))
    return tf.data.Dataset.from_generator(noisy_list, output_signature=spec)


def noisy_list():
    return [(X[:6] + GENERATOR.standard_normal((6, 6)).astype("float32"), Y[:6])]


@pytest.mark.backends("torch")
@pytest.mark.parametrize(
    "data",
    [lambda: Pool("each time"), lambda: Pool("each time", workers=2), noisy_tf_dataset, lambda: Listed(noisy_list)],
    ids=["PyDataset", "PyDataset workers", "tf.data", "list"],
)
def test_a_random_pipeline_is_refused_before_anything_is_learned(data):
    student = network(2)
    before = weights_of(student)
    with pytest.raises(
        DistillationError, match=r"inputs that stay the same.*the pipeline is random.*leave cache_teach"
    ):
        Distiller(network(1), student).fit(data(), epochs=2, verbose=0, cache_teacher=True)
    assert same(weights_of(student), before)


@pytest.mark.backends("torch")
def test_a_pipeline_that_draws_anew_each_epoch_is_refused_when_it_does():
    with pytest.raises(DistillationError, match=r"of one epoch's examples were new.*the pipeline is random"):
        Distiller(network(1), network(2)).fit(Pool("each epoch"), epochs=3, verbose=0, cache_teacher=True)


@pytest.mark.backends("torch")
def test_what_can_be_read_once_is_refused():
    with pytest.raises(DistillationError, match="a generator can be read only once"):
        Distiller(network(1), network(2)).fit(((X, Y) for _ in range(2)), verbose=0, cache_teacher=True)


@pytest.mark.backends("torch")
def test_what_has_no_end_is_refused():
    with pytest.raises(DistillationError, match="needs data that ends"):
        Distiller(network(1), network(2)).fit(tf_dataset().repeat(), verbose=0, cache_teacher=True)
    with pytest.raises(DistillationError, match="steps_per_epoch cannot be given"):
        Distiller(network(1), network(2)).fit(tf_dataset(), steps_per_epoch=2, verbose=0, cache_teacher=True)


def test_features_of_no_fixed_size_are_refused():
    def images():
        inputs = keras.Input((None, None, 1))
        x = keras.layers.Conv2D(4, 3, name="conv")(inputs)
        return keras.Model(inputs, keras.layers.Dense(3)(keras.layers.GlobalAveragePooling2D()(x)))

    distiller = Distiller(images(), images(), matches=[Match("conv", "conv")])
    with pytest.raises(DistillationError, match="only features of one size can be cached"):
        distiller.fit(np.zeros((4, 5, 5, 1)), Y[:4], verbose=0, cache_teacher=True)


@pytest.mark.backends("torch")
@pytest.mark.parametrize("kind", ["arrays", "PyDataset", "generator of unknown length"])
def test_callbacks_are_told_of_the_teachers_batches(kind):
    class Told(keras.callbacks.Callback):
        def __init__(self):
            super().__init__()
            self.steps = []

        def on_teacher_batch_end(self, done, total):
            self.steps.append((done, total))

    class Unsized:
        def __iter__(self):
            return iter([(X[:6], Y[:6]), (X[6:], Y[6:])])

    told = Told()
    data = {"arrays": (X, Y), "PyDataset": (Pool(),), "generator of unknown length": (Unsized(),)}[kind]
    settings = {"batch_size": 8} if kind == "arrays" else {}
    Distiller(network(1), network(2)).fit(*data, cache_teacher=True, callbacks=[told], verbose=0, **settings)
    expected = {"arrays": [(1, 3), (2, 3), (3, 3)], "PyDataset": [(1, 3), (2, 3), (3, 3)]}
    assert told.steps == expected.get(kind, [(1, None), (2, None)])


@pytest.mark.backends("torch")
@pytest.mark.parametrize("kind", ["features", "digests"])
def test_a_damaged_shard_is_computed_again(kind, tmp_path, caplog):
    teacher = network(1)
    Distiller(teacher, network(2)).fit(X, Y, cache_teacher=tmp_path, verbose=0)
    (shard,) = tmp_path.rglob(f"*.{kind}.npy")
    shard.write_bytes(shard.read_bytes()[:100])
    again = Distiller(teacher, network(2))
    again.fit(X, Y, cache_teacher=tmp_path, verbose=0)
    assert "is damaged" in caplog.text
    assert next(iter(again._feature_caches.values())).computed == len(X)


def losing(lost):
    """Batches of 4, of which those with an example that cannot be read are lost."""
    tf = require("tensorflow")
    examples = X.copy()
    examples[lost] = np.nan
    dataset = tf.data.Dataset.from_tensor_slices((examples, Y))
    return dataset.batch(4).map(lambda x, y: (tf.debugging.check_numerics(x, "nan"), y)).ignore_errors()


@pytest.mark.filterwarnings("ignore:Your input ran out of data")
@pytest.mark.filterwarnings("ignore:`shuffle=True` was passed")
def test_data_that_ends_early_takes_the_same_steps_as_without():
    steps = []
    for cache_teacher in (False, True):
        keras.utils.set_random_seed(4)
        # Dropout's generator and the optimizer's counter: what a step without data could move.
        student = network(2, middle=[keras.layers.Dropout(0.3, seed=1)])
        distiller = Distiller(network(1, width=7), student)
        distiller.compile(keras.optimizers.Adam(0.01), jit_compile=False)
        history = distiller.fit(losing([0, 17, 19]), epochs=3, verbose=0, cache_teacher=cache_teacher)
        steps.append((int(distiller.optimizer.iterations), history.history["loss"], weights_of(student)))
    (plain, losses, weights), (cached, cached_losses, cached_weights) = steps
    assert plain == cached == 3 * 3
    assert cached_losses == pytest.approx(losses, **CLOSE)
    for ours, theirs in zip(cached_weights, weights, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)


@pytest.mark.backends("torch")
@pytest.mark.parametrize(("lengths", "received"), [((3, 3, 3, 2), "2, and 3"), ((3, 3, 3, 4), "more than 3, and 3")])
def test_an_epoch_that_is_shorter_or_longer_is_refused(lengths, received):
    reading = iter(lengths)  # filling reads twice, and looks whether the data is an iterator

    def batches():
        return [(X[:4], Y[:4])] * next(reading)

    cache = FeatureCache(Distiller(network(1), network(2)).teacher_feature_model, "key")
    cached = feature_cache.CachedBatches(cache, Listed(batches))
    cached.fill(lambda done, total: None, lambda batch: batch)
    with pytest.raises(DistillationError, match=f"Received: {received}"):
        list(cached)
