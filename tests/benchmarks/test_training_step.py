"""benchmarks/training_step.py and plain_torch.py, on small networks: the same work, and what follows from seconds."""

import statistics

import harness
import keras
import numpy as np
import pytest
import torch
import training_step
from plain_torch import PlainViTSER, Trainer

from keras_vitser.models import ViTSER

from .scripts import run

pytestmark = pytest.mark.backends("tensorflow", "jax", "torch", more=["jax"])

SMALL = {"image_size": (16, 12), "patch_size": (8, 3), "hidden_dim": 24, "mlp_dim": 20, "depth": 2, "num_heads": 3}


@pytest.mark.parametrize("name", ["student", "teacher"])
def test_the_plain_network_gives_the_same_logits(name):
    model = getattr(ViTSER, name)(7, **SMALL)
    generator = np.random.default_rng(0)
    model.set_weights([value + generator.normal(0, 0.3, value.shape) for value in model.get_weights()])
    images = generator.random((3, 16, 12, 1), dtype="float32")
    with torch.no_grad():
        plain = PlainViTSER(model)(torch.from_numpy(images).permute(0, 3, 1, 2)).numpy()
    np.testing.assert_allclose(plain, keras.ops.convert_to_numpy(model(images)), rtol=0, atol=1e-4)


def test_the_plain_trainer_takes_the_same_steps():
    keras.utils.set_random_seed(0)
    model = ViTSER.student(7, **SMALL)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(1e-3), loss)
    trainer = Trainer(PlainViTSER(model), 1e-3)
    images = np.random.default_rng(0).random((4, 16, 12, 1), dtype="float32")
    labels = np.arange(4)
    ours = model.fit(images, labels, 4, epochs=5, verbose=0).history["loss"]
    theirs = torch.from_numpy(images).permute(0, 3, 1, 2), torch.from_numpy(labels)
    losses = [trainer.step(*theirs) for _ in range(5)]
    assert losses[0] == pytest.approx(ours[0], abs=1e-4)
    np.testing.assert_allclose(losses, ours, rtol=0, atol=2e-3)  # a step is 0.2; the two Adams add epsilon elsewhere
    assert ours[-1] < ours[0] - 0.5


@pytest.mark.more
def test_it_runs_and_reports(tmp_path):
    backend = keras.backend.backend()
    options = ["--tiny", "--batch", "4", "--quick", "--backends", backend]
    printed, written = run("training_step", tmp_path, *options)
    assert written["settings"] == {"batch": 4, "rounds": 2, "steps": 1, "tiny": True, "quick": True}
    assert {claim["bar"] for claim in written["claims"]} == {">= 1.3", ">= 2", None}
    for name in ("student", "teacher"):
        result = written["backends"][backend][name]
        assert result["difference"] < 1e-4
        seconds = result["seconds_per_step"]
        assert "ours" in seconds
        assert ("ours, jit_compile=True" in seconds) == (backend == "tensorflow")
        assert f"training step of {name}, the best" in printed
        ratios = [above / below for above, below in zip(seconds["plain PyTorch, eager"], seconds["ours"], strict=True)]
        (alone,) = [claim for claim in written["claims"] if claim["claim"] == f"training step of {name}, {backend}"]
        assert alone["ratio"]["median"] == pytest.approx(statistics.median(ratios))


def seconds(**by_kind):
    names = {"eager": training_step.EAGER, "ours": training_step.OURS, "compiled": training_step.COMPILED}
    return {"seconds_per_step": {names[kind]: [value] * 2 for kind, value in by_kind.items()}}


def test_the_best_backend_is_held_against_the_bar_and_the_compiled_peer():
    ours = {"jax": {"student": seconds(eager=3.0, ours=2.0)}}
    best, _, _, compiled = training_step.claims_of(
        "student", ours | {"torch": {"student": seconds(eager=4.0, ours=4.0, compiled=2.0)}}
    )
    assert (best["ratio"]["median"], best["bar"], best["met"]) == (1.5, ">= 1.3", True)
    assert best["figures"]["best"] == "student, jax"
    assert compiled["ratio"]["median"] == pytest.approx(1.5 / 2)  # theirs is twice as fast as eager, ours 1.5 times
    assert compiled["bar"] is None


def test_without_a_compiler_the_compiled_peer_is_skipped_in_words(monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    why = training_step.why_not_compiled()
    assert why == "torch.compile needs a C++ compiler, and there is no no-such-compiler"
    found = {"torch": {"student": seconds(eager=3.0, ours=2.0) | {"skipped": why}}}
    *_, compiled = training_step.claims_of("student", found)
    assert compiled["ratio"] is None
    assert why in str(harness.claims_table([compiled]).columns[2]._cells[0])
