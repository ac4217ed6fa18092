"""One path behind three doors: `Recognizer.predict`, the stream of the command line, and the actors of Ray."""

import json
import warnings

import numpy as np
import pytest
import soundfile

from keras_vitser.audio import heard_share, read_waveform
from keras_vitser.errors import AudioError, PredictionError
from keras_vitser.layers import LogMelImage
from keras_vitser.models import register_front_end
from keras_vitser.prediction import predict_stream
from keras_vitser.prediction.answering import NOT_FINITE, answers_of, excerpt_of
from keras_vitser.prediction.classifier import Classifier
from keras_vitser.prediction.ray_engine import Listener, _row
from keras_vitser.recognizer import Recognizer
from tests.experiments.made_up import chirp
from tests.front_ends import Moments, dense_of_dict

pytestmark = pytest.mark.backends("tensorflow", "jax", "torch")

RATE = 16000


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """Short, long, silent, late, of another rate, and unreadable ones; more than one batch."""
    folder = tmp_path_factory.mktemp("clips")
    sounds = {
        "short": chirp(1, 0.1),
        "exact": chirp(2, 0.25),
        "long": chirp(3, 1.3),
        "silent": np.zeros(2000),
        "silent_and_long": np.zeros(20000),
        "late": np.concatenate([np.zeros(8000), chirp(4, 0.2)]),
        "late_and_long": np.concatenate([np.zeros(8000), chirp(5, 0.7)]),
        **{f"clip{number}": chirp(number, 0.05 + 0.01 * number) for number in range(28)},
    }
    for name, samples in sounds.items():
        soundfile.write(folder / f"{name}.wav", samples, RATE, subtype="FLOAT")
    soundfile.write(folder / "other_rate.flac", chirp(6, 0.5, 44100), 44100)
    (folder / "text.wav").write_text("no sound")
    (folder / "empty.wav").write_bytes(b"")
    (folder / "cut_off.wav").write_bytes((folder / "long.wav").read_bytes()[:9000])
    return folder


@pytest.fixture(scope="module", params=["window", "no window"])
def folder_of_model(request, model, tmp_path_factory):
    """Two models: one that hears a quarter of a second, and one that hears all of a recording."""
    if request.param == "window":
        return model
    register_front_end(Moments)
    return Recognizer(dense_of_dict(), ["calm", "upset"], Moments()).save(tmp_path_factory.mktemp("open") / "model")


def _alone(recognizer, path, skip_silence):
    """The door for one recording: its answer, or its error."""
    try:
        return recognizer.predict(path, skip_silence=skip_silence)
    except AudioError as error:
        return error


@pytest.mark.parametrize("skip_silence", [False, True])
def test_all_doors_give_the_same_answers(folder_of_model, clips, skip_silence):
    paths = [*sorted(path.name for path in clips.iterdir()), "nowhere.wav"]
    recognizer = Recognizer.load(folder_of_model)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of what is cut, and silent
        alone = [_alone(recognizer, clips / path, skip_silence) for path in paths]
        read = [clips / path for path, answer in zip(paths, alone, strict=True) if not isinstance(answer, Exception)]
        listed = iter(recognizer.predict(read, skip_silence=skip_silence))
        rows = list(predict_stream(recognizer, paths, folder=clips, skip_silence=skip_silence))
    chunk = {"start": [0], "paths": [json.dumps(paths)]}
    actor = Listener(str(folder_of_model), str(clips), skip_silence)
    actors = [_row(values) for values in json.loads(actor(chunk)["rows"][0])]

    assert len(read) == len(paths) - 4
    assert [row.path for row in rows] == paths
    assert actors == rows
    for row, answer in zip(rows, alone, strict=True):
        if isinstance(answer, AudioError):
            assert row.error == str(answer).replace(f"{clips}/", "")
            assert (row.label, row.probabilities, row.heard) == (None, (), None)
            continue
        assert row.error is None
        for other in (answer, next(listed)):
            assert (row.label, row.is_cut) == (other.label, other.is_cut)
            assert row.seconds_used == round(other.seconds_used, 3)
            assert row.heard == round(other.heard, 6)
            # Half of the sixth digit, and what another size of the batch may change.
            np.testing.assert_allclose(row.probabilities, other.probabilities, atol=2e-6, rtol=0)


@pytest.mark.backends("torch")
def test_a_classifier_is_the_recognizers_without_what_it_learned(model):
    recognizer, classifier = Recognizer.load(model), Classifier.load(model)
    assert type(classifier) is Classifier
    assert classifier.labels == recognizer.labels
    assert classifier.front_end.get_config() == recognizer.front_end.get_config()
    clips, _ = classifier.front_end.clips([chirp(1, 0.2), chirp(2, 0.3)])
    np.testing.assert_array_equal(classifier.probabilities(clips), recognizer.probabilities(clips))


@pytest.mark.backends("torch")
@pytest.mark.parametrize("skip_silence", [False, True])
@pytest.mark.parametrize("front_end", [LogMelImage(clip_seconds=0.25, frames=16, n_mels=16), Moments()])
def test_what_is_used_of_a_recording_and_how_much_is_heard(front_end, skip_silence, clips):
    for path in sorted(clips.glob("[ls]*.wav")):
        waveform = read_waveform(path, sampling_rate=front_end.sampling_rate)
        excerpt = excerpt_of(waveform, front_end, skip_silence)
        window = front_end.clip_samples or len(waveform)
        starts_late = skip_silence and "late" in path.name and front_end.clip_samples
        start = 8000 if starts_late else 0
        np.testing.assert_array_equal(excerpt.samples, waveform[start:][:window])
        assert excerpt.is_cut == (len(waveform) - start > window)
        assert excerpt.heard == heard_share(waveform[start:], window, front_end.sampling_rate)


@pytest.mark.backends("torch")
def test_a_long_recording_is_let_go():
    waveform = np.zeros(600 * RATE, np.float32)
    assert excerpt_of(waveform, LogMelImage()).samples.base is None


@pytest.mark.backends("torch")
def test_no_answer_where_nothing_was_read_or_the_network_gives_no_number(recognizer, monkeypatch):
    excerpts = [excerpt_of(chirp(number, 0.2), recognizer.front_end) for number in range(3)]
    assert answers_of(recognizer, [None, None]) == [None, None]
    answers = answers_of(recognizer, [excerpts[0], None, excerpts[2]])
    assert [answer is None for answer in answers] == [False, True, False]
    whole = recognizer.probabilities

    def spoiled(clips, lengths):
        numbers = np.array(whole(clips, lengths))
        numbers[1] = np.nan
        return numbers

    monkeypatch.setattr(recognizer, "probabilities", spoiled)
    assert [answer is None for answer in answers_of(recognizer, excerpts)] == [False, True, False]
    with pytest.raises(PredictionError, match=NOT_FINITE):
        recognizer.predict([excerpt.samples for excerpt in excerpts], sampling_rate=RATE)
