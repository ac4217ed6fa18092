"""Lists of samples sent to our server with an exported model; `sample_lists.py` has the table."""

import asyncio
import json

import numpy as np
import pytest

from tests.requirements import require

require("serve")

import httpx

from keras_vitser.serving import create_app
from tests.serving import c_library
from tests.serving.sample_lists import CASES, RATE, SCALE, TONE

pytestmark = [
    pytest.mark.backends("tensorflow"),
    pytest.mark.filterwarnings("ignore:.*recordings last longer"),
]


@pytest.fixture(scope="module")
def answers(exported):
    """Status and document of each case, in row and in column format."""

    async def ask_all():
        app = create_app(exported.path.parent)
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=transport, base_url="http://x") as http,
        ):
            found = {}
            for name, case in CASES.items():
                for key in ("instances", "inputs"):
                    body = json.dumps({key: case.value})
                    response = await http.post("/v1/models/vit_ser:predict", content=body)
                    found[name, key] = response.status_code, response.json()
            response = await http.get("/v1/models/vit_ser/metadata")
            return found | {"metadata": response.json()}

    return asyncio.run(ask_all())


@pytest.mark.parametrize("name", CASES)
def test_a_list_of_samples_is_answered_or_refused_with_the_reason(name, answers, recognizer):
    case = CASES[name]
    for key, words in (("instances", case.rows), ("inputs", case.columns)):
        status, document = answers[name, key]
        if words:
            assert status == 400
            assert words in document["error"]
            continue
        assert status == 200, document
        waveforms = [np.array(row, "float32") for row in case.value]
        expected = [answer.probabilities for answer in recognizer.predict(waveforms, sampling_rate=RATE)]
        rows = document.get("predictions") or document["outputs"]["probabilities"]
        given = [row["probabilities"] if key == "instances" else row for row in rows]
        np.testing.assert_allclose(given, expected, rtol=0, atol=1e-5)


def test_the_metadata_names_the_rate_and_full_scale(answers):
    signatures = answers["metadata"]["metadata"]["signature_def"]["signature_def"]
    for name in ("serving_default", "explain", "embed"):
        shape = signatures[name]["inputs"]["waveform"]["tensor_shape"]
        assert shape["dim"] == [
            {"size": "-1", "name": "batch"},
            {"size": "-1", "name": "samples at 16000 Hz, full scale at -1 and 1"},
        ]
    assert signatures["wav"]["inputs"]["audio_bytes"]["tensor_shape"]["dim"] == [{"size": "-1", "name": "batch"}]


def test_the_graph_itself_refuses_another_scale(exported, library):
    """TensorFlow Serving has no more than the graph, in whose signatures JSON's integers are floats."""
    integers = np.round(TONE * 32767).astype("float32")
    requests = [
        (signature, {"waveform": np.stack([TONE.astype("float32"), integers])})
        for signature in ("serving_default", "explain", "embed")
    ]
    for said in c_library.run(library, exported.path, requests).answers:
        assert f"assertion failed: [waveform[1] holds samples up to 9830; {SCALE}]" in said
