"""The one schema of an experiment. A YAML file states what differs from these defaults, the paper's values."""

from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, ValidationError, model_validator

from keras_vitser.audio import COPIES, SAMPLING_RATE
from keras_vitser.audio.frames import clip_samples, frame_count
from keras_vitser.errors import ConfigError
from keras_vitser.experiments.layered_yaml import set_value
from keras_vitser.wording import did_you_mean, nearest

SPACE = "tuning.space"
_WITHOUT_SPACE = {SPACE: None}
_LAST = ("tuning", "tracking", "seed")  # behind the sections of a system

Count = Annotated[int, Field(ge=1)]
Channels = Annotated[tuple[Count, ...], Field(min_length=1)]
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
    """savee, emodb, crema_d, ravdess, manifest, folder or demo; `keras-vitser corpora` says what each is."""
    classes: list[str] | None = None
    """The classes to keep. Unset: all."""
    labels_as_written: bool = False
    """Whether labels that differ only in case or spaces are classes of their own; else they are refused."""
    leave_out_unreadable: bool = False
    """Whether recordings that cannot be read are left out of the split, and counted beside its scores; else they are
    refused, all in one error, before any work starts."""


class ProtocolSection(Section):
    """Settings of one protocol of `keras_vitser.corpora.protocols`; those that it does not know must stay unset."""

    name: Literal["paper", "random", "speaker_independent", "leave_one_speaker_out"] = "speaker_independent"
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


class FrontEndSection(Section):
    """Arguments of `keras_vitser.layers.LogMelImage`: from waveform, at 16 kHz, to image."""

    clip_seconds: Positive = 4.0
    """Sound in an image: a longer clip is cut at its end, a shorter one padded with zeros."""
    n_fft: Count = 1024
    """Samples of the Fourier transform."""
    win_length: Count = 512
    """Samples of the Hamming window, at most `n_fft`."""
    hop_length: Count = 64
    """Samples between frames."""
    n_mels: Count = 128
    """Mel bands, the rows of the image."""
    fmin: NotNegative = 0.0
    """Hz, lower edge of the lowest band."""
    fmax: Positive | None = None
    """Hz, upper edge of the highest band. Unset: half the sampling rate."""
    top_db: Positive = 80.0
    """dB below the clip's loudest point that are black."""
    frames: Count | None = 128
    """Columns of the image, interpolated. Unset: one a frame of the spectrogram, 1001 in 4 s."""
    highest_band_first: bool = True
    """Whether row 0 is the highest band."""
    normalize_peak: bool = False
    """Whether each clip is scaled to a peak of 1 first."""

    @property
    def columns(self) -> int:
        """Columns of the image."""
        return self.frames or frame_count(clip_samples(self.clip_seconds, SAMPLING_RATE), self.hop_length)


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


class NetworkSection(Section):
    """Arguments of `keras_vitser.models.ViTSER`."""

    patch_size: tuple[Count, Count] = (128, 1)
    """Bands and frames of a patch; patches must fill the image."""
    hidden_dim: Count = 256
    """Width of a token."""
    depth: Count = 3
    """Encoder blocks."""
    num_heads: Count = 5
    """Attention heads a block."""
    head_dim: Count = 64
    """Width of a head."""
    mlp_dim: Count = 256
    """Width inside the MLP."""
    conv_stem: bool | Channels = False
    """Whether six convolutions come first, or the channels of others: `[4, 4]` are two of 4 each."""
    coordinates: bool = False
    """Whether each point of the image is told its position, from -1 to 1 on both axes."""
    pooling: Literal["class_token", "mean"] = "class_token"
    """The feature map, which the student matches: the class token, or the mean of all tokens."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0


class TeacherSection(NetworkSection):
    """Arguments of `keras_vitser.models.ViTSER` for the teacher."""

    depth: Count = 6
    """Encoder blocks."""
    conv_stem: bool | Channels = True
    """Whether six convolutions come first, or the channels of others: `[4, 4]` are two of 4 each."""
    coordinates: bool = True
    """Whether each point of the image is told its position, from -1 to 1 on both axes."""


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


class TeacherStage(StageSection):
    """Stage (a). `from`: a run or model folder whose network is the teacher; the stage is then skipped."""

    from_: str | None = Field(default=None, alias="from")
    """A run or model folder whose network is the teacher; the stage is then skipped."""


class StudentStage(StageSection):
    """Stage (c). `initial_weights`: a run or model folder of a trained student to go on from."""

    alpha: NotNegative = 10.0
    """Weight of the feature loss beside the labels' loss. At 0 the teacher is not asked."""
    initial_weights: str | None = None
    """A run or model folder of a trained student to go on from."""


class StagesSection(Section):
    """Epochs, batches and learning rates of the three stages."""

    teacher: TeacherStage = TeacherStage()
    """Stage (a): the teacher learns the labels."""
    matching: StageSection = StageSection()
    """Stage (b): the student learns to give the teacher's feature map; no labels."""
    student: StudentStage = StudentStage()
    """Stage (c): the student learns the labels and keeps matching."""
    compare_alone: bool = False
    """Whether the same student is trained once more without a teacher, to compare with: stage (c) from the same first
    weights, on the same batches, by the labels alone."""
    save_interval: NotNegative = 60.0
    """Seconds of training between two checkpoints; 0 saves each step."""

    @property
    def student_alone(self) -> StudentStage:
        """Stage (c) without the teacher."""
        return self.student.model_copy(update={"alpha": 0.0})

    @property
    def is_student_alone(self) -> bool:
        """Whether no stage of the student asks the teacher."""
        return self.student.alpha == 0 and self.matching.epochs == 0


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


class ViTSERTuning(TuningSection):
    """The search of `keras-vitser tune` for the settings with the highest validation UA.

    A trial trains the network by the labels alone, as stage (a) does, with the settings of its own stage.
    """

    network: Literal["teacher", "student"] = "student"
    """Whose section and stage are searched."""


_PATCH_WIDTHS = (1, 2, 4, 8, 16)
_DEPTHS = ValueRange(low=1, high=8)


class Common(Section):
    """What the configs of all systems share. A subclass has the sections of a front end, of networks and of stages.

    Example:
        >>> Config().system
        'vit_ser'
    """

    system: str = "vit_ser"
    """What is trained: its front end, its networks, and in which stages."""
    corpus: CorpusSection = CorpusSection()
    """The recordings."""
    protocol: ProtocolSection = ProtocolSection()
    """How they are split into training, validation and test."""
    augmentation: AugmentationSection = AugmentationSection()
    """Copies of the training clips."""
    tuning: TuningSection = TuningSection()
    """What `keras-vitser tune` searches."""
    tracking: TrackingSection = TrackingSection()
    """Where MLflow writes."""
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    """Of the split, the copies, the order and the weights."""

    @model_validator(mode="after")
    def _search_space(self):
        for key, domain in (self.tuning.space or {}).items():
            known = self._searchable_keys()
            if key not in known:
                raise ValueError(f"tuning.space: {_unknown(key, key, known)}")
            for value in _values_to_check(key, domain):
                try:
                    taken = self._with({key: value} | _WITHOUT_SPACE).value_at(key)
                except ValidationError as error:
                    raise ValueError(
                        f"tuning.space.{key}: {value!r} is not possible ({explain(error, type(self))})"
                    ) from None
                step = getattr(domain, "step", None)
                if isinstance(taken, int) and step is not None and step % 1:
                    raise ValueError(f"tuning.space.{key}: step must be a whole number. Received: {step!r}")
        return self

    @classmethod
    def stage_names(cls) -> tuple[str, ...]:
        """The stages that have settings, in their order.

        Example:
            >>> Config.stage_names()
            ('teacher', 'matching', 'student')
        """
        fields = cls.model_fields["stages"].annotation.model_fields if "stages" in cls.model_fields else {}
        return tuple(name for name, field in fields.items() if issubclass(field.annotation, StageSection))

    def _searchable_keys(self) -> list[str]:
        """The keys that a search may vary, those of its network."""
        return []

    def default_space(self) -> dict[str, Any]:
        """What a search varies where `tuning.space` is unset.

        Raises:
            ConfigError: This system has no such space.
        """
        raise ConfigError(f"tuning.space: say what is searched. Known here are {', '.join(self._searchable_keys())}")

    def value_at(self, key: str) -> Any:
        """The value of a dotted key.

        Example:
            >>> Config().value_at("student.depth")
            3
        """
        value: Any = self
        for part in key.split("."):
            value = getattr(value, part)
        return value

    def with_values(self, values: dict[str, Any]) -> Self:
        """This config with other values, by dotted key as in `tuning.space`.

        Args:
            values: Values by key.

        Raises:
            ConfigError: A value is not possible.

        Example:
            >>> Config().with_values({"student.patch_width": 4}).student.patch_size
            (128, 4)
        """
        try:
            return self._with(values)
        except ValidationError as error:
            raise ConfigError(explain(error, type(self))) from None

    def _with(self, values: dict[str, Any]) -> Self:
        changed = self.model_dump(by_alias=True)
        for key, value in values.items():
            set_value(changed, *self._as_stated(key, value))
        return type(self).model_validate(changed)

    def _as_stated(self, key: str, value: Any) -> tuple[str, Any]:
        """A key that can be searched and its value, as they stand in a config."""
        return key, value

    def to_yaml(self) -> str:
        """The config as YAML, every value spelled out; `load_config` reads it back."""
        return yaml.safe_dump(self.plain_values(), sort_keys=False, allow_unicode=True)

    def plain_values(self) -> dict[str, Any]:
        """Every value as JSON has it, in the order in which a run uses them."""
        values = self.model_dump(mode="json", by_alias=True)
        return {key: values[key] for key in sorted(values, key=lambda key: key in _LAST)}


class Config(Common):
    """A whole experiment with ViT-SER: what `keras-vitser train` needs but for the place of the recordings.

    Example:
        >>> Config().stages.student.alpha
        10.0
    """

    system: Literal["vit_ser"] = "vit_ser"
    """What is trained: ViT-SER, teacher and student, in three stages."""
    corpus: CorpusSection = CorpusSection()
    """The recordings."""
    protocol: ProtocolSection = ProtocolSection()
    """How they are split into training, validation and test."""
    front_end: FrontEndSection = FrontEndSection()
    """From waveform to image."""
    augmentation: AugmentationSection = AugmentationSection()
    """Copies of the training clips."""
    teacher: TeacherSection = TeacherSection()
    """The larger network, which teaches."""
    student: NetworkSection = NetworkSection()
    """The smaller network, which is shipped."""
    stages: StagesSection = StagesSection()
    """Training."""
    tuning: ViTSERTuning = ViTSERTuning()
    """What `keras-vitser tune` searches."""

    @model_validator(mode="after")
    def _patches_fill_the_image(self):
        front_end, frames = self.front_end, self.front_end.columns
        for role in ("teacher", "student"):
            bands_a_patch, frames_a_patch = getattr(self, role).patch_size
            if front_end.n_mels % bands_a_patch or frames % frames_a_patch:
                raise ValueError(
                    f"{role}.patch_size must divide the image of {front_end.n_mels} bands and {frames} frames. "
                    f"Received: {[bands_a_patch, frames_a_patch]}"
                )
        return self

    @model_validator(mode="after")
    def _teaching(self):
        if self.stages.is_student_alone and self.stages.student.epochs == 0:
            raise ValueError("stages: no epoch trains the student; raise stages.student.epochs")
        if self.stages.compare_alone and self.stages.student.epochs == 0:
            raise ValueError("stages.compare_alone: no epoch trains the student alone; raise stages.student.epochs")
        return self

    def _searchable_keys(self) -> list[str]:
        role = self.tuning.network
        network = [name for name in NetworkSection.model_fields if name != "patch_size"]
        stage = [name for name in StageSection.model_fields if name != "epochs"]
        keys = [f"{role}.patch_width", *(f"{role}.{name}" for name in network)]
        keys += [f"stages.{role}.{name}" for name in stage]
        keys += ["augmentation.time_shift", "augmentation.frequency_shift"]
        if role == "teacher":  # only stage (a) masks
            keys += ["augmentation.time_mask", "augmentation.frequency_mask"]
        return keys

    def default_space(self) -> dict[str, Any]:
        """Patch width and depth of the searched network."""
        role = self.tuning.network
        widths = [width for width in _PATCH_WIDTHS if self.front_end.columns % width == 0]
        return {f"{role}.patch_width": widths, f"{role}.depth": _DEPTHS.model_dump()}

    def value_at(self, key: str) -> Any:
        """The value of a dotted key; that of `ROLE.patch_width` is the second number of `ROLE.patch_size`.

        Example:
            >>> Config().value_at("student.patch_width")
            1
        """
        section, _, name = key.rpartition(".")
        return getattr(self, section).patch_size[1] if name == "patch_width" else super().value_at(key)

    def _as_stated(self, key: str, value: Any) -> tuple[str, Any]:
        section, _, name = key.rpartition(".")
        if name == "patch_width":
            return f"{section}.patch_size", (getattr(self, section).patch_size[0], value)
        return key, value


CONFIGS: dict[str, type[Common]] = {"vit_ser": Config}
"""The configs by the name of their system; importing Keras is not needed to check one."""


def config_class(values: dict[str, Any]) -> type[Common]:
    """The class that a config's values belong to, by its key `system`.

    Raises:
        ConfigError: There is no such system.

    Example:
        >>> config_class({}).__name__
        'Config'
    """
    name = values.get("system", "vit_ser")
    if not isinstance(name, str) or name not in CONFIGS:
        raise ConfigError(
            f"system: must be one of {', '.join(CONFIGS)}. Received: {name!r}.{did_you_mean(name, CONFIGS)}"
        )
    return CONFIGS[name]


def explain(error: ValidationError, config: type[Common] | None = None) -> str:
    """What is wrong with a config, in one line, with the nearest known key for each unknown one."""
    return "; ".join(_explain(problem, config or Config) for problem in error.errors())


def _values_to_check(key: str, domain: "list | ValueRange") -> list[Any]:
    """All values of a domain, or its ends where all that lies between is possible too."""
    if not isinstance(domain, ValueRange):
        return domain
    whole = all(isinstance(number, int) for number in (domain.low, domain.high, domain.step or 1))
    if key.endswith("patch_width") and whole:
        return list(range(domain.low, domain.high + 1, domain.step or 1))
    return [domain.low, domain.high]


def _explain(problem: dict[str, Any], config: type[Common]) -> str:
    place = [str(part) for part in problem["loc"]]
    if place[:2] == SPACE.split("."):
        place[3:4] = []  # which kind of domain it was taken for
    key = ".".join(place)
    if problem["type"] == "extra_forbidden":
        known = _known_keys(place[:-1], config)
        return _unknown(key, place[-1], known)
    message = problem["msg"].removeprefix("Value error, ")
    return f"{key or 'the whole'}: {message}. Received: {problem['input']!r}" if key else message


def _unknown(key: str, given: str, known: list[str]) -> str:
    near = nearest(given, known)
    hint = f"did you mean {near!r}? " if near else ""
    return f"unknown key {key!r}; {hint}Known here are {', '.join(known)}"


def _known_keys(place: list[str], config: type[Common]) -> list[str]:
    section: type[BaseModel] = config
    if place[:2] == SPACE.split("."):
        return list(ValueRange.model_fields)
    for part in place:
        section = section.model_fields[part].annotation
    return [field.alias or name for name, field in section.model_fields.items()]
