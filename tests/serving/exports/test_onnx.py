"""The ONNX file in onnxruntime, against `Recognizer`, and what it says of itself."""

import json

import numpy as np
import pytest

from keras_vitser import serving
from keras_vitser.audio import read_waveform
from tests.requirements import require
from tests.serving.conftest import CARD, LABELS
from tests.serving.real_sounds import original_files, waveforms

onnxruntime = require("export", "onnxruntime")
require("export", "tf2onnx")

pytestmark = [pytest.mark.backends("tensorflow"), pytest.mark.more]


@pytest.fixture(scope="module")
def session(model, tmp_path_factory):
    exported = serving.export(model, tmp_path_factory.mktemp("onnx") / "vit_ser.onnx")
    assert [child.name for child in exported.path.parent.iterdir()] == ["vit_ser.onnx"]
    return onnxruntime.InferenceSession(str(exported.path), providers=["CPUExecutionProvider"])


def test_input_and_output_have_names_and_any_batch_size(session):
    (waveform,), (probabilities,) = session.get_inputs(), session.get_outputs()
    assert (waveform.name, waveform.shape) == ("waveform", ["batch", 64000])
    assert (probabilities.name, probabilities.shape) == ("probabilities", ["batch", 3])


@pytest.mark.filterwarnings("ignore:.*recordings last longer")
def test_real_recordings_are_answered_as_by_the_recognizer(session, recognizer, recordings):
    clips = [*waveforms(recordings), *map(read_waveform, original_files(recordings))]
    batch = np.zeros((len(clips), 64000), np.float32)
    for row, clip in zip(batch, clips, strict=True):
        row[: min(len(row), len(clip))] = clip[: len(row)]
    expected = np.stack([answer.probabilities for answer in recognizer.predict(clips, sampling_rate=16000)])
    (given,) = session.run(["probabilities"], {"waveform": batch})
    np.testing.assert_allclose(given, expected, rtol=0, atol=1e-5)
    (alone,) = session.run(["probabilities"], {"waveform": batch[2:3]})
    np.testing.assert_allclose(alone[0], expected[2], rtol=0, atol=1e-5)


def test_labels_and_card_are_in_it(session):
    properties = session.get_modelmeta().custom_metadata_map
    assert tuple(json.loads(properties["labels"])) == LABELS
    assert json.loads(properties["sampling_rate"]) == 16000
    assert properties["model_card"] == CARD
