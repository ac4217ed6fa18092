"""A small model, exported once, the C libraries that load it, and two versions for a server."""

import os
from pathlib import Path

import numpy as np
import pytest

from keras_vitser import serving
from keras_vitser.layers import LogMelImage
from keras_vitser.models import ViTSER
from keras_vitser.recognizer import Recognizer
from tests.requirements import lacking
from tests.serving.c_library import OTHER_LIBRARY_VARIABLE, installed_library
from tests.serving.small_model import write_version

LABELS = ("anger", "happiness", "wütend")
CARD = "# A card\n\nFür Versuche.\n"


def make_recognizer(**settings):
    """An untrained network with large kernels, so that different sounds have clearly different answers."""
    sizes = {"hidden_dim": 16, "depth": 2, "num_heads": 2, "head_dim": 8, "mlp_dim": 16}
    network = ViTSER.student(3, image_size=(16, 16), patch_size=(8, 2), **sizes)
    generator = np.random.default_rng(2)
    network.set_weights([generator.normal(0, 0.3, old.shape) if old.ndim > 1 else old for old in network.get_weights()])
    return Recognizer(network, LABELS, LogMelImage(n_mels=16, frames=16, hop_length=256, **settings))


@pytest.fixture(scope="session")
def recognizer():
    return make_recognizer()


@pytest.fixture(scope="session")
def model(recognizer, tmp_path_factory):
    """The model's folder, written by the backend of this process."""
    return recognizer.save(tmp_path_factory.mktemp("model") / "model", CARD)


@pytest.fixture(scope="session")
def exported(model, tmp_path_factory):
    return serving.export(model, tmp_path_factory.mktemp("models") / "vit_ser", version=3)


@pytest.fixture(scope="session", params=["installed", pytest.param("other", marks=pytest.mark.more)])
def library(request):
    """Folder of a TensorFlow library: the one that exports, and the older one of `KERAS_VITSER_OTHER_TENSORFLOW`."""
    if request.param == "installed":
        return installed_library()
    folder = os.environ.get(OTHER_LIBRARY_VARIABLE)
    if not folder:
        lacking("other-tensorflow", f"{OTHER_LIBRARY_VARIABLE} names no folder of another libtensorflow_cc.so.2")
    return Path(folder)


@pytest.fixture(scope="session")
def two_versions(tmp_path_factory):
    """A model folder `vit_ser` with versions 1, which does not tell `heard`, and 2; not to be written to."""
    folder = tmp_path_factory.mktemp("models") / "vit_ser"
    write_version(folder, 1, has_heard=False)
    write_version(folder, 2)
    return folder
