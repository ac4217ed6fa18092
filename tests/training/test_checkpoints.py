"""keras_vitser/training/checkpoints.py; what a transfer does with them is in test_transfer.py"""

import json
import os

import keras
import numpy as np
import pytest

from keras_vitser.distillation import Distiller
from keras_vitser.errors import CheckpointError
from keras_vitser.training.checkpoints import Checkpoints, Progress, restore, state_of, weights_digest
from tests.distillation.networks import X, Y, network, same

pytestmark = pytest.mark.backends("tensorflow", "jax", "torch")

JOB = {"seed": 0, "optimizer": {"class_name": "Adam"}}
NAME = "student"
PROGRESS = Progress(epoch=1, step=2, batches=3, logs=[{"loss": 0.1}])


def trained(seed=2, **arguments):
    """With a projection from width 5 to 7."""
    built = Distiller(network(1, width=7), network(seed, **arguments))
    built.compile(keras.optimizers.Adam(0.1))
    built.fit(X, Y, batch_size=4, verbose=0)
    return built


def test_progress_and_all_variables_come_back(tmp_path):
    built, other = trained(2), trained(3)
    Checkpoints(tmp_path, NAME, JOB).save(PROGRESS, built)
    progress, state = Checkpoints(tmp_path, NAME, JOB).load()
    assert progress == PROGRESS
    restore(other, state, ["model", "optimizer", "metrics"])
    expected = list(built.variables + built.optimizer.variables + built.metrics_variables)
    found = list(other.variables + other.optimizer.variables + other.metrics_variables)
    assert same(*([keras.ops.convert_to_numpy(v.value) for v in variables] for variables in (expected, found)))


def test_the_state_has_what_the_distiller_adds_and_not_the_teacher():
    built = trained()
    state = state_of(built)
    assert len(state["model"]) == len(built.student.variables) + len(built.adapters[0].variables) == 6
    assert len(state["optimizer"]) == len(built.optimizer.variables)
    assert len(state["metrics"]) == len(built.metrics_variables)


@pytest.mark.backends("torch")
def test_an_interrupted_save_leaves_the_state_before(tmp_path, monkeypatch):
    built = trained()
    store = Checkpoints(tmp_path, NAME, JOB)
    store.save(PROGRESS, built)
    write = np.savez

    def half(path, **arrays):
        write(path, **arrays)
        os.truncate(path, path.stat().st_size // 2)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", half)
    with pytest.raises(CheckpointError, match=r"cannot be written \(No space left on device\); .* make room"):
        store.save(Progress(epoch=9), built)
    assert Checkpoints(tmp_path, NAME, JOB).load()[0] == PROGRESS
    assert [file.name for file in tmp_path.iterdir()] == ["student-000001.npz"]


@pytest.mark.backends("torch")
def test_what_a_killed_process_left_is_cleared_away(tmp_path):
    (tmp_path / ".part-abc.npz").write_bytes(b"half")
    (tmp_path / "mine.npz").write_bytes(b"kept")
    assert Checkpoints(tmp_path, NAME, JOB).load() is None
    assert [file.name for file in tmp_path.iterdir()] == ["mine.npz"]


@pytest.mark.backends("torch")
@pytest.mark.parametrize("content", [b"", b"text", "half", "other arrays", "pickled", "later format", "no progress"])
def test_a_damaged_or_foreign_file_is_refused_and_stays(content, tmp_path):
    store, path = Checkpoints(tmp_path, NAME, JOB), tmp_path / "student-000001.npz"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content == "half":
        store.save(PROGRESS, trained())
        os.truncate(path, path.stat().st_size // 2)
    elif content == "other arrays":
        np.savez(path, weights=np.zeros(3))
    elif content == "pickled":
        np.savez(path, head=np.array([{"format": 1}], dtype=object))
    else:
        head = {"format": 1, "job": JOB, "progress": {"place": 3}, "counts": {}}
        if content == "later format":
            head = {**head, "format": 99}
        np.savez(path, head=np.frombuffer(json.dumps(head).encode(), np.uint8))
    before = path.read_bytes()
    with pytest.raises(CheckpointError, match=r"is damaged, or is no checkpoint .*delete it"):
        store.load()
    assert path.read_bytes() == before


@pytest.mark.backends("torch")
def test_flipped_bits_are_found(tmp_path):
    store, path = Checkpoints(tmp_path, NAME, JOB), tmp_path / "student-000001.npz"
    store.save(PROGRESS, trained())
    content = bytearray(path.read_bytes())
    kernel = content.find(b"model_0")
    content[kernel + 200] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match="is damaged"):
        store.load()


@pytest.mark.backends("torch")
def test_the_newest_two_stay_and_the_newest_whole_one_is_read(tmp_path, caplog):
    store = Checkpoints(tmp_path, NAME, JOB)
    for epoch in range(12):
        store.save(Progress(epoch=epoch), trained())
    Checkpoints(tmp_path, "other", JOB).save(Progress(epoch=99), trained())
    assert sorted(path.name for path in tmp_path.glob("student-*")) == ["student-000011.npz", "student-000012.npz"]
    assert store.load()[0].epoch == 11
    os.truncate(tmp_path / "student-000012.npz", 500)
    assert Checkpoints(tmp_path, NAME, JOB).load()[0].epoch == 10
    assert "student-000012.npz is damaged" in caplog.text
    store.save(Progress(epoch=20), trained())
    assert store.load()[0].epoch == 20


@pytest.mark.backends("torch")
def test_a_file_in_place_of_the_folder_is_refused(tmp_path):
    (tmp_path / "file").write_text("mine")
    for folder in (tmp_path / "file", tmp_path / "file" / "job"):
        with pytest.raises(CheckpointError, match="checkpoints need a folder"):
            Checkpoints(folder, NAME, JOB)


@pytest.mark.backends("torch")
def test_other_settings_are_named_with_their_old_and_new_values(tmp_path):
    Checkpoints(tmp_path, NAME, {**JOB, "gone": 1}).save(PROGRESS, trained())
    with pytest.raises(CheckpointError, match=r"another job: .*optimizer.class_name was .Adam. and is .SGD.") as caught:
        Checkpoints(tmp_path, NAME, {"seed": 1, "optimizer": {"class_name": "SGD"}, "new": None}).load()
    for part in ("seed was 0 and is 1", "gone was 1 and is not given", "new was not given and is null"):
        assert part in str(caught.value)


@pytest.mark.backends("torch")
def test_variables_of_other_shapes_are_refused(tmp_path):
    state = state_of(trained())
    with pytest.raises(CheckpointError, match="its model variables have the shapes"):
        restore(trained(width=6), state)


@pytest.mark.backends("torch")
def test_is_due_after_the_interval(tmp_path, monkeypatch):
    clock = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: clock[0])
    store = Checkpoints(tmp_path, NAME, JOB, interval=5.0)
    assert not store.is_due
    clock[0] += 5
    assert store.is_due
    store.save(PROGRESS, trained())
    assert not store.is_due


def test_the_weights_digest_sees_one_changed_bit():
    model = network(1)
    before = weights_digest(model)
    assert weights_digest(network(1)) == before
    kernel, *others = model.get_weights()
    kernel[0, 0] = np.nextafter(kernel[0, 0], np.float32(9))
    model.set_weights([kernel, *others])
    assert weights_digest(model) != before
