"""What the configs of all systems share. A YAML file states what differs from the defaults."""

from typing import TYPE_CHECKING, Annotated, Any, Self

import yaml
from pydantic import Field, ValidationError, model_validator

from keras_vitser.errors import ConfigError
from keras_vitser.experiments.config.layered_yaml import set_value
from keras_vitser.experiments.config.sections import (
    AugmentationSection,
    CorpusSection,
    ProtocolSection,
    Section,
    StageSection,
    TrackingSection,
    TuningSection,
    ValueRange,
)
from keras_vitser.wording import nearest

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

SPACE = "tuning.space"
_WITHOUT_SPACE = {SPACE: None}
_LAST = ("tuning", "tracking", "seed")  # behind the sections of a system


class Common(Section):
    """What the configs of all systems share. A subclass has the sections of a front end, of networks and of stages.

    Example:
        >>> from keras_vitser.experiments.config import Config
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

    @property
    def stored_as(self) -> str | None:
        """As what features are kept, where that is not as the front end gives them: see `FeatureStore`."""
        return None

    @classmethod
    def stage_names(cls) -> tuple[str, ...]:
        """The stages that have settings, in their order.

        Example:
            >>> from keras_vitser.experiments.config import Config
            >>> Config.stage_names()
            ('teacher', 'matching', 'student')
        """
        section: Any = cls.model_fields["stages"].annotation if "stages" in cls.model_fields else Section
        fields = section.model_fields
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
            >>> from keras_vitser.experiments.config import Config
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
            >>> from keras_vitser.experiments.config import Config
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


def explain(error: ValidationError, config: type[Common]) -> str:
    """What is wrong with a config, in one line, with the nearest known key for each unknown one."""
    return "; ".join(_explain(problem, config) for problem in error.errors())


def _values_to_check(key: str, domain: "list | ValueRange") -> list[Any]:
    """All values of a domain, or its ends where all that lies between is possible too."""
    if not isinstance(domain, ValueRange):
        return domain
    low, high, step = domain.low, domain.high, domain.step or 1
    if key.endswith("patch_width") and isinstance(low, int) and isinstance(high, int) and isinstance(step, int):
        return list(range(low, high + 1, step))
    return [low, high]


def _explain(problem: "ErrorDetails", config: type[Common]) -> str:
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
    section: Any = config
    if place[:2] == SPACE.split("."):
        return list(ValueRange.model_fields)
    for part in place:
        section = section.model_fields[part].annotation
    return [field.alias or name for name, field in section.model_fields.items()]
