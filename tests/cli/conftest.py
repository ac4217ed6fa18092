"""The command line in this process, and a small model and recordings for it."""

import json
import logging
import os
import subprocess
import sys
import warnings
from dataclasses import dataclass

import keras
import numpy as np
import pytest
import soundfile

from keras_vitser.cli.main import main
from keras_vitser.layers import LogMelImage
from keras_vitser.models import ViTSER
from keras_vitser.recognizer import Recognizer

LABELS = ("calm", "upset")


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def refusal(self) -> str:
        """The one line of a command that ended for a fault of the input."""
        assert self.code == 2, self
        lines = self.err.strip().splitlines()
        assert len(lines) == 1, self.err
        assert lines[0].startswith("error: ")
        assert "Traceback" not in self.err
        return lines[0]


HEAVY = {"keras", "numpy", "matplotlib", "tensorflow", "jax", "torch", "scipy", "soundfile", "mlflow", "yaml"}


def modules_of_help(commands):
    """In a process of its own: the modules that the help of commands, each a list of words, loads; and its stderr."""
    code = (
        "import sys, json\n"
        "from keras_vitser.cli.main import main\n"
        "for command in json.loads(sys.argv[1]):\n"
        "    sys.argv = ['keras-vitser', *command, '--help']\n"
        "    try:\n"
        "        main()\n"
        "    except SystemExit as ended:\n"
        "        assert not ended.code, ended.code\n"
        "print()\n"
        "print(json.dumps(sorted({name.split('.')[0] for name in sys.modules})))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, json.dumps(commands)], capture_output=True, text=True, check=False, env=os.environ
    )
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout.splitlines()[-1])), done.stderr


@pytest.fixture
def command(monkeypatch, capsys):
    """Runs `keras-vitser ARGUMENTS` and returns how it ended."""
    logger = logging.getLogger("keras_vitser")
    handlers, level = list(logger.handlers), logger.level
    monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)
    monkeypatch.setenv("KERAS_BACKEND", keras.backend.backend())

    def run(*arguments) -> Ended:
        monkeypatch.setattr(sys, "argv", ["keras-vitser", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        captured = capsys.readouterr()
        for handler in [handler for handler in logger.handlers if handler not in handlers]:
            logger.removeHandler(handler)
        return Ended(ended.value.code or 0, captured.out, captured.err)

    yield run
    logger.handlers[:] = handlers
    logger.setLevel(level)


@pytest.fixture(scope="session")
def model(tmp_path_factory):
    """A model folder of an untrained network of two classes."""
    sizes = {"hidden_dim": 16, "depth": 1, "num_heads": 1, "head_dim": 8, "mlp_dim": 16}
    network = ViTSER.student(2, image_size=(16, 16), patch_size=(16, 1), **sizes)
    recognizer = Recognizer(network, LABELS, LogMelImage(n_mels=16, frames=16, hop_length=256))
    return recognizer.save(tmp_path_factory.mktemp("model") / "model")


def write_sound(path, number=0, seconds=0.5, rate=16000):
    path.parent.mkdir(parents=True, exist_ok=True)
    time = np.arange(round(seconds * rate)) / rate
    soundfile.write(path, 0.5 * np.sin(2 * np.pi * (200 + 50 * number) * time), rate)
    return path


@pytest.fixture(scope="session")
def class_folders(tmp_path_factory):
    """Recordings of one's own: a folder a class, eight clips each."""
    folder = tmp_path_factory.mktemp("clips")
    for index, label in enumerate(LABELS):
        for number in range(8):
            write_sound(folder / label / f"{number}.wav", 10 * index + number)
    return folder
