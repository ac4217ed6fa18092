"""The private names of Keras and KerasTuner that the package uses: each is there, and does what is relied upon.

A newer release may rename them without notice; then this is where it shows.
"""

import ast
from pathlib import Path

import keras
import numpy as np
import pytest

import keras_vitser
from tests.requirements import require

pytestmark = pytest.mark.backends("tensorflow", "jax", "torch")

PACKAGE = Path(keras_vitser.__file__).parent
KERAS = {"_value", "_loss_tracker", "_compile_loss", "_aggregate_additional_loss"}
KERAS_TUNER = {"_brackets", "_get_oracle_fname", "_get_trial_dir"}
ELSEWHERE = {"_exit"}  # of `os`, whose documentation has it
# Used too, and not seen by the search below: the argument `_use_cached_eval_dataset` of Keras' `fit`, and what our
# oracle sets and overrides of KerasTuner's, `_retry_queue` and `_save_trial`.


def test_these_are_all():
    """A private attribute that nothing of ours has as a method, a field or a name is another package's."""
    used, own = set(), set()
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                own.add(node.name)
            elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                own.add(node.id)
            elif isinstance(node, ast.Attribute):
                (own if isinstance(node.ctx, ast.Store) else used).add(node.attr)
    private = {name for name in used - own if name.startswith("_") and not name.startswith("__")}
    assert private == KERAS | KERAS_TUNER | ELSEWHERE


@pytest.fixture
def model():
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return model


X, Y = np.ones((4, 3), "float32"), np.array([0, 1, 0, 1])


def test_value_is_what_a_variable_holds(model):
    for variable in model.variables:
        np.testing.assert_array_equal(
            keras.ops.convert_to_numpy(variable._value), keras.ops.convert_to_numpy(variable.value)
        )


@pytest.mark.backends("jax")
def test_value_is_none_where_a_first_step_on_jax_fails(model, monkeypatch):
    def failing(*args):
        raise RuntimeError("no step")

    monkeypatch.setattr(model, "train_step", failing)
    with pytest.raises(RuntimeError, match="no step"):
        model.fit(X, Y, verbose=0)
    assert [variable._value for variable in model.trainable_variables] == [None, None]


def test_loss_tracker_is_the_mean_that_fit_reports_as_loss(model):
    tracker = model._loss_tracker
    assert isinstance(tracker, keras.metrics.Mean)
    assert tracker in model.metrics
    loss = model.fit(X, Y, verbose=0).history["loss"][-1]
    assert float(tracker.result()) == pytest.approx(loss)


def test_compile_loss_is_the_loss_that_was_compiled_weighted_by_the_sample_weights(model):
    model.fit(X, Y, verbose=0)
    logits = np.array([[0, 1], [2, 0], [0, 0], [3, 1]], "float32")
    losses = np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(4), Y]
    weights = np.array([1, 2, 0, 1], "float32")
    y, outputs = keras.ops.convert_to_tensor(Y), keras.ops.convert_to_tensor(logits)
    assert float(model._compile_loss(y, outputs)) == pytest.approx(losses.mean(), rel=1e-5)
    weighted = model._compile_loss(y, outputs, keras.ops.convert_to_tensor(weights))
    assert float(weighted) == pytest.approx((losses * weights).sum() / 4, rel=1e-5)


def test_aggregate_additional_loss_is_the_sum_in_the_precision_of_losses(model):
    total = model._aggregate_additional_loss(keras.ops.convert_to_tensor(np.array([[1.5, 2.0]], "float32")))
    assert keras.ops.shape(total) == ()
    assert keras.backend.standardize_dtype(total.dtype) == "float32"
    assert float(total) == pytest.approx(3.5)


def test_fit_tells_evaluate_that_its_validation_data_is_known():
    told = []

    class Listener(keras.Sequential):
        def evaluate(self, *args, **kwargs):
            told.append(kwargs.get("_use_cached_eval_dataset"))
            return super().evaluate(*args, **kwargs)

    model = Listener([keras.Input((3,)), keras.layers.Dense(2)])
    model.compile("sgd", "mse")
    model.fit(X, X[:, :2], validation_data=(X, X[:, :2]), verbose=0)
    assert told == [True]


class TestKerasTuner:
    """On one backend: an oracle computes nothing."""

    pytestmark = pytest.mark.backends("tensorflow")

    @pytest.fixture
    def tuner(self):
        return require("tune")

    def started(self, tuner, oracle, folder):
        oracle._set_project_dir(folder, "search")
        space = tuner.HyperParameters()
        space.Choice("width", [1, 2, 3, 4])
        oracle.update_space(space)
        return oracle

    @pytest.fixture
    def random(self, tuner, tmp_path):
        oracle = tuner.oracles.RandomSearchOracle(objective=tuner.Objective("score", "max"), max_trials=4, seed=1)
        return self.started(tuner, oracle, tmp_path)

    def test_the_files_of_an_oracle(self, random, tmp_path):
        assert Path(random._get_oracle_fname()).parent == tmp_path / "search"
        trial = random.create_trial("tuner0")
        folder = Path(random._get_trial_dir(trial.trial_id))
        assert folder.parent == tmp_path / "search"
        assert (folder / "trial.json").is_file()

    def test_a_trial_is_saved_by_save_trial(self, random, monkeypatch):
        saved = []
        monkeypatch.setattr(random, "_save_trial", lambda trial: saved.append(trial.trial_id))
        trial = random.create_trial("tuner0")
        assert trial.trial_id in saved

    def test_what_is_in_the_retry_queue_is_given_again_the_last_first(self, random):
        first, second = (random.create_trial(name) for name in ("tuner0", "tuner1"))
        random.ongoing_trials.clear()
        random._retry_queue = [second.trial_id, first.trial_id]
        assert [random.create_trial(name).trial_id for name in ("tuner0", "tuner1")] == [
            first.trial_id,
            second.trial_id,
        ]
        assert random.start_order == [first.trial_id, second.trial_id]

    def test_a_bracket_of_hyperband_has_rounds_of_trials_by_their_names(self, tuner, tmp_path):
        oracle = tuner.oracles.HyperbandOracle(objective=tuner.Objective("score", "max"), max_epochs=4, seed=1)
        trial = self.started(tuner, oracle, tmp_path).create_trial("tuner0")
        (bracket,) = oracle._brackets
        assert [info["id"] for info in bracket["rounds"][0]] == [trial.trial_id]
