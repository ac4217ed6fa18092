"""`serving/load_test.py` against our server: no failed request, the bare loop's throughput, shedding, flat memory."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from keras_vitser import serving
from keras_vitser.layers import LogMelImage
from keras_vitser.models import ViTSER
from keras_vitser.recognizer import Recognizer
from tests.requirements import require
from tests.serving.running_server import running_server

require("serve")
pytestmark = [pytest.mark.backends("tensorflow"), pytest.mark.more]
SCRIPT = Path(__file__).parents[2] / "serving" / "load_test.py"
# Of what else runs on the machine in the few seconds of the short form, and of nothing in the long form.
NOISE = ("throughput is", "the 99th percentile", "after the overload", "memory grew")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The paper's student, untrained, as it is exported."""
    recognizer = Recognizer(ViTSER.student(7), "abcdefg", LogMelImage())
    model = recognizer.save(tmp_path_factory.mktemp("load") / "model")
    return serving.export(model, model.parent / "vit_ser", version=1).path.parent


@pytest.mark.parametrize("seconds", [4, pytest.param(60, marks=pytest.mark.long)])
def test_the_server_bears_its_load_and_sheds_what_is_too_much(folder, seconds):
    with running_server(folder) as running:
        command = [sys.executable, str(SCRIPT), running.url, "--model-dir", str(folder), "--seconds", str(seconds)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=400, check=False)
        assert done.stdout, done.stderr
        figures = json.loads(done.stdout.splitlines()[-1])
    print(figures)
    failures = [line for line in figures["failures"] if seconds >= 60 or not line.startswith(NOISE)]
    assert not failures, str(figures)
    assert (figures["failed"], figures["overload_other"]) == (0, {})
    assert figures["overload_shed"] > 0
    assert figures["memory_growth"] < 1.5
    assert done.returncode == bool(figures["failures"])


def test_a_server_that_is_not_there_is_an_error():
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "http://127.0.0.1:1"], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 1
    assert "is a server running there?" in done.stderr
    assert "Traceback" not in done.stderr
