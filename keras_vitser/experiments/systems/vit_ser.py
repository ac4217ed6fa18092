"""ViT-SER (paper 1, Kim and Lee 2024): a teacher with stem and coordinates, a student that is matched to it."""

import logging
from typing import Any

import keras

from keras_vitser.errors import ConfigError
from keras_vitser.experiments import provenance, stages
from keras_vitser.experiments.config import Config, NetworkSection
from keras_vitser.experiments.systems.system import Given, Lesson, Stage
from keras_vitser.layers import FrontEnd, LogMelImage
from keras_vitser.models import ViTSER

TEACHER, STUDENT, ALONE, MATCHING = "teacher", "student", "student_alone", "matching"

log = logging.getLogger(__name__)


def _train_teacher(lesson: Lesson) -> None:
    drawn, seed = lesson.config.augmentation, lesson.config.seed
    stages.train_by_labels(
        lesson.networks[TEACHER],
        lesson.train,
        lesson.validation,
        lesson.config.stages.teacher,
        seed,
        lesson.watcher,
        lesson.store,
        TEACHER,
        drawn.masks,
        drawn.shifts,
    )


def _match(lesson: Lesson) -> None:
    config = lesson.config
    stages.match_features(
        lesson.networks[TEACHER],
        lesson.networks[STUDENT],
        lesson.train,
        config.stages.matching,
        config.seed,
        lesson.watcher,
        lesson.store,
        config.augmentation.shifts,
    )


def _tune(role: str, lesson: Lesson) -> None:
    config = lesson.config
    stages.tune_student(
        lesson.networks[TEACHER],
        lesson.networks[role],
        lesson.train,
        lesson.validation,
        getattr(config.stages, role),
        config.seed,
        lesson.watcher,
        lesson.store,
        role,
        config.augmentation.shifts,
    )


class VitSer:
    """The system of paper 1."""

    name, title, shipped = "vit_ser", "ViT-SER", STUDENT
    places = {TEACHER: "teacher", STUDENT: "model"}  # noqa: RUF012
    stages = (
        Stage(TEACHER, "(a) teacher", TEACHER, _train_teacher, loss="label_loss"),
        Stage(MATCHING, "(b) matching", STUDENT, _match, loss="feature_loss"),
        Stage(STUDENT, "(c) student", STUDENT, lambda lesson: _tune(STUDENT, lesson)),
        Stage(
            ALONE,
            "student alone",
            ALONE,
            lambda lesson: _tune(ALONE, lesson),
            loss="label_loss",
            no_other_rate="the student alone learns by the settings of stage student, which has ended; begin a new "
            "run, with a lower stages.student.learning_rate or with stages.compare_alone=false",
        ),
    )

    def front_end(self, config: Config) -> FrontEnd:
        """A `LogMelImage`."""
        try:
            return LogMelImage(**config.front_end.model_dump(), name="front_end")
        except ValueError as error:
            raise ConfigError(f"front_end: {error}") from None

    def given(self, config: Config) -> dict[str, tuple[str, str]]:
        """The teacher, whose stage is then skipped, and the student, which goes on from its weights."""
        keys = {
            TEACHER: ("stages.teacher.from", config.stages.teacher.from_),
            STUDENT: ("stages.student.initial_weights", config.stages.student.initial_weights),
        }
        return {role: (key, path) for role, (key, path) in keys.items() if path is not None}

    def networks(
        self, config: Config, labels: tuple[str, ...], front_end: FrontEnd, given: dict[str, Given]
    ) -> dict[str, keras.Model]:
        """Teacher and student, and the one to compare with."""

        def arguments(section: NetworkSection) -> dict[str, Any]:
            return {"num_classes": len(labels), "image_size": front_end.image_size, **section.model_dump()}

        if TEACHER in given:
            teacher = given[TEACHER].recognizer.network
        else:
            teacher = ViTSER.teacher(**arguments(config.teacher))
        student = ViTSER.student(**arguments(config.student))
        if STUDENT in given:
            provenance.take_weights(student, labels, given[STUDENT].recognizer)
        networks = {TEACHER: teacher, STUDENT: student}
        if config.stages.compare_alone:
            networks[ALONE] = ViTSER.student(**arguments(config.student), name=ALONE)
            networks[ALONE].set_weights(student.get_weights())
        return networks

    def is_trained(self, stage: Stage, networks: dict[str, keras.Model], given: dict[str, Given]) -> bool:
        """All stages of the networks that there are, but that of a teacher that is given."""
        if stage.name == TEACHER and TEACHER in given:
            log.info("stage teacher: skipped, the teacher is given")
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
