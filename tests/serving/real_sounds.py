"""Real recordings for the tests of this room."""

from keras_vitser.audio import read_waveform


def original_files(recordings):
    """The untouched WAV files, as bytes."""
    return [path.read_bytes() for path in sorted((recordings / "original_samples").rglob("*.wav"))]


def waveforms(recordings, count=12):
    """A few clips of each corpus, float32 `(samples,)`, some longer than 4 s."""
    paths = [path for name in ("savee", "ravdess", "emodb") for path in sorted((recordings / name).rglob("*.flac"))]
    return [read_waveform(path) for path in paths[:: len(paths) // count]]
