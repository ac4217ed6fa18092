"""A search that is stopped at any write goes on; failures are counted. Trials here train nothing."""

import json

import keras
import pytest

from tests.requirements import require

require("tune")

from keras_vitser.errors import DivergedError, TuningError
from keras_vitser.experiments import load_config, stages
from keras_vitser.experiments.run_folder import RunFolder
from keras_vitser.experiments.tuning import OBJECTIVE, ViTSERHyperModel, engine
from keras_vitser.experiments.tuning.trials import ranked, read_trials
from tests.experiments.tuning import quick_search
from tests.experiments.tuning.quick_search import OVERRIDES

pytestmark = pytest.mark.backends("torch")
NOTHING = stages.Part(None, None)


class Stopped(BaseException):
    pass


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(ViTSERHyperModel, "build", quick_search.build)
    monkeypatch.setattr(ViTSERHyperModel, "fit", quick_search.fit)
    monkeypatch.setattr(keras.utils, "clear_session", lambda: None)


def search(path, algorithm="random", trials=4, **settings):
    """Searches in a folder, from where it stands; returns the trials."""
    overrides = OVERRIDES | {"tuning.algorithm": algorithm, "tuning.trials": trials} | settings
    model = ViTSERHyperModel(load_config(None, overrides), 2)
    (path / "tuning").mkdir(exist_ok=True, parents=True)
    folder = RunFolder(path)
    engine.run_trials(model, folder, NOTHING, NOTHING)
    return read_trials(folder, model.exact)


def told(trials):
    timing = {"seconds"}
    return [
        (
            trial.name,
            trial.status,
            trial.values,
            [{k: v for k, v in row.items() if k not in timing} for row in trial.rows],
        )
        for trial in trials
    ]


@pytest.mark.parametrize("algorithm", ["random", "hyperband", "bayesian"])
def test_a_search_stopped_at_any_write_ends_as_one_that_was_not(algorithm, tmp_path, monkeypatch):
    expected = told(search(tmp_path / "unstopped", algorithm))
    assert [status for _, status, _, _ in expected] == ["completed"] * 4
    fitted = []
    whole_file, fit = engine.whole_file, quick_search.fit

    def counted(self, hp, *args, **kwargs):
        fitted.append(hp.values)
        return fit(self, hp, *args, **kwargs)

    monkeypatch.setattr(ViTSERHyperModel, "fit", counted)
    write = 0
    while True:
        write += 1
        left = write

        def stops(path):
            nonlocal left
            left -= 1
            if left == 0:
                raise Stopped
            return whole_file(path)

        folder = tmp_path / f"stopped{write}"
        with monkeypatch.context() as patched:
            patched.setattr(engine, "whole_file", stops)
            try:
                search(folder, algorithm)
                break
            except Stopped:
                pass
        ended = sum(trial.status == "completed" for trial in read_all(folder))
        fitted.clear()
        assert told(search(folder, algorithm)) == expected, f"stopped at write {write}"
        assert len(fitted) == len(expected) - ended, "a finished trial was tried again"
    assert write > 10


def read_all(path):
    return read_trials(RunFolder(path), lambda key, value: value)


def test_the_same_seed_gives_the_same_trials_and_another_others(tmp_path):
    first, again, other = (told(search(tmp_path / name, seed=seed)) for name, seed in (("a", 0), ("b", 0), ("c", 1)))
    assert first == again != other


def test_a_failed_trial_does_not_end_the_search(tmp_path, monkeypatch):
    def fails(self, hp, *args, **kwargs):
        if not failures:
            failures.append(hp.values)
            raise MemoryError("no room for\nthis network")
        return quick_search.fit(self, hp, *args, **kwargs)

    failures = []
    monkeypatch.setattr(ViTSERHyperModel, "fit", fails)
    trials = search(tmp_path)
    assert [trial.status for trial in trials] == ["failed", *["completed"] * 3]
    assert trials[0].message.startswith("MemoryError: no room for this network (test_engine.py:")
    assert ranked(trials)[-1].best[OBJECTIVE] == min(trial.best[OBJECTIVE] for trial in trials[1:])


def test_hyperband_goes_on_with_the_best_where_another_failed(tmp_path, monkeypatch):
    def fails(self, hp, *args, **kwargs):
        if not failures:
            failures.append(hp.values)
            raise MemoryError
        return quick_search.fit(self, hp, *args, **kwargs)

    failures = []
    monkeypatch.setattr(ViTSERHyperModel, "fit", fails)
    trials = search(tmp_path, "hyperband", trials=5)
    assert [trial.status for trial in trials] == ["failed", *["completed"] * 4]
    assert [[row["epoch"] for row in trial.rows] for trial in trials] == [[], [1], [1], [1], [2, 3]]


def test_three_failures_in_a_row_end_it(tmp_path, monkeypatch):
    def fails(self, hp, *args, **kwargs):
        raise ValueError("always")

    monkeypatch.setattr(ViTSERHyperModel, "fit", fails)
    with pytest.raises(TuningError, match=r"3 trials in a row failed.*ValueError: always"):
        search(tmp_path)
    assert [trial.status for trial in read_all(tmp_path)] == ["failed"] * 3


class TestDivergence:
    """A trial that diverges is done, and the worst."""

    @pytest.fixture
    def diverging(self, monkeypatch):
        """Has trials diverge, by their number in the order that they are trained."""

        def choose(numbers):
            def fit(self, hp, *args, **kwargs):
                trained.append(dict(hp.values))
                if len(trained) - 1 in numbers:
                    raise DivergedError("stage student diverged:\nthe loss of epoch 1 is nan")
                return quick_search.fit(self, hp, *args, **kwargs)

            trained = []
            monkeypatch.setattr(ViTSERHyperModel, "fit", fit)
            return trained

        return choose

    @pytest.mark.parametrize("algorithm", ["random", "bayesian"])
    def test_many_in_a_row_do_not_end_a_search(self, algorithm, tmp_path, diverging):
        diverging(range(4))
        trials = search(tmp_path, algorithm, trials=6)
        assert [trial.status for trial in trials] == [*["diverged"] * 4, *["completed"] * 2]
        assert trials[0].message == "stage student diverged: the loss of epoch 1 is nan"
        assert {trial.status for trial in ranked(trials)} == {"completed"}

    def test_hyperband_never_prefers_it(self, tmp_path, diverging):
        diverging([0])
        trials = search(tmp_path, "hyperband", trials=4)
        assert [trial.status for trial in trials] == ["diverged", *["completed"] * 3]
        assert [[row["epoch"] for row in trial.rows] for trial in trials] == [[], [1], [1], [2, 3]]
        assert trials[3].values == max(trials[1:3], key=lambda trial: trial.rank).values

    def test_hyperband_ends_where_a_whole_round_diverged(self, tmp_path, diverging):
        trained = diverging(range(3))
        trials = search(tmp_path, "hyperband", trials=4)
        assert [trial.status for trial in trials] == ["diverged"] * 4
        assert "which it was to go on with, diverged" in trials[3].message
        assert len(trained) == 3

    def test_to_bayesian_search_it_is_worse_than_any_other(self, tmp_path, diverging):
        diverging([1])
        search(tmp_path, "bayesian", trials=3)
        states = [json.loads(path.read_text()) for path in sorted(tmp_path.glob("tuning/trial_*/trial.json"))]
        assert [state["status"] for state in states] == ["COMPLETED"] * 3
        assert states[1]["score"] < 0 <= min(states[0]["score"], states[2]["score"])

    def test_one_of_a_killed_process_is_tried_again_and_may_succeed(self, tmp_path, diverging, monkeypatch):
        diverging([0])

        def stops(*args):
            raise Stopped

        with monkeypatch.context() as patched:
            patched.setattr(engine._Random, "end_trial", stops)
            with pytest.raises(Stopped):
                search(tmp_path)
        assert [trial.status for trial in search(tmp_path)] == ["completed"] * 4


def test_a_trial_that_ends_its_process_is_given_up(tmp_path):
    (tmp_path / "tuning").mkdir()
    model = ViTSERHyperModel(load_config(None, OVERRIDES), 2)
    engine.run_trials(model, RunFolder(tmp_path), NOTHING, NOTHING, given_up="1")
    trials = read_all(tmp_path)
    assert [trial.status for trial in trials] == ["completed", "failed", "completed", "completed"]
    assert trials[1].message == "the process that trained it ended twice, without a word"
