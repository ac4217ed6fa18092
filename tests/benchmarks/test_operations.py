"""benchmarks/operations.py: the count against PyTorch's own, and what follows from the seconds."""

import statistics

import keras
import pytest
import torch
from operations import forward_operations, step_operations
from plain_torch import PlainViTSER
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from keras_vitser.models import ViTSER

from .scripts import run

pytestmark = pytest.mark.backends("tensorflow", "jax", "torch", more=["jax"])

SMALL = {"image_size": (16, 12), "patch_size": (8, 3), "hidden_dim": 24, "mlp_dim": 20, "depth": 2, "num_heads": 3}


@pytest.mark.parametrize("sizes", [{}, SMALL], ids=["paper", "small"])
@pytest.mark.parametrize("name", ["student", "teacher"])
def test_operations_are_those_that_torch_counts(name, sizes):
    """Torch leaves out that the first convolution's inputs need no gradient; so do we not."""
    model = getattr(ViTSER, name)(7, pooling="mean", **sizes)  # so that all tokens of the last block are worked out
    plain, batch = PlainViTSER(model), 2
    images = torch.zeros(batch, 1, *model.image_size)
    with FlopCounterMode(display=False) as forward:
        loss = functional.cross_entropy(plain(images), torch.zeros(batch, dtype=torch.long))
    assert forward.get_total_flops() == batch * forward_operations(model)
    with FlopCounterMode(display=False) as backward:
        loss.backward()
    whole = forward.get_total_flops() + backward.get_total_flops()
    assert whole == pytest.approx(step_operations(model, batch), rel=0.01)


@pytest.mark.backends("torch")  # torch counts what runs on it
@pytest.mark.parametrize("name", ["student", "teacher"])
@pytest.mark.parametrize("pooling", ["class_token", "mean"])
def test_operations_of_ours_are_those_that_torch_counts(name, pooling):
    model = getattr(ViTSER, name)(7, pooling=pooling, **SMALL)
    with FlopCounterMode(display=False) as forward:
        model(torch.zeros(2, *model.image_size, 1))
    assert forward.get_total_flops() == 2 * forward_operations(model)


def test_the_papers_networks_are_as_large_as_the_readme_says():
    """And without the short cut in the last block, as their authors' modules are."""
    assert forward_operations(ViTSER.student(7)) / 2 == pytest.approx(0.17e9, rel=0.03)
    assert forward_operations(ViTSER.teacher(7)) / 2 == pytest.approx(1.14e9, rel=0.03)
    assert forward_operations(ViTSER.student(7, pooling="mean")) / 2 == pytest.approx(0.21e9, rel=0.03)
    assert forward_operations(ViTSER.teacher(7, pooling="mean")) / 2 == pytest.approx(1.19e9, rel=0.03)


@pytest.mark.more
def test_it_runs_and_reports(tmp_path):
    backend = keras.backend.backend()
    printed, written = run("operations", tmp_path, "--tiny", "--quick", "--batch", "4", "--backends", backend)
    result = written["backends"][backend]
    for name, times in (("student", 1.3), ("teacher", 2)):
        best, asked, alone = (claim for claim in written["claims"] if name in claim["claim"])
        assert best["ratio"] == alone["ratio"] == share(result, name, name, 1)
        assert asked["ratio"] == share(result, name, f"{name}, plain", times)
        assert best["bar"] == {"student": ">= 0.5", "teacher": None}[name]
        assert f"step of {name}, the best" in printed
        assert f"step of {name}, if {times} times plain" in printed


def share(result, name, contestant, times):
    """Of the rate of the product, were the step so many times as fast as the contestant's."""
    products, steps = result["seconds"]["a float32 matrix product"], result["seconds"][contestant]
    values = [
        times * result[name]["operations"] / step / (2 * 1024**3 / product)
        for product, step in zip(products, steps, strict=True)
    ]
    return pytest.approx({"median": statistics.median(values), "low": min(values), "high": max(values)})
