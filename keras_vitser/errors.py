"""Every exception that a caller of keras_vitser may want to catch.

Each message says what was given, what is allowed and what to do. Each class also
inherits from the built-in exception that Python users expect (`ValueError`,
`FileNotFoundError`, ...), so `except ValueError` keeps working.
"""


class KerasViTSERError(Exception):
    """Base class of all errors that keras_vitser raises on purpose."""


class AudioError(KerasViTSERError, ValueError):
    """A recording cannot be used. The message names the file."""


class AudioNotFoundError(AudioError, FileNotFoundError):
    """There is no file at the given path."""


class AudioIsFolderError(AudioError, IsADirectoryError):
    """The given path is a folder."""


class AudioUnreadableError(AudioError, OSError):
    """The file exists and cannot be opened (permissions, a broken disk)."""


class EmptyAudioError(AudioError):
    """The file holds no bytes."""


class NotAudioError(AudioError):
    """The bytes are no sound file."""


class AudioCodecError(AudioError):
    """The file holds sound in a container or a codec that is not decoded here. The message says how to go on."""


class TruncatedAudioError(AudioError):
    """The file ends before the sound that its header promises."""


class NoSamplesError(AudioError):
    """The file is a sound file and holds no samples."""


class NonFiniteAudioError(AudioError):
    """A sample is NaN or infinite."""


class AudioScaleError(AudioError):
    """Float samples are on another scale than that of -1 to 1."""


class AudioTooLongError(AudioError):
    """The recording is longer than the limit."""


class AudioDecoderError(AudioError):
    """Reading one file failed in a way that no other class names; the cause is the exception behind it."""


class UnreadableRecordingsError(AudioError):
    """Recordings of a corpus cannot be used. The message names them, each with its reason."""


class CorpusError(KerasViTSERError, ValueError):
    """A folder or table is not the corpus that it should be."""


class ProtocolError(KerasViTSERError, ValueError):
    """A corpus cannot be split as asked."""


class ConfigError(KerasViTSERError, ValueError):
    """A config file has a wrong key or value."""


class DistillationError(KerasViTSERError, ValueError):
    """Teacher, student and settings cannot work together."""


class CheckpointError(KerasViTSERError, ValueError):
    """A checkpoint cannot be written, is damaged, is of another training, or is not the authors' network."""


class DivergedError(KerasViTSERError, FloatingPointError):
    """A training left the finite numbers: a loss, a weight or an answer is NaN or infinite.

    Attributes:
        stage: Str, the stage, or `None` where it has no name.
        epoch: Int, counted from 1.
        learning_rate: Float, of that epoch; `None` where it is not to blame, as the stage began so.
    """

    def __init__(
        self, message: str, stage: str | None = None, epoch: int | None = None, learning_rate: float | None = None
    ):
        super().__init__(message)
        self.stage = stage
        self.epoch = epoch
        self.learning_rate = learning_rate

    def advising(self, advice: str) -> "DivergedError":
        """The same with what to do, a clause that ends the message."""
        return DivergedError(f"{self}; {advice}", self.stage, self.epoch, self.learning_rate)


class LeakageError(KerasViTSERError, ValueError):
    """A network was trained on a test clip or a test speaker."""


class ModelFolderError(KerasViTSERError, ValueError):
    """A folder is not a model that keras_vitser wrote, or is damaged."""


class NonFiniteWeightsError(ModelFolderError):
    """A network has a weight that is NaN or infinite. The message names the layer."""


class PresetError(KerasViTSERError, ValueError):
    """There is no such preset, it cannot be downloaded or written, or it holds what does not belong in one."""


class RunFolderError(KerasViTSERError, ValueError):
    """A run folder cannot be read or written."""


class TrackingError(KerasViTSERError, ConnectionError):
    """MLflow, or the store that it logs to, cannot be used."""


class TuningError(KerasViTSERError, RuntimeError):
    """A search cannot begin or go on. What its trials found so far is kept."""


class FoldsError(KerasViTSERError, RuntimeError):
    """Some runs of several folds and seeds did not end. The others did, and are kept."""


class ExportError(KerasViTSERError, ValueError):
    """A model cannot be exported as asked."""


class BenchmarkError(KerasViTSERError, RuntimeError):
    """A benchmark was asked of the installed package, which has none."""


class PredictionError(KerasViTSERError, ValueError):
    """What was given to `Recognizer.predict` cannot be answered."""


class BackendError(KerasViTSERError, ImportError):
    """No usable Keras backend is installed, or an unknown one was asked for."""


class ServingError(KerasViTSERError, ConnectionError):
    """A server did not answer, or refused; `status` is its HTTP status, or `None` where there was no answer."""

    def __init__(self, message: str, status: int | None = None):
        super().__init__(message)
        self.status = status
