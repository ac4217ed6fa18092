"""The smallest system: ten energies of a second, one Dense layer, one stage."""

import keras

from keras_vitser.experiments.config import Common, Section, StageSection, TuningSection
from keras_vitser.experiments.stages import train_by_labels
from keras_vitser.experiments.systems import Stage
from tests.front_ends import Energies


class ToyStages(Section):
    labels: StageSection = StageSection(epochs=2, batch_size=16, learning_rate=1e-2)
    save_interval: float = 3600.0


class ToyTuning(TuningSection):
    network: str = "layer"


class ToyConfig(Common):
    system: str = "toy"
    stages: ToyStages = ToyStages()
    tuning: ToyTuning = ToyTuning()

    def _searchable_keys(self):
        return ["stages.labels.learning_rate"]


def _train(lesson, networks):
    train_by_labels(lesson, networks["layer"])


class Toy:
    name, title, shipped = "toy", "Toy", "layer"
    places = {"layer": "model"}  # noqa: RUF012
    stages = (Stage("labels", "labels", "layer", _train, loss="label_loss"),)
    variation = "stages.labels.epochs=4"

    def front_end(self, config):
        return Energies(name="front_end")

    def given(self, config):
        return {}

    def network(self, config, role, num_classes):
        inputs = keras.Input(self.front_end(config).output_spec.shape[1:])
        return keras.Model(inputs, keras.layers.Dense(num_classes)(inputs), name=role)

    def networks(self, config, labels, front_end, given):
        return {"layer": self.network(config, "layer", len(labels))}

    def is_trained(self, stage, networks, given):
        return True

    def about(self, network, front_end):
        return "Reads ten energies of the first second."

    def beside(self, sentences):
        return ""
