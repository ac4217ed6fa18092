"""`keras-vitser benchmark` names the command that took its place."""

import pytest

pytestmark = pytest.mark.backends("tensorflow")


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ((), "python -m benchmarks"),
        (("imports", "--quick", "--json", "a b"), "python -m benchmarks imports --quick --json 'a b'"),
    ],
)
def test_it_prints_the_new_command(command, arguments, named):
    assert command("benchmark", *arguments).refusal.endswith(f"; run there: {named}")
