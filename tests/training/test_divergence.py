"""keras_vitser/training/divergence.py: a transfer ends where its numbers do, and goes on with a lower rate."""

import json

import keras
import numpy as np
import pytest

from keras_vitser.distillation import Distiller, transfer
from keras_vitser.errors import CheckpointError, DivergedError
from keras_vitser.training import checkpoints
from keras_vitser.training.checkpoints import Checkpoints, Progress
from keras_vitser.training.divergence import FiniteLosses, divergences
from tests.distillation.networks import X, Y, cross_entropy, network

pytestmark = pytest.mark.backends("tensorflow", "jax", "torch")
once = pytest.mark.backends("torch")
TOO_HIGH = 1e30
LOW = 1e-3


class Batches(keras.callbacks.Callback):
    """Where training came, by epoch and batch. With it Keras calls no thread."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        self.seen.append((self.epoch, batch))


def deep(seed):
    """With two layers after another that saturate nowhere: after a step of 1e30 both are finite, and no answer is."""
    return network(seed, middle=[keras.layers.Dense(5, kernel_initializer="ones", name="middle")])


def loss_of(weights):
    """Of the labels, in float32 NumPy as the network computes it."""
    hidden, hidden_bias, middle, middle_bias, head, bias = weights
    return cross_entropy((np.tanh(X @ hidden + hidden_bias) @ middle + middle_bias) @ head + bias).mean()


def taught(student, ds=(X, Y), **settings):
    defaults = {"matching_epochs": 0, "tuning_epochs": 2, "learning_rate": TOO_HIGH, "batch_size": 2, "verbose": 0}
    return transfer(network(1), student, ds, **defaults | settings)


def diverging(student=None, ds=(X, Y), **settings):
    with pytest.raises(DivergedError) as caught:
        taught(student or deep(2), ds, **settings)
    return caught.value


def with_nan():
    x = X.copy()
    x[0, 0] = np.nan
    return x


def epoch_of(x):
    return [(x[start : start + 2], Y[start : start + 2]) for start in range(0, len(x), 2)]


@pytest.mark.parametrize("stage", ["matching", "student"])
@pytest.mark.parametrize("callbacks", [[], ["sees batches"]], ids=["in a thread", "at once"])
def test_it_stops_at_the_first_loss_that_is_not_finite(stage, callbacks):
    first = 2 if stage == "student" else 0
    epochs = {"matching_epochs": first or 3, "tuning_epochs": 3, "learning_rate": LOW}
    batches = Batches()

    def ds(epoch):
        return epoch_of(np.roll(with_nan(), 4, axis=0) if epoch == first + 1 else X)

    error = diverging(ds=ds, callbacks=[batches] if callbacks else [], **epochs)
    assert (error.stage, error.epoch, error.learning_rate) == (stage, 2, LOW)
    assert str(error).startswith(f"stage {stage} diverged: the loss of epoch 2 is nan, at learning rate 0.001; take a")
    assert isinstance(error, FloatingPointError)
    if callbacks:
        assert batches.seen[-2:] == [(1, 0), (1, 1)]


def test_a_distiller_of_ones_own_trains_on_unless_keras_is_asked_to_stop_it():
    x = with_nan()
    distiller = Distiller(network(1), network(2))
    history = distiller.fit(x, Y, epochs=2, verbose=0)
    assert np.isnan(history.history["loss"]).tolist() == [True, True]
    stopped = distiller.fit(x, Y, epochs=2, verbose=0, callbacks=[keras.callbacks.TerminateOnNaN()])
    assert stopped.epoch == [0]


def test_a_validation_loss_counts_too():
    error = diverging(learning_rate=LOW, validation_data=(with_nan(), Y))
    assert "the validation loss of epoch 1 is nan, at learning rate 0.001" in str(error)


def test_so_do_weights_of_a_last_step_that_no_loss_shows(tmp_path):
    settings = {"tuning_epochs": 1, "batch_size": 8, "learning_rate": 1e39}  # in 32 bits infinite
    error = diverging(checkpoints=tmp_path, optimizer=keras.optimizers.SGD, **settings)
    assert "the variable hidden/kernel of epoch 1 is not finite, at learning rate inf" in str(error)
    assert [path.name for path in tmp_path.glob("*.npz")] == ["matching-000001.npz", "student-000001.npz"][1:]


def test_a_stage_that_begins_so_blames_no_rate():
    student = deep(2)
    student.get_layer("logits").set_weights([np.full((5, 3), 3e38, "float32"), np.zeros(3)])
    error = diverging(student)
    assert error.learning_rate is None
    assert "its first loss, before any step, is" in str(error)
    assert "the weights that the stage began with, or the data, are to blame" in str(error)


class TestCheckpoints:
    @pytest.mark.parametrize("interval", [0, 1e9], ids=["each step", "the first alone"])
    def test_it_goes_on_from_the_last_finite_state_with_a_lower_rate(self, tmp_path, interval, caplog):
        settings = {"checkpoints": tmp_path, "save_interval": interval}
        batches = Batches()
        error = diverging(callbacks=[batches], **settings)
        assert str(error).endswith("the same call with a lower `learning_rate` goes on from the last finite checkpoint")
        last = max(tmp_path.glob("student-*.npz"))
        weights = state_in(last)
        assert all(np.isfinite(array).all() for array in weights)
        assert np.isfinite(loss_of(weights))
        step = len(batches.seen) - 1 if interval == 0 else 0
        assert progress_in(last) == (0, step)

        batches = Batches()
        assert str(diverging(callbacks=[batches], **settings)) == str(error)
        assert batches.seen == [], "it was trained on"

        caplog.set_level("INFO", "keras_vitser")
        student = deep(3)
        history = taught(student, learning_rate=LOW, **settings)["student"]
        assert f"student resumed at epoch 0, step {step}" in caplog.text
        assert history.epoch == [0, 1]
        assert np.isfinite(history.history["loss"]).all()
        assert all(np.isfinite(array).all() for array in student.get_weights())
        again = deep(4)
        taught(again, learning_rate=LOW, **settings)
        assert all(np.array_equal(a, b) for a, b in zip(again.get_weights(), student.get_weights(), strict=True))

    def test_a_stage_that_is_done_stays_where_the_next_one_diverged(self, tmp_path):
        def wild(rate):
            return keras.optimizers.SGD(rate)

        settings = {"checkpoints": tmp_path, "matching_epochs": 1, "optimizer": wild, "alpha": 1e30}
        error = diverging(learning_rate=1.0, **settings)
        assert error.stage == "student"
        done = max(tmp_path.glob("matching-*.npz")).read_bytes()
        settings |= {"learning_rate": 1e-33}
        taught(deep(3), **settings)
        assert max(tmp_path.glob("matching-*.npz")).read_bytes() == done

    @once
    def test_only_the_learning_rate_may_differ(self, tmp_path):
        diverging(checkpoints=tmp_path)
        with pytest.raises(CheckpointError, match="batch_size was 2 and is 4"):
            taught(deep(2), checkpoints=tmp_path, learning_rate=LOW, batch_size=4)

    @once
    def test_a_job_that_did_not_diverge_keeps_its_rate(self, tmp_path):
        taught(deep(2), checkpoints=tmp_path, learning_rate=LOW)
        with pytest.raises(CheckpointError, match=r"learning_rate was 0\.001 and is 0\.0001"):
            taught(deep(2), checkpoints=tmp_path, learning_rate=1e-4)

    @once
    def test_a_kill_before_it_is_written_down_loses_nothing(self, tmp_path, monkeypatch):
        class Killed(BaseException):
            pass

        def kills(*args):
            raise Killed

        with monkeypatch.context() as patched:
            patched.setattr(checkpoints, "add_divergence", kills)
            with pytest.raises(Killed):
                taught(deep(2), checkpoints=tmp_path, save_interval=0)
        assert divergences(tmp_path) == []
        error = diverging(checkpoints=tmp_path, save_interval=0)
        assert [row.message for row in divergences(tmp_path)] == [str(error).partition(";")[0]]
        taught(deep(2), checkpoints=tmp_path, save_interval=0, learning_rate=LOW)

    @once
    def test_each_rate_that_diverged_is_kept(self, tmp_path):
        for rate in (TOO_HIGH, 1e29):
            diverging(checkpoints=tmp_path, learning_rate=rate)
        assert [row.learning_rate for row in divergences(tmp_path)] == [TOO_HIGH, 1e29]
        batches = Batches()
        diverging(checkpoints=tmp_path, callbacks=[batches])
        assert batches.seen == []

    @once
    @pytest.mark.parametrize("group", ["model", "optimizer"])
    def test_a_state_of_an_older_version_that_holds_nan_is_passed_over(self, tmp_path, group, caplog):
        model = network(1)
        model.compile(keras.optimizers.Adam())
        model.optimizer.build(model.trainable_variables)
        store = Checkpoints(tmp_path, "student", {})
        store.save(Progress(epoch=1), model)
        variables = {"model": model.variables, "optimizer": model.optimizer.variables}[group]
        variables[-1].assign(np.full(variables[-1].shape, np.nan))
        store.save(Progress(epoch=2), model)
        progress, _ = store.load()
        assert progress.epoch == 1
        assert "student-000002.npz holds numbers that are NaN; going on from the one before it" in caplog.text


@pytest.mark.backends("jax", "torch")  # on TensorFlow Keras itself fetches each loss
def test_it_never_makes_a_step_wait():
    """Keras calls it in a thread, with numbers that it fetches there for its own progress bar."""
    listeners = keras.callbacks.CallbackList([FiniteLosses("student")])
    assert listeners._async_train


class Bounded(keras.layers.Layer):
    """Keeps a number that no step trains."""

    def build(self, shape):
        self.lowest = self.add_weight(shape=(1,), initializer=lambda *args, **kwargs: [-np.inf], trainable=False)

    def call(self, inputs):
        return inputs


def test_a_variable_that_is_not_trained_may_be_infinite():
    model = keras.Sequential([keras.Input((3,)), Bounded(), keras.layers.Dense(2)])
    model.compile("adam")
    model.optimizer.build(model.trainable_variables)
    assert checkpoints.not_finite(model) == []
    model.layers[0].lowest.assign([np.nan])
    assert [variable is model.layers[0].lowest for variable in checkpoints.not_finite(model)] == [True]


def state_in(path):
    """The variables of the model, as NumPy reads them."""
    with np.load(path) as arrays:
        head = json.loads(arrays["head"].tobytes())
        return [arrays[f"model_{place}"] for place in range(head["counts"]["model"])]


def progress_in(path):
    with np.load(path) as arrays:
        progress = json.loads(arrays["head"].tobytes())["progress"]
    return progress["epoch"], progress["step"]
