import pytest

from keras_vitser.corpora import DESCRIPTIONS, NAMES, load, load_any
from keras_vitser.errors import CorpusError

CLASSES = ["anger", "calm", "fear"]


@pytest.fixture
def place(write):
    return write("anger/1.wav", "fear/2.wav", "calm/3.wav")


def test_every_name_is_described_with_layout_and_terms():
    assert NAMES == ("savee", "emodb", "crema_d", "ravdess", "manifest", "folder", "demo")
    assert tuple(DESCRIPTIONS) == NAMES
    assert all("Layout: " in text and "Terms: " in text for text in DESCRIPTIONS.values())


@pytest.mark.parametrize(
    ("name", "clips", "speakers", "classes"),
    [("savee", 480, 4, 7), ("emodb", 354, 10, 6), ("crema_d", 7, 2, 6), ("ravdess", 1440, 24, 8)],
)
def test_published_corpora(recordings, name, clips, speakers, classes):
    corpus = load(name, recordings / name)
    assert corpus.name == name
    assert (len(corpus), len(corpus.speakers), len(corpus.labels)) == (clips, speakers, classes)


def test_unknown_name_is_answered_with_the_nearest():
    with pytest.raises(CorpusError, match=r"one of savee, emodb.*'crema-d'.*Did you mean 'crema_d'"):
        load("crema-d", "x")


def test_only_the_demo_needs_no_folder():
    with pytest.raises(CorpusError, match=r"`folder` must say where it lies.*AudioData/DC"):
        load("savee")


def test_chosen_classes_keep_the_order_of_the_corpus(place):
    corpus = load("folder", place, classes=["fear", "anger"])
    assert corpus.labels == ("anger", "fear")
    assert [clip.label for clip in corpus.clips] == ["anger", "fear"]


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        (["anger", "fera"], "labels of the corpus: anger, calm, fear.*'fera'.*Did you mean 'fear'"),
        (["anger", "fear", "anger"], "each label once"),
        (["anger"], r"at least two classes.*\['anger'\]"),
        ([], "at least two classes"),
        ("anger", "must be a list"),
    ],
)
def test_wrong_classes_are_refused(place, classes, message):
    with pytest.raises(CorpusError, match=message):
        load("folder", place, classes=classes)


def test_manifest_of_one_class_is_refused(place):
    (place / "x.csv").write_text("path,label\nanger/1.wav,anger\n")
    with pytest.raises(CorpusError, match="at least two classes"):
        load("manifest", place / "x.csv")


def test_own_recordings_are_known_by_their_form(place):
    (place / "x.CSV").write_text("path,label\nanger/1.wav,anger\nfear/2.wav,fear\n")
    assert load_any(place).name == "folder"
    assert load_any(str(place / "x.CSV")).name == "manifest"


@pytest.mark.parametrize(("name", "message"), [("anger/1.wav", "is neither"), ("nowhere", "does not exist")])
def test_other_paths_are_refused(place, name, message):
    with pytest.raises(CorpusError, match=f"{message}.*savee"):
        load_any(place / name)
