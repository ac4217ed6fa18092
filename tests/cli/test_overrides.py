"""What the options of `train` and `config show` make of a config, read without a run."""

import pytest

from keras_vitser.cli.overrides import overrides_of
from keras_vitser.experiments import load_config

pytestmark = pytest.mark.backends("tensorflow")


@pytest.mark.parametrize(
    ("assignment", "key", "value"),
    [
        ("seed=1", "seed", 1),
        ("a.b=0.5", "a.b", 0.5),
        ("a=", "a", None),
        ("a=x=y", "a", "x=y"),
        ("a=[s1, s2]", "a", ["s1", "s2"]),
        ("a=true", "a", True),
        (" a =1", "a", 1),
    ],
)
def test_set_takes_yaml(assignment, key, value):
    assert overrides_of(None, None, None, None, [assignment]) == {key: value}


def test_a_learning_rate_may_be_written_as_in_the_help():
    """YAML 1.1 takes 3e-4 for text; the schema makes it a number."""
    overrides = overrides_of(None, None, None, None, ["stages.student.learning_rate=3e-4"])
    assert load_config(None, overrides).stages.student.learning_rate == 3e-4


def test_a_protocol_does_away_with_the_configs_own_settings():
    overrides = overrides_of(None, None, "random", None, ["protocol.test_fraction=0.3"])
    protocol = load_config("savee", overrides).protocol
    assert (protocol.name, protocol.test_speakers, protocol.test_fraction) == ("random", None, 0.3)


def test_set_goes_before_the_short_options():
    overrides = overrides_of("1,2,3", None, None, 1, ["seed=2", "stages.student.epochs=9"])
    assert (overrides["seed"], overrides["stages.student.epochs"], overrides["stages.matching.epochs"]) == (2, 9, 2)
