"""keras_vitser/models/vit_ser/author_checkpoint.py; what a file must not do is in test_checkpoint_archive.py."""

import subprocess
import sys

import keras
import numpy as np
import pytest

from keras_vitser.errors import BackendError, CheckpointError
from keras_vitser.models import ViTSER, load_model, to_author_checkpoint
from tests.requirements import require

torch = require("torch")


from .published_network import PublishedNetwork, random_network, run, save

pytestmark = pytest.mark.backends("tensorflow", "jax", "torch", more=["jax"])

TEACHER = {"teacher": True, "classes": 4, "patch": (8, 1), "depth": 2, "heads": 2, "width": 32, "mlp": 24}
STUDENT = TEACHER | {"teacher": False}
IMAGE = (8, 8)


def images(size, count=2):
    """The last is silent but for its first third, as a short clip is."""
    drawn = np.random.default_rng(1).uniform(0, 1, (count, *size, 1)).astype("float32")
    drawn[-1, :, size[1] // 3 :] = 0
    return drawn


def both(model, batch):
    """Logits and feature map, compiled as one."""
    outputs = [model.output, model.get_layer("feature_map").output]
    return keras.Model(model.input, outputs).predict(batch, verbose=0)


def saved_state(path):
    return torch.load(path, weights_only=True)["model_state_dict"]


def check_equality(tmp_path, image_size, patch_size, batch=2, **sizes):
    """Ours in float32 against theirs in float64, so that the whole difference is ours.

    Theirs in float32 is up to 6e-6 away from that itself, on the images that are mostly silent.
    """
    network = random_network(patch=patch_size, classes=5, **sizes)
    path = save(network, tmp_path / "published.pth")
    model = ViTSER.from_author_checkpoint(path, image_size=image_size, patch_size=patch_size)
    batch = images(image_size, batch)
    # 1e-5 at numbers of about 1, up to 4.
    for ours, theirs in zip(both(model, batch), run(network, batch), strict=True):
        assert 0.2 < theirs.std() < 3
        np.testing.assert_allclose(ours, theirs, atol=1e-5, rtol=0)
    back = saved_state(to_author_checkpoint(model, tmp_path / "back.pth"))
    state = network.state_dict()
    assert back.keys() == state.keys()
    for key, value in state.items():
        assert (back[key].dtype, back[key].shape) == (value.dtype, value.shape)
        assert back[key].numpy().tobytes() == value.contiguous().numpy().tobytes(), key
    return model


# Equality


SIZES = [  # image, patch; a patch of one number makes 128 x 1001 tokens of a long image, too many for any machine
    ((16, 16), (1, 1)),
    ((8, 24), (1, 1)),
    ((16, 16), (4, 2)),
    ((32, 32), (16, 16)),
    ((128, 128), (16, 16)),
    ((128, 128), (128, 1)),
    ((128, 1001), (128, 1)),
    ((128, 1001), (16, 13)),
]
SMALL_WIDTHS = {"width": 48, "mlp": 40}
# Large images run in `make test-more`; of the small ones, two sizes on each backend.
CASES = [
    pytest.param(*sizes, marks=marks)
    for sizes, marks in zip(
        SIZES,
        [pytest.mark.backends("tensorflow"), (), (), pytest.mark.backends("tensorflow"), *[pytest.mark.more] * 4],
        strict=True,
    )
]


@pytest.mark.parametrize(("image_size", "patch_size"), CASES)
@pytest.mark.parametrize("teacher", [True, False])
def test_equals_the_published_network(tmp_path, teacher, image_size, patch_size):
    """Depths and heads change from case to case; all combinations are the long form."""
    number = SIZES.index((image_size, patch_size))
    depth, heads = 1 + number % 2, 1 + (number + teacher) % 3
    batch = 1 if image_size[1] > 1000 else 2
    check_equality(tmp_path, image_size, patch_size, batch, teacher=teacher, depth=depth, heads=heads, **SMALL_WIDTHS)


@pytest.mark.long
@pytest.mark.parametrize(("image_size", "patch_size"), SIZES)
@pytest.mark.parametrize("teacher", [True, False])
@pytest.mark.parametrize("depth", [1, 2])
@pytest.mark.parametrize("heads", [1, 5])
def test_equals_the_published_network_in_all_combinations(tmp_path, teacher, image_size, patch_size, depth, heads):
    check_equality(tmp_path, image_size, patch_size, teacher=teacher, depth=depth, heads=heads)


@pytest.mark.backends("tensorflow")
@pytest.mark.parametrize(
    ("teacher", "depth", "parameters"), [(True, 6, 2_911_943 - 257), (False, 3, 1_417_734 - 257)], ids=str
)
def test_the_published_sizes(tmp_path, teacher, depth, parameters):
    """Of 5 classes: 257 parameters less than of 6."""
    model = check_equality(tmp_path, (128, 128), (128, 1), batch=1, teacher=teacher, depth=depth, heads=5)
    assert model.count_params() == parameters
    assert (model.depth, model.num_heads, model.head_dim) == (depth, 5, 64)
    assert model.name == ("teacher" if teacher else "student")


@pytest.mark.backends("tensorflow")
def test_one_head_as_wide_as_a_token_has_no_output_projection(tmp_path):
    model = check_equality(tmp_path, (16, 16), (16, 1), teacher=False, depth=1, heads=1, width=64)
    assert model.get_layer("encoder_block_0").attention_output is None


@pytest.mark.backends("tensorflow")
def test_heads_of_another_width(tmp_path):
    network = random_network(**STUDENT, head_width=8)
    path = save(network, tmp_path / "narrow.pth")
    with pytest.raises(CheckpointError, match="an inner width of 16 is not made of heads 64 wide"):
        ViTSER.from_author_checkpoint(path, IMAGE, (8, 1))
    model = ViTSER.from_author_checkpoint(path, IMAGE, (8, 1), num_heads=2)
    np.testing.assert_allclose(both(model, images(IMAGE))[0], run(network, images(IMAGE))[0], atol=1e-5, rtol=0)
    other = ViTSER.from_author_checkpoint(path, IMAGE, (8, 1), num_heads=4)
    assert np.abs(both(other, images(IMAGE))[0] - run(network, images(IMAGE))[0]).max() > 1e-3


def test_a_teacher_of_long_images_has_the_published_coordinates(tmp_path):
    network = random_network(**TEACHER)
    path = save(network, tmp_path / "teacher.pth")
    square = ViTSER.from_author_checkpoint(path, IMAGE, (8, 1))
    long = ViTSER.from_author_checkpoint(path, (8, 40), (8, 1))
    assert (square.coordinates, long.coordinates) == (True, "published")
    own = ViTSER(**long.get_config() | {"coordinates": True})
    own.set_weights(long.get_weights())
    batch = images((8, 40))
    np.testing.assert_allclose(both(long, batch)[0], run(network, batch)[0], atol=1e-5, rtol=0)
    assert np.abs(both(own, batch)[0] - run(network, batch)[0]).max() > 1e-3


def test_mean_pooling_is_the_codes_other_option(tmp_path):
    path = save(random_network(**STUDENT), tmp_path / "student.pth")
    model = ViTSER.from_author_checkpoint(path, IMAGE, (8, 1), pooling="mean")
    tokens = keras.ops.convert_to_numpy(model.tokens(images(IMAGE)))
    # 1e-6 at numbers of about 1: a float32 mean in two orders.
    np.testing.assert_allclose(both(model, images(IMAGE))[1], tokens.mean(axis=1), atol=1e-6, rtol=0)


@pytest.mark.backends("tensorflow")
def test_a_parameter_a_view_and_a_subclass_are_read_too(tmp_path):
    network = random_network(**STUDENT)
    state = {key: torch.nn.Parameter(value) for key, value in network.state_dict().items()}
    state["mlp_head.weight"] = state["mlp_head.weight"].detach().T.contiguous().T
    torch.save({"model_state_dict": state}, tmp_path / "a.pth")
    model = type("Mine", (ViTSER,), {}).from_author_checkpoint(tmp_path / "a.pth", IMAGE, (8, 1))
    assert type(model).__name__ == "Mine"
    np.testing.assert_allclose(both(model, images(IMAGE))[0], run(network, images(IMAGE))[0], atol=1e-5, rtol=0)


# The other way


@pytest.mark.backends("tensorflow")
def test_the_authors_network_loads_what_was_trained_here(tmp_path):
    for role, sizes in (("teacher", TEACHER), ("student", STUDENT)):
        ours = {"image_size": IMAGE, "patch_size": (8, 1), "hidden_dim": 32, "depth": 2, "num_heads": 2, "mlp_dim": 24}
        model = getattr(ViTSER, role)(4, **ours)
        generator = np.random.default_rng(3)
        model.set_weights([generator.normal(0, 0.3, weight.shape) for weight in model.get_weights()])
        path = to_author_checkpoint(model, tmp_path / f"{role}.pth")
        network = PublishedNetwork(**sizes)
        network.load_state_dict(saved_state(path))  # strict: each key, and no other
        # 1e-5: as above.
        for mine, theirs in zip(both(model, images(IMAGE)), run(network.eval(), images(IMAGE)), strict=True):
            np.testing.assert_allclose(mine, theirs, atol=1e-5, rtol=0)


@pytest.mark.backends("tensorflow")
def test_the_same_network_gives_the_same_file(tmp_path):
    model = ViTSER.from_author_checkpoint(save(random_network(**TEACHER), tmp_path / "a.pth"), IMAGE, (8, 1))
    first, second = (to_author_checkpoint(model, tmp_path / name).read_bytes() for name in ("b.pth", "c.pth"))
    assert first == second


@pytest.mark.backends("tensorflow")
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"conv_stem": True}, "conv_stem=True, coordinates=False"),
        ({"conv_stem": (4, 1), "coordinates": True}, r"conv_stem=\(4, 1\), coordinates=True"),
        ({"coordinates": True}, "conv_stem=False, coordinates=True"),
        ({"conv_stem": True, "coordinates": True, "image_size": (8, 4)}, "other coordinates on images of 8 x 4"),
    ],
)
def test_refuses_to_write_what_the_authors_code_has_not(tmp_path, arguments, words):
    sizes = {"image_size": IMAGE, "patch_size": (8, 1), "hidden_dim": 8, "depth": 1, "head_dim": 4, "mlp_dim": 8}
    with pytest.raises(CheckpointError, match=words):
        to_author_checkpoint(ViTSER(3, **sizes | arguments), tmp_path / "a.pth")
    assert not list(tmp_path.iterdir())


@pytest.mark.backends("tensorflow")
def test_refuses_to_write_another_model_or_nowhere(tmp_path):
    with pytest.raises(CheckpointError, match=r"holds a ViTSER\. Received: Sequential"):
        to_author_checkpoint(keras.Sequential(), tmp_path / "a.pth")
    model = ViTSER.student(2, image_size=IMAGE, patch_size=(8, 1), depth=1)
    with pytest.raises(CheckpointError, match="there is no folder"):
        to_author_checkpoint(model, tmp_path / "no" / "a.pth")


# Refusals. Each changes a good state dict of STUDENT or TEACHER in one thing.


def put(key, value):
    return lambda state: state.__setitem__(key, value)


def drop(key):
    return lambda state: state.pop(key)


def spoil(key, number):
    return lambda state: state[key].view(-1).__setitem__(0, number)


def shared(state):
    """Each numbers of the largest weight, so that the file is smaller than what it declares."""
    most = torch.zeros(max(value.numel() for value in state.values()))
    for key, value in state.items():
        state[key] = most[: value.numel()].view(value.shape)


KEY = "transformer.layers.1.1.net.4.weight"
WRONG_STATES = {
    "no class token": (STUDENT, drop("cls_token"), "cls_token is missing"),
    "no head": (STUDENT, drop("mlp_head.weight"), "mlp_head.weight is missing"),
    "no bias": (STUDENT, drop("mlp_head.bias"), "mlp_head.bias is missing"),
    "no weight of a block": (STUDENT, drop(KEY), f"{KEY} is missing"),
    "no convolution": (TEACHER, drop("conv_stem.9.bias"), "conv_stem.9.bias is missing"),
    "no output projection": (STUDENT, drop("transformer.layers.0.0.to_out.0.bias"), "to_out.0.bias is missing"),
    "one more": (STUDENT, put("pos_embedding", torch.zeros(1)), "pos_embedding: the authors' network has no such"),
    "one more of two lines": (STUDENT, put("a\nb" * 90, torch.zeros(1)), r"a\nba\nb"),
    "a block of a high number": (
        STUDENT,
        put("transformer.layers.999999999.0.norm.weight", torch.zeros(32)),
        "transformer.layers.2.0.norm.weight is missing",
    ),
    "a key that is no text": (STUDENT, put(7, torch.zeros(1)), "7: the authors' network has no such weight"),
    "no tensor": (STUDENT, put(KEY, [1.0]), f"{KEY}: is list"),
    "other numbers": (STUDENT, put(KEY, torch.zeros(32, 24, dtype=torch.float64)), f"{KEY}: is torch.float64"),
    "turned": (STUDENT, put(KEY, torch.zeros(24, 32)), f"{KEY}: has the shape (24, 32)"),
    "no dimension": (STUDENT, put("cls_token", torch.zeros(32)), "cls_token: has the shape (32,)"),
    "empty": (STUDENT, put("mlp_head.weight", torch.zeros(0, 32)), "mlp_head.weight: has the shape (0, 32)"),
    "two class tokens": (STUDENT, put("cls_token", torch.zeros(1, 2, 32)), "cls_token: has the shape (1, 2, 32)"),
    "not three parts": (
        STUDENT,
        put("transformer.layers.0.0.to_qkv.weight", torch.zeros(383, 32)),
        "to_qkv.weight: has 383 rows",
    ),
    "no whole heads": (
        STUDENT,
        put("transformer.layers.0.0.to_qkv.weight", torch.zeros(300, 32)),
        "to_qkv.weight: an inner width of 100 is not made of heads 64 wide",
    ),
    "NaN": (STUDENT, spoil(KEY, float("nan")), f"{KEY}: has a weight that is NaN or infinite"),
    "infinite": (TEACHER, spoil("conv_stem.0.bias", float("inf")), "conv_stem.0.bias: has a weight that is NaN"),
    "more than the file": (STUDENT, shared, "larger than the file"),
}


def refusal(path, *arguments, **options):
    """The reason, which is one line and names the file; and no file came or went."""
    before = sorted(path.parent.iterdir())
    with pytest.raises(CheckpointError) as refused:
        ViTSER.from_author_checkpoint(path, *arguments, **options)
    message = str(refused.value)
    assert message.startswith(f"{path}: ")
    assert len(message.splitlines()) == 1
    assert len(message) < len(str(path)) + 300
    assert sorted(path.parent.iterdir()) == before
    return message


@pytest.mark.backends("tensorflow")
@pytest.mark.parametrize("name", WRONG_STATES)
def test_refuses_a_wrong_state(tmp_path, name):
    sizes, change, words = WRONG_STATES[name]
    state = dict(random_network(**sizes).state_dict())
    change(state)
    torch.save({"model_state_dict": state}, tmp_path / "wrong.pth")
    assert words in refusal(tmp_path / "wrong.pth", IMAGE, (8, 1))


@pytest.mark.backends("tensorflow")
@pytest.mark.parametrize("content", [{"epoch": 3}, [1, 2], {"model_state_dict": 3}, {}])
def test_refuses_a_file_without_a_state(tmp_path, content):
    torch.save(content, tmp_path / "wrong.pth")
    assert "model_state_dict is missing" in refusal(tmp_path / "wrong.pth")


@pytest.mark.backends("tensorflow")
@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "to_patch_embedding.1.weight: is for patches of 8 values, and 128 x 1 in 1 channel(s) are 128"),
        ({"image_size": (8, 8), "patch_size": (8, 3)}, "patches of 8 x 3 do not fill images of 8 x 8"),
        ({"image_size": (8, 8), "patch_size": (4, 1)}, "to_patch_embedding.1.weight"),
        ({"image_size": (8, 0), "patch_size": (8, 1)}, "the image size must be two positive ints"),
        ({"image_size": (8, 8), "patch_size": (8,)}, "the patch size must be two positive ints"),
        ({"image_size": (8, 8.0), "patch_size": (8, 1)}, "the image size must be two positive ints"),
        ({"image_size": (8, 8), "patch_size": (8, 1), "num_heads": 3}, "to_qkv.weight: an inner width of 128"),
        ({"image_size": (8, 8), "patch_size": (8, 1), "num_heads": 0}, "cannot be 0 heads"),
        ({"image_size": (8, 8), "patch_size": (8, 1), "num_heads": -2}, "cannot be -2 heads"),
    ],
)
def test_refuses_sizes_that_do_not_fit(tmp_path, options, words):
    assert words in refusal(save(random_network(**STUDENT), tmp_path / "student.pth"), **options)


@pytest.mark.backends("tensorflow")
def test_writing_without_pytorch_names_it(tmp_path, monkeypatch):
    model = ViTSER.student(2, image_size=IMAGE, patch_size=(8, 1), depth=1)
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(BackendError, match=r"need PyTorch: pip install 'keras-vitser\[torch\]'"):
        to_author_checkpoint(model, tmp_path / "student.pth")


@pytest.mark.backends("jax", more=["jax"])
def test_reading_needs_no_pytorch(tmp_path):
    path = save(random_network(**TEACHER), tmp_path / "published.pth")
    code = (
        "import sys\n"
        "from keras_vitser.models import ViTSER\n"
        "assert 'torch' not in sys.modules\n"
        "sys.modules['torch'] = None\n"
        "model = ViTSER.from_author_checkpoint(sys.argv[1], image_size=(8, 8), patch_size=(8, 1))\n"
        "model.save(sys.argv[2])"
    )
    to = tmp_path / "network.keras"
    subprocess.run([sys.executable, "-c", code, str(path), str(to)], check=True)
    written = saved_state(to_author_checkpoint(load_model(to), tmp_path / "back.pth"))
    expected = torch.load(path, weights_only=True)["model_state_dict"]
    assert written.keys() == expected.keys()
    assert all(torch.equal(written[key], value) for key, value in expected.items())
