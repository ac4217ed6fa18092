"""One strict schema: what is wrong is named with its file, its key and the nearest known one."""

import re
from pathlib import Path

import jsonschema
import pytest
import yaml

from keras_vitser.audio import COPIES
from keras_vitser.corpora import NAMES, protocols
from keras_vitser.errors import ConfigError
from keras_vitser.experiments import Config, load_config
from keras_vitser.experiments.config.files import config_path, config_schema, resolve_config

pytestmark = pytest.mark.backends("tensorflow")

CONFIGS = Path(__file__).parents[3] / "configs"
SHIPPED = sorted(path.relative_to(CONFIGS).with_suffix("").as_posix() for path in CONFIGS.rglob("*.yaml"))


@pytest.fixture
def write(tmp_path):
    """Writes a config file and returns its path."""

    def write(text, name="mine.yaml"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    return write


def refusal(source, overrides=None):
    with pytest.raises(ConfigError) as caught:
        load_config(source, overrides)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_the_defaults_are_the_papers():
    config = load_config()
    assert config == Config()
    stages = config.stages
    for stage in (stages.teacher, stages.matching, stages.student):
        assert (stage.epochs, stage.batch_size, stage.learning_rate, stage.halve_every) == (50, 4, 1e-4, 10)
    assert stages.student.alpha == 10
    assert (config.teacher.depth, config.student.depth, config.student.num_heads) == (6, 3, 5)
    assert (config.teacher.conv_stem, config.teacher.coordinates) == (True, True)
    assert (config.student.conv_stem, config.student.coordinates) == (False, False)
    assert config.augmentation.copies == len(COPIES) == 4


def test_a_stem_of_other_convolutions_is_given_by_its_channels():
    config = load_config("demo", {"teacher.conv_stem": [4, 4]})
    assert config.teacher.conv_stem == (4, 4)
    for stem in ([], [0], 4, "yes please"):
        assert "teacher.conv_stem" in refusal("demo", {"teacher.conv_stem": stem})


def test_there_are_shipped_configs():
    assert {"demo", "savee", "folder", "paper/patch_16x16"} <= set(SHIPPED)


@pytest.mark.parametrize("name", SHIPPED)
def test_every_shipped_config_loads_by_its_name(name):
    config = load_config(name)
    assert config.corpus.name in NAMES
    assert config.protocol.name in protocols.PROTOCOLS
    assert load_config(config_path(name)) == config


@pytest.mark.parametrize(
    ("text", "key", "nearest"),
    [
        ("epoch: 3", "'epoch'", None),
        ("sed: 3", "'sed'", "'seed'"),
        ("stages: {student: {epoch: 3}}", "'stages.student.epoch'", "'epochs'"),
        ("stages: {teacher: {form: x}}", "'stages.teacher.form'", "'from'"),
        ("stages: {teacher: {from_: x}}", "'stages.teacher.from_'", "'from'"),
        ("front_end: {n_mel: 3}", "'front_end.n_mel'", "'n_mels'"),
        ("protocol: {test_speaker: [KL]}", "'protocol.test_speaker'", "'test_speakers'"),
    ],
)
def test_an_unknown_key_is_named_with_its_file_and_the_nearest(write, text, key, nearest):
    path = write(text)
    message = refusal(path)
    assert str(path) in message
    assert f"unknown key {key}" in message
    if nearest:
        assert f"did you mean {nearest}?" in message


def test_every_unknown_key_is_named_at_once(write):
    message = refusal(write("sed: 1\nstages: {matching: {epoch: 1}}"))
    assert "'sed'" in message
    assert "'stages.matching.epoch'" in message


@pytest.mark.parametrize(
    ("text", "key", "received"),
    [
        ("seed: -1", "seed", "-1"),
        ("seed: many", "seed", "'many'"),
        ("seed: 4294967296", "seed", "4294967296"),
        ("stages: {student: {epochs: -1}}", "stages.student.epochs", "-1"),
        ("stages: {student: {epochs: 1.5}}", "stages.student.epochs", "1.5"),
        ("stages: {student: {batch_size: 0}}", "stages.student.batch_size", "0"),
        ("stages: {teacher: {learning_rate: 0}}", "stages.teacher.learning_rate", "0"),
        ("stages: {teacher: {learning_rate: .inf}}", "stages.teacher.learning_rate", "inf"),
        ("stages: {teacher: {learning_rate: .nan}}", "stages.teacher.learning_rate", "nan"),
        ("stages: {student: {alpha: -1}}", "stages.student.alpha", "-1"),
        ("stages: 5", "stages", "5"),
        ("corpus:", "corpus", "None"),
        ("protocol: {name: mine}", "protocol.name", "'mine'"),
        ("protocol: {test_fraction: 1}", "protocol.test_fraction", "1"),
        ("augmentation: {copies: 5}", "augmentation.copies", "5"),
        ("augmentation: {speed: [1.1, 0.9]}", "speed", "[1.1, 0.9]"),
        ("augmentation: {speed: [0, 1]}", "speed", "[0.0, 1.0]"),
        ("augmentation: {noise_snr_db: [30, 10]}", "noise_snr_db", "[30.0, 10.0]"),
        ("teacher: {pooling: max}", "teacher.pooling", "'max'"),
        ("student: {dropout: 1}", "student.dropout", "1"),
        ("student: {patch_size: [100, 1]}", "student.patch_size", "[100, 1]"),
        ("teacher: {patch_size: [128, 3]}", "teacher.patch_size", "[128, 3]"),
        ("front_end: {n_mels: 64}", "teacher.patch_size", "[128, 1]"),
    ],
)
def test_a_wrong_value_is_named_with_its_file_and_key(write, text, key, received):
    path = write(text)
    message = refusal(path)
    assert str(path) in message
    assert key in message
    assert received in message


def test_no_epoch_for_the_student_is_refused_only_where_nothing_teaches_it():
    message = refusal(None, {f"stages.{stage}.epochs": 0 for stage in ("matching", "student")} | STUDENT_ALONE)
    assert "stages.student.epochs" in message
    assert load_config(None, {"stages.student.epochs": 0}).stages.matching.epochs == 50


STUDENT_ALONE = {"stages.student.alpha": 0}


def test_a_student_alone_is_trained_as_the_student_but_for_the_teacher():
    stages = load_config(None, {"stages.compare_alone": True, "stages.student": {"epochs": 3, "alpha": 2.0}}).stages
    assert stages.student_alone.alpha == 0
    assert stages.student_alone.model_copy(update={"alpha": 2.0}) == stages.student
    assert "stages.student.epochs" in refusal(None, {"stages.compare_alone": True, "stages.student.epochs": 0})


def test_a_variant_states_only_what_differs(write):
    write("seed: 7\nstages: {student: {epochs: 9, alpha: 2}}\ncorpus: {classes: [anger, sadness]}", "grand.yaml")
    write("extends: grand.yaml\nstages: {student: {epochs: 5}}", "base.yaml")
    config = load_config(write("extends: ../base.yaml\ncorpus: {classes: [fear, joy]}", "deep/variant.yaml"))
    assert config.seed == 7
    assert (config.stages.student.epochs, config.stages.student.alpha) == (5, 2)
    assert config.corpus.classes == ["fear", "joy"]


def test_a_circle_of_variants_is_refused(write):
    write("extends: b.yaml", "a.yaml")
    write("extends: a.yaml", "b.yaml")
    assert "extends itself" in refusal(write("extends: a.yaml", "c.yaml"))
    assert "extends itself" in refusal(write("extends: own.yaml", "own.yaml"))


def test_a_missing_base_is_named_with_the_file_that_names_it(write):
    path = write("extends: gone.yaml")
    message = refusal(path)
    assert str(path) in message
    assert "gone.yaml" in message


def test_the_fault_of_a_base_is_told(write):
    write("seed: [", "base.yaml")
    assert "base.yaml" in refusal(write("extends: base.yaml"))


def test_a_path_goes_before_a_shipped_name(write, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert load_config("demo").corpus.name == "demo"
    write("seed: 11", "demo")
    assert load_config("demo").seed == 11
    assert load_config(Path("demo")).seed == 11


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("ravdes", "ravdess"),
        ("savee.yaml", "savee"),
        ("nowhere/savee.yaml", "savee"),
        ("paper/patch_16", "paper/patch_16x16"),
        ("paper/patch_8x8.yaml", "paper/patch_8x8"),
        ("papers/alpha_1", "paper/alpha_1"),
        ("patch_16x16", "paper/patch_16x16"),
        ("emodb.yml", "emodb"),
    ],
)
def test_near_misses_of_a_shipped_name_are_helped(wrong, right):
    message = refusal(wrong)
    assert f"Did you mean {right!r}?" in message
    assert all(name in message for name in SHIPPED)


@pytest.mark.parametrize("wrong", ["/nowhere/qqqq.yaml", "..", ""])
def test_what_is_like_no_shipped_name_gets_no_hint(wrong):
    assert "Did you mean" not in refusal(wrong)


def test_a_folder_is_no_config(tmp_path):
    assert str(tmp_path) in refusal(tmp_path)


@pytest.mark.parametrize(
    ("text", "line"), [("seed: 1\nstages: [1,", 2), ("seed: 1\n\tcorpus: 2", 2), ("a: b: c", 1), ("seed: 1\nx: @", 2)]
)
def test_what_is_not_yaml_is_named_with_its_line(write, text, line):
    path = write(text)
    message = refusal(path)
    assert str(path) in message
    assert "is not YAML" in message
    # A list that is never closed is noticed at the end of the file.
    assert f"line {line}" in message or f"line {line + 1}" in message


def test_bytes_that_are_no_text_are_refused(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_bytes(b"seed: \xff\xfe\x00")
    assert str(path) in refusal(path)


@pytest.mark.parametrize("text", ["- seed\n- 1", "demo", "3"])
def test_yaml_that_holds_no_keys_is_refused(write, text):
    assert "must hold keys and values" in refusal(write(text))


def test_an_empty_file_is_the_defaults(write):
    assert load_config(write("# nothing yet\n")) == Config()


@pytest.mark.parametrize(
    ("text", "key", "line"),
    [
        ("seed: 1\ncorpus: {name: demo}\nseed: 2\n", "seed", 3),
        ("stages:\n  student:\n    epochs: 1\n    alpha: 1\n    epochs: 2\n", "epochs", 5),
    ],
)
def test_a_key_that_stands_twice_is_refused(write, text, key, line):
    path = write(text)
    message = refusal(path)
    assert str(path) in message
    assert repr(key) in message
    assert f"line {line}" in message


def test_merge_keys_of_yaml_still_work(write):
    text = "stages:\n  teacher: &stage {epochs: 3, batch_size: 8}\n  matching: {<<: *stage, epochs: 4}\n"
    stages = load_config(write(text)).stages
    assert (stages.matching.epochs, stages.matching.batch_size) == (4, 8)


def test_overrides_go_before_the_file(write):
    path = write("seed: 1\nstages: {student: {epochs: 9, alpha: 2}}")
    config = load_config(path, {"stages.student.epochs": 5, "corpus.name": "demo", "stages.teacher.from": "runs/x"})
    assert (config.seed, config.corpus.name, config.stages.teacher.from_) == (1, "demo", "runs/x")
    assert (config.stages.student.epochs, config.stages.student.alpha) == (5, 2)


def test_a_config_is_taken_as_it_is_and_left_as_it_was():
    config = load_config("demo")
    changed = load_config(config, {"seed": 3, "stages.teacher.from": "runs/x"})
    assert (config.seed, changed.seed) == (0, 3)
    assert changed.corpus == config.corpus
    assert load_config(changed) == changed


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ({"stages.student.epoch": 1}, ["unknown key 'stages.student.epoch'", "did you mean 'epochs'?"]),
        ({"stage.student.epochs": 1}, ["unknown key 'stage'", "did you mean 'stages'?"]),
        ({"seed.x": 1}, ["seed"]),
        ({"seed": None}, ["seed", "None"]),
        ({"": 1}, ["unknown key"]),
        ({"stages..epochs": 1}, ["unknown key 'stages.'"]),
    ],
)
def test_overrides_are_checked_too(overrides, words):
    message = refusal("demo", overrides)
    assert all(word in message for word in words), message


def test_the_yaml_spells_everything_out_and_reads_back(write):
    overrides = {
        "stages.teacher.from": "runs/ä",
        "augmentation.speed": [0.8, 1.2],
        "protocol.test_speakers": ["1", "02"],
    }
    config = load_config("savee", overrides)
    text = config.to_yaml()
    assert load_config(write(text)) == config
    values = yaml.safe_load(text)
    assert values["stages"]["teacher"]["from"] == "runs/ä"
    assert "from_" not in text
    assert set(values) == set(Config.model_fields)
    assert set(values["student"]) == set(type(config.student).model_fields)


def test_configs_cannot_be_changed():
    with pytest.raises(ValueError, match="frozen"):
        Config().seed = 1


class TestOrigins:
    def test_each_value_has_one(self):
        resolved = resolve_config("savee")
        assert resolved.config == load_config("savee")
        text = yaml.safe_load(resolved.config.to_yaml())
        assert {key.split(".")[0] for key in resolved.origins} == set(text)
        assert {key for key in resolved.origins if key.startswith("stages.teacher.")} == {
            f"stages.teacher.{key}" for key in text["stages"]["teacher"]
        }

    def test_without_a_file_all_are_defaults(self):
        assert set(resolve_config().origins.values()) == {"default"}

    def test_of_a_shipped_config_the_line_is_named_wherever_one_stands(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        lines = (CONFIGS / "savee.yaml").read_text(encoding="utf-8").splitlines()
        number = lines.index("  test_speakers: [KL]") + 1
        origins = resolve_config("savee").origins
        assert origins["protocol.test_speakers"] == f"configs/savee.yaml:{number}"
        assert origins["protocol.fold"] == "default"

    def test_a_variant_names_the_file_that_states_the_value(self, write, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        write(
            "seed: 7\nstages:\n  student: {epochs: 9,\n    alpha: 2}\ncorpus:\n  classes:\n  - a\n  - b\n", "base.yaml"
        )
        path = write("# mine\nextends: ../base.yaml\nstages:\n  student:\n    epochs: 5\n", "deep/mine.yaml")
        origins = resolve_config(path).origins
        assert origins["seed"] == "base.yaml:1"
        assert origins["stages.student.alpha"] == "base.yaml:4"
        assert origins["stages.student.epochs"] == "deep/mine.yaml:5"
        assert origins["corpus.classes"] == "base.yaml:6"
        assert origins["corpus.name"] == "default"
        assert "extends" not in origins

    def test_a_file_elsewhere_is_named_in_full(self, write, tmp_path, monkeypatch):
        (tmp_path / "here").mkdir()
        path = write("seed: 1")
        monkeypatch.chdir(tmp_path / "here")
        assert resolve_config(path).origins["seed"] == f"{path.resolve().as_posix()}:1"

    def test_a_value_equal_to_the_default_still_comes_from_its_file(self, write):
        assert resolve_config(write("\n\nseed: 0")).origins["seed"].endswith("mine.yaml:3")

    def test_merge_keys_name_the_line_that_states_the_value(self, write):
        text = (
            "stages:\n  teacher: &stage\n    epochs: 3\n    batch_size: 8\n  matching:\n    <<: *stage\n    epochs: 4\n"
        )
        origins = resolve_config(write(text)).origins
        assert origins["stages.matching.batch_size"].endswith("mine.yaml:4")
        assert origins["stages.matching.epochs"].endswith("mine.yaml:7")

    def test_an_alias_is_one_section_at_two_places_and_may_differ(self, write):
        write("stages: {teacher: &stage {epochs: 3}, matching: *stage}", "base.yaml")
        path = write("extends: base.yaml\nstages:\n  matching: {epochs: 4}")
        resolved = resolve_config(path, {"stages.teacher.batch_size": 2})
        assert resolved.origins["stages.teacher.epochs"].endswith("base.yaml:1")
        assert resolved.origins["stages.matching.epochs"].endswith("mine.yaml:3")
        assert resolved.origins["stages.teacher.batch_size"] == "override"
        assert resolved.origins["stages.matching.batch_size"] == "default"

    def test_a_section_that_contains_itself_is_refused(self, write):
        assert "seed" in refusal(write("seed: &a {x: *a}"))

    def test_overrides_are_named(self):
        origins = resolve_config("savee", {"seed": 3, "stages.student.epochs": 5}).origins
        assert (origins["seed"], origins["stages.student.epochs"]) == ("override", "override")
        assert origins["stages.student.alpha"] == "default"
        assert origins["corpus.name"].startswith("configs/savee.yaml:")

    def test_a_whole_section_overridden_does_away_with_the_files(self):
        origins = resolve_config("savee", {"protocol": {"name": "random"}}).origins
        assert (origins["protocol.name"], origins["protocol.test_speakers"]) == ("override", "default")

    def test_a_config_says_that_it_was_given(self):
        origins = resolve_config(load_config("demo"), {"seed": 3}).origins
        assert (origins["seed"], origins["corpus.name"], origins["stages.teacher.from"]) == (
            "override",
            "given",
            "given",
        )

    def test_the_yaml_has_them_beside_the_values_and_reads_back(self, write):
        awkward = ["a: b # c", "[x", "d\ne", "ä", "", "null", "1e3", "- f", "'", '"', "%", "é" * 200, "\x85", "  g "]
        overrides = {"corpus.classes": awkward, "stages.teacher.from": "runs/# x\n ", "augmentation.speed": [0.8, 1]}
        resolved = resolve_config("savee", overrides)
        text = resolved.to_yaml()
        assert load_config(write(text)) == resolved.config
        lines = text.splitlines()
        for key, origin in resolved.origins.items():
            name = key.rpartition(".")[2]
            assert any(re.fullmatch(rf" *{name}: .*  # {re.escape(origin)}", line) for line in lines), key
        columns = {line.rindex("  # ") for line in lines if "  # " in line and len(line) < 80}
        assert len(columns) == 1

    def test_every_shipped_config_reads_back(self, write):
        for name in SHIPPED:
            resolved = resolve_config(name)
            assert load_config(write(resolved.to_yaml())) == resolved.config


class TestSchema:
    @pytest.fixture
    def validator(self):
        schema = config_schema()
        jsonschema.Draft202012Validator.check_schema(schema)
        return jsonschema.Draft202012Validator(schema)

    @pytest.mark.parametrize("name", SHIPPED)
    def test_every_shipped_file_is_valid(self, validator, name):
        values = yaml.safe_load((CONFIGS / f"{name}.yaml").read_text(encoding="utf-8"))
        validator.validate(values)

    def test_what_is_spelled_out_is_valid(self, validator):
        validator.validate(yaml.safe_load(load_config("savee", {"stages.teacher.from": "runs/x"}).to_yaml()))

    @pytest.mark.parametrize(
        "text",
        [
            "sed: 3",
            "stages: {student: {epoch: 3}}",
            "stages: {teacher: {from_: x}}",
            "seed: -1",
            "seed: many",
            "corpus:",
            "extends: 3",
            "protocol: {name: mine}",
            "protocol: {test_fraction: 1}",
            "augmentation: {copies: 5}",
            "augmentation: {speed: [1.0]}",
            "teacher: {pooling: max}",
            "student: {dropout: 1}",
            "student: {patch_size: [0, 1]}",
            "student: {extends: base.yaml}",
        ],
    )
    def test_what_the_loader_refuses_is_not(self, validator, write, text):
        assert not validator.is_valid(yaml.safe_load(text))
        refusal(write(text))

    def test_no_key_goes_without_a_description_but_the_plain_ones(self):
        schema = config_schema()
        sections = [schema, *schema["$defs"].values()]
        bare = {
            key for section in sections for key, field in section["properties"].items() if "description" not in field
        }
        assert bare == {"weight_decay", "dropout", "enabled"}
        assert all("description" in section for section in sections)

    def test_the_head_says_what_it_is(self):
        schema = config_schema()
        assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
        assert schema["title"] == "A config of keras-vitser"
        assert set(schema["properties"]) == {"extends", *Config.model_fields}
        assert "required" not in schema


class TestSearchSpace:
    def test_values_are_set_by_dotted_key(self):
        config = load_config("demo", {"tuning.space.student.depth": [1, 2]})
        assert config.tuning.space == {"student.depth": [1, 2]}
        changed = config.with_values({"student.patch_width": 8, "stages.student.learning_rate": 0.5})
        assert changed.student.patch_size == (64, 8)
        assert changed.value_at("student.patch_width") == 8
        assert changed.stages.student.learning_rate == 0.5
        assert load_config(changed) == changed

    def test_a_file_and_an_option_are_one_space(self, write):
        path = write("tuning: {space: {student.depth: [1, 2], stages.student.learning_rate: {low: 1e-4, high: 1}}}")
        resolved = resolve_config(path, {"tuning.space.student.dropout": [0.5]})
        space = resolved.config.tuning.space
        assert list(space) == ["student.depth", "stages.student.learning_rate", "student.dropout"]
        assert (space["stages.student.learning_rate"].low, space["stages.student.learning_rate"].high) == (1e-4, 1)
        assert resolved.origins["tuning.space.student.dropout"] == "override"
        assert resolved.origins["tuning.space.student.depth"].endswith("mine.yaml:1")

    @pytest.mark.parametrize(
        ("domain", "message"),
        [
            ("student.dpth: [1]", "unknown key 'student.dpth'; did you mean 'student.depth'?"),
            ("teacher.depth: [1]", "unknown key 'teacher.depth'"),
            ("augmentation.time_mask: [1]", "unknown key 'augmentation.time_mask'"),
            ("student.depth: [1, 0]", "tuning.space.student.depth: 0 is not possible (student.depth: Input should be"),
            ("student.depth: {low: 1, high: 2.5}", "tuning.space.student.depth: 2.5 is not possible"),
            ("student.depth: {low: 1, high: 4, step: 0.5}", "tuning.space.student.depth: step must be a whole number"),
            ("student.depth: {low: 3, high: 1}", "tuning.space.student.depth: low must be below high"),
            ("student.depth: {low: 0, high: 1, sampling: log}", "low must be above 0 and step unset"),
            ("student.depth: {low: 1, hgh: 2}", "unknown key 'tuning.space.student.depth.hgh'; did you mean 'high'?"),
            ("student.patch_width: [1, 3]", "3 is not possible (student.patch_size must divide the image"),
            ("student.patch_width: {low: 1, high: 4}", "3 is not possible (student.patch_size must divide the image"),
            ("student.depth: []", "tuning.space.student.depth: List should have at least 1 item"),
            ("student.depth: 3", "tuning.space.student.depth: Input should be a valid list"),
        ],
    )
    def test_what_is_not_possible_is_named(self, write, domain, message):
        assert message in refusal(write(f"tuning: {{space: {{{domain}}}}}"))

    def test_shifts_are_searched_for_both(self):
        for network in ("teacher", "student"):
            overrides = {"tuning.network": network, "tuning.space": {"augmentation.frequency_shift": [0, 4]}}
            assert load_config(None, overrides).tuning.space == {"augmentation.frequency_shift": [0, 4]}

    def test_masks_are_searched_for_the_teacher(self):
        overrides = {"tuning.network": "teacher", "tuning.space": {"augmentation.time_mask": [0, 8]}}
        assert load_config(None, overrides).tuning.space == {"augmentation.time_mask": [0, 8]}
