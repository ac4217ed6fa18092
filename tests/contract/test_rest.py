"""The contract of TensorFlow Serving's REST API, as `api_rest.md` and its error texts have it, for any such server.

`pytest tests/contract/test_rest.py --endpoint http://127.0.0.1:8501` holds a running server against it, TensorFlow
Serving itself for instance, which serves what `keras-vitser export` wrote under the name `vit_ser` (`--model NAME` for
another one). Without the option it is our own server, with a small model, and KServe where that is installed.
"""

import base64
import math

import pytest

from tests.requirements import lacking
from tests.serving.small_model import tone, wav_file

pytestmark = pytest.mark.backends("tensorflow")

TONES = [tone(0, 0.5).tolist(), tone(7, 0.5).tolist()]
FILES = [{"b64": base64.b64encode(wav_file(tone(number, seconds))).decode()} for number, seconds in ((0, 1), (7, 0.4))]


OUTPUTS = {"probabilities", "label", "score", "heard"}


def answered(answer):
    """The document of an answer that must be 200."""
    assert answer.status == 200, answer
    assert answer.content_type == "application/json"
    return answer.document


def refused(answer, status, *words):
    """Holds an answer to `{"error": TEXT}`, with words in the text."""
    assert answer.status == status, answer
    assert answer.content_type == "application/json"
    assert list(answer.document) == ["error"]
    for word in words:
        assert word in answer.document["error"]


def check_prediction(prediction):
    """One row of `serving_default` or `wav`."""
    assert set(prediction) == OUTPUTS
    assert isinstance(prediction["heard"], float)
    assert 0 <= prediction["heard"] <= 1
    probabilities = prediction["probabilities"]
    assert all(isinstance(value, float) and 0 <= value <= 1 for value in probabilities)
    assert math.isclose(sum(probabilities), 1, abs_tol=1e-5)
    assert math.isclose(prediction["score"], max(probabilities), abs_tol=1e-6)
    assert isinstance(prediction["label"], str)
    assert prediction["label"]


def close(one, other, tolerance=1e-5):
    return all(math.isclose(a, b, abs_tol=tolerance) for a, b in zip(one, other, strict=True))


class TestRowPredict:
    """`:predict` in row format: the part that KServe has too."""

    def test_a_list_of_waveforms(self, row_server):
        document = answered(row_server.predict({"instances": TONES}))
        assert list(document) == ["predictions"]
        assert len(document["predictions"]) == 2
        for prediction in document["predictions"]:
            check_prediction(prediction)

    def test_wav_files_in_base64(self, row_server):
        document = answered(row_server.predict({"signature_name": "wav", "instances": FILES}))
        assert len(document["predictions"]) == 2
        for prediction in document["predictions"]:
            check_prediction(prediction)

    def test_an_answer_does_not_depend_on_who_else_is_asked_for(self, row_server):
        together = answered(row_server.predict({"signature_name": "wav", "instances": FILES}))["predictions"]
        for file, expected in zip(FILES, together, strict=True):
            (alone,) = answered(row_server.predict({"signature_name": "wav", "instances": [file]}))["predictions"]
            assert alone["label"] == expected["label"]
            assert close(alone["probabilities"], expected["probabilities"])

    def test_of_silence_nothing_is_heard(self, row_server):
        silent = answered(row_server.predict({"instances": [[0.0] * 8000, TONES[0]]}))["predictions"]
        for prediction in silent:
            check_prediction(prediction)
        assert silent[0]["heard"] == 0 < silent[1]["heard"]

    def test_one_output_has_no_name(self, row_server):
        document = answered(row_server.predict({"signature_name": "embed", "instances": TONES}))
        assert [len(row) for row in document["predictions"]] == [len(document["predictions"][0])] * 2
        assert all(isinstance(value, float) for value in document["predictions"][0])

    def test_what_is_no_json_is_400(self, row_server):
        answer = row_server.predict(b"instances = [1, 2]")
        assert answer.status == 400
        assert "error" in answer.document

    def test_an_unknown_model_is_404(self, row_server):
        answer = row_server.ask("POST", "/v1/models/nothing_of_that_name:predict", {"instances": TONES})
        assert answer.status == 404
        assert "error" in answer.document


class TestPredict:
    """`:predict` in TensorFlow Serving's own forms."""

    def test_row_format_with_names(self, server):
        named = answered(server.predict({"instances": [{"waveform": row} for row in TONES]}))
        plain = answered(server.predict({"instances": TONES, "signature_name": "serving_default"}))
        for one, other in zip(named["predictions"], plain["predictions"], strict=True):
            assert one["label"] == other["label"]
            assert close(one["probabilities"], other["probabilities"])

    @pytest.mark.parametrize("inputs", [TONES, {"waveform": TONES}])
    def test_column_format(self, server, inputs):
        document = answered(server.predict({"inputs": inputs}))
        assert list(document) == ["outputs"]
        assert set(document["outputs"]) == OUTPUTS
        rows = answered(server.predict({"instances": TONES}))["predictions"]
        for name in ("label", "heard"):
            assert document["outputs"][name] == [row[name] for row in rows]
        for probabilities, row in zip(document["outputs"]["probabilities"], rows, strict=True):
            assert close(probabilities, row["probabilities"])

    def test_column_format_with_one_output(self, server):
        document = answered(server.predict({"signature_name": "embed", "inputs": {"waveform": TONES}}))
        assert len(document["outputs"]) == 2
        assert isinstance(document["outputs"][0][0], float)

    def test_column_format_with_files(self, server):
        columns = answered(server.predict({"signature_name": "wav", "inputs": {"audio_bytes": FILES}}))["outputs"]
        rows = answered(server.predict({"signature_name": "wav", "instances": FILES}))["predictions"]
        assert columns["label"] == [row["label"] for row in rows]

    def test_the_attention_is_a_value_a_time_step(self, server):
        document = answered(server.predict({"signature_name": "explain", "instances": TONES[:1]}))
        assert len(document["predictions"]) == 1

    def test_whole_numbers_are_taken_for_floats(self, server):
        check_prediction(answered(server.predict({"instances": [[0, 1, 0, -1] * 100]}))["predictions"][0])

    @pytest.mark.parametrize("which", ["/versions/{version}", ""])
    def test_a_version_by_number(self, server, which):
        version = answered(server.get("/metadata"))["model_spec"]["version"]
        newest = answered(server.predict({"instances": TONES}))
        assert answered(server.predict({"instances": TONES}, which.format(version=version))) == newest

    @pytest.mark.parametrize("label", ["stable", "canary"])
    def test_a_version_by_label(self, server, label):
        if server.get(f"/labels/{label}/metadata").status == 400:
            lacking("labels", f"the server has no label {label!r}")
        for prediction in answered(server.predict({"instances": TONES}, f"/labels/{label}"))["predictions"]:
            check_prediction(prediction)
        version = answered(server.get(f"/labels/{label}/metadata"))["model_spec"]["version"]
        by_number = answered(server.predict({"instances": TONES}, f"/versions/{version}"))
        assert by_number == answered(server.predict({"instances": TONES}, f"/labels/{label}"))


class TestErrors:
    """Status codes and words of what cannot be answered."""

    @pytest.mark.parametrize(
        ("document", "words"),
        [
            (b"", ["JSON Parse error: The document is empty"]),
            (b"instances = [1, 2]", ["JSON Parse error: Invalid value"]),
            (b'{"instances": [[1, 2]', ["JSON Parse error: "]),
            (b"[1, 2]", ["Is not object"]),
            ({}, ["Missing 'inputs' or 'instances' key"]),
            ({"signature_name": 100}, ["'signature_name' key must be a string value."]),
            ({"signature_name": "nope", "instances": [1]}, ['Serving signature name: "nope" not found']),
            ({"instances": TONES, "inputs": TONES}, ["expecting only one of 'inputs' or 'instances' keys to exist"]),
            ({"instances": 1}, ["Excepting 'instances' to be an list/array"]),
            ({"instances": []}, ["No values in 'instances' array"]),
            ({"instances": [["x", "y"]]}, ["not of expected type: float"]),
            ({"instances": [[1.0, None]]}, ["Type: Null is not of expected type: float"]),
            ({"instances": [[1.0, True]]}, ["Type: True is not of expected type: float"]),
            ({"instances": [{"b64": "AAAA"}]}, ["not of expected type: float"]),
            ({"instances": [[1, 2], [3]]}, ["Failed to process element: 1", "Expecting tensor size: 2 but got: 1"]),
            ({"instances": [[1, 2], [[3, 4]]]}, ["Expecting shape [2] but got: [1,2]"]),
            ({"instances": [[1.0], {"waveform": [1.0]}]}, ["Expecting value/list but got object at item 1"]),
            ({"instances": [{"waveform": [1.0]}, [1.0]]}, ["Expecting object but got list at item 1"]),
            ({"instances": [{"sound": [1.0]}]}, ["does not have named input: sound"]),
            ({"inputs": {"sound": [[1.0]]}}, ["Missing named input: waveform in 'inputs' object."]),
            ({"inputs": [[1.0, 2.0], [3.0]]}, ["Encountered list at unexpected size: 1 at level: 1 expected size: 2"]),
            ({"signature_name": "wav", "instances": [{"b64": "!"}]}, ["Unable to base64 decode"]),
            ({"signature_name": "wav", "instances": [{"b64": 1}]}, ["does not have named input: b64"]),
            ({"signature_name": "wav", "instances": [1]}, ["not of expected type: string"]),
        ],
    )
    def test_a_wrong_document_is_400(self, server, document, words):
        refused(server.predict(document), 400, *words)

    def test_a_file_that_is_no_sound_is_400(self, server):
        refused(server.predict({"signature_name": "wav", "instances": [{"b64": "aGVsbG8gd29ybGQ="}]}), 400)

    def test_an_unknown_model_is_404(self, server):
        path = "/v1/models/nothing_of_that_name"
        refused(
            server.ask("POST", f"{path}:predict", {"instances": [1.0]}),
            404,
            "Servable not found for request: Latest(nothing_of_that_name)",
        )
        refused(server.ask("GET", path), 404, "Could not find any versions of model nothing_of_that_name")
        refused(server.ask("GET", f"{path}/metadata"), 404, "Servable not found for request")

    def test_an_unknown_version_is_404(self, server):
        refused(
            server.predict({"instances": TONES}, "/versions/987654321"),
            404,
            f"Servable not found for request: Specific({server.model}, 987654321)",
        )
        refused(server.get("/versions/987654321"), 404, f"Could not find version 987654321 of model {server.model}")

    def test_an_unknown_label_is_400(self, server):
        refused(
            server.predict({"instances": TONES}, "/labels/no_such_label"),
            400,
            "Unrecognized servable version label: no_such_label",
        )

    @pytest.mark.parametrize(
        ("method", "path"),
        [
            ("GET", "/v1/foo"),
            ("POST", "/v1/foo"),
            ("POST", "/v1/models"),
            ("GET", "/v1/models/foo:predict"),
            ("GET", "/v1/models/debug/model_name"),
            ("POST", "/v1/models/foo/version/50:predict"),
            ("POST", "/v1/models/foo/versions/HELLO:predict"),
            ("POST", "/v1/models/foo/metadata"),
            ("POST", "/v1/models/foo/label/some_label:predict"),
            ("POST", "/v1/models/foo/versions/50/labels/some_label:predict"),
        ],
    )
    def test_a_malformed_request_is_400(self, server, method, path):
        refused(server.ask(method, path, {} if method == "POST" else None), 400, "Malformed request")

    def test_no_model_and_no_number_are_400(self, server):
        refused(server.ask("GET", "/v1/models"), 400, "Missing model name in request.")
        huge = f"/v1/models/foo/versions/{2**64 - 1}:predict"
        assert server.ask("POST", huge, {}).status == 400  # TensorFlow Serving says nothing more

    @pytest.mark.parametrize("method", ["classify", "regress"])
    def test_a_signature_of_another_method_is_400(self, server, method):
        refused(server.predict({"examples": [{"waveform": [0.5]}]}, method=method), 400)


class TestStatusAndMetadata:
    """What a server says of its models."""

    def test_the_status_of_all_versions(self, server):
        document = answered(server.get())
        assert list(document) == ["model_version_status"]
        assert document["model_version_status"]
        for version in document["model_version_status"]:
            assert set(version) == {"version", "state", "status"}
            assert version["version"].isdigit()
            assert version["state"] in {"UNKNOWN", "START", "LOADING", "AVAILABLE", "UNLOADING", "END"}
            assert set(version["status"]) == {"error_code", "error_message"}
        assert "AVAILABLE" in {version["state"] for version in document["model_version_status"]}

    def test_the_status_of_one_version(self, server):
        version = answered(server.get("/metadata"))["model_spec"]["version"]
        assert answered(server.get(f"/versions/{version}")) == {
            "model_version_status": [
                {"version": version, "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}
            ]
        }

    def test_the_status_by_label(self, server):
        metadata = server.get("/labels/stable/metadata")
        if metadata.status == 400:
            lacking("labels", "the server has no label 'stable'")
        versions = [item["version"] for item in answered(server.get("/labels/stable"))["model_version_status"]]
        assert answered(metadata)["model_spec"]["version"] in versions

    @pytest.mark.parametrize("by_number", [False, True])
    def test_the_metadata(self, server, by_number):
        newest = answered(server.get("/metadata"))
        version = newest["model_spec"]["version"]
        document = answered(server.get(f"/versions/{version}/metadata")) if by_number else newest
        assert document["model_spec"] == {"name": server.model, "signature_name": "", "version": version}
        signatures = document["metadata"]["signature_def"]["signature_def"]
        assert {"serving_default", "wav", "explain", "embed"} <= set(signatures)
        signature = signatures["serving_default"]
        assert signature["method_name"] == "tensorflow/serving/predict"
        assert set(signature["inputs"]) == {"waveform"}
        assert set(signature["outputs"]) == set(signatures["wav"]["outputs"]) == OUTPUTS
        assert signature["outputs"]["heard"]["dtype"] == "DT_FLOAT"
        assert signature["outputs"]["heard"]["tensor_shape"] == {
            "dim": [{"size": "-1", "name": ""}],
            "unknown_rank": False,
        }
        any_size = {"size": "-1", "name": ""}
        waveform = signature["inputs"]["waveform"]
        assert waveform["dtype"] == "DT_FLOAT"
        assert waveform["tensor_shape"] == {"dim": [any_size, any_size], "unknown_rank": False}
        assert waveform["name"]
        file = signatures["wav"]["inputs"]["audio_bytes"]
        assert file["dtype"] == "DT_STRING"
        assert file["tensor_shape"] == {"dim": [any_size], "unknown_rank": False}
