"""What an experiment asks of a system. Roles and the names of stages are data of a system, and nowhere else."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import keras

from keras_vitser.experiments.config import StageSection
from keras_vitser.experiments.stages import Lesson
from keras_vitser.layers import FrontEnd
from keras_vitser.recognizer import Recognizer
from keras_vitser.training.batches import Step


@dataclass(frozen=True)
class Given:
    """A trained network that a config names.

    Attributes:
        source: The key of the config and its value, for messages.
        recognizer: The network with its front end, labels and provenance.
        folder: Its model folder.
        sha256: Of its file.
    """

    source: str
    recognizer: Recognizer
    folder: Path
    sha256: str


@dataclass(frozen=True)
class Stage:
    """A part of a run's training.

    Attributes:
        name: In checkpoints, `progress.jsonl` and MLflow, and of its settings in the config's section `stages`.
        title: Above its curves.
        network: Role of the network that it trains.
        train: Trains it, of all networks by role.
        loss: What its `loss` is called where it has no parts: `label_loss`, `feature_loss`, or `""` for a sum.
        augment: What changes each example, each epoch anew.
        no_other_rate: What to do where it diverges, if its learning rate cannot be changed alone.
    """

    name: str
    title: str
    network: str
    train: Callable[[Lesson, dict[str, keras.Model]], None]
    loss: str = ""
    augment: Callable[[Any], Sequence[Step]] = lambda config: ()  # `Any`: each system has its own class of configs
    no_other_rate: str = ""

    def settings(self, config: Any) -> StageSection:
        """Its settings in a config."""
        return getattr(config.stages, self.name)


class System(Protocol):
    """A front end, networks, and how they are trained.

    `config` is of the class that the system is registered with, a `Common` with sections of its own.

    Attributes:
        name: In configs.
        title: In words.
        shipped: Role of the network whose model folder is the run's.
        places: Where in the run folder the networks are saved, by role.
        stages: All stages that there can be, in their order.
        variation: Another value of one of its keys, as `--set` takes it: what to try after a first run.
    """

    name: str
    title: str
    shipped: str
    places: dict[str, str]
    stages: tuple[Stage, ...]
    variation: str

    def front_end(self, config: Any) -> FrontEnd:
        """The front end of a config. Raises `ConfigError` where its values do not fit together."""

    def given(self, config: Any) -> dict[str, tuple[str, str]]:
        """By role, the key and the folder of each trained network that a config names."""

    def network(self, config: Any, role: str, num_classes: int) -> keras.Model:
        """The network of a role before training, by itself: what a search trains."""

    def networks(
        self, config: Any, labels: tuple[str, ...], front_end: FrontEnd, given: dict[str, Given]
    ) -> dict[str, keras.Model]:
        """The networks by role, as they stand before training."""

    def is_trained(self, stage: Stage, networks: dict[str, keras.Model], given: dict[str, Given]) -> bool:
        """Whether a run with these networks has this stage."""

    def about(self, network: keras.Model, front_end: FrontEnd) -> str:
        """What a network reads and whose method it is: a sentence or two of the model card, Markdown."""

    def beside(self, sentences: dict[str, str]) -> str:
        """What stands beside the shipped network's scores in its card, by the scores of all networks, or `""`."""


def stages_to(system: System, role: str) -> tuple[Stage, ...]:
    """The stages on the way to a network: those before its last, and that."""
    last = max(place for place, stage in enumerate(system.stages) if stage.network == role)
    return system.stages[: last + 1]


def stage_of(system: System, role: str) -> Stage:
    """The last stage of a network: the one whose settings a search for this network varies."""
    return stages_to(system, role)[-1]
