"""keras_vitser/distillation/transfer.py and resumable_fit.py; kills of a process are in test_kills.py"""

import functools
import logging
import re

import keras
import numpy as np
import pytest

from keras_vitser.distillation import Match, SoftLabels, transfer
from keras_vitser.distillation.feature_cache import FeatureCache
from keras_vitser.errors import CheckpointError, DistillationError
from keras_vitser.training.checkpoints import Checkpoints
from tests.requirements import require

from .networks import WEIGHT, X, Y, network, same, weights_of

pytestmark = pytest.mark.backends("tensorflow", "jax", "torch")

ARRAYS = (X, Y)
STEPS = 3  # an epoch, of 8 examples in batches of 3: the last is partial
ACCUMULATING = functools.partial(keras.optimizers.Adam, gradient_accumulation_steps=2)
NEVER = 1e9  # seconds


class Batches(keras.utils.PyDataset):
    """Shuffles itself after each epoch; the new order follows from the one before."""

    def __init__(self):
        super().__init__()
        self.generator = np.random.default_rng(5)
        self.order = np.arange(8)
        self.calls = []

    def __len__(self):
        return STEPS

    def __getitem__(self, index):
        chosen = self.order[3 * index : 3 * index + 3]
        return X[chosen], Y[chosen], WEIGHT[chosen]

    def on_epoch_begin(self):
        self.calls.append("begin")

    def on_epoch_end(self):
        self.calls.append("end")
        self.order = self.generator.permutation(self.order)


def generated(epoch):
    """The batches of an epoch, one after the other, their number unknown."""
    order = np.random.default_rng(epoch).permutation(8)
    for start in (0, 3, 6):
        yield X[order[start : start + 3]], Y[order[start : start + 3]]


class Stop(keras.callbacks.Callback):
    """Raises `Stopped` at a moment of training: `("matching", epoch, batch or "begin" or "end")`."""

    def __init__(self, stage, epoch, moment):
        super().__init__()
        self.label_weight = {"matching": 0, "student": 1}[stage]
        self.moment = epoch, moment

    def check(self, moment):
        if self.model.label_weight == self.label_weight and (self.epoch, moment) == self.moment:
            raise Stopped

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch
        self.check("begin")

    def on_train_batch_end(self, batch, logs=None):
        self.check(batch)

    def on_epoch_end(self, epoch, logs=None):
        self.check("end")


class Stopped(Exception):
    pass


def fresh(seed):
    """A student with states beside its weights: of dropout and of batch normalisation."""
    middle = [keras.layers.Dropout(0.3, seed=seed), keras.layers.BatchNormalization()]
    return network(seed, middle=middle)


def taught(ds, student=None, teacher=None, **settings):
    """Histories as dicts, and the student's variables, states included."""
    student = fresh(2) if student is None else student
    settings = {"matching_epochs": 2, "tuning_epochs": 2, "learning_rate": 0.01, "batch_size": 3, **settings}
    histories = transfer(network(1) if teacher is None else teacher, student, ds, verbose=0, **settings)
    logs = {stage: {"epoch": history.epoch, **history.history} for stage, history in histories.items()}
    return logs, [keras.ops.convert_to_numpy(variable.value).copy() for variable in student.variables]


def stopped(ds, moment, student=None, **settings):
    with pytest.raises(Stopped):
        taught(ds, student, callbacks=[Stop(*moment)], **settings)


def assert_equal(ours, theirs):
    assert ours[0] == theirs[0]
    assert same(ours[1], theirs[1])


def test_both_stages_run_with_their_own_halved_rate():
    teacher, student = network(1), network(2)
    before = weights_of(teacher)
    start = weights_of(student)
    logs, _ = taught(ARRAYS, student, teacher, matching_epochs=12, tuning_epochs=11, batch_size=4)
    assert list(logs) == ["matching", "student"]
    matching, tuning = logs.values()
    assert set(matching) == {"epoch", "loss", "feature_loss", "learning_rate"}
    assert set(tuning) == {"epoch", "loss", "label_loss", "feature_loss", "accuracy", "learning_rate"}
    # 1e-6 of the rate: it is kept in float32.
    assert matching["learning_rate"] == pytest.approx([0.01] * 10 + [0.005] * 2, rel=1e-6)
    assert tuning["learning_rate"] == pytest.approx([0.01] * 10 + [0.005], rel=1e-6)
    assert matching["feature_loss"][-1] < matching["feature_loss"][0]
    assert matching["loss"] == pytest.approx(matching["feature_loss"], rel=1e-6)  # alpha is 1 in stage (b)
    assert tuning["loss"][0] == pytest.approx(tuning["label_loss"][0] + 10 * tuning["feature_loss"][0], rel=1e-6)
    assert same(weights_of(teacher), before)
    assert not same(weights_of(student), start)


def test_alpha_is_that_of_the_second_stage():
    logs, _ = taught(ARRAYS, network(2), matching_epochs=1, tuning_epochs=1, alpha=3.0)
    tuning = logs["student"]
    assert tuning["loss"][0] == pytest.approx(tuning["label_loss"][0] + 3 * tuning["feature_loss"][0], rel=1e-6)


CHAIN = [
    (("matching", 0, 0), 0),
    (("matching", 0, "end"), 0),
    (("matching", 1, 1), 0),
    (("student", 0, "begin"), NEVER),
    (("student", 0, 1), 0),
    (("student", 1, "begin"), 0),
    (("student", 1, 2), 0),
    (("student", 1, "end"), NEVER),
]


@pytest.mark.parametrize(
    "kind",
    [
        pytest.param("arrays", marks=pytest.mark.backends("tensorflow", "jax", "torch", more=["jax"])),
        pytest.param("PyDataset", marks=pytest.mark.backends("torch")),  # their order is Python's
        pytest.param("callable", marks=pytest.mark.backends("torch")),
    ],
)
def test_a_job_stopped_again_and_again_ends_as_one_that_ran_through(kind, tmp_path):
    make = {"arrays": lambda: ARRAYS, "PyDataset": Batches, "callable": lambda: generated}[kind]
    settings = {"optimizer": ACCUMULATING} if kind == "arrays" else {}
    chain = CHAIN if kind == "arrays" else CHAIN[2::2]
    expected = taught(make(), **settings)
    for number, (moment, interval) in enumerate(chain):
        stopped(make(), moment, fresh(2 + number), checkpoints=tmp_path, save_interval=interval, **settings)
    found = taught(make(), fresh(50), checkpoints=tmp_path, **settings)
    assert_equal(found, expected)
    assert len(list(tmp_path.iterdir())) <= 4  # two of either stage


class Workers(Batches):
    def __init__(self):
        super().__init__()
        self.workers = 2


EXTRAS = {
    "projection, averaged weights, class weights": {
        "teacher": network(1, width=7),
        "optimizer": functools.partial(keras.optimizers.SGD, use_ema=True, ema_momentum=0.5),
        "class_weight": {0: 0.5, 1: 2.0, 2: 1.25},
    },
    "sample weights, validation, cache": {
        "ds": (X, Y, WEIGHT),
        "validation_data": (X[:4], Y[:4]),
        "cache_teacher": True,
    },
}


@pytest.mark.parametrize("kind", EXTRAS)
@pytest.mark.parametrize("stage", [pytest.param("matching", marks=pytest.mark.backends("torch")), "student"])
def test_what_fit_offers_is_taken_up_too(kind, stage, tmp_path):
    job = {"ds": ARRAYS, **EXTRAS[kind]}
    keras.utils.set_random_seed(1)  # of the projection
    expected = taught(**job)
    keras.utils.set_random_seed(1)
    stopped(moment=(stage, 0, 1), checkpoints=tmp_path, save_interval=0, **job)
    assert_equal(taught(checkpoints=tmp_path, **job), expected)


@pytest.mark.backends("torch")
def test_features_of_the_teacher_are_kept_beside_the_checkpoints(tmp_path, monkeypatch):
    stopped(ARRAYS, ("student", 0, 1), checkpoints=tmp_path, save_interval=0, cache_teacher=True)
    asked = []
    add = FeatureCache._add
    monkeypatch.setattr(FeatureCache, "_add", lambda *arguments: asked.append(add(*arguments)))
    taught(ARRAYS, checkpoints=tmp_path, cache_teacher=True)
    assert not asked


@pytest.mark.backends("torch")
def test_a_dataset_with_workers_is_taken_up(tmp_path):
    expected = taught(Batches())
    stopped(Workers(), ("student", 0, 1), checkpoints=tmp_path, save_interval=0)
    assert_equal(taught(Workers(), checkpoints=tmp_path), expected)


def test_bfloat16_variables_come_back_bit_by_bit(tmp_path):
    def student():
        return network(2, dtype="bfloat16")

    settings = {"teacher": network(1, dtype="bfloat16")}
    expected = taught(ARRAYS, student(), **settings)
    stopped(ARRAYS, ("student", 1, 0), student(), checkpoints=tmp_path, save_interval=0, **settings)
    assert_equal(taught(ARRAYS, student(), checkpoints=tmp_path, **settings), expected)


@pytest.mark.backends("torch")
def test_a_job_that_is_done_comes_back_without_training(tmp_path, caplog):
    expected = taught(ARRAYS, checkpoints=tmp_path)
    caplog.set_level(logging.INFO, "keras_vitser")
    found = taught(ARRAYS, fresh(9), checkpoints=tmp_path, callbacks=[Stop("matching", 0, "begin")])
    assert_equal(found, expected)
    assert "matching was done already" in caplog.text
    assert "student was done already" in caplog.text


@pytest.mark.backends("torch")
def test_a_resumption_says_where(tmp_path, caplog):
    stopped(ARRAYS, ("student", 1, 1), checkpoints=tmp_path, save_interval=0)
    caplog.set_level(logging.INFO, "keras_vitser")
    taught(ARRAYS, checkpoints=tmp_path)
    assert "student resumed at epoch 1, step 1" in caplog.text


@pytest.mark.backends("torch")
def test_own_callbacks_see_one_training(tmp_path):
    seen = []
    note = keras.callbacks.LambdaCallback(
        on_epoch_begin=lambda epoch, logs: seen.append(epoch),
        on_train_begin=lambda logs: seen.append("begin"),
        on_train_end=lambda logs: seen.append("end"),
    )
    stopped(ARRAYS, ("student", 0, 1), checkpoints=tmp_path, save_interval=0)
    taught(ARRAYS, checkpoints=tmp_path, callbacks=note)
    assert seen == ["begin", 0, 1, "end"]


def test_a_stage_that_a_callback_ends_is_not_taken_up_again(tmp_path):
    class Enough(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            self.model.stop_training = epoch == 1

    for _ in range(2):
        logs, _ = taught(ARRAYS, matching_epochs=4, callbacks=[Enough()], checkpoints=tmp_path)
        assert [logs[stage]["epoch"] for stage in logs] == [[0, 1], [0, 1]]


def saves(monkeypatch):
    made = []
    save = Checkpoints.save
    monkeypatch.setattr(Checkpoints, "save", lambda *arguments: made.append(save(*arguments)))
    return made


def test_a_callback_with_a_state_is_taken_up(tmp_path):
    class Counter(keras.callbacks.Callback):
        steps = 0

        def on_train_batch_end(self, batch, logs=None):
            self.steps += 1

        def get_state(self):
            return [np.array(self.steps)]

        def set_state(self, arrays):
            self.steps = int(arrays[0])

    with pytest.raises(Stopped):
        taught(ARRAYS, checkpoints=tmp_path, save_interval=0, callbacks=[Counter(), Stop("matching", 1, 1)])
    counter = Counter()
    taught(ARRAYS, checkpoints=tmp_path, tuning_epochs=2, callbacks=[counter])
    assert counter.steps == 4 * STEPS


@pytest.mark.backends("torch")
def test_a_damaged_checkpoint_is_passed_over_with_a_warning(tmp_path, caplog):
    expected = taught(ARRAYS)
    stopped(ARRAYS, ("student", 1, 1), checkpoints=tmp_path, save_interval=0)
    newest = max(tmp_path.glob("student-*.npz"))
    newest.write_bytes(newest.read_bytes()[:1000])
    assert_equal(taught(ARRAYS, checkpoints=tmp_path), expected)
    assert f"{newest} is damaged" in caplog.text


@pytest.mark.backends("torch")
def test_saving_is_not_every_step(tmp_path, monkeypatch):
    made = saves(monkeypatch)
    taught(ARRAYS, checkpoints=tmp_path, save_interval=NEVER)
    assert len(made) == 4  # the start and the end of either stage
    made.clear()
    taught(ARRAYS, checkpoints=tmp_path / "each", save_interval=0)
    assert len(made) == 4 + 2 * (2 * (STEPS - 1) + 1)  # between the steps of each epoch, and between the epochs


def batched(framework):
    if framework == "tf.data":
        tf = require("tensorflow")
        return tf.data.Dataset.from_tensor_slices(ARRAYS).batch(3)
    torch = require("torch")
    data = torch.utils.data.TensorDataset(*map(torch.tensor, ARRAYS))
    return torch.utils.data.DataLoader(data, batch_size=3)


@pytest.mark.backends("torch")
@pytest.mark.parametrize("framework", ["tf.data", "torch"])
def test_data_of_unknown_order_is_resumed_at_epoch_ends_with_one_warning(framework, tmp_path, monkeypatch, caplog):
    made = saves(monkeypatch)
    expected = taught(batched(framework))
    assert not caplog.records
    stopped(batched(framework), ("student", 1, 1), checkpoints=tmp_path, save_interval=0)
    assert (
        len(made) == 5
    )  # the start, the middle and the end of the first stage; the start and the middle of the second
    warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert len(warnings) == 1
    assert "order" in warnings[0]
    assert "cannot be restored" in warnings[0]
    found = taught(batched(framework), checkpoints=tmp_path)
    assert_equal(found, expected)  # these are in a fixed order after all


@pytest.mark.backends("torch")
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tuning_epochs": 5}, "tuning_epochs was 2 and is 5"),
        ({"seed": 3}, "seed was 0 and is 3"),
        ({"batch_size": 4}, "batch_size was 3 and is 4"),
        ({"alpha": 1.0}, "alpha was 10.0 and is 1.0"),
        ({"learning_rate": 0.1}, "learning_rate was 0.01 and is 0.1"),
        ({"optimizer": keras.optimizers.SGD}, "optimizer.class_name was"),
        ({"class_weight": {0: 1.0, 1: 1.0, 2: 2.0}}, "class_weight"),
        ({"teacher": network(5)}, "teacher was"),
        ({"student": network(1, width=5, middle=[keras.layers.Dense(5)])}, "student was"),
        ({"matches": [Match("logits", "logits", loss=SoftLabels(2.0))]}, "matches"),
    ],
)
def test_another_job_is_refused(change, message, tmp_path):
    stopped(ARRAYS, ("matching", 0, 0), checkpoints=tmp_path)
    before = {file: file.read_bytes() for file in tmp_path.iterdir()}
    with pytest.raises(CheckpointError, match=f"another job: .*{re.escape(message)}"):
        taught(ARRAYS, checkpoints=tmp_path, **change)
    assert {file: file.read_bytes() for file in tmp_path.iterdir()} == before


@pytest.mark.backends("torch")
def test_other_arrays_of_the_same_shape_are_another_job(tmp_path):
    stopped(ARRAYS, ("matching", 0, 0), checkpoints=tmp_path)
    with pytest.raises(CheckpointError, match=r"data was .arrays of 8 examples, digest"):
        taught((X, (Y + 1) % 3), checkpoints=tmp_path)


@pytest.mark.backends("torch")
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"matching_epochs": -1}, "`matching_epochs` must be an int of at least 0. Received: -1"),
        ({"tuning_epochs": 1.5}, "`tuning_epochs` must be an int"),
        ({"optimizer": keras.optimizers.Adam()}, "`optimizer` must be called with the learning rate"),
        ({"save_interval": float("nan")}, "`save_interval` must be seconds"),
        ({"epochs": 3}, "`epochs`: set matching_epochs and tuning_epochs"),
        ({"initial_epoch": 3}, "`initial_epoch`: a job is resumed by its `checkpoints`"),
        ({"shuffle": True}, "`shuffle`: arrays are shuffled by `seed`"),
        ({"validation_split": 0.5}, "`validation_split`: give validation_data"),
        ({"y": Y}, "`y`: give `ds` as"),
        ({"steps_per_epoch": 1}, "`steps_per_epoch`: an epoch is all of `ds`"),
        ({"batch_size": 0}, "`batch_size` must be an int of at least 1"),
        ({"seed": -1}, "`seed` must be an int of at least 0"),
    ],
)
def test_arguments_out_of_range_are_refused_before_anything_is_written(settings, message, tmp_path):
    with pytest.raises(DistillationError, match=re.escape(message)):
        taught(ARRAYS, checkpoints=tmp_path / "job", **settings)
    assert not (tmp_path / "job").exists()


@pytest.mark.filterwarnings("ignore:`shuffle=True` was passed")
@pytest.mark.parametrize("kind", ["arrays", "PyDataset", "callable", "tf.data"])
def test_labels_of_the_second_stage_are_checked_in_the_first(kind):
    labels = np.where(np.arange(8) == 5, 3, Y)  # in the second of three batches
    data = {
        "arrays": lambda: (X, labels, WEIGHT),
        "PyDataset": lambda: with_labels(Batches(), labels),
        "callable": lambda: lambda epoch: [(X[s : s + 3], labels[s : s + 3]) for s in (0, 3, 6)],
        "tf.data": lambda: tf_batches(labels),
    }[kind]
    student = network(2)
    steps = []
    told = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: steps.append(batch))
    with pytest.raises(DistillationError, match=r"from 0 to 2, one an example, for 3 classes.*Received: 3"):
        transfer(network(1), student, data(), matching_epochs=2, batch_size=3, verbose=0, callbacks=[told])
    assert steps in ([], [] if kind == "arrays" else [0])  # Keras may look at the first batches before it starts
    if kind == "arrays":
        transfer(network(1), student, data(), matching_epochs=1, tuning_epochs=0, verbose=0)  # learns no labels


def with_labels(batches, labels):
    batches.__class__ = type(
        "Labelled", (Batches,), {"__getitem__": lambda self, i: (X[3 * i :][:3], labels[3 * i :][:3])}
    )
    return batches


def tf_batches(labels):
    tf = require("tensorflow")
    return tf.data.Dataset.from_tensor_slices((X, labels)).batch(3)


@pytest.mark.backends("torch")
def test_validation_labels_are_checked_before_the_first_stage():
    with pytest.raises(DistillationError, match="Received: 9 at index 0"):
        transfer(network(1), network(2), ARRAYS, validation_data=(X, np.full(8, 9)), callbacks=[None])
