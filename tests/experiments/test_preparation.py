"""What a config says of its front end is what the front end makes."""

import pytest

from keras_vitser.experiments import load_config
from keras_vitser.experiments.preparation import front_end_of

pytestmark = pytest.mark.backends("tensorflow")


@pytest.mark.parametrize("seconds", [4.0, 4.02, 0.29, 1.1])
def test_a_config_knows_how_wide_its_images_are(seconds):
    config = load_config(None, {"front_end": {"frames": None, "hop_length": 160, "clip_seconds": seconds}})
    assert config.front_end.columns == front_end_of(config).image_size[1]
