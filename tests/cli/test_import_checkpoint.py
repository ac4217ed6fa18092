"""`keras-vitser import-checkpoint`: what it writes, prints and refuses; the conversion is tested in `tests/models`."""

import keras
import numpy as np
import pytest

from keras_vitser.audio import read_waveform
from keras_vitser.models import ViTSER
from keras_vitser.recognizer import Recognizer
from tests.cli.conftest import write_sound
from tests.requirements import require

torch = require("torch")

from tests.models.vit_ser.published_network import random_network, run, save
from tests.models.vit_ser.test_author_checkpoint import WRONG_STATES
from tests.models.vit_ser.test_checkpoint_archive import BAD

pytestmark = pytest.mark.backends("tensorflow")

TEACHER = {"teacher": True, "classes": 3, "patch": (128, 1), "depth": 1, "heads": 1, "width": 16, "mlp": 16}
STUDENT = TEACHER | {"teacher": False}
LABELS = ["--labels", "calm, upset,glad"]


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    folder = tmp_path_factory.mktemp("checkpoints")
    save(random_network(**TEACHER), folder / "teacher.pth")
    save(random_network(**STUDENT), folder / "student.pth")
    (folder / "bad.pth").write_bytes(b"weights")
    return folder


def test_the_folder_is_taken_by_the_recognizer(command, checkpoints, tmp_path):
    output = tmp_path / "models" / "student"
    ended = command("import-checkpoint", checkpoints / "student.pth", *LABELS, "--output", output)
    assert ended.code == 0, ended.err
    count = ViTSER.from_author_checkpoint(checkpoints / "student.pth").count_params()
    assert ended.out.splitlines() == [
        f"student of depth 1 with 1 heads, {count:,} parameters; labels calm, upset, glad",
        f"wrote {output}",
    ]
    assert sorted(file.name for file in output.iterdir()) == ["MODEL_CARD.md", "model.keras", "recognizer.json"]
    assert "student.pth" in (output / "MODEL_CARD.md").read_text(encoding="utf-8")
    recognizer = Recognizer.load(output)
    assert recognizer.labels == ("calm", "upset", "glad")
    answer = recognizer.predict(write_sound(tmp_path / "a.wav"))
    assert answer.label in recognizer.labels


@pytest.mark.more
def test_what_is_answered_is_the_published_network_on_the_papers_image(command, checkpoints, tmp_path):
    """The uninterpolated time axis, on the published scale of coordinates; and the other way up."""
    sound = write_sound(tmp_path / "a.wav", seconds=2)
    for options, turned in (([], False), (["--lowest-band-first"], True)):
        output = tmp_path / f"teacher{turned}"
        sizes = ["--image-size", "128x1001", *options]
        ended = command("import-checkpoint", checkpoints / "teacher.pth", *LABELS, "--output", output, *sizes)
        assert ended.code == 0, ended.err
        recognizer = Recognizer.load(output)
        assert recognizer.front_end.image_size == (128, recognizer.front_end.spectrogram_frames) == (128, 1001)
        assert recognizer.front_end.highest_band_first is not turned
        assert recognizer.network.coordinates == "published"
        waveform = read_waveform(sound)
        image = keras.ops.convert_to_numpy(recognizer.front_end(waveform[None]))
        logits, _ = run(random_network(**TEACHER), image)
        expected = torch.softmax(torch.from_numpy(logits), -1).numpy()[0]
        # 1e-5 at probabilities: float32 against float64.
        np.testing.assert_allclose(recognizer.predict(sound).probabilities, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("file", "arguments", "words"),
    [
        ("no.pth", LABELS, "no.pth: is no file"),
        ("bad.pth", LABELS, "is not the zip archive that torch.save writes"),
        ("student.pth", ["--labels", "calm,upset"], "mlp_head.weight is of 3 classes, and 2 labels were given"),
        ("student.pth", ["--labels", "a,b,c,d"], "mlp_head.weight is of 3 classes, and 4 labels were given"),
        ("student.pth", ["--labels", "calm,calm,upset"], "needs 3 different labels"),
        ("student.pth", ["--labels", "calm,,upset"], "none of them empty"),
        ("student.pth", [*LABELS, "--patch-size", "16x16"], "to_patch_embedding.1.weight: is for patches of 128"),
        ("student.pth", [*LABELS, "--image-size", "128"], "--image-size takes bands x frames"),
        ("student.pth", [*LABELS, "--patch-size", "128x-1"], "--patch-size takes bands x frames"),
        ("student.pth", [*LABELS, "--image-size", "0x128"], "the image size must be two positive ints"),
        ("student.pth", [*LABELS, "--heads", "3"], "to_qkv.weight: an inner width of 64 cannot be 3 heads"),
        ("student.pth", [], "--labels"),
    ],
)
def test_a_refusal_is_one_line_and_nothing_is_written(command, checkpoints, tmp_path, file, arguments, words):
    ended = command("import-checkpoint", checkpoints / file, *arguments, "--output", tmp_path / "a" / "model")
    assert words in ended.refusal
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", [*WRONG_STATES, *BAD])
def test_a_malformed_checkpoint_is_refused_in_one_line_and_nothing_is_written(command, tmp_path, name):
    """Each of what `tests/models` refuses, at the door that writes."""
    file = tmp_path / "wrong.pth"
    if name in BAD:
        content, words = BAD[name]
        file.write_bytes(content)
    else:
        sizes, change, words = WRONG_STATES[name]
        state = dict(random_network(**sizes).state_dict())
        change(state)
        torch.save({"model_state_dict": state}, file)
    sizes = ["--image-size", "8x8", "--patch-size", "8x1"]
    ended = command("import-checkpoint", file, "--labels", "a,b,c,d", "--output", tmp_path / "new" / "model", *sizes)
    assert words in ended.refusal
    assert [path.name for path in tmp_path.iterdir()] == ["wrong.pth"]


def test_nothing_is_overwritten(command, checkpoints, tmp_path):
    ended = command("import-checkpoint", checkpoints / "student.pth", *LABELS, "--output", tmp_path)
    assert "is already there, and nothing is overwritten" in ended.refusal
