import subprocess
import sys

import numpy as np
import pytest

from keras_vitser.evaluation import confusion_figure, learning_curves_figure, save_figure, score

from .conftest import NAMES

STAGES = {
    "teacher": ("(a) teacher", "label_loss"),
    "matching": ("(b) matching", "feature_loss"),
    "student": ("(c) student", ""),
    "student_alone": ("student alone", "label_loss"),
}
ROWS = [
    {"stage": "teacher", "epoch": 1, "loss": 2.0, "accuracy": 0.2, "validation_unweighted_accuracy": 0.15},
    {"stage": "teacher", "epoch": 2, "loss": 1.5, "accuracy": 0.4, "validation_unweighted_accuracy": 0.35},
    {"stage": "matching", "epoch": 1, "loss": 0.4, "feature_loss": 0.4},
    {"stage": "matching", "epoch": 2, "loss": 0.3, "feature_loss": 0.3},
    {"stage": "student", "epoch": 1, "loss": 5.0, "label_loss": 1.0, "feature_loss": 0.4},
    {"stage": "student", "epoch": 2, "loss": 4.0, "label_loss": 0.9, "seconds": 1.5, "clips_per_second": 99.0},
]


def curves(axes):
    return {line.get_label(): line.get_ydata().tolist() for line in axes.lines}


def assert_nothing_is_cut_off(figure):
    """Every text lies inside the figure (half a pixel of rounding allowed)."""
    figure.draw_without_rendering()
    width, height = figure.bbox.size
    box = figure.get_tightbbox().transformed(figure.dpi_scale_trans)
    assert box.x0 >= -0.5
    assert box.y0 >= -0.5
    assert box.x1 <= width + 0.5
    assert box.y1 <= height + 0.5


def test_cells_hold_the_counts():
    answers = np.eye(2)[[1, 1, 1, 1]] * 0.8 + 0.1
    axes = confusion_figure(score(np.array([0, 0, 0, 1]), answers, ["a", "b"]), ["a", "b"], "title").axes[0]
    cells = {text.get_position(): text.get_text() for text in axes.texts}
    # A text's place is (answer, true class).
    assert cells == {(0, 0): "0", (1, 0): "3", (0, 1): "0", (1, 1): "1"}


def test_colours_are_shares_of_the_true_class(scores):
    picture = confusion_figure(scores, NAMES, "title").axes[0].images[0]
    np.testing.assert_allclose(picture.get_array(), [[0.75, 0.25, 0], [0.5, 0.5, 0], [0, 0, 1]])
    assert picture.get_clim() == (0, 1)


def test_a_class_without_clips_has_an_empty_row():
    scores = score(np.array([0]), np.array([[0.9, 0.1]]), ["a", "b"])
    picture = confusion_figure(scores, ["a", "b"], "title").axes[0].images[0]
    np.testing.assert_array_equal(picture.get_array()[1], [0, 0])


def test_title_stands_above_scores_and_chance(scores):
    lines = confusion_figure(scores, NAMES, "Student, paper (leaky)").get_suptitle().split("\n")
    assert lines == [
        "Student, paper (leaky)",
        "UA 75.0 % (chance 33.3 %), 8 clips",
        "WA 75.0 % (chance 50.0 %)",
    ]


@pytest.mark.parametrize("names", [["$\\oops$", "b$y_"], ["a" * 60, "several words of a name that is long"]])
def test_odd_and_long_names_are_drawn_whole(names):
    scores = score(np.array([0, 1]), np.array([[0.9, 0.1], [0.2, 0.8]]), names)
    figure = confusion_figure(scores, names, "a title of many words " * 5)
    ticks = [tick.get_text() for tick in figure.axes[0].get_yticklabels()]
    assert [tick.replace("\n", "").replace(" ", "") for tick in ticks] == [name.replace(" ", "") for name in names]
    assert_nothing_is_cut_off(figure)


def test_twelve_classes_fit_without_overlap():
    names = [f"emotion number {index}" for index in range(12)]
    labels = np.arange(1200) % 12
    figure = confusion_figure(score(labels, np.eye(12)[labels], names), names, "Student, speaker_independent")
    assert_nothing_is_cut_off(figure)
    axes = figure.axes[0]
    boxes = [text.get_window_extent() for text in axes.texts]
    cell = axes.get_window_extent().width / 12
    assert all(box.width < cell and box.height < cell for box in boxes)


def test_names_must_fit_the_classes(scores):
    with pytest.raises(ValueError, match=r"3 classes. Received: \['calm', 'cross'\]"):
        confusion_figure(scores, NAMES[:2], "title")


def test_curves_by_stage_hold_what_the_rows_hold():
    figure = learning_curves_figure(ROWS, STAGES)
    assert [axes.get_title() for axes in figure.axes] == ["(a) teacher", "", "(b) matching", "(c) student"]
    teacher, accuracies, matching, student = figure.axes
    assert curves(teacher) == {"label loss": [2.0, 1.5]}
    assert curves(accuracies) == {"WA, training": [0.2, 0.4], "UA, validation": [0.15, 0.35]}
    assert curves(matching) == {"feature loss (L1)": [0.4, 0.3]}
    assert curves(student) == {"total loss": [5, 4], "label loss": [1, 0.9], "feature loss (L1)": [0.4]}
    assert_nothing_is_cut_off(figure)


def test_four_stages_are_no_wider_than_three():
    rows = [{"stage": stage, "epoch": 1, "loss": 1.0} for stage in ("teacher", "matching", "student", "student_alone")]
    figures = [learning_curves_figure(rows[:count], STAGES) for count in (3, 4)]
    assert [axes.get_title() for axes in figures[1].axes][-1] == "student alone"
    assert figures[1].get_figwidth() == figures[0].get_figwidth()


def test_the_one_loss_of_a_stage_goes_by_its_name():
    rows = [{"stage": "matching", "epoch": 1, "loss": 0.4}, {"stage": "teacher", "epoch": 1, "loss": 2.0}]
    teacher, matching = learning_curves_figure(rows, STAGES).axes
    assert curves(teacher) == {"label loss": [2.0]}
    assert curves(matching) == {"feature loss (L1)": [0.4]}


@pytest.mark.parametrize("loss", [float("nan"), float("inf"), 0.0])
def test_a_diverged_run_can_be_drawn(tmp_path, loss):
    save_figure(learning_curves_figure([{"stage": "teacher", "epoch": 1, "loss": loss}]), tmp_path / "curves.png")


def test_stages_without_titles_go_by_their_names():
    figure = learning_curves_figure(ROWS)
    assert [axes.get_title() for axes in figure.axes] == ["teacher", "", "matching", "student"]
    with pytest.raises(ValueError, match="0 rows"):
        learning_curves_figure([])


@pytest.mark.parametrize("rows", [[], [{"stage": "warm-up", "epoch": 1}]])
def test_curves_of_no_stage_are_refused(rows):
    with pytest.raises(ValueError, match="teacher, matching, student"):
        learning_curves_figure(rows, STAGES)


def test_saved_bytes_repeat_themselves(tmp_path, scores):
    for name in ("first", "second"):
        save_figure(confusion_figure(scores, NAMES, "title"), tmp_path / f"{name}.png")
    first = (tmp_path / "first.png").read_bytes()
    assert first == (tmp_path / "second.png").read_bytes()
    assert first.startswith(b"\x89PNG")
    assert b"Software" not in first


def test_a_failed_save_leaves_the_older_file(tmp_path, scores):
    path = tmp_path / "figure.png"
    path.write_text("older")
    figure = confusion_figure(scores, NAMES, "title")
    figure.savefig = fail
    with pytest.raises(RuntimeError, match="disk"):
        save_figure(figure, path)
    assert [file.name for file in tmp_path.iterdir()] == ["figure.png"]
    assert path.read_text() == "older"


def fail(part, **_):
    part.write_bytes(b"half")
    raise RuntimeError("disk")


def test_pictures_need_no_pyplot_and_the_room_no_matplotlib(tmp_path):
    program = f"""
import sys
from keras_vitser.evaluation import learning_curves_figure, save_figure
assert not {{"matplotlib", "jinja2", "keras"}} & set(sys.modules), "loaded by the import alone"
save_figure(learning_curves_figure([{{"stage": "teacher", "epoch": 1, "loss": 2.0}}]), {str(tmp_path / "a.png")!r})
assert "matplotlib.pyplot" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", program], check=True)
    assert (tmp_path / "a.png").exists()
