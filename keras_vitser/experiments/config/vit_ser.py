"""The config of ViT-SER. Its defaults are the paper's values."""

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from keras_vitser.audio import SAMPLING_RATE
from keras_vitser.audio.frames import clip_samples, frame_count
from keras_vitser.experiments.config.common import Common
from keras_vitser.experiments.config.sections import (
    AugmentationSection,
    CorpusSection,
    Count,
    NotNegative,
    Positive,
    ProtocolSection,
    Section,
    StageSection,
    TuningSection,
    ValueRange,
)

Channels = Annotated[tuple[Count, ...], Field(min_length=1)]
_PATCH_WIDTHS = (1, 2, 4, 8, 16)
_DEPTHS = ValueRange(low=1, high=8)


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
    stored_as: Literal["float32", "uint8"] = "float32"
    """How images are kept for training: `uint8` takes a quarter of the disk, and rounds them to 256 values."""

    def arguments(self) -> dict[str, Any]:
        """Those of `LogMelImage`."""
        return self.model_dump(exclude={"stored_as"})

    @property
    def columns(self) -> int:
        """Columns of the image."""
        return self.frames or frame_count(clip_samples(self.clip_seconds, SAMPLING_RATE), self.hop_length)


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


class ViTSERTuning(TuningSection):
    """The search of `keras-vitser tune` for the settings with the highest validation UA.

    A trial trains the network by the labels alone, as stage (a) does, with the settings of its own stage.
    """

    network: Literal["teacher", "student"] = "student"
    """Whose section and stage are searched."""


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

    @property
    def stored_as(self) -> str | None:
        """Images of 256 values, or `None`: as they are."""
        return None if self.front_end.stored_as == "float32" else self.front_end.stored_as

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
