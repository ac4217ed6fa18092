"""`keras-vitser config`: each value with its origin, and the schema."""

import json

import jsonschema
import pytest
import yaml

from keras_vitser.experiments import Config, load_config
from tests.cli.conftest import HEAVY, modules_of_help

pytestmark = pytest.mark.backends("tensorflow")

VERBS = ["show", "schema"]
STAGES = ("teacher", "matching", "student")


class TestShow:
    def test_what_is_printed_is_the_config_itself(self, command, tmp_path):
        ended = command("config", "show", "paper/patch_16x16", "--set", "stages.student.epochs=5")
        assert (ended.code, ended.err) == (0, "")
        path = tmp_path / "mine.yaml"
        path.write_text(ended.out, encoding="utf-8")
        assert load_config(path) == load_config("paper/patch_16x16", {"stages.student.epochs": 5})

    def test_every_value_has_its_origin(self, command):
        ended = command("config", "show", "paper/patch_16x16", "--set", "stages.student.epochs=5")
        lines = ended.out.splitlines()
        rows = [line for line in lines if not line.endswith(":")]
        assert all("  # " in line for line in rows)
        assert {line.rindex("  # ") for line in rows} == {rows[0].rindex("  # ")}
        stated = {" ".join(line.split()) for line in rows}
        assert "epochs: 5 # command line" in stated
        assert "patch_size: [16, 16] # configs/paper/patch_16x16.yaml:4" in stated
        assert any(line.startswith("name: paper # configs/paper/base.yaml:") for line in stated)
        assert "n_fft: 1024 # default" in stated

    def test_without_a_config_the_defaults(self, command):
        ended = command("config", "show")
        assert ended.code == 0
        assert Config.model_validate(yaml.safe_load(ended.out)) == Config()
        assert {line.partition("  # ")[2] for line in ended.out.splitlines() if "  # " in line} == {"default"}

    def test_the_short_options_are_those_of_train(self, command):
        options = ["--epochs", "1,2,3", "--batch-size", "8", "--protocol", "random", "--seed", "9"]
        answer = json.loads(command("config", "show", "savee", *options, "--json").out)
        config, origins = answer["config"], answer["origins"]
        assert [config["stages"][stage]["epochs"] for stage in STAGES] == [1, 2, 3]
        assert {config["stages"][stage]["batch_size"] for stage in STAGES} == {8}
        assert (config["protocol"]["name"], config["protocol"]["test_speakers"], config["seed"]) == ("random", None, 9)
        assert {key for key, origin in origins.items() if origin == "command line"} == {
            *(f"stages.{stage}.{key}" for stage in STAGES for key in ("epochs", "batch_size")),
            "protocol.name",
            "seed",
        }
        assert origins["protocol.test_speakers"] == "default"

    def test_json_is_the_config_too(self, command):
        answer = json.loads(command("config", "show", "demo", "--json").out)
        assert answer["config"] == yaml.safe_load(load_config("demo").to_yaml())
        assert answer["origins"]["corpus.name"].startswith("configs/demo.yaml:")

    def test_a_file_of_ones_own(self, command, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        (tmp_path / "mine.yaml").write_text("corpus:\n  name: demo\n")
        answer = json.loads(command("config", "show", "mine.yaml", "--json").out)
        assert answer["origins"]["corpus.name"] == "mine.yaml:2"

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            (["demos"], "Did you mean 'demo'?"),
            (["paper/patch_16"], "Did you mean 'paper/patch_16x16'?"),
            (["demo", "--set", "stages.student.epoch=1"], "did you mean 'epochs'?"),
            (["demo", "--set", "seed"], "--set takes KEY=VALUE"),
            (["demo", "--epochs", "5"], "--epochs takes three whole numbers"),
            (["demo", "--protocol", "mine"], "protocol.name"),
            (["demo", "more"], "more"),
            (["demo", "--nonsense"], "--nonsense"),
        ],
    )
    def test_a_fault_costs_one_line(self, command, arguments, words):
        ended = command("config", "show", *arguments)
        assert words in ended.refusal
        assert ended.out == ""


def test_the_schema_is_one(command):
    ended = command("config", "schema")
    assert (ended.code, ended.err) == (0, "")
    schema = json.loads(ended.out)
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    assert validator.is_valid({"extends": "base.yaml", "stages": {"student": {"epochs": 5}}})
    assert not validator.is_valid({"stages": {"student": {"epoch": 5}}})


def test_an_unknown_verb_costs_one_line(command):
    assert "shows" in command("config", "shows").refusal


def test_without_a_verb_the_help_is_shown(command):
    ended = command("config")
    assert all(verb in ended.out + ended.err for verb in VERBS)
    assert "Traceback" not in ended.err


@pytest.mark.parametrize("arguments", [["config"], *(["config", verb] for verb in VERBS)])
def test_help_has_an_example(command, arguments):
    ended = command(*arguments, "--help")
    assert ended.code == 0
    text = " ".join(ended.out.replace("│", " ").split())
    assert "Example" in text
    assert "keras-vitser config" in text
    assert command(*arguments, "-h").code == 0


def test_the_program_lists_it(command):
    assert " config " in command("--help").out


def test_help_loads_nothing_heavy():
    loaded, _ = modules_of_help([["config", verb] for verb in VERBS])
    assert "keras_vitser" in loaded
    assert not HEAVY & loaded
