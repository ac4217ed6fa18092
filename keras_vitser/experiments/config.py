"""The one schema of an experiment. A YAML file states what differs from these defaults, the paper's values."""

import difflib
import os
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from keras_vitser.audio import COPIES, SAMPLING_RATE
from keras_vitser.errors import ConfigError

Count = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(gt=0, lt=1)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Range = tuple[Annotated[float, Field(allow_inf_nan=False)], Annotated[float, Field(allow_inf_nan=False)]]


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class CorpusSection(Section):
    name: str = "folder"
    classes: list[str] | None = None


class ProtocolSection(Section):
    """Settings of one protocol of `keras_vitser.corpora.protocols`; those that it does not know must stay unset."""

    name: Literal["paper", "random", "speaker_independent", "leave_one_speaker_out"] = "speaker_independent"
    test_speakers: list[str] | None = None
    speaker: str | None = None
    fold: Count | None = None
    folds: Count | None = None
    test_fraction: Share | None = None

    def settings(self) -> dict[str, Any]:
        return self.model_dump(exclude={"name"}, exclude_none=True)


class FrontEndSection(Section):
    """Arguments of `keras_vitser.layers.LogMelImage`."""

    clip_seconds: Positive = 4.0
    n_fft: Count = 1024
    win_length: Count = 512
    hop_length: Count = 64
    n_mels: Count = 128
    fmin: NotNegative = 0.0
    fmax: Positive | None = None
    top_db: Positive = 80.0
    frames: Count | None = 128
    highest_band_first: bool = True
    normalize_peak: bool = False


class AugmentationSection(Section):
    """How many of the copies `as recorded`, `noise`, `speed`, `shift` train, and how strong they are."""

    copies: Annotated[int, Field(ge=1, le=len(COPIES))] = len(COPIES)
    noise_snr_db: Range = (10.0, 30.0)
    speed: Range = (0.9, 1.1)
    shift_seconds: NotNegative = 0.5

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
    hidden_dim: Count = 256
    depth: Count = 3
    num_heads: Count = 5
    head_dim: Count = 64
    mlp_dim: Count = 256
    conv_stem: bool = False
    coordinates: bool = False
    pooling: Literal["class_token", "mean"] = "class_token"
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0


class TeacherSection(NetworkSection):
    depth: Count = 6
    conv_stem: bool = True
    coordinates: bool = True


class StageSection(Section):
    epochs: Annotated[int, Field(ge=0)] = 50
    batch_size: Count = 4
    learning_rate: Positive = 1e-4
    halve_every: Count = 10
    weight_decay: NotNegative = 0.0


class TeacherStage(StageSection):
    """Stage (a). `from`: a run or model folder whose network is the teacher; the stage is then skipped."""

    from_: str | None = Field(default=None, alias="from")


class StudentStage(StageSection):
    """Stage (c). `initial_weights`: a run or model folder of a trained student to go on from."""

    alpha: NotNegative = 10.0
    initial_weights: str | None = None


class StagesSection(Section):
    teacher: TeacherStage = TeacherStage()
    matching: StageSection = StageSection()
    student: StudentStage = StudentStage()


class TrackingSection(Section):
    """MLflow. Without `uri`, an SQLite file beside the run folders."""

    enabled: bool = True
    uri: str | None = None
    experiment: str = "keras_vitser"


class Config(Section):
    """A whole experiment: what `keras-vitser train` needs but for the place of the recordings.

    Example:
        >>> Config().stages.student.alpha
        10.0
    """

    corpus: CorpusSection = CorpusSection()
    protocol: ProtocolSection = ProtocolSection()
    front_end: FrontEndSection = FrontEndSection()
    augmentation: AugmentationSection = AugmentationSection()
    teacher: TeacherSection = TeacherSection()
    student: NetworkSection = NetworkSection()
    stages: StagesSection = StagesSection()
    tracking: TrackingSection = TrackingSection()
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0

    @model_validator(mode="after")
    def _patches_fill_the_image(self):
        front_end = self.front_end
        frames = front_end.frames or int(front_end.clip_seconds * SAMPLING_RATE) // front_end.hop_length + 1
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
        if self.stages.student.alpha == 0 and self.stages.matching.epochs == 0 and self.stages.student.epochs == 0:
            raise ValueError("stages: no epoch trains the student; raise stages.student.epochs")
        return self

    def to_yaml(self) -> str:
        """The config as YAML, every value spelled out; `load_config` reads it back."""
        return yaml.safe_dump(self.model_dump(mode="json", by_alias=True), sort_keys=False, allow_unicode=True)


def load_config(source: "str | os.PathLike | Config | None" = None, overrides: dict[str, Any] | None = None) -> Config:
    """Reads and checks a config.

    Args:
        source: Path of a YAML file, the name of a shipped one (`savee`, `demo`, ...), a
            `Config`, or `None` for the defaults. `extends: other.yaml` in a file names
            the one that it is a variant of, relative to itself.
        overrides: Values by dotted key, `{"stages.student.epochs": 5}`.

    Returns:
        The checked `Config`.

    Raises:
        ConfigError: No such file, not YAML, an unknown key or a wrong value; the message
            names file and key, and the nearest known key.

    Example:
        >>> load_config(None, {"stages.student.epochs": 5}).stages.student.epochs
        5
    """
    name = "the config"
    if isinstance(source, Config):
        values = source.model_dump(by_alias=True)
    elif source is None:
        values = {}
    else:
        path = config_path(source)
        name, values = str(path), _read(path, ())
    for key, value in (overrides or {}).items():
        _set(values, key, value)
    try:
        return Config.model_validate(values)
    except ValidationError as error:
        raise ConfigError(f"{name}: " + "; ".join(_explain(problem) for problem in error.errors())) from None


def config_path(source: str | os.PathLike) -> Path:
    """The file that a path or a shipped name means.

    Raises:
        ConfigError: There is neither.
    """
    path = Path(source)
    if path.is_file():
        return path
    shipped = {file.stem: file for folder in _shipped_folders() for file in sorted(folder.glob("*.yaml"))}
    if str(source) in shipped:
        return shipped[str(source)]
    nearest = difflib.get_close_matches(path.stem, shipped, n=1)
    hint = f" Did you mean {nearest[0]!r}?" if nearest else ""
    raise ConfigError(
        f"{source}: there is no such config file, and no shipped config of that name.{hint} "
        f"Shipped are {', '.join(sorted(shipped))}"
    )


def _shipped_folders() -> list[Path]:
    package = Path(__file__).resolve().parents[1]
    return [folder for folder in (package / "configs", package.parent / "configs") if folder.is_dir()]


class _UniqueKeys(yaml.SafeLoader):
    """YAML as it is defined, where PyYAML takes the last of two equal keys and says nothing."""

    def compose_mapping_node(self, anchor):
        node = super().compose_mapping_node(anchor)
        seen = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                continue
            if key.value in seen:
                raise yaml.composer.ComposerError(None, None, f"the key {key.value!r} stands twice", key.start_mark)
            seen.add(key.value)
        return node


def _read(path: Path, seen: tuple[Path, ...]) -> dict[str, Any]:
    path = path.resolve()
    if path in seen:
        raise ConfigError(f"{path}: extends itself, by way of {', '.join(str(other) for other in seen)}")
    try:
        values = yaml.load(path.read_text(encoding="utf-8"), _UniqueKeys)
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file, named in `extends` of {seen[-1]}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read ({error})") from None
    except yaml.YAMLError as error:
        place = getattr(error, "problem_mark", None)
        line = f" at line {place.line + 1}" if place else ""
        raise ConfigError(f"{path}: is not YAML{line} ({getattr(error, 'problem', error)})") from None
    values = {} if values is None else values
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: must hold keys and values. Received: {type(values).__name__}")
    base = values.pop("extends", None)
    if base is None:
        return values
    return _merged(_read(path.parent / str(base), (*seen, path)), values)


def _merged(base: dict, variant: dict) -> dict:
    merged = dict(base)
    for key, value in variant.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = _merged(merged[key], value) if both else value
    return merged


def _set(values: dict[str, Any], dotted: str, value: Any) -> None:
    *sections, key = dotted.split(".")
    for section in sections:
        inner = values.get(section)
        values[section] = dict(inner) if isinstance(inner, dict) else {}
        values = values[section]
    values[key] = value


def _explain(problem: dict[str, Any]) -> str:
    place = [str(part) for part in problem["loc"]]
    key = ".".join(place)
    if problem["type"] == "extra_forbidden":
        known = _known_keys(place[:-1])
        nearest = difflib.get_close_matches(place[-1], known, n=1, cutoff=0.5)
        hint = f"did you mean {nearest[0]!r}? " if nearest else ""
        return f"unknown key {key!r}; {hint}Known here are {', '.join(known)}"
    message = problem["msg"].removeprefix("Value error, ")
    return f"{key or 'the whole'}: {message}. Received: {problem['input']!r}" if key else message


def _known_keys(place: list[str]) -> list[str]:
    section: type[BaseModel] = Config
    for part in place:
        section = section.model_fields[part].annotation
    return [field.alias or name for name, field in section.model_fields.items()]
