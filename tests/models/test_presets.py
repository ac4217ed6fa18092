"""keras_vitser/models/presets.py. Nothing is downloaded: the hubs' libraries are stood in for, or read their cache."""

import hashlib
import json
import os
import subprocess
import sys
import types
import zipfile

import keras
import numpy as np
import pytest

from keras_vitser.errors import KerasViTSERError, ModelFolderError, PresetError
from keras_vitser.layers import LogMelImage
from keras_vitser.models import ViTSER, front_ends, presets, register_front_end
from keras_vitser.models.presets import NamedPreset, preset_folder
from keras_vitser.recognizer import Provenance, Recognizer
from tests.front_ends import Energies
from tests.requirements import require

pytestmark = pytest.mark.backends("tensorflow")

FILES = ["MODEL_CARD.md", "model.keras", "recognizer.json"]
COMMIT = "0123456789abcdef0123456789abcdef01234567"
IMAGES = np.random.default_rng(0).uniform(0, 1, (2, 16, 16, 1)).astype("float32")


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture(scope="module")
def recognizer():
    sizes = {"hidden_dim": 16, "depth": 1, "num_heads": 1, "head_dim": 8, "mlp_dim": 16}
    network = ViTSER.student(2, image_size=(16, 16), patch_size=(16, 1), **sizes)
    front_end = LogMelImage(n_mels=16, frames=16, hop_length=256, top_db=60.0)
    return Recognizer(network, ("calm", "upset"), front_end, Provenance("random"), "# Calm or upset\n")


@pytest.fixture(scope="module")
def written(recognizer, tmp_path_factory):
    return recognizer.save_to_preset(tmp_path_factory.mktemp("presets") / "preset")


@pytest.fixture
def folder(written, tmp_path):
    """A copy that a test may spoil."""
    return copied(written, tmp_path / "preset")


def copied(source, target):
    target.mkdir(parents=True)
    for name in FILES:
        (target / name).write_bytes((source / name).read_bytes())
    return target


def rehash(folder):
    """Makes the recorded SHA-256 right again, as whoever spoils a preset on purpose does."""
    path = folder / "recognizer.json"
    settings = json.loads(path.read_text())
    settings["sha256"] = {name: digest(folder / name) for name in settings["sha256"]}
    path.write_text(json.dumps(settings))


@pytest.fixture
def hubs(monkeypatch):
    """Stand-ins for both libraries: what they were asked for, and what they do."""
    hub = types.SimpleNamespace(asked=[], answer=None)

    def give(*arguments, **options):
        hub.asked.append((arguments, options))
        if isinstance(hub.answer, Exception):
            raise hub.answer
        return str(hub.answer)

    monkeypatch.setitem(sys.modules, "huggingface_hub", types.SimpleNamespace(snapshot_download=give))
    monkeypatch.setitem(sys.modules, "kagglehub", types.SimpleNamespace(model_download=give))
    return hub


# What a preset is


def test_a_preset_holds_config_weights_labels_front_end_and_card(written):
    assert sorted(file.name for file in written.iterdir()) == FILES
    settings = json.loads((written / "recognizer.json").read_text())
    assert settings["labels"] == ["calm", "upset"]
    assert (settings["front_end"]["config"]["top_db"], settings["sampling_rate"]) == (60.0, 16000)
    assert settings["sha256"] == {name: digest(written / name) for name in ("model.keras", "MODEL_CARD.md")}
    assert (written / "MODEL_CARD.md").read_text() == "# Calm or upset\n"
    with zipfile.ZipFile(written / "model.keras") as archive:
        assert sorted(archive.namelist()) == ["config.json", "metadata.json", "model.weights.h5"]


@pytest.mark.parametrize("form", [str, lambda path: path])
def test_what_comes_back_is_what_was_saved(recognizer, written, form):
    network = ViTSER.from_preset(form(written))
    loaded = Recognizer.from_preset(form(written))
    assert isinstance(network, ViTSER)
    expected = recognizer.network.predict(IMAGES, verbose=0)
    for read in (network, loaded.network):
        np.testing.assert_array_equal(read.predict(IMAGES, verbose=0), expected)
    assert (loaded.labels, loaded.card) == (recognizer.labels, recognizer.card)
    assert loaded.front_end.get_config()["top_db"] == 60.0


def test_a_preset_is_written_from_what_was_loaded(written, tmp_path):
    again = Recognizer.load(written).save_to_preset(tmp_path / "again")
    assert (again / "MODEL_CARD.md").read_bytes() == (written / "MODEL_CARD.md").read_bytes()
    assert Recognizer.from_preset(again).labels == ("calm", "upset")


def test_none_is_written_without_a_card_or_of_another_package(recognizer, tmp_path):
    bare = Recognizer(recognizer.network, recognizer.labels, recognizer.front_end, card=" \n")
    with pytest.raises(PresetError, match="needs a model card: set `card`"):
        bare.save_to_preset(tmp_path / "preset")
    other = keras.Sequential([keras.Input((16, 16, 1)), keras.layers.Flatten(), keras.layers.Dense(2)])
    with pytest.raises(PresetError, match=r"keras_vitser>ViTSER.*Received: Sequential"):
        Recognizer(other, recognizer.labels, recognizer.front_end, card="# A card").save_to_preset(tmp_path / "preset")
    assert not list(tmp_path.iterdir())


# Addresses


@pytest.mark.parametrize(
    ("address", "repo", "revision"),
    [
        ("hf://user/repo", "user/repo", None),
        ("hf://user-1/re.po_2@v1.0", "user-1/re.po_2", "v1.0"),
        (f"hf://user/repo@{COMMIT}", "user/repo", COMMIT),
        ("hf://user/repo@refs/pr/3", "user/repo", "refs/pr/3"),
    ],
)
def test_hugging_face_is_asked_for_the_three_files_of_a_revision(hubs, folder, address, repo, revision):
    hubs.answer = folder
    assert preset_folder(address) == folder
    (((asked,), options),) = hubs.asked
    assert (asked, options["revision"], sorted(options["allow_patterns"])) == (repo, revision, FILES)


@pytest.mark.parametrize("handle", ["user/model/keras/student", "user/model/keras/student/3"])
def test_kaggle_is_asked_for_the_handle(hubs, folder, handle):
    hubs.answer = folder
    assert Recognizer.from_preset(f"kaggle://{handle}").labels == ("calm", "upset")
    assert hubs.asked == [((handle,), {})]


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("hf://user", "give hf://USER/REPO"),
        ("hf://user/repo/file", "give hf://USER/REPO"),
        ("hf://user/repo@", "give hf://USER/REPO"),
        ("hf://user/re po", "give hf://USER/REPO"),
        ("kaggle://user/model/keras", "give kaggle://USER/MODEL/FRAMEWORK/VARIATION"),
        ("kaggle://user/model/keras/student/last", "give kaggle://USER/MODEL/FRAMEWORK/VARIATION"),
        ("https://example.org/preset", "is no preset; give a folder, hf://USER/REPO"),
        ("no/such/folder", "is no preset; give a folder, hf://USER/REPO"),
    ],
)
def test_an_address_that_is_none_is_refused_and_nobody_is_asked(hubs, address, words):
    with pytest.raises(PresetError, match=words):
        preset_folder(address)
    assert not hubs.asked


@pytest.mark.parametrize(
    ("address", "library"), [("hf://user/repo", "huggingface_hub"), ("kaggle://u/m/keras/v", "kagglehub")]
)
class TestLibraries:
    def test_one_that_is_missing_is_named(self, monkeypatch, address, library):
        monkeypatch.setitem(sys.modules, library, None)
        with pytest.raises(PresetError, match=rf"{address}: needs {library}: pip install 'keras-vitser\[hub\]'"):
            preset_folder(address)

    def test_its_error_is_one_line(self, hubs, address, library):
        hubs.answer = RuntimeError("404\n\nno such repository " + "x" * 999)
        with pytest.raises(PresetError) as refused:
            preset_folder(address)
        message = str(refused.value)
        assert message.startswith(f"{address}: cannot be downloaded (RuntimeError: 404 no such repository xxx")
        assert len(message.splitlines()) == 1
        assert len(message) < 300


@pytest.mark.more
def test_the_installed_libraries_take_what_they_are_given(written, tmp_path):
    """The real ones, without a network: each finds the preset in its own cache, on disk as the library lays it out."""
    require("hub")
    repo = tmp_path / "hf" / "models--user--repo"
    snapshot = repo / "snapshots" / COMMIT
    copied(written, repo / "blobs")
    snapshot.mkdir(parents=True)
    for name in FILES:
        (snapshot / name).symlink_to(f"../../blobs/{name}")
    (repo / "refs").mkdir()
    (repo / "refs" / "main").write_text(COMMIT)
    version = copied(written, tmp_path / "kaggle" / "models" / "user" / "model" / "keras" / "student" / "3")
    (version.parent / "3.complete").touch()
    code = (
        "import sys; from keras_vitser.models import ViTSER; from keras_vitser.models.presets import preset_folder\n"
        "for address in sys.argv[1:]:\n"
        "    print(preset_folder(address))\n"
        "    assert ViTSER.from_preset(address).num_classes == 2\n"
    )
    places = {"HF_HUB_CACHE": tmp_path / "hf", "HF_HUB_OFFLINE": "1", "KAGGLEHUB_CACHE": tmp_path / "kaggle"}
    addresses = ["hf://user/repo", f"hf://user/repo@{COMMIT}", "kaggle://user/model/keras/student/3"]
    environment = os.environ | {name: str(value) for name, value in places.items()}
    done = subprocess.run(
        [sys.executable, "-c", code, *addresses], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [str(snapshot), str(snapshot), str(version)]


# Names


def test_a_name_is_its_address_and_its_hash(hubs, folder, monkeypatch):
    hubs.answer = folder
    recorded = NamedPreset(f"hf://user/repo@{COMMIT}", digest(folder / "recognizer.json"))
    monkeypatch.setitem(presets.PRESETS, "student-of-a-test", recorded)
    assert Recognizer.from_preset("student-of-a-test").labels == ("calm", "upset")
    assert hubs.asked[0][1]["revision"] == COMMIT
    assert presets.is_preset("student-of-a-test")
    with pytest.raises(PresetError, match="or a name: student-of-a-test"):
        preset_folder("student-of-a-tset")


@pytest.mark.parametrize("change", ["network", "card", "settings"])
def test_a_name_whose_files_are_others_is_refused(hubs, folder, monkeypatch, recognizer, change):
    """However consistent what came from the hub is in itself."""
    recorded = NamedPreset("hf://user/repo", digest(folder / "recognizer.json"))
    monkeypatch.setitem(presets.PRESETS, "student-of-a-test", recorded)
    if change == "network":
        other = ViTSER.from_config(recognizer.network.get_config())
        other.set_weights([weight + 1 for weight in other.get_weights()])
        other.save(folder / "model.keras")
    elif change == "card":
        (folder / "MODEL_CARD.md").write_text("# Another card\n")
    else:
        path = folder / "recognizer.json"
        path.write_text(path.read_text().replace("calm", "glad"))
    rehash(folder)
    hubs.answer = folder
    Recognizer.from_preset("hf://user/repo")  # by its address nobody vouches for it
    with pytest.raises(PresetError, match="is not the preset that was recorded under this name"):
        Recognizer.from_preset("student-of-a-test")


@pytest.mark.parametrize("name", presets.PRESETS or [None])
def test_recorded_presets_are_well_formed(name):
    if name is not None:
        address, sha256 = presets.PRESETS[name]
        assert presets._HUGGING_FACE.fullmatch(address) or presets._KAGGLE.fullmatch(address)
        assert len(bytes.fromhex(sha256)) == 32


# What does not belong


def link_out(folder):
    outside = folder.parent / "outside.md"
    outside.write_text("# Secrets\n")
    (folder / "MODEL_CARD.md").unlink()
    (folder / "MODEL_CARD.md").symlink_to(outside)


def network_of(**parts):
    """Writes other parts into `model.keras`, and leaves out those of `None`."""

    def change(folder):
        path = folder / "model.keras"
        with zipfile.ZipFile(path) as archive:
            content = {name: archive.read(name) for name in archive.namelist()}
        content |= {
            {"config": "config.json", "weights": "model.weights.h5"}.get(name, name): parts[name] for name in parts
        }
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, value in content.items():
                if value is not None:
                    archive.writestr(name, value)
        rehash(folder)

    return change


def save_network(network):
    def change(folder):
        network().save(folder / "model.keras")
        rehash(folder)

    return change


def with_code():
    layer = keras.layers.Lambda(lambda images: images[:, 0, :2, 0], output_shape=(2,))
    return keras.Sequential([keras.Input((16, 16, 1)), layer])


def cut(name):
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes()[:-1])


def without_hash(folder):
    path = folder / "recognizer.json"
    settings = json.loads(path.read_text())
    del settings["sha256"]["MODEL_CARD.md"]
    path.write_text(json.dumps(settings))


SPOILT = {
    "a pickle": (lambda folder: (folder / "weights.pkl").touch(), "weights.pkl: does not belong in a preset"),
    "code": (lambda folder: (folder / "model.py").touch(), "model.py: does not belong in a preset"),
    "PyTorch": (lambda folder: (folder / "model.pth").touch(), "model.pth: does not belong in a preset"),
    "a folder": (lambda folder: (folder / "assets").mkdir(), "assets: does not belong in a preset"),
    "a folder of a file's name": (lambda folder: (folder / "README.md").mkdir(), "README.md: is no file"),
    "a link out": (link_out, "MODEL_CARD.md: is a link out of the preset's folder"),
    "a missing card": (lambda folder: (folder / "MODEL_CARD.md").unlink(), "MODEL_CARD.md is missing"),
    "a missing network": (lambda folder: (folder / "model.keras").unlink(), "model.keras is missing"),
    "a damaged network": (cut("model.keras"), "model.keras: is not the file that was saved"),
    "a damaged card": (cut("MODEL_CARD.md"), "MODEL_CARD.md: is not the file that was saved"),
    "damaged settings": (lambda folder: (folder / "recognizer.json").write_text("{"), "recognizer.json: is damaged"),
    "no hash of the card": (without_hash, "recognizer.json: is damaged"),
    "a network that is no archive": (
        lambda folder: ((folder / "model.keras").write_bytes(b"PK"), rehash(folder)),
        "model.keras: is damaged",
    ),
    "a part more": (network_of(**{"assets/code.py": b""}), "'assets/code.py'"),
    "a part less": (network_of(config=None), "'config.json'"),
    "no config": (network_of(config=b"[]"), "model.keras: is damaged"),
    "a bomb": (network_of(config=bytes(2**20 + 1)), "is it a zip bomb?"),
    "another network": (
        save_network(lambda: keras.Sequential([keras.Input((2,)), keras.layers.Dense(2)])),
        "model.keras: holds 'Sequential'",
    ),
    "a network with code": (save_network(with_code), "model.keras: holds 'Sequential'"),
    "another class": (
        network_of(config=json.dumps({"registered_name": "os>system"}).encode()),
        "model.keras: holds 'os>system', and a preset one of keras_vitser>ViTSER",
    ),
}


@pytest.mark.parametrize("name", SPOILT)
def test_a_spoilt_preset_is_refused_before_keras_reads_it(folder, monkeypatch, name):
    change, words = SPOILT[name]
    change(folder)
    monkeypatch.setattr(keras.saving, "load_model", lambda *_, **__: pytest.fail("Keras was given the file"))
    for load in (Recognizer.from_preset, ViTSER.from_preset):
        with pytest.raises((PresetError, ModelFolderError)) as refused:
            load(folder)
        assert isinstance(refused.value, KerasViTSERError)
        assert words in str(refused.value)
        assert len(str(refused.value).splitlines()) == 1


def test_what_a_hub_puts_beside_it_is_let_be(folder):
    for name in ("README.md", "LICENSE", ".gitattributes"):
        (folder / name).write_text("text")
    assert preset_folder(folder) == folder


def test_a_snapshot_may_link_into_its_own_repository_only(hubs, written, tmp_path):
    snapshot = copied(written, tmp_path / "models--user--repo" / "snapshots" / COMMIT)
    store = tmp_path / "models--user--repo" / "blobs"
    store.mkdir()
    (snapshot / "MODEL_CARD.md").rename(store / "a1")
    (snapshot / "MODEL_CARD.md").symlink_to("../../blobs/a1")
    hubs.answer = snapshot
    assert preset_folder("hf://user/repo") == snapshot
    (store / "a1").rename(tmp_path / "a1")
    (snapshot / "MODEL_CARD.md").unlink()
    (snapshot / "MODEL_CARD.md").symlink_to(tmp_path / "a1")
    with pytest.raises(PresetError, match="is a link out of the preset's folder"):
        preset_folder("hf://user/repo")


def test_a_front_end_that_is_not_ours_is_refused_even_where_it_is_registered(folder, monkeypatch):
    monkeypatch.setattr(front_ends, "_registered", {})
    register_front_end(Energies)
    path = folder / "recognizer.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"front_end": front_ends.saved_front_end(Energies())}))
    rehash(folder)
    with pytest.raises(ModelFolderError, match=r"names the front end 'tests>Energies'.*presets take no others"):
        Recognizer.from_preset(folder)
