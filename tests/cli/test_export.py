"""`keras-vitser export`: what it prints and refuses; what it writes is tested in `tests/serving`."""

import pytest

pytestmark = pytest.mark.backends("tensorflow")


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    return tmp_path_factory.mktemp("models")


@pytest.mark.more
def test_a_version_is_written_and_named(command, model, models):
    ended = command("export", model, "--to", models / "vit_ser", "--version", 1)
    assert ended.code == 0, ended.err
    assert ended.out.splitlines() == [
        f"wrote {models / 'vit_ser' / '1'}",
        "signatures: serving_default, wav, explain, embed",
    ]
    assert (models / "vit_ser" / "1" / "saved_model.pb").is_file()
    again = command("export", model, "--to", models / "vit_ser", "--version", 1)
    assert "no version is overwritten" in again.refusal


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--to", "vit_ser"], "a SavedModel needs a version"),
        (["--to", "vit_ser", "--version", "0"], "a SavedModel needs a version"),
        (["--version", "1"], "--to"),
        (["--to", "a.onnx", "--int8"], "only LiteRT files"),
    ],
)
def test_what_cannot_be_is_one_line(command, model, arguments, words):
    assert words in command("export", model, *arguments).refusal
