"""A class has one name: forms of Unicode are one, and case is a mistake unless it is said to be none."""

import unicodedata

import pytest

from keras_vitser.corpora import load, load_any
from keras_vitser.corpora.checks import known_speakers
from keras_vitser.errors import CorpusError

pytestmark = pytest.mark.backends("tensorflow")

NFC, NFD = (unicodedata.normalize(form, "zärtlich") for form in ("NFC", "NFD"))


def table(folder, *rows):
    path = folder / "clips.csv"
    path.write_text("\n".join(("path,label,speaker", *rows)), encoding="utf-8")
    return path


@pytest.mark.parametrize("kind", ["folder", "manifest"])
def test_labels_that_print_alike_are_one_class(write, kind):
    place = write(f"{NFC}/1.wav", f"{NFD}/2.wav", "calm/3.wav")
    if kind == "manifest":
        place = table(place, f"{NFC}/1.wav,{NFC},", f"{NFD}/2.wav,{NFD},", "calm/3.wav,calm,")
    corpus = load_any(place)
    assert corpus.labels == ("calm", NFC)
    assert [clip.label for clip in corpus.clips].count(NFC) == 2
    assert load(kind, place, classes=[NFD, "calm"]).labels == ("calm", NFC)


def test_speakers_that_print_alike_are_one(write):
    place = write("1.wav", "2.wav", "3.wav", "4.wav")
    rows = [f"1.wav,calm,{NFC}", f"2.wav,upset,{NFD}", "3.wav,calm,eva", "4.wav,upset,eva"]
    corpus = load_any(table(place, *rows))
    assert corpus.speakers == ("eva", NFC)
    assert known_speakers(corpus, [NFD]) == (NFC,)


def test_a_path_of_another_form_is_not_missing(write):
    place = write(f"{NFD}/1.wav", "calm/2.wav")
    corpus = load_any(table(place, f"{NFC}/1.wav,upset,", "calm/2.wav,calm,"))
    assert all(clip.path.is_file() for clip in corpus.clips)


def test_one_file_under_two_names_stands_twice(write):
    place = write(f"{NFD}/1.wav", "calm/2.wav")
    with pytest.raises(CorpusError, match=r"lists each path once.*in rows 2 and 3"):
        load_any(table(place, f"{NFC}/1.wav,upset,", f"{NFD}/1.wav,upset,", "calm/2.wav,calm,"))


def test_the_corpus_itself_is_found_under_another_name(write):
    place = write(f"{NFD}/anger/1.wav", f"{NFD}/calm/2.wav")
    assert len(load_any(place / NFC)) == 2


@pytest.mark.parametrize("kind", ["folder", "manifest"])
def test_labels_that_differ_in_case_are_refused_by_name(write, kind):
    place = write("Angry/1.wav", "angry/2.wav", "angry/3.wav", "calm/4.wav")
    if kind == "manifest":
        rows = ("Angry/1.wav,Angry,", "angry/2.wav,angry,", "angry/3.wav,angry,", "calm/4.wav,calm,")
        place = table(place, *rows)
    expected = r"'Angry' \(1 clips\) beside 'angry' \(2 clips\) in .*--labels-as-written"
    for refused in (lambda: load_any(place), lambda: load(kind, place)):
        with pytest.raises(CorpusError, match=expected):
            refused()
    assert load_any(place, labels_as_written=True).labels == ("Angry", "angry", "calm")
    assert load(kind, place, labels_as_written=True).labels == ("Angry", "angry", "calm")


@pytest.mark.parametrize(
    ("kind", "label", "other"),
    [
        ("folder", "Freude", "Freude "),  # the cells of a table are stripped
        *(
            (kind, "very glad", other)
            for kind in ("folder", "manifest")
            for other in ("very  glad", "very\N{NO-BREAK SPACE}glad", "Very  glad")
        ),
    ],
)
def test_labels_that_differ_in_space_are_refused_by_name(write, kind, label, other):
    place = write(f"{label}/1.wav", f"{other}/2.wav", "calm/3.wav")
    if kind == "manifest":
        place = table(place, f"{label}/1.wav,{label},", f"{other}/2.wav,{other},", "calm/3.wav,calm,")
    with pytest.raises(CorpusError, match="differ only in case or spaces") as caught:
        load(kind, place)
    assert repr(label) + " (1 clips)" in str(caught.value)
    assert repr(other) + " (1 clips)" in str(caught.value)
    assert set(load(kind, place, labels_as_written=True).labels) == {"calm", label, other}


def test_only_labels_that_are_kept_are_looked_at(write):
    place = write("Angry/1.wav", "angry/2.wav", "calm/3.wav")
    assert load("folder", place, classes=["angry", "calm"]).labels == ("angry", "calm")
