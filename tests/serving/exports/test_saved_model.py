"""What TensorFlow's C++ loader makes of the SavedModel: ops it needs, and answers against those of `Recognizer`."""

import io
import json

import keras
import numpy as np
import pytest
import soundfile

from keras_vitser.audio import read_waveform
from keras_vitser.errors import AudioError
from keras_vitser.models import ViTSER
from keras_vitser.recognizer import Recognizer
from keras_vitser.serving.exports.saved_model import _Graphs
from tests.audio.unheard_sounds import UNHEARD
from tests.serving import c_library
from tests.serving.conftest import CARD, LABELS, make_recognizer
from tests.serving.real_sounds import original_files, waveforms

pytestmark = pytest.mark.backends("tensorflow")

TOLERANCE = 1e-5  # of probabilities, as the issue states
ROUNDING = 1e-6  # between batch sizes: matrix products of other sizes add up in another order


def sound(number, seconds=1.0, rate=16000):
    time = np.arange(round(seconds * rate)) / rate
    return (0.3 * np.sin(2 * np.pi * (150 + 90 * number + 300 * time) * time)).astype(np.float32)


def file_of(waveform, rate=16000, subtype="PCM_16"):
    file = io.BytesIO()
    soundfile.write(file, waveform, rate, format="WAV", subtype=subtype)
    return file.getvalue()


def run(library, exported, requests, threads=1):
    return c_library.run(library, exported.path, requests, threads).answers


def assert_answers(given, expected, tolerance=TOLERANCE):
    """The outputs of a request against `Answer`s."""
    probabilities = np.stack([answer.probabilities for answer in expected])
    np.testing.assert_allclose(given["probabilities"], probabilities, rtol=0, atol=tolerance)
    assert [label.decode() for label in given["label"]] == [answer.label for answer in expected]
    np.testing.assert_allclose(given["score"], probabilities.max(axis=1), rtol=0, atol=tolerance)
    np.testing.assert_allclose(given["heard"], [answer.heard for answer in expected], rtol=0, atol=1e-6)


def test_all_ops_are_of_the_c_library(exported, library):
    done = c_library.run(library, exported.path)
    assert {"BatchFunction", "RFFT", "DecodeRaw"} <= done.model_ops
    assert done.model_ops <= done.library_ops
    assert "XlaCallModule" in done.library_ops
    assert "XlaCallModule" not in done.model_ops
    assert len(done.library_ops) > 1000


def test_inputs_and_outputs_have_names(exported):
    signatures = c_library.run(c_library.installed_library(), exported.path).signatures
    ends = {name: (set(ins), set(outs)) for name, (ins, outs) in signatures.items() if not name.startswith("__")}
    answer = {"probabilities", "label", "score", "heard"}
    assert ends == {
        "serving_default": ({"waveform"}, answer),
        "wav": ({"audio_bytes"}, answer),
        "explain": ({"waveform"}, answer | {"attention"}),
        "embed": ({"waveform"}, {"feature_map"}),
    }
    assert set(exported.signatures) == set(ends)


@pytest.mark.filterwarnings("ignore:.*recordings last longer")
def test_real_recordings_are_answered_as_by_the_recognizer(exported, library, recognizer, recordings):
    files, clips = original_files(recordings), waveforms(recordings)
    assert max(map(len, clips)) > 64000 > min(map(len, clips))
    one_a_request = [("serving_default", {"waveform": clip[None]}) for clip in clips]
    wav, *others = run(library, exported, [("wav", {"audio_bytes": files}), *one_a_request])
    assert_answers(wav, recognizer.predict(files))
    expected = recognizer.predict(clips, sampling_rate=16000)
    assert len({answer.label for answer in expected}) > 1
    for given, answer in zip(others, expected, strict=True):
        assert_answers(given, [answer])


@pytest.mark.filterwarnings("ignore:2 of 6 recordings last longer", "ignore:nothing was heard in 1 of 6")
def test_clips_of_any_length_are_answered_as_by_the_recognizer(exported, recognizer):
    clips = [sound(3, samples / 16000) for samples in (1, 100, 63999, 64000, 64001, 300000)]
    requests = [("serving_default", {"waveform": clip[None]}) for clip in clips]
    given = run(c_library.installed_library(), exported, requests)
    for answers, expected in zip(given, recognizer.predict(clips, sampling_rate=16000), strict=True):
        assert_answers(answers, [expected])


@pytest.mark.filterwarnings("ignore:nothing was heard", "ignore:1 of 8 recordings last longer")
def test_silence_is_told_as_by_the_recognizer(exported, recognizer):
    late = np.concatenate([np.zeros(5 * 16000, np.float32), sound(1)])
    clips = [*UNHEARD.values(), late, late[48000:]]
    files = [file_of(clip, subtype="FLOAT") for clip in clips]
    expected = recognizer.predict(clips, sampling_rate=16000)
    assert [answer.heard > 0 for answer in expected] == [False] * 7 + [True]
    requests = [(name, {"waveform": clip[None]}) for clip in clips for name in ("serving_default", "explain")]
    wav, *others = run(c_library.installed_library(), exported, [("wav", {"audio_bytes": files}), *requests])
    assert_answers(wav, expected)
    for place, given in enumerate(others):
        assert_answers(given, [expected[place // 2]])


def test_who_else_is_in_the_batch_changes_nothing(exported, library):
    clips = np.stack([sound(number) * 10.0 ** -(number % 4) for number in range(40)])
    clips[7] = 0
    alone = [("serving_default", {"waveform": clip[None]}) for clip in clips]
    permuted = np.random.default_rng(0).permutation(40)  # 40 rows are divided into batches of 32 and 8
    whole, other, *single = run(
        library,
        exported,
        [("serving_default", {"waveform": clips}), ("serving_default", {"waveform": clips[permuted]}), *alone],
    )
    single = np.concatenate([answer["probabilities"] for answer in single])
    assert len({answer.argmax() for answer in single}) > 1
    np.testing.assert_allclose(whole["probabilities"], single, rtol=0, atol=ROUNDING)
    np.testing.assert_allclose(other["probabilities"], single[permuted], rtol=0, atol=ROUNDING)


@pytest.mark.more
def test_requests_of_many_kinds_at_once_get_their_own_answers(exported, library):
    """They are joined in the graph; a bad one fails alone, in words that name what is wrong."""
    good = [
        *(("serving_default", {"waveform": sound(number, 0.5 + number % 9)[None]}) for number in range(20)),
        *(("wav", {"audio_bytes": [file_of(sound(number, rate=44100), 44100)]}) for number in range(10)),
        *(("embed", {"waveform": sound(number)[None]}) for number in range(10)),
    ]
    bad = [
        ("serving_default", {"waveform": np.array([[0.1, np.nan]], np.float32)}),
        ("serving_default", {"waveform": np.zeros((1, 0), np.float32)}),
        ("wav", {"audio_bytes": [file_of(sound(1)), b"RIFF"]}),
    ]
    words = [
        "waveform[0] holds samples that are NaN or infinite",
        "waveform holds no samples; expected recordings, (batch, samples)",
        "audio_bytes[1] is no WAV file: it does not begin with RIFF and WAVE",
    ]
    order = np.random.default_rng(0).permutation(2 * len(good + bad))
    requests = (good + bad) * 2
    one_by_one = run(library, exported, good)
    at_once = run(library, exported, [requests[place] for place in order], threads=8)
    for place, given in zip(order, at_once, strict=True):
        place %= len(good + bad)
        if place >= len(good):
            assert f"assertion failed: [{words[place - len(good)]}]" in given
            continue
        for name, values in one_by_one[place].items():
            if name == "label":
                assert given[name] == values
            else:
                np.testing.assert_allclose(given[name], values, rtol=0, atol=1e-5)


@pytest.mark.more
def test_more_than_the_queue_holds_is_refused_at_once(exported):
    """Of 8 requests of 512 clips at once, 1024 clips may wait; the others need not."""
    clips = np.tile(sound(1, 0.1), (512, 1))
    answers = run(c_library.installed_library(), exported, [("serving_default", {"waveform": clips})] * 8, threads=8)
    said = [answer for answer in answers if isinstance(answer, str)]
    done = [answer for answer in answers if not isinstance(answer, str)]
    assert 2 <= len(done) < 8
    assert all("batch scheduling queue" in words and "is full" in words for words in said)
    for answer in done:
        np.testing.assert_allclose(answer["probabilities"], done[0]["probabilities"][:1].repeat(512, 0), atol=ROUNDING)


def test_what_the_recognizer_refuses_is_refused(exported, recognizer):
    late = sound(1, 5)
    late[-1] = np.inf
    with pytest.raises(AudioError, match="NaN or infinite"):
        recognizer.predict(late, sampling_rate=16000)
    requests = [
        ("serving_default", {"waveform": late[None]}),
        ("serving_default", {"waveform": np.zeros((0, 100), np.float32)}),
        ("wav", {"audio_bytes": []}),
    ]
    words = ["waveform[0] holds samples that are NaN or infinite", "waveform holds no samples", "audio_bytes holds no"]
    for said, expected in zip(run(c_library.installed_library(), exported, requests), words, strict=True):
        assert f"assertion failed: [{expected}" in said


def test_attention_and_feature_map_are_the_networks(exported, recognizer, recordings):
    clip = read_waveform(next(path for path in sorted((recordings / "savee").rglob("*.flac"))))[None, :64000]
    explained, embedded = run(
        c_library.installed_library(), exported, [("explain", {"waveform": clip}), ("embed", {"waveform": clip})]
    )
    images = recognizer.front_end(clip)
    to_array = keras.ops.convert_to_numpy
    feature_map = to_array(recognizer.network.feature_map(images))
    np.testing.assert_allclose(embedded["feature_map"], feature_map, rtol=0, atol=1e-4)
    weights = to_array(recognizer.network.attention_weights(images)[-1])[0, :, 0, 1:]  # of the class token, a head each
    steps = weights.reshape(-1, 2, 8).sum(axis=(0, 1))  # 2 by 8 patches of 8 bands and 2 frames
    np.testing.assert_allclose(explained["attention"][0], steps / steps.sum(), rtol=0, atol=1e-5)
    assert steps.max() > 1.1 * steps.min()


def test_labels_front_end_card_and_version_are_in_it(exported, recognizer):
    about = json.loads((exported.path / "assets" / "recognizer.json").read_text(encoding="utf-8"))
    assert (about["name"], about["version"], tuple(about["labels"])) == ("vit_ser", 3, LABELS)
    assert about["front_end"] == recognizer.front_end.get_config()
    assert about["sampling_rate"] == 16000
    assert (exported.path / "assets" / "MODEL_CARD.md").read_text(encoding="utf-8") == CARD


def test_where_all_tokens_are_pooled_all_attention_counts():
    recognizer = make_recognizer()
    network = ViTSER.from_config(recognizer.network.get_config() | {"pooling": "mean"})
    clip = sound(1, 4)[None]
    weights = keras.ops.convert_to_numpy(network.attention_weights(recognizer.front_end(clip))[-1])
    steps = weights[0, :, :, 1:].reshape(-1, 2, 8).sum(axis=(0, 1))
    given = _Graphs(Recognizer(network, LABELS, recognizer.front_end))._attention(clip)
    np.testing.assert_allclose(given[0], steps / steps.sum(), rtol=0, atol=1e-5)


@pytest.mark.backends("tensorflow")
def test_no_label_is_made_of_what_is_no_number(recognizer):
    network = ViTSER.from_config(recognizer.network.get_config())
    network.set_weights(recognizer.network.get_weights())
    network.get_layer("head").kernel.assign(np.full((16, 3), np.finfo(np.float32).max))
    graphs = _Graphs(Recognizer(network, LABELS, recognizer.front_end))
    with pytest.raises(Exception, match="the network's answer is NaN or infinite, so no label is told") as refused:
        graphs.serving_default(sound(1)[None])
    assert type(refused.value).__name__ == "InvalidArgumentError"  # 400, as TensorFlow Serving answers
