"""keras_vitser/models/finite_weights.py, and the ways by which a ViTSER leaves and comes back."""

import re

import keras
import numpy as np
import pytest
from keras import ops

from keras_vitser.errors import ModelFolderError, NonFiniteWeightsError
from keras_vitser.models import ViTSER, load_model, to_author_checkpoint
from keras_vitser.models.finite_weights import check_finite
from tests.requirements import require

pytestmark = pytest.mark.backends("tensorflow", "jax", "torch")

SMALL = {"image_size": (8, 4), "patch_size": (8, 1), "hidden_dim": 8, "depth": 1, "head_dim": 4, "mlp_dim": 8}


def spoiled(layer="head", value=np.nan, **kwargs):
    """A network with one weight of a layer that is no number."""
    network = ViTSER.student(3, **SMALL, **kwargs)
    weight = network.get_layer(layer).weights[0]
    values = np.array(ops.convert_to_numpy(ops.cast(weight, "float32")))
    values.flat[-1] = value
    weight.assign(values)
    return network


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("layer", ["head", "encoder_block_0", "encoder_norm"])
def test_the_layer_is_named(layer, value):
    with pytest.raises(NonFiniteWeightsError, match=rf"model\.keras: the layer {layer}\b.*NaN or infinite"):
        check_finite(spoiled(layer, value), "model.keras")


def test_half_precision_is_looked_at_too():
    with pytest.raises(NonFiniteWeightsError, match="the layer head"):
        check_finite(spoiled(dtype="bfloat16"), "model.keras")
    check_finite(ViTSER.student(3, dtype="bfloat16", **SMALL), "model.keras")


def test_whole_numbers_and_large_ones_are_finite():
    check_finite(spoiled(value=np.finfo(np.float32).max), "model.keras")
    inputs = keras.Input((3,))
    check_finite(keras.Model(inputs, keras.layers.Dropout(0.5, seed=1)(inputs)), "model.keras")  # its seed is ints


@pytest.mark.parametrize("write", [ViTSER.save, ViTSER.export, to_author_checkpoint])
def test_such_a_network_is_not_saved_nor_exported(write, tmp_path):
    if write is to_author_checkpoint:
        require("torch")
    with pytest.raises(NonFiniteWeightsError, match=f"^{re.escape(str(tmp_path / 'a.keras'))}: the layer head"):
        write(spoiled(), tmp_path / "a.keras")
    assert not list(tmp_path.iterdir())


def test_a_file_of_one_is_not_loaded(tmp_path):
    keras.saving.save_model(spoiled(), tmp_path / "model.keras")
    with pytest.raises(ModelFolderError, match=r"model\.keras: the layer head has a weight \(kernel\)"):
        load_model(tmp_path / "model.keras")
