"""The smallest system: ten energies of a second, one Dense layer, one stage."""

import keras

from keras_vitser.experiments import stages
from keras_vitser.experiments.config import Common, Section, StageSection
from keras_vitser.experiments.systems import Stage
from tests.front_ends import Energies


class ToyStages(Section):
    labels: StageSection = StageSection(epochs=2, batch_size=16, learning_rate=1e-2)
    save_interval: float = 3600.0


class ToyConfig(Common):
    system: str = "toy"
    stages: ToyStages = ToyStages()


def _train(lesson):
    config = lesson.config
    stages.train_by_labels(
        lesson.networks["layer"],
        lesson.train,
        lesson.validation,
        config.stages.labels,
        config.seed,
        lesson.watcher,
        lesson.store,
        "labels",
    )


class Toy:
    name, title, shipped = "toy", "Toy", "layer"
    places = {"layer": "model"}  # noqa: RUF012
    stages = (Stage("labels", "labels", "layer", _train, loss="label_loss"),)

    def front_end(self, config):
        return Energies(name="front_end")

    def given(self, config):
        return {}

    def networks(self, config, labels, front_end, given):
        inputs = keras.Input(front_end.output_spec.shape[1:])
        return {"layer": keras.Model(inputs, keras.layers.Dense(len(labels))(inputs), name="layer")}

    def is_trained(self, stage, networks, given):
        return True

    def about(self, network, front_end):
        return "Reads ten energies of the first second."

    def beside(self, sentences):
        return ""
