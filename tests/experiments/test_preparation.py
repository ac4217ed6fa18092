"""From a config to images: as wide as the config says, and of recordings that were all read before anything else."""

import json
import shutil

import pytest
import soundfile

from keras_vitser import experiments
from keras_vitser.errors import CorpusError, ProtocolError, RunFolderError, UnreadableRecordingsError
from keras_vitser.experiments import feature_store, load_config
from keras_vitser.experiments.preparation import front_end_of, parts_of, readable_split_of, split_of
from keras_vitser.experiments.run_folder import RunFolder
from tests.experiments.made_up import TINY, chirp

pytestmark = pytest.mark.backends("torch")


@pytest.mark.parametrize("seconds", [4.0, 4.02, 0.29, 1.1])
def test_a_config_knows_how_wide_its_images_are(seconds):
    config = load_config(None, {"front_end": {"frames": None, "hop_length": 160, "clip_seconds": seconds}})
    assert config.front_end.columns == front_end_of(config).image_size[1]


OWN = TINY | {"corpus.name": "folder", "protocol.name": "random"}
BAD = {"calm/empty.wav": b"", "upset/page.wav": b"<html>Not found</html>", "upset/text.wav": b"no sound"}


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """Two classes of eight recordings each."""
    folder = tmp_path_factory.mktemp("good")
    for number in range(16):
        path = folder / ("calm", "upset")[number % 2] / f"{number}.wav"
        path.parent.mkdir(exist_ok=True)
        soundfile.write(path, chirp(number), 16000)
    return folder


@pytest.fixture
def spoiled(good, tmp_path):
    """The same, with three files that are no recordings and a link to nowhere."""
    folder = shutil.copytree(good, tmp_path / "spoiled")
    for name, content in BAD.items():
        (folder / name).write_bytes(content)
    (folder / "calm" / "gone.wav").symlink_to("nowhere.wav")
    return folder


def own(**values):
    return load_config(None, OWN | {key.replace("__", "."): value for key, value in values.items()})


def names(examples):
    return [example.clip.path.name for example in examples]


def test_all_bad_recordings_stand_in_one_error(spoiled, tmp_path):
    with pytest.raises(UnreadableRecordingsError) as caught:
        experiments.run(own(), spoiled, runs=tmp_path / "runs")
    message = str(caught.value)
    assert message.startswith(f"4 of 20 recordings in {spoiled} cannot be read: ")
    assert all(name in message for name in (*BAD, "calm/gone.wav"))
    assert "--leave-out-unreadable" in message
    assert not (tmp_path / "runs").exists()


def test_what_cannot_be_divided_is_refused_before_anything_is_read(good, monkeypatch):
    monkeypatch.setattr(feature_store, "read_waveform", lambda *args, **kwargs: pytest.fail("a recording was read"))
    with pytest.raises(ProtocolError, match="needs every clip's speaker"):
        readable_split_of(own(protocol__name="speaker_independent"), good)


def test_a_class_of_copies_of_one_bad_file_is_told_as_unreadable(good, tmp_path):
    """Copies count as one recording, so that the class is in one part alone, or in none."""
    data = shutil.copytree(good, tmp_path / "data")
    for path in (data / "upset").iterdir():
        path.write_bytes(b"<html>Not found</html>")
    with pytest.raises(UnreadableRecordingsError, match=r"^8 of 16 recordings.*upset/1\.wav.*a web page"):
        readable_split_of(own(), data)
    with pytest.raises(ProtocolError, match=r"training clip of upset.*8 of 16 recordings cannot be read"):
        readable_split_of(own(corpus__leave_out_unreadable=True), data)


def test_no_recording_is_read_twice(good, tmp_path, monkeypatch):
    read = []
    read_waveform = feature_store.read_waveform

    def noting(path, **settings):
        read.append(path.name)
        return read_waveform(path, **settings)

    monkeypatch.setattr(feature_store, "read_waveform", noting)
    monkeypatch.setenv("KERAS_VITSER_CACHE", str(tmp_path))
    config = own()
    split = readable_split_of(config, good)
    parts = parts_of(config, front_end_of(config), split, ("train", "validation", "test"))
    assert sum(len(part.x) for part in parts) == 16
    assert sorted(read) == sorted(path.name for path in good.rglob("*.wav"))


def test_left_out_recordings_are_counted_and_the_split_is_that_of_the_others(spoiled, caplog):
    split = readable_split_of(own(corpus__leave_out_unreadable=True), spoiled)
    assert sum(split.left_out.values()) == 4
    assert not {"gone.wav", *(name.partition("/")[2] for name in BAD)} & set(
        names([*split.train, *split.validation, *split.test])
    )
    assert "4 of 20 recordings cannot be read and are left out" in split.warnings[0]
    (line,) = [record.getMessage() for record in caplog.records]
    assert "upset/text.wav: is not a sound file" in line


@pytest.fixture(scope="module")
def finished(good, tmp_path_factory):
    """A run without the last of its stages' epochs that left two recordings out, and the folder of its recordings."""
    place = tmp_path_factory.mktemp("finished")
    data = shutil.copytree(good, place / "data")
    for name in ("calm/empty.wav", "upset/text.wav"):
        (data / name).write_bytes(BAD[name])
    overrides = {"corpus.leave_out_unreadable": True, "stages.teacher.epochs": 0, "stages.matching.epochs": 0}
    return experiments.run(load_config(own(), overrides), data, runs=place / "runs"), data


def test_what_was_left_out_stands_beside_the_score(finished):
    run, _ = finished
    left_out = run.metrics["left_out"]
    assert left_out["recordings"] == 2 == sum(left_out[part] for part in ("train", "validation", "test"))
    assert left_out["sentence"].startswith("2 of 18 recordings cannot be read and are left out (")
    written = ["split.csv", "report.html", "model/MODEL_CARD.md", "teacher/MODEL_CARD.md"]
    assert all(left_out["sentence"] in (run.folder / name).read_text(encoding="utf-8") for name in written)
    rows = [line for line in (run.folder / "split.csv").read_text().splitlines() if not line.startswith("#")]
    assert len(rows) == 1 + 16
    environment = json.loads((run.folder / "environment.json").read_text())
    assert environment["left_out"] == [["calm/empty.wav", "calm", None], ["upset/text.wav", "upset", None]]
    assert environment["recordings"]["left_out"] == 2


@pytest.fixture
def stopped(finished, tmp_path):
    """The run without its end, to be gone on with, and its recordings."""
    run, data = finished
    folder, data = shutil.copytree(run.folder, tmp_path / "run"), shutil.copytree(data, tmp_path / "data")
    (folder / "report.html").unlink()
    return folder, data


def test_a_run_that_goes_on_keeps_what_was_left_out(finished, stopped, good):
    """One of the two was mended since, the other deleted."""
    folder, data = stopped
    shutil.copy(good / "calm" / "0.wav", data / "calm" / "empty.wav")
    (data / "upset" / "text.wav").unlink()
    again = experiments.resume(folder, data)
    assert again.metrics == finished[0].metrics


def test_a_run_that_goes_on_refuses_what_is_bad_now(stopped):
    folder, data = stopped
    bad = names(split_of(load_config(folder / "config.yaml"), data, RunFolder.open(folder).left_out()).test)[0]
    (path,) = data.rglob(bad)
    path.write_bytes(b"")
    with pytest.raises(
        UnreadableRecordingsError, match=rf"1 of 18 recordings .*{bad}: is an empty file.*as the run began"
    ):
        experiments.resume(folder, data)


def test_a_run_without_the_list_left_nothing_out(stopped):
    """As versions before this one wrote it."""
    folder, _ = stopped
    environment = json.loads((folder / "environment.json").read_text())
    del environment["left_out"]
    (folder / "environment.json").write_text(json.dumps(environment))
    assert RunFolder.open(folder).left_out() == []


def test_a_full_disk_is_named(good, tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_VITSER_CACHE", str(tmp_path))

    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(RunFolderError, match=r"No space left on device.*make room"):
        readable_split_of(own(), good)


def test_what_a_table_lists_and_is_not_there_is_left_out_too(spoiled):
    table = spoiled / "clips.csv"
    clips = [f"{path.parent.name}/{path.name}" for path in sorted(spoiled.rglob("*.wav"))]
    rows = [f"{name},{name.partition('/')[0]}" for name in [*clips, "calm/nowhere.wav"]]
    table.write_text("\n".join(["path,label", *rows]))
    with pytest.raises(
        UnreadableRecordingsError, match=r"5 of 21 recordings.*calm/gone\.wav, calm/nowhere\.wav: no such"
    ):
        readable_split_of(own(corpus__name="manifest"), table)
    split = readable_split_of(own(corpus__name="manifest", corpus__leave_out_unreadable=True), table)
    assert sum(split.left_out.values()) == 5


def test_labels_as_written_travel_with_the_config(good, tmp_path):
    data = shutil.copytree(good, tmp_path / "data")
    shutil.copytree(good / "calm", data / "Calm")
    config = own(corpus__labels_as_written=True)
    assert split_of(config, data).corpus.labels == ("Calm", "calm", "upset")
    with pytest.raises(CorpusError, match="'Calm'"):
        split_of(own(), data)
