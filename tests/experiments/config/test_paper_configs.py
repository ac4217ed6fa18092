"""Each published variant: a small file on one base, whose networks are those of the paper."""

import itertools
from pathlib import Path

import pytest
import yaml

from keras_vitser.experiments import Config, load_config
from keras_vitser.layers import LogMelImage
from keras_vitser.models import ViTSER

pytestmark = pytest.mark.backends("tensorflow")

FOLDER = Path(__file__).parents[3] / "configs" / "paper"
FILES = sorted(FOLDER.glob("*.yaml"))
NAMES = [path.stem for path in FILES]
LABELS = {"savee": 7, "emodb": 7, "crema_d": 6}
STEM = (1, 16, 32, 64, 32, 16, 1)

# What each says, in full, beside the base: changing a file is changing what was published.
VARIANTS = {
    "base": {},
    "emodb": {"corpus.name": "emodb"},
    "crema_d": {"corpus.name": "crema_d"},
    "frames_1001": {"corpus.name": "crema_d", "front_end.frames": None},
    "patch_16x16": {"teacher.patch_size": (16, 16), "student.patch_size": (16, 16)},
    "patch_8x8": {"teacher.patch_size": (8, 8), "student.patch_size": (8, 8)},
    "no_stem": {"teacher.conv_stem": False},
    "no_coordinates": {"teacher.coordinates": False},
    "no_matching": {"stages.matching.epochs": 0},
    "student_alone": {"stages.matching.epochs": 0, "stages.student.alpha": 0.0},
    "alpha_0": {"stages.student.alpha": 0.0},
    "alpha_1": {"stages.student.alpha": 1.0},
    "teacher_12_12": {"teacher.depth": 12, "teacher.num_heads": 12},
}

# Teacher and student, as the paper's networks have them.
PARAMETERS = {
    "base": (2_912_200, 1_417_991),
    "emodb": (2_912_200, 1_417_991),
    "crema_d": (2_911_943, 1_417_734),
    "frames_1001": (2_911_943, 1_417_734),
    "no_matching": (2_912_200, 1_417_991),
    "student_alone": (2_912_200, 1_417_991),
    "alpha_0": (2_912_200, 1_417_991),
    "alpha_1": (2_912_200, 1_417_991),
    "teacher_12_12": (11_180_488, 1_417_991),
}


def networks(config):
    common = {
        "num_classes": LABELS[config.corpus.name],
        "image_size": LogMelImage(**config.front_end.arguments()).image_size,
    }
    return {
        "teacher": ViTSER.teacher(**common, **config.teacher.model_dump()),
        "student": ViTSER.student(**common, **config.student.model_dump()),
    }


def parameters(section, classes):
    """Counted by hand, from the description of the network."""
    stem = sum(9 * before * after + after for before, after in itertools.pairwise(STEM))
    channels = 3 if section.coordinates else 1
    patch = section.patch_size[0] * section.patch_size[1] * channels
    patches = 2 * patch + (patch * 256 + 256) + 2 * 256
    heads = section.num_heads * 64
    block = 2 * 256 + 256 * 3 * heads + (heads * 256 + 256) + 2 * 256 + 2 * (256 * 256 + 256)
    head = 2 * 256 + 256 * classes + classes
    return section.conv_stem * stem + patches + 256 + section.depth * block + head


def test_every_file_is_listed_here():
    assert set(NAMES) == set(VARIANTS)


def test_the_base_spells_out_the_papers_values_which_are_the_defaults():
    assert load_config("paper/base") == load_config(Config(), {"corpus.name": "savee", "protocol.name": "paper"})


@pytest.mark.parametrize("name", NAMES)
def test_a_variant_differs_from_the_base_in_what_it_is_named_for(name):
    assert load_config(f"paper/{name}") == load_config("paper/base", VARIANTS[name])


@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_a_variant_states_only_what_differs(path):
    values = yaml.safe_load(path.read_text(encoding="utf-8"))
    if path.stem == "base":
        assert "extends" not in values
        return
    base = load_config(path.parent / values.pop("extends")).model_dump(by_alias=True)

    def check(variant, base):
        for key, value in variant.items():
            if isinstance(value, dict):
                check(value, base[key])
            else:
                assert value != (list(base[key]) if isinstance(base[key], tuple) else base[key]), key

    check(values, base)


@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_the_head_says_what_it_is_and_no_figure_stands_without_the_word_leaky(path):
    first = path.read_text(encoding="utf-8").splitlines()[0]
    assert first.startswith("# ")
    assert " %" in first or "could not be read" in first or "not known to be published" in first
    assert (" %" in first) == ("leaky" in first)


@pytest.mark.parametrize("name", NAMES)
def test_its_networks_are_the_papers(name):
    config = load_config(f"paper/{name}")
    both = networks(config)
    columns = 1001 if name == "frames_1001" else 128
    for role, network in both.items():
        assert network.input_shape == (None, 128, columns, 1)
        assert network.count_params() == parameters(getattr(config, role), LABELS[config.corpus.name]), role
    if name in PARAMETERS:
        assert tuple(both[role].count_params() for role in ("teacher", "student")) == PARAMETERS[name]
    patch = VARIANTS[name].get("student.patch_size", (128, 1))
    tokens = 128 // patch[0] * columns // patch[1] + 1
    assert both["student"].get_layer("encoder_norm").output.shape == (None, tokens, 256)
