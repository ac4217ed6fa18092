"""A sound goes in, an emotion comes out, whatever form the sound has and whoever else is asked for."""

import hashlib
import io
import json
import os
import subprocess
import sys
import warnings

import numpy as np
import pytest
import soundfile

import keras_vitser as kv
from keras_vitser.audio import resample
from keras_vitser.errors import (
    AudioError,
    AudioIsFolderError,
    AudioNotFoundError,
    ModelFolderError,
    NonFiniteAudioError,
    NonFiniteWeightsError,
    NoSamplesError,
    NotAudioError,
    PredictionError,
)
from keras_vitser.layers import LogMelImage
from keras_vitser.models import ViTSER
from keras_vitser.recognizer import Answer, Provenance, Recognizer
from tests.audio.unheard_sounds import UNHEARD, lsb_noise, tone

pytestmark = pytest.mark.backends("tensorflow", "jax", "torch")

RATE = 16000
LABELS = ("anger", "happiness", "neutral")
FRONT_END = {"n_mels": 16, "frames": 16, "hop_length": 256, "top_db": 60.0}
PROVENANCE = Provenance("random", False, frozenset({"a1", "b2"}), frozenset({"demo/speaker1"}), "UA 50.0 %")


def sound(number, seconds=1.0, rate=RATE):
    """A sound of its own, float32 `(samples,)`, well below half of 16 kHz."""
    time = np.arange(round(seconds * rate)) / rate
    slide = np.sin(2 * np.pi * (150 + 120 * number + 300 * time) * time)
    return (0.3 * slide * (1 + np.sin(5 * number * time)) / 2).astype(np.float32)


def file_bytes(samples, rate=RATE):
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format="WAV", subtype="FLOAT")
    return file.getvalue()


@pytest.fixture(scope="module")
def recognizer():
    sizes = {"hidden_dim": 16, "depth": 1, "num_heads": 2, "head_dim": 8, "mlp_dim": 16}
    network = ViTSER.student(3, image_size=(16, 16), patch_size=(16, 1), **sizes)
    generator = np.random.default_rng(2)
    # Large kernels, so that different sounds have clearly different answers, and the same on each backend.
    weights = [generator.normal(0, 0.5, old.shape) if old.ndim > 1 else old for old in network.get_weights()]
    network.set_weights(weights)
    return Recognizer(network, LABELS, LogMelImage(**FRONT_END), PROVENANCE)


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    path = tmp_path_factory.mktemp("sounds") / "clip.wav"
    path.write_bytes(file_bytes(sound(1)))
    return path


@pytest.fixture(scope="module")
def saved(recognizer, tmp_path_factory):
    return recognizer.save(tmp_path_factory.mktemp("saved") / "model", "# A card\n")


@pytest.fixture
def model_folder(saved, tmp_path):
    """A copy that a test may damage."""
    folder = tmp_path / "model"
    folder.mkdir()
    for file in saved.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    return folder


def change(folder, **values):
    path = folder / "recognizer.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


class TestPredict:
    def test_the_answer_is_the_softmax_of_the_networks_logits(self, recognizer):
        answer = recognizer.predict(sound(1), sampling_rate=RATE)
        image = LogMelImage(**FRONT_END)(sound(1)[None])
        logits = np.asarray(recognizer.network.predict(image, verbose=0))[0].astype("float64")
        expected = np.exp(logits) / np.exp(logits).sum()
        np.testing.assert_allclose(answer.probabilities, expected, atol=1e-5)
        assert isinstance(answer, Answer)
        assert answer.labels == LABELS
        assert answer.label == LABELS[expected.argmax()]
        assert answer.probabilities.dtype == np.float32
        assert answer.seconds_used == 1.0

    @pytest.mark.parametrize(
        "form",
        [
            lambda path: path,
            lambda path: str(path),
            lambda path: path.read_bytes(),
            lambda path: bytearray(path.read_bytes()),
            lambda path: memoryview(path.read_bytes()),
            lambda path: sound(1).astype("float64"),
            lambda path: np.repeat(sound(1), 2)[::2],
        ],
        ids=["path", "str", "bytes", "bytearray", "memoryview", "float64", "strided"],
    )
    def test_every_form_of_a_recording_has_one_answer(self, recognizer, clip, form):
        expected = recognizer.predict(sound(1), sampling_rate=RATE)
        answer = recognizer.predict(form(clip), sampling_rate=RATE)
        np.testing.assert_allclose(answer.probabilities, expected.probabilities, atol=1e-6)
        assert (answer.label, answer.seconds_used) == (expected.label, expected.seconds_used)

    def test_a_path_needs_no_sampling_rate(self, recognizer, clip):
        answer = recognizer.predict(clip)
        expected = recognizer.predict(sound(1), sampling_rate=RATE)
        np.testing.assert_allclose(answer.probabilities, expected.probabilities, atol=1e-6)

    @pytest.mark.parametrize("rate", [8000, 44100, 48000.0, np.int64(22050)])
    def test_an_array_of_another_rate_is_resampled(self, recognizer, rate):
        samples = sound(1, rate=int(rate))
        answer = recognizer.predict(samples, sampling_rate=rate)
        expected = recognizer.predict(resample(samples, float(rate), RATE), sampling_rate=RATE)
        np.testing.assert_allclose(answer.probabilities, expected.probabilities, atol=1e-6)
        assert answer.seconds_used == pytest.approx(1.0, abs=1e-3)

    def test_the_rate_of_an_array_hardly_matters(self, recognizer):
        """Well below full precision: what resampling does to an image is not this test's matter."""
        answer = recognizer.predict(sound(1, rate=44100), sampling_rate=44100)
        expected = recognizer.predict(sound(1), sampling_rate=RATE)
        np.testing.assert_allclose(answer.probabilities, expected.probabilities, atol=0.05)

    def test_different_sounds_have_different_answers(self, recognizer):
        answers = recognizer.predict([sound(number) for number in range(4)], sampling_rate=RATE)
        assert np.ptp([answer.probabilities for answer in answers], axis=0).max() > 0.05

    def test_one_has_an_answer_and_a_list_a_list(self, recognizer, clip):
        single = recognizer.predict(clip)
        (listed,) = recognizer.predict([clip])
        np.testing.assert_array_equal(single.probabilities, listed.probabilities)
        assert isinstance(recognizer.predict((clip, clip)), list)
        assert recognizer.predict([]) == []

    def test_a_list_may_mix_forms_and_keeps_its_order(self, recognizer, clip):
        answers = recognizer.predict([sound(0), clip, clip.read_bytes(), sound(2)], sampling_rate=RATE)
        expected = [recognizer.predict(sound(number), sampling_rate=RATE) for number in (0, 1, 1, 2)]
        for answer, alone in zip(answers, expected, strict=True):
            np.testing.assert_allclose(answer.probabilities, alone.probabilities, atol=1e-5)

    @pytest.mark.parametrize("batch_size", [1, 3, 32])
    def test_an_answer_depends_on_nobody_else(self, recognizer, batch_size):
        sounds = [sound(number, 0.3 + 0.2 * number) for number in range(7)]
        sounds[3] = sounds[3] * 1e-3
        alone = [recognizer.predict(samples, sampling_rate=RATE).probabilities for samples in sounds]
        together = recognizer.predict(sounds, sampling_rate=RATE, batch_size=batch_size)
        backwards = recognizer.predict(sounds[::-1], sampling_rate=RATE, batch_size=batch_size)[::-1]
        for answers in (together, backwards):
            np.testing.assert_allclose([answer.probabilities for answer in answers], alone, rtol=0, atol=1e-5)

    def test_of_a_long_recording_the_first_seconds_are_used(self, recognizer):
        long = sound(1, 5.5)
        with pytest.warns(UserWarning, match=r"1 of 1 recordings .* first 4 s") as caught:
            answer = recognizer.predict(long, sampling_rate=RATE)
        ours = [warning for warning in caught if warning.category is UserWarning]
        assert [warning.filename for warning in ours] == [__file__]
        assert answer.seconds_used == 4.0
        expected = recognizer.predict(long[: 4 * RATE], sampling_rate=RATE)
        np.testing.assert_allclose(answer.probabilities, expected.probabilities, atol=1e-6)

    def test_one_call_warns_once(self, recognizer):
        sounds = [sound(1, seconds) for seconds in (5, 1, 4.5, 6, 4)]
        with pytest.warns(UserWarning, match="3 of 5") as caught:
            answers = recognizer.predict(sounds, sampling_rate=RATE, batch_size=2)
        assert [warning.category for warning in caught].count(UserWarning) == 1
        assert [answer.seconds_used for answer in answers] == [4, 1, 4, 4, 4]

    def test_what_fits_is_not_warned_of(self, recognizer):
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)
            recognizer.predict(sound(1, 4), sampling_rate=RATE)

    @pytest.mark.parametrize(
        "samples",
        [np.zeros(RATE, "float32"), np.zeros(1), np.full(RATE, 1e-30, "float32"), *UNHEARD.values()],
        ids=["a second", "a sample", "next to nothing", *UNHEARD],
    )
    def test_silence_has_a_finite_answer_that_says_so(self, recognizer, samples):
        with pytest.warns(UserWarning, match="nothing was heard in 1 of 1 recordings") as caught:
            answer = recognizer.predict(samples, sampling_rate=RATE)
        assert [warning.filename for warning in caught if warning.category is UserWarning] == [__file__]
        assert np.isfinite(answer.probabilities).all()
        assert answer.probabilities.sum() == pytest.approx(1, abs=1e-5)
        assert answer.heard == 0

    def test_the_answer_tells_how_much_of_the_window_is_heard(self, recognizer):
        late = np.concatenate([np.zeros(3 * RATE), tone(np.full(RATE // 2, 0.1))])
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)
            answers = recognizer.predict([tone(np.full(RATE, 0.1)), late], sampling_rate=RATE)
        assert [answer.heard for answer in answers] == [0.25, 0.125]

    def test_a_call_with_silence_in_it_warns_once(self, recognizer):
        sounds = [sound(1), np.zeros(RATE), sound(2), np.zeros(RATE), np.zeros(6 * RATE)]
        with pytest.warns(UserWarning, match="nothing was heard in 3 of 5 recordings") as caught:
            answers = recognizer.predict(sounds, sampling_rate=RATE, batch_size=2)
        ours = [str(warning.message) for warning in caught if warning.category is UserWarning]
        assert [words.split(":")[0][:24] for words in ours] == ["1 of 5 recordings last l", "nothing was heard in 3 o"]
        assert [answer.heard == 0 for answer in answers] == [False, True, False, True, True]

    def test_of_a_long_recording_the_silence_before_can_be_skipped(self, recognizer):
        late = np.concatenate([lsb_noise(5 * RATE), sound(1, 3)])
        with pytest.warns(UserWarning, match="nothing was heard in 1 of 1"):
            assert recognizer.predict(late, sampling_rate=RATE).heard == 0
        answer = recognizer.predict(late, sampling_rate=RATE, skip_silence=True)
        expected = recognizer.predict(sound(1, 3), sampling_rate=RATE)
        np.testing.assert_allclose(answer.probabilities, expected.probabilities, atol=1e-6)
        assert (answer.seconds_used, answer.heard) == (3.0, expected.heard)
        assert answer.heard > 0.7

    def test_what_is_skipped_and_still_too_long_is_warned_of(self, recognizer):
        late = np.concatenate([np.zeros(RATE), sound(1, 3.5), sound(2, 3)])
        with pytest.warns(UserWarning, match="1 of 1 .* 4 s from their first sound on; those 4 s"):
            answer = recognizer.predict(late, sampling_rate=RATE, skip_silence=True)
        with pytest.warns(UserWarning, match="their first 4 s"):
            expected = recognizer.predict(late[RATE:], sampling_rate=RATE)
        np.testing.assert_allclose(answer.probabilities, expected.probabilities, atol=1e-6)
        assert answer.seconds_used == 4.0


@pytest.mark.backends("tensorflow")
class TestPredictRefuses:
    @pytest.mark.parametrize(
        ("source", "settings", "error", "words"),
        [
            (sound(1), {}, PredictionError, "sampling_rate=16000"),
            (np.zeros((2, 8000), "float32"), {"sampling_rate": RATE}, PredictionError, r"shape \(2, 8000\)"),
            (np.zeros((), "float32"), {"sampling_rate": RATE}, PredictionError, r"shape \(\)"),
            (np.zeros(8000, "int16"), {"sampling_rate": RATE}, PredictionError, "int16.*32768"),
            (np.zeros(8000, "complex64"), {"sampling_rate": RATE}, PredictionError, "complex64"),
            (np.zeros(0, "float32"), {"sampling_rate": RATE}, NoSamplesError, "no samples"),
            (np.array([0, np.nan, 0]), {"sampling_rate": RATE}, NonFiniteAudioError, "NaN"),
            (np.array([0, np.inf, 0]), {"sampling_rate": RATE}, NonFiniteAudioError, "infinite"),
            (np.array([0, 1e300, 0]), {"sampling_rate": RATE}, NonFiniteAudioError, "infinite"),
            (3.5, {"sampling_rate": RATE}, PredictionError, "Received: float"),
            (None, {"sampling_rate": RATE}, PredictionError, "Received: NoneType"),
            ({"a": 1}, {}, PredictionError, "Received: dict"),
            ([[0.0, 0.1]], {"sampling_rate": RATE}, PredictionError, "Received: list"),
            ([0.0, 0.1], {"sampling_rate": RATE}, PredictionError, "Received: float"),
            (b"", {}, AudioError, "empty"),
            (b"no sound", {}, NotAudioError, "not a sound file"),
            ("nowhere.wav", {}, AudioNotFoundError, r"nowhere\.wav"),
        ],
    )
    def test_a_recording_that_is_none(self, recognizer, source, settings, error, words):
        with pytest.raises(error, match=words) as caught:
            recognizer.predict(source, **settings)
        assert "\n" not in str(caught.value)

    def test_one_among_others(self, recognizer):
        with pytest.raises(NotAudioError):
            recognizer.predict([sound(1), b"no sound"], sampling_rate=RATE)
        with pytest.raises(NoSamplesError):
            recognizer.predict([sound(1), np.zeros(0)], sampling_rate=RATE, batch_size=1)

    def test_a_folder(self, recognizer, tmp_path):
        with pytest.raises(AudioIsFolderError, match="is a folder"):
            recognizer.predict(tmp_path)

    @pytest.mark.parametrize("rate", [0, -16000, float("nan"), float("inf"), "16000", True, [16000]])
    def test_a_sampling_rate_that_is_none(self, recognizer, rate):
        with pytest.raises(PredictionError, match="sampling_rate"):
            recognizer.predict(sound(1), sampling_rate=rate)

    @pytest.mark.parametrize("batch_size", [0, -1, 2.0, "3", None, True])
    def test_a_batch_size_that_is_none(self, recognizer, batch_size):
        with pytest.raises(PredictionError, match="batch_size"):
            recognizer.predict(sound(1), sampling_rate=RATE, batch_size=batch_size)

    def test_a_file_whose_sound_is_shorter_than_one_sample(self, recognizer):
        """One sample at 192 kHz is none at 16 kHz."""
        with pytest.raises(NoSamplesError):
            recognizer.predict(file_bytes(np.zeros(1), 192000))
        with pytest.raises(NoSamplesError):
            recognizer.predict(np.zeros(1), sampling_rate=192000)


@pytest.mark.backends("tensorflow")
class TestMaking:
    @pytest.mark.parametrize("labels", [["a", "b"], ["a", "b", "b"], ["a", "b", "c", "d"], []])
    def test_labels_that_are_not_the_networks(self, recognizer, labels):
        with pytest.raises(ModelFolderError, match="3 different labels"):
            Recognizer(recognizer.network, labels, recognizer.front_end)

    def test_a_front_end_of_other_images(self, recognizer):
        with pytest.raises(ModelFolderError, match=r"\(16, 16, 1\).*\(128, 128, 1\)"):
            Recognizer(recognizer.network, LABELS)


class TestSaving:
    def test_what_is_saved(self, saved, recognizer):
        assert {path.name for path in saved.iterdir()} == {"model.keras", "recognizer.json", "MODEL_CARD.md"}
        settings = json.loads((saved / "recognizer.json").read_text())
        assert settings["labels"] == list(LABELS)
        assert settings["sampling_rate"] == RATE
        assert settings["keras_vitser"] == kv.__version__
        for name, expected in settings["sha256"].items():
            assert hashlib.sha256((saved / name).read_bytes()).hexdigest() == expected
        assert (saved / "MODEL_CARD.md").read_text() == "# A card\n"

    def test_a_loaded_model_is_the_saved_one(self, saved, recognizer):
        loaded = Recognizer.load(saved)
        assert loaded.labels == LABELS
        assert loaded.provenance == PROVENANCE
        assert loaded.front_end.get_config() == recognizer.front_end.get_config()
        np.testing.assert_array_equal(
            loaded.predict(sound(1), sampling_rate=RATE).probabilities,
            recognizer.predict(sound(1), sampling_rate=RATE).probabilities,
        )

    def test_a_fresh_process_gives_the_same_answer(self, saved, recognizer, clip):
        code = (
            "import sys, json, keras_vitser as kv\n"
            "answer = kv.Recognizer.load(sys.argv[1]).predict(sys.argv[2])\n"
            "print(json.dumps([answer.label, [float(value).hex() for value in answer.probabilities]]))"
        )
        done = subprocess.run(
            [sys.executable, "-c", code, str(saved), str(clip)],
            env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        expected = recognizer.predict(clip)
        hexadecimal = [float(value).hex() for value in expected.probabilities]
        assert json.loads(done.stdout.splitlines()[-1]) == [expected.label, hexadecimal]

    def test_a_run_folder_is_its_model(self, model_folder):
        assert Recognizer.load(model_folder.parent).labels == LABELS
        assert Recognizer.load(str(model_folder.parent)).labels == LABELS

    @pytest.mark.backends("tensorflow")
    def test_nothing_is_overwritten(self, recognizer, saved, tmp_path):
        before = {path.name: path.read_bytes() for path in saved.iterdir()}
        with pytest.raises(FileExistsError, match="already there"):
            recognizer.save(saved)
        assert {path.name: path.read_bytes() for path in saved.iterdir()} == before
        (tmp_path / "file").write_text("")
        with pytest.raises(FileExistsError, match="already there"):
            recognizer.save(tmp_path / "file")
        assert sorted(path.name for path in saved.parent.iterdir()) == ["model"]

    @pytest.mark.backends("tensorflow")
    def test_a_failure_leaves_nothing(self, recognizer, tmp_path, monkeypatch):
        def fail(self, path):
            path.write_text("half")
            raise OSError("no space left")

        monkeypatch.setattr(type(recognizer.network), "save", fail)
        with pytest.raises(OSError, match="no space"):
            recognizer.save(tmp_path / "model")
        assert list(tmp_path.iterdir()) == []


@pytest.mark.backends("tensorflow")
class TestLoadingRefuses:
    def refusal(self, folder):
        with pytest.raises(ModelFolderError) as caught:
            Recognizer.load(folder)
        assert "\n" not in str(caught.value)
        return str(caught.value)

    def test_a_folder_that_is_missing_or_holds_no_model(self, tmp_path):
        assert "nowhere" in self.refusal(tmp_path / "nowhere")
        assert str(tmp_path) in self.refusal(tmp_path)
        (tmp_path / "file").write_text("")
        assert "is not a model folder" in self.refusal(tmp_path / "file")

    @pytest.mark.parametrize("name", ["model.keras", "MODEL_CARD.md"])
    def test_a_file_that_is_missing(self, model_folder, name):
        (model_folder / name).unlink()
        assert name in self.refusal(model_folder)

    @pytest.mark.parametrize("name", ["model.keras", "MODEL_CARD.md"])
    def test_a_file_that_was_changed(self, model_folder, name):
        data = bytearray((model_folder / name).read_bytes())
        data[len(data) // 2] ^= 1
        (model_folder / name).write_bytes(data)
        message = self.refusal(model_folder)
        assert name in message
        assert "is not the file that was saved" in message

    def test_a_file_that_was_cut_off(self, model_folder):
        path = model_folder / "model.keras"
        path.write_bytes(path.read_bytes()[:1000])
        assert "model.keras" in self.refusal(model_folder)

    @pytest.mark.parametrize("text", ["", "not JSON", "[1, 2]", "3", "{}", '{"format": 1}', "\udcff"])
    def test_settings_that_are_none(self, model_folder, text):
        (model_folder / "recognizer.json").write_bytes(text.encode("utf-8", "surrogateescape"))
        assert "recognizer.json: is damaged" in self.refusal(model_folder)

    @pytest.mark.parametrize(
        "values",
        [
            {"format": "1"},
            {"format": None},
            {"sha256": {}},
            {"sha256": ["model.keras"]},
            {"labels": 3},
            {"front_end": {"n_mels": -1}},
            {"front_end": {"bands": 3}},
            {"front_end": None},
            {"provenance": {}},
            {"provenance": {"protocol": "", "leaky": False, "sentence": "", "speakers": 3, "clips": 3}},
        ],
    )
    def test_settings_with_a_value_that_is_none(self, model_folder, values):
        change(model_folder, **values)
        assert "recognizer.json: is damaged" in self.refusal(model_folder)

    def test_settings_of_a_newer_version_whatever_they_hold(self, model_folder):
        change(model_folder, format=3, keras_vitser="9.1")
        assert "newer keras_vitser (9.1)" in self.refusal(model_folder)
        (model_folder / "recognizer.json").write_text('{"format": 3, "keras_vitser": "9.1", "files": []}')
        assert "newer keras_vitser (9.1)" in self.refusal(model_folder)

    def test_labels_that_are_not_the_networks(self, model_folder):
        change(model_folder, labels=["anger", "neutral"])
        assert "3 different labels" in self.refusal(model_folder)

    def test_a_network_file_that_keras_cannot_read(self, model_folder):
        """As when somebody made the folder by hand: the hash is right and the file is no network."""
        path = model_folder / "model.keras"
        path.write_bytes(b"no network")
        hashes = {name: hashlib.sha256((model_folder / name).read_bytes()).hexdigest() for name in ["model.keras"]}
        change(model_folder, sha256=hashes)
        assert "model.keras" in self.refusal(model_folder)

    def test_a_hash_may_not_name_a_file_elsewhere(self, model_folder, tmp_path):
        secret = tmp_path / "secret"
        secret.write_text("elsewhere")
        settings = json.loads((model_folder / "recognizer.json").read_text())
        change(model_folder, sha256=settings["sha256"] | {"../secret": "0" * 64})
        assert "is missing" in self.refusal(model_folder)


# Numbers that are none


def with_head(recognizer, value):
    """The same model, one number of whose last layer is another."""
    network = ViTSER.from_config(recognizer.network.get_config())
    network.set_weights(recognizer.network.get_weights())
    kernel, bias = network.get_layer("head").get_weights()
    kernel[:] = value
    network.get_layer("head").set_weights([kernel, bias])
    return Recognizer(network, LABELS, LogMelImage(**FRONT_END), PROVENANCE, "# A card\n")


def test_no_label_is_made_of_what_is_no_number(recognizer):
    """Weights are finite here and the answer is not, as numbers overflow."""
    broken = with_head(recognizer, np.finfo(np.float32).max)
    for source in (sound(1), [sound(1), sound(2)], file_bytes(sound(1))):
        with pytest.raises(PredictionError, match=r"NaN or infinite, so no label is told; train the network anew"):
            broken.predict(source, sampling_rate=RATE)


def test_a_model_with_a_weight_that_is_no_number_is_not_written(recognizer, tmp_path):
    broken = with_head(recognizer, np.nan)
    for write in (broken.save, broken.save_to_preset):
        with pytest.raises(NonFiniteWeightsError, match=r"model: the layer head has a weight \(kernel\).*NaN"):
            write(tmp_path / "model")
    assert not list(tmp_path.iterdir())


def test_a_model_folder_of_one_is_not_loaded(recognizer, tmp_path, monkeypatch):
    """As an earlier version wrote it."""
    with monkeypatch.context() as earlier:
        earlier.setattr("keras_vitser.recognizer.check_finite", lambda network, where: None)
        earlier.setattr("keras_vitser.models.vit_ser.vit_ser.check_finite", lambda network, where: None)
        folder = with_head(recognizer, np.inf).save(tmp_path / "model")
    for load in (Recognizer.load, Recognizer.from_preset, ViTSER.from_preset):
        with pytest.raises(ModelFolderError, match=r"model\.keras: the layer head has a weight \(kernel\).*NaN"):
            load(folder)
