"""Every public function says the types of what it takes and gives; mypy in `make lint` holds that they are true."""

import ast
from pathlib import Path

import pytest

import keras_vitser

pytestmark = pytest.mark.backends("tensorflow")

PACKAGE = Path(keras_vitser.__file__).parent
FILES = sorted(path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py"))


def without_hints(source):
    """The public functions and methods of a source text that lack the type of an argument, or of what they give."""
    found = []

    def visit(body, within):
        for node in body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                visit(node.body, f"{within}{node.name}.")
            elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                is_init = node.name == "__init__"
                if node.name.startswith("_") and not is_init:
                    continue
                given = node.args
                arguments = [*given.posonlyargs, *given.args, *given.kwonlyargs, given.vararg, given.kwarg]
                bare = [it.arg for it in arguments if it and it.annotation is None and it.arg not in ("self", "cls")]
                if bare or (node.returns is None and not is_init):
                    found.append(f"{within}{node.name}({', '.join(bare)})")

    visit(ast.parse(source).body, "")
    return found


@pytest.mark.parametrize("file", FILES)
def test_public_functions_have_type_hints(file):
    assert without_hints((PACKAGE / file).read_text()) == []


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("def f(a: int, *b: int, c: int = 0, **d: int) -> None: ...", []),
        ("def f(a, *b: int, c: int = 0, **d: int) -> None: ...", ["f(a)"]),
        ("async def f(a: int, *b, c=0, **d) -> None: ...", ["f(c, b, d)"]),
        ("def f(): ...", ["f()"]),
        ("def _f(a): ...", []),
        (
            "class A:\n def __init__(self, a): ...\n def __len__(self): ...\n def f(self): ...",
            ["A.__init__(a)", "A.f()"],
        ),
        ("class A:\n def __init__(self, a: int): ...\n @classmethod\n def f(cls) -> int: ...", []),
        ("class _A:\n def f(self): ...", []),
    ],
)
def test_the_search_finds_each_form(source, found):
    assert without_hints(source) == found
