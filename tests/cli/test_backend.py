"""Which backend a command uses: option, environment, keras.json, the README's order for its job."""

import importlib.util
import json
import os

import pytest

from keras_vitser.cli.backend import BACKENDS, PREDICTION, TRAINING, backend_of, choose_backend
from keras_vitser.errors import BackendError

pytestmark = pytest.mark.backends("tensorflow")


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """A machine with these backends installed, this `keras.json` and this environment."""

    def make(installed=BACKENDS, configured=None, environment=None, home="KERAS_HOME"):
        monkeypatch.setattr(
            importlib.util, "find_spec", lambda name, package=None: object() if name in installed else None
        )
        monkeypatch.delenv("KERAS_HOME", raising=False)
        monkeypatch.setenv("HOME", str(tmp_path))
        monkeypatch.setenv("USERPROFILE", str(tmp_path))
        folder = tmp_path / ".keras"
        if home == "KERAS_HOME":
            folder = tmp_path / "elsewhere"
            monkeypatch.setenv("KERAS_HOME", str(folder))
        monkeypatch.setenv("KERAS_BACKEND", environment or "")
        if environment is None:
            monkeypatch.delenv("KERAS_BACKEND")
        if configured is not None:
            folder.mkdir()
            text = configured if configured.startswith(("{", "[", "no")) else json.dumps({"backend": configured})
            (folder / "keras.json").write_text(text)

    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "3")  # so that it is as it was afterwards
    return make


def test_the_option_goes_first(machine):
    machine(configured="jax", environment="jax")
    assert choose_backend("torch") == "torch"
    assert os.environ["KERAS_BACKEND"] == "torch"


def test_then_the_environment(machine):
    machine(configured="jax", environment="torch")
    assert choose_backend(None) == os.environ["KERAS_BACKEND"] == "torch"


@pytest.mark.parametrize("home", ["KERAS_HOME", "HOME"])
@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_then_keras_json(machine, backend, home):
    machine(configured=backend, home=home)
    assert choose_backend(None) == os.environ["KERAS_BACKEND"] == backend


def test_the_tensorflow_that_keras_writes_by_itself_is_no_choice(machine):
    machine(installed=("jax", "torch"), configured="tensorflow")
    assert choose_backend(None) == "torch"


def test_a_keras_json_whose_backend_is_not_installed_is_passed_over(machine):
    machine(installed=("tensorflow", "jax"), configured="torch")
    assert choose_backend(None) == "tensorflow"


@pytest.mark.parametrize(
    "text", ["no JSON", "[]", "{}", '{"backend": null}', '{"backend": "openvino"}', '{"backend": ["jax"]}']
)
def test_a_keras_json_that_says_nothing_is_passed_over(machine, text):
    machine(configured=text)
    assert choose_backend(None) == "tensorflow"


@pytest.mark.parametrize(
    ("installed", "to_train", "to_predict"),
    [
        (("torch", "jax", "tensorflow"), "tensorflow", "jax"),
        (("torch", "jax"), "torch", "jax"),
        (("tensorflow", "torch"), "tensorflow", "tensorflow"),
        (("torch",), "torch", "torch"),
    ],
)
def test_then_the_fastest_installed_one(machine, monkeypatch, installed, to_train, to_predict):
    machine(installed=installed)
    assert choose_backend(None) == to_train
    monkeypatch.delenv("KERAS_BACKEND")
    assert choose_backend(None, PREDICTION) == to_predict
    assert set(TRAINING) == set(PREDICTION) == set(BACKENDS)


def test_an_empty_environment_variable_is_none(machine):
    machine(environment="")
    assert choose_backend(None) == "tensorflow"


def test_with_none_installed_one_line_says_what_to_install(machine):
    machine(installed=())
    with pytest.raises(BackendError, match=r"pip install 'keras-vitser\[tensorflow-cpu\]'") as caught:
        choose_backend(None)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("by_option", [True, False])
def test_an_unknown_one_is_refused(machine, by_option):
    machine(environment=None if by_option else "pytorch")
    with pytest.raises(BackendError, match="unknown backend 'pytorch'; choose one of tensorflow, jax, torch"):
        choose_backend("pytorch" if by_option else None)


def test_one_that_is_asked_for_and_not_installed_is_refused(machine):
    machine(installed=("jax",))
    with pytest.raises(BackendError, match=r"pip install 'keras-vitser\[torch\]'"):
        choose_backend("torch")


def test_the_backend_of_a_run_is_in_its_folder(tmp_path):
    assert backend_of(tmp_path) is None
    (tmp_path / "environment.json").write_text('{"backend": "jax"}')
    assert backend_of(tmp_path) == "jax"
    for content in ("{", "[]", "{}"):
        (tmp_path / "environment.json").write_text(content)
        assert backend_of(tmp_path) is None
