"""The LiteRT file in its interpreter, against `Recognizer`; and with weights of 8 bits, against the run's own test."""

import json
import re
import zipfile

import numpy as np
import pytest

from keras_vitser import experiments, serving
from keras_vitser.audio import read_waveform
from keras_vitser.errors import RunFolderError
from keras_vitser.recognizer import Recognizer
from tests.experiments.made_up import TINY
from tests.requirements import require
from tests.serving.conftest import CARD, LABELS
from tests.serving.real_sounds import original_files, waveforms

interpreter = require("export", "ai_edge_litert.interpreter")

pytestmark = [pytest.mark.backends("tensorflow"), pytest.mark.more]


@pytest.fixture(scope="module")
def file(model, tmp_path_factory):
    return serving.export(model, tmp_path_factory.mktemp("litert") / "vit_ser.tflite").path


@pytest.mark.filterwarnings("ignore:.*recordings last longer")
def test_real_recordings_are_answered_as_by_the_recognizer(file, recognizer, recordings):
    clips = [*waveforms(recordings), *map(read_waveform, original_files(recordings))]
    batch = np.zeros((len(clips), 64000), np.float32)
    for row, clip in zip(batch, clips, strict=True):
        row[: min(len(row), len(clip))] = clip[: len(row)]
    expected = np.stack([answer.probabilities for answer in recognizer.predict(clips, sampling_rate=16000)])
    runner = interpreter.Interpreter(str(file)).get_signature_runner()
    np.testing.assert_allclose(runner(waveform=batch)["probabilities"], expected, rtol=0, atol=1e-5)
    np.testing.assert_allclose(runner(waveform=batch[2:3])["probabilities"][0], expected[2], rtol=0, atol=1e-5)


def test_labels_and_card_are_in_it_as_in_an_archive(file):
    with zipfile.ZipFile(file) as archive:
        assert tuple(archive.read("labels.txt").decode().splitlines()) == LABELS
        assert json.loads(archive.read("recognizer.json"))["sampling_rate"] == 16000
        assert archive.read("MODEL_CARD.md").decode() == CARD


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    overrides = TINY | {"corpus.name": "demo", "protocol.test_speakers": ["speaker6"], "seed": 3}
    return experiments.run(None, runs=tmp_path_factory.mktemp("runs"), overrides=overrides)


@pytest.fixture(scope="module")
def exported(run, tmp_path_factory):
    require("export", "ai_edge_quantizer")
    return serving.export(run.folder, tmp_path_factory.mktemp("int8") / "small.tflite", int8=True)


def test_its_loss_is_that_on_the_runs_own_test_part(run, exported):
    found = re.fullmatch(
        r"int8: UA ([\d.]+) % on the run's (\d+) test clips, float32 ([\d.]+) %: (-?[\d.]+) points lost",
        exported.sentence,
    )
    int8, clips, float32, lost = map(float, found.groups())
    scores = run.metrics["student"]
    assert clips == scores["clips"]
    assert float32 == pytest.approx(100 * scores["unweighted_accuracy"], abs=0.051)
    assert lost == pytest.approx(float32 - int8, abs=0.11)


def test_weights_are_ints_and_all_else_is_not(exported):
    tensors = interpreter.Interpreter(str(exported.path)).get_tensor_details()
    kinds = {np.dtype(tensor["dtype"]).name for tensor in tensors}
    sizes = [np.prod(tensor["shape"]) for tensor in tensors if tensor["dtype"] == np.int8]
    assert "float32" in kinds
    assert len(sizes) > 3


def test_answers_are_close_to_those_of_float32(run, exported):
    clip = np.random.default_rng(0).normal(0, 0.1, (4, 64000)).astype(np.float32)
    expected = Recognizer.load(run.folder).predict(list(clip), sampling_rate=16000)
    given = interpreter.Interpreter(str(exported.path)).get_signature_runner()(waveform=clip)["probabilities"]
    difference = np.abs(given - np.stack([answer.probabilities for answer in expected])).max()
    assert 0 < difference < 0.05


def test_a_model_folder_has_no_test_part(model, tmp_path):
    with pytest.raises(RunFolderError, match="is no run folder"):
        serving.export(model, tmp_path / "a.tflite", int8=True)
    assert list(tmp_path.iterdir()) == []


def test_other_recordings_are_refused(run, tmp_path):
    split = run.folder / "split.csv"
    text = split.read_text()
    split.write_text(text.replace(",speaker6,", ",speaker99,", 1))
    try:
        with pytest.raises(RunFolderError, match="not those that the run began with"):
            serving.export(run.folder, tmp_path / "a.tflite", int8=True)
    finally:
        split.write_text(text)
