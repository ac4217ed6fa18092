"""`keras-vitser serve`: what it hands to the server; the server itself is tested in `tests/serving`."""

import socket

import pytest

from tests.requirements import require

require("serve")

from keras_vitser import serving
from keras_vitser.serving import Bounds

pytestmark = pytest.mark.backends("tensorflow")


@pytest.fixture
def served(monkeypatch):
    calls = []
    monkeypatch.setattr(
        serving, "serve", lambda *positional, **options: calls.append((positional, options)), raising=False
    )
    return calls


def test_the_defaults_are_the_servers(command, served, tmp_path):
    assert command("serve", tmp_path).code == 0
    (((folder, name), options),) = served
    assert (folder, name) == (tmp_path, None)
    assert options == {"host": "127.0.0.1", "port": 8501, "policy": "latest", "labels": {}, "bounds": Bounds()}


def test_all_options_arrive(command, served, tmp_path):
    options = ["--name", "emotions", "--host", "0.0.0.0", "--port", "9", "--versions", "1,3"]
    options += ["--label", "stable=1", "--label", "canary=3", "--body-mb", "2", "--batch-size", "8"]
    options += ["--clip-seconds", "10", "--queue", "16", "--requests", "20", "--seconds", "2.5"]
    assert command("serve", tmp_path, *options).code == 0
    (((_, name), options),) = served
    assert name == "emotions"
    assert options == {
        "host": "0.0.0.0",
        "port": 9,
        "policy": (1, 3),
        "labels": {"stable": 1, "canary": 3},
        "bounds": Bounds(2 * 2**20, 8, 10.0, 16, 20, 2.5),
    }


@pytest.mark.parametrize(
    "options", [["--versions", "new"], ["--versions", "1,"], ["--label", "stable"], ["--label", "=1"]]
)
def test_what_is_no_version_is_one_line(command, served, tmp_path, options):
    assert options[0] in command("serve", tmp_path, *options).refusal
    assert not served


def test_a_folder_without_a_version_is_one_line(command, tmp_path):
    assert "holds no version of a model" in command("serve", tmp_path, "--port", "0").refusal


def test_a_port_that_is_taken_is_one_line(command, tmp_path):
    (tmp_path / "1").mkdir()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert "choose another --port" in command("serve", tmp_path, "--port", port).refusal
