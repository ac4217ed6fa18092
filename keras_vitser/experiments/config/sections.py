"""The sections that the configs of all systems share, and what sections are made of."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, model_validator

from keras_vitser.audio import COPIES
from keras_vitser.corpora.names import PROTOCOLS

Count = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(gt=0, lt=1)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Range = tuple[Annotated[float, Field(allow_inf_nan=False)], Annotated[float, Field(allow_inf_nan=False)]]


class Section(BaseModel):
    # The text below a field is its description in the JSON schema.
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class CorpusSection(Section):
    """Which recordings, and which of their classes."""

    name: str = "folder"
    """One of those that `keras-vitser corpora` names, with what each is."""
    classes: list[str] | None = None
    """The classes to keep. Unset: all."""
    labels_as_written: bool = False
    """Whether labels that differ only in case or spaces are classes of their own; else they are refused."""
    leave_out_unreadable: bool = False
    """Whether recordings that cannot be read are left out of the split, and counted beside its scores; else they are
    refused, all in one error, before any work starts."""


class ProtocolSection(Section):
    """Settings of one protocol of `keras_vitser.corpora.protocols`; those that it does not know must stay unset."""

    name: Literal[*PROTOCOLS] = "speaker_independent"  # type: ignore[valid-type]  # they are names alone
    """What is new in the test part. `paper` is leaky: copies of test clips stand in training."""
    test_speakers: list[str] | None = None
    """speaker_independent: the speakers to test on, in place of `fold`."""
    speaker: str | None = None
    """leave_one_speaker_out: the speaker to test on."""
    fold: Count | None = None
    """speaker_independent, leave_one_speaker_out: which fold tests, from 1."""
    folds: Count | None = None
    """speaker_independent: into how many folds the speakers are dealt."""
    test_fraction: Share | None = None
    """random: the share of the clips to test on."""

    def settings(self) -> dict[str, Any]:
        return self.model_dump(exclude={"name"}, exclude_none=True)


class AugmentationSection(Section):
    """How many of the copies `as recorded`, `noise`, `speed`, `shift` train, and how strong they are."""

    copies: Annotated[int, Field(ge=1, le=len(COPIES))] = len(COPIES)
    """Copies of each training clip, in that order; 1 is no augmentation. The protocol `paper` always makes four."""
    noise_snr_db: Range = (10.0, 30.0)
    """dB of signal to noise, lowest and highest."""
    speed: Range = (0.9, 1.1)
    """Factor of the speed, lowest and highest."""
    shift_seconds: NotNegative = 0.5
    """Largest shift in time, either way."""
    time_mask: Annotated[int, Field(ge=0)] = 0
    """Stage (a): at most so many columns of an image are blanked, drawn anew each epoch (SpecAugment)."""
    frequency_mask: Annotated[int, Field(ge=0)] = 0
    """Stage (a): at most so many bands of an image are blanked, drawn anew each epoch (SpecAugment)."""
    time_shift: Annotated[int, Field(ge=0)] = 0
    """All stages: an image is moved by at most so many columns, either way, drawn anew each epoch."""
    frequency_shift: Annotated[int, Field(ge=0)] = 0
    """All stages: an image is moved by at most so many bands, either way, drawn anew each epoch: another voice."""

    @model_validator(mode="after")
    def _ranges(self):
        for name in ("noise_snr_db", "speed"):
            low, high = getattr(self, name)
            if low > high:
                raise ValueError(f"{name} must be [lowest, highest]. Received: {[low, high]}")
        if self.speed[0] <= 0:
            raise ValueError(f"speed must be positive. Received: {list(self.speed)}")
        return self


class StageSection(Section):
    """Training of one stage, with Adam."""

    epochs: Annotated[int, Field(ge=0)] = 50
    """0 leaves the stage out."""
    batch_size: Count = 4
    """Clips a batch. The paper's is 4."""
    learning_rate: Positive = 1e-4
    """Of the first epoch."""
    halve_every: Count = 10
    """Epochs after which the learning rate is halved, again and again."""
    weight_decay: NotNegative = 0.0


class TrackingSection(Section):
    """MLflow."""

    enabled: bool = True
    uri: str | None = None
    """MLflow's tracking URI. Unset: an SQLite file beside the run folders."""
    experiment: str = "keras_vitser"
    """Name of MLflow's experiment."""


class ValueRange(Section):
    """The numbers from `low` to `high`, both included; whole ones where the key takes whole numbers."""

    low: int | float
    """The lowest value."""
    high: int | float
    """The highest value."""
    step: Annotated[int | float, Field(gt=0)] | None = None
    """Distance between two values. Unset: 1 for whole numbers, any distance for others."""
    sampling: Literal["linear", "log"] = "linear"
    """`log`: each factor is as likely as any other; for learning rates."""

    @model_validator(mode="after")
    def _limits(self):
        if self.low >= self.high:
            raise ValueError("low must be below high")
        if self.sampling == "log" and (self.low <= 0 or self.step is not None):
            raise ValueError("with `sampling: log`, low must be above 0 and step unset")
        return self


Domain = Annotated[
    Annotated[Annotated[list[bool | int | float | str], Field(min_length=1)], Tag("choices")]
    | Annotated[ValueRange, Tag("range")],
    Discriminator(lambda value: "range" if isinstance(value, dict | ValueRange) else "choices"),
]


class TuningSection(Section):
    """The search of `keras-vitser tune` for the settings with the highest validation UA.

    A trial trains the network by the labels alone, with the settings of its own stage.
    """

    algorithm: Literal["hyperband", "bayesian", "random"] = "hyperband"
    """hyperband: many short trials, of which the best are trained on; bayesian: guesses from the trials so far."""
    network: str = "network"
    """Whose section and stage are searched."""
    trials: Count = 30
    """The most trials. Hyperband may end earlier: 30 trials with 10 epochs."""
    epochs: Count = 10
    """Of a trial; the most with Hyperband."""
    space: dict[str, Domain] | None = None
    """By dotted key, a list of choices or a range; `student.patch_width` is the second number of `patch_size`.
    Unset: patch width and depth."""
