"""notebooks/03_distil_your_own_pair.ipynb: what it defines, with fewer epochs, on each backend."""

import json
from pathlib import Path

import keras
import numpy as np
import pytest

pytestmark = [pytest.mark.backends("tensorflow"), pytest.mark.more]

NOTEBOOK = Path(__file__).parents[2] / "notebooks" / "03_distil_your_own_pair.ipynb"


@pytest.fixture(scope="module")
def notebook():
    """The names of all its cells but the last, which trains."""
    cells = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    names = {}
    exec("\n".join(code[:-1]), names)
    return names


def test_the_student_learns_from_layers_within_a_keras_applications_model(notebook):
    result = notebook["run"](teacher_epochs=2, student_epochs=3)
    assert result["test_images"] == 597
    assert list(result["accuracy"]) == ["teacher", "student alone", "student distilled"]
    assert min(result["accuracy"].values()) > 0.2  # chance is 0.1
    losses = result["losses"]
    for name in ("feature_map_loss", "attention_loss", "soft_labels_loss", "label_loss"):
        assert len(losses[name]) == 3
    assert losses["feature_map_loss"][-1] < losses["feature_map_loss"][0]
    assert losses["soft_labels_loss"][-1] < losses["soft_labels_loss"][0]


def test_the_parts_are_apart_and_the_teacher_stays_as_it_was(notebook):
    (x, y), (x_test, _) = notebook["digits"]()
    assert x.shape == (4800, 32, 32, 3)
    assert not {image.tobytes() for image in x} & {image.tobytes() for image in x_test}
    teacher = notebook["build_teacher"]()
    before = [keras.ops.convert_to_numpy(variable).copy() for variable in teacher.weights]
    notebook["distil"](teacher, notebook["build_student"](), x[:128], y[:128], epochs=1)
    assert all(np.array_equal(a, keras.ops.convert_to_numpy(b)) for a, b in zip(before, teacher.weights, strict=True))
