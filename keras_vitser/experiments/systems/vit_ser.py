"""ViT-SER (paper 1, Kim and Lee 2024): a teacher with stem and coordinates, a student that is matched to it."""

import logging
from functools import partial
from typing import cast

import keras

from keras_vitser.distillation import Distiller
from keras_vitser.errors import ConfigError
from keras_vitser.experiments import provenance
from keras_vitser.experiments.config import Config
from keras_vitser.experiments.config.vit_ser import StudentStage
from keras_vitser.experiments.stages import Lesson, distil, train_by_labels
from keras_vitser.experiments.systems.system import Given, Stage
from keras_vitser.layers import FrontEnd, LogMelImage
from keras_vitser.models import ViTSER
from keras_vitser.training.batches import Mask, Shift, Step

TEACHER, STUDENT, ALONE, MATCHING = "teacher", "student", "student_alone", "matching"

log = logging.getLogger(__name__)


def _train_teacher(lesson: Lesson, networks: dict[str, keras.Model]) -> None:
    train_by_labels(lesson, networks[TEACHER])


def _match(lesson: Lesson, networks: dict[str, keras.Model]) -> None:
    distil(lesson, Distiller(networks[TEACHER], networks[STUDENT], alpha=1.0, label_weight=0.0))


def _tune(role: str, lesson: Lesson, networks: dict[str, keras.Model]) -> None:
    if TEACHER in networks:
        distil(lesson, Distiller(networks[TEACHER], networks[role], alpha=cast(StudentStage, lesson.settings).alpha))
    else:
        train_by_labels(lesson, networks[role])


def _shifted(config: Config) -> tuple[Step, ...]:
    frames, bands = config.augmentation.time_shift, config.augmentation.frequency_shift
    return (Shift(frames, bands),) if frames or bands else ()


def _shifted_and_masked(config: Config) -> tuple[Step, ...]:
    frames, bands = config.augmentation.time_mask, config.augmentation.frequency_mask
    return (*_shifted(config), Mask(frames, bands)) if frames or bands else _shifted(config)


class VitSer:
    """The system of paper 1."""

    name, title, shipped = "vit_ser", "ViT-SER", STUDENT
    places = {TEACHER: "teacher", STUDENT: "model"}  # noqa: RUF012
    stages: tuple[Stage, ...] = (
        Stage(TEACHER, "(a) teacher", TEACHER, _train_teacher, loss="label_loss", augment=_shifted_and_masked),
        Stage(MATCHING, "(b) matching", STUDENT, _match, loss="feature_loss", augment=_shifted),
        Stage(STUDENT, "(c) student", STUDENT, partial(_tune, STUDENT), augment=_shifted),
        Stage(
            ALONE,
            "student alone",
            ALONE,
            partial(_tune, ALONE),
            loss="label_loss",
            augment=_shifted,
            no_other_rate="the student alone learns by the settings of stage student, which has ended; begin a new "
            "run, with a lower stages.student.learning_rate or with stages.compare_alone=false",
        ),
    )
    variation = "student.depth=1"

    def front_end(self, config: Config) -> FrontEnd:
        """A `LogMelImage`."""
        try:
            return LogMelImage(**config.front_end.arguments(), name="front_end")
        except ValueError as error:
            raise ConfigError(f"front_end: {error}") from None

    def given(self, config: Config) -> dict[str, tuple[str, str]]:
        """The teacher, whose stage is then skipped, and the student, which goes on from its weights."""
        keys = {
            TEACHER: ("stages.teacher.from", config.stages.teacher.from_),
            STUDENT: ("stages.student.initial_weights", config.stages.student.initial_weights),
        }
        return {role: (key, path) for role, (key, path) in keys.items() if path is not None}

    def network(self, config: Config, role: str, num_classes: int) -> keras.Model:
        """A `ViTSER` with the arguments of the role's section."""
        make, section = (ViTSER.teacher, config.teacher) if role == TEACHER else (ViTSER.student, config.student)
        image_size = (config.front_end.n_mels, config.front_end.columns)
        arguments = {"name": ALONE} if role == ALONE else {}
        return make(num_classes=num_classes, image_size=image_size, **section.model_dump(), **arguments)

    def networks(
        self, config: Config, labels: tuple[str, ...], front_end: FrontEnd, given: dict[str, Given]
    ) -> dict[str, keras.Model]:
        """Teacher and student, and the one to compare with; no teacher where no stage asks it."""
        if TEACHER in given:
            teacher = given[TEACHER].recognizer.network
        else:  # drawn even where nobody asks it, so that a student begins alike with and without one
            teacher = self.network(config, TEACHER, len(labels))
        student = self.network(config, STUDENT, len(labels))
        if STUDENT in given:
            provenance.take_weights(student, labels, given[STUDENT].recognizer)
        networks = {TEACHER: teacher, STUDENT: student}
        if config.stages.is_student_alone and TEACHER not in given:
            del networks[TEACHER]
        if config.stages.compare_alone:
            networks[ALONE] = self.network(config, ALONE, len(labels))
            networks[ALONE].set_weights(student.get_weights())
        return networks

    def is_trained(self, stage: Stage, networks: dict[str, keras.Model], given: dict[str, Given]) -> bool:
        """All stages of the networks that there are, but that of a teacher that is given."""
        if stage.name == TEACHER and TEACHER in given:
            log.info("stage teacher: skipped, the teacher is given")
            return False
        if stage.name == MATCHING and TEACHER not in networks:
            return False
        return stage.network in networks

    def about(self, network: keras.Model, front_end: FrontEnd) -> str:
        """Its window and patches, and the paper."""
        return (
            f"Reads the first {front_end.clip_seconds:g} s of a recording as a log-Mel\n"
            "image in vertical patches (Kim and Lee, IEEE Access 2024, doi 10.1109/ACCESS.2024.3447770)."
        )

    def beside(self, sentences: dict[str, str]) -> str:
        """The scores of the same network trained without a teacher."""
        return f"The same network trained without a teacher: {sentences[ALONE]}" if ALONE in sentences else ""
