import pytest

from keras_vitser.corpora import manifest
from keras_vitser.errors import CorpusError


@pytest.fixture
def table(write):
    """Writes a table beside four sound files, and returns its path."""

    def write_table(content: str | bytes):
        path = write("s/1.wav", "s/2.wav", "s/a,b.wav", "s/ü.wav") / "clips.csv"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write_table


def test_paths_labels_and_speakers_are_read(table):
    corpus = manifest.read(table("path,label,speaker\ns/2.wav,sadness,eva\ns/1.wav,anger,\n"))
    assert [(corpus.relative_path(clip), clip.label, clip.speaker) for clip in corpus.clips] == [
        ("s/1.wav", "anger", None),
        ("s/2.wav", "sadness", "eva"),
    ]
    assert corpus.labels == ("anger", "sadness")


@pytest.mark.parametrize(
    "content",
    [
        "path,label\ns/1.wav,anger\ns/ü.wav,fear\n",
        "\ufeffpath,label\ns/1.wav,anger\ns/ü.wav,fear\n",
        "path,label\r\ns/1.wav,anger\r\ns/ü.wav,fear\r\n",
        "path,label\n\ns/1.wav,anger\n\n , \ns/ü.wav,fear\n\n",
        "Label, Path ,take\nanger,s/1.wav,1\nfear, s/ü.wav ,2\n",
        "path,label\n./s/1.wav,anger\ns/../s/ü.wav,fear",
    ],
    ids=["plain", "byte order mark", "CRLF", "blank lines", "other columns", "roundabout paths"],
)
def test_what_spreadsheets_write_is_read(table, content):
    corpus = manifest.read(table(content))
    assert [(corpus.relative_path(clip), clip.label) for clip in corpus.clips] == [
        ("s/1.wav", "anger"),
        ("s/ü.wav", "fear"),
    ]


def test_absolute_paths_and_quoted_commas_are_read(table):
    path = table("")
    path.write_text(f'path,label\n{path.parent / "s" / "1.wav"},anger\n"s/a,b.wav",fear\n')
    assert [clip.path.name for clip in manifest.read(path).clips] == ["1.wav", "a,b.wav"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("path,speaker\ns/1.wav,eva\n", r"clips\.csv, whose row 1 is 'path,speaker', without label"),
        ("s/1.wav,anger\n", "without path and label"),
        ("path;label\ns/1.wav;anger\n", "separated by commas.*'path;label'"),
        ("", "without path and label"),
        ("path,label,label\ns/1.wav,anger,fear\n", "with label twice"),
        ("path,label\n", "at least one clip"),
        ("path,label\ns/1.wav,anger\n,fear\n", r"row 3 of .*clips\.csv with an empty path"),
        ("path,label\n\ns/1.wav\n", r"row 3 of .* with an empty label"),
        ("path,label\ns/a,b.wav,fear\n", r"row 2 of .* with 3\. Put cells that hold a comma"),
        ("path,label\ns/1.wav,anger\ns/2.wav,fear\n./s/1.wav,fear\n", "'./s/1.wav' in rows 2 and 4"),
        ('path,label\n"s/1.wav,anger\n', "cannot be read"),
        (b"path,label\ns/\xfc.wav,anger\n", "in UTF-8"),
    ],
)
def test_errors_name_file_and_row(table, content, message):
    with pytest.raises(CorpusError, match=message):
        manifest.read(table(content))


def test_missing_files_are_counted_and_the_first_three_named(table):
    rows = "".join(f"s/x{number}.wav,fear\n" for number in range(5))
    with pytest.raises(CorpusError, match=r"5 of 6 are missing: .*x0\.wav \(row 3\), .*x1.*x2\S* \(row 5\) and 2 more"):
        manifest.read(table("path,label\ns/1.wav,anger\n" + rows))


def test_missing_files_are_left_to_who_checks_all_recordings(table):
    corpus = manifest.read(table("path,label\ns/1.wav,anger\ns/x.wav,fear\n"), missing_ok=True)
    assert [clip.path.name for clip in corpus.clips] == ["1.wav", "x.wav"]
    with pytest.raises(CorpusError, match="1 of 1 are missing"):
        manifest.read(table("path,label\ns/x.wav,fear\n"), missing_ok=True)


def test_a_folder_or_a_missing_table_is_refused(tmp_path):
    with pytest.raises(CorpusError, match="path,label,speaker"):
        manifest.read(tmp_path)
    with pytest.raises(CorpusError, match=r"no\.csv"):
        manifest.read(tmp_path / "no.csv")
