"""File names to waveforms at 16 kHz in a tf.data pipeline: tensorflow-io in the graph beside soundfile outside of it.

    make test-tfio                      # makes the environment that tensorflow-io works in: .venv/tfio
    python benchmarks/tfio_reading.py

Both are `keras_vitser.audio.tfio_reading.waveforms`, whose files soundfile reads where tensorflow-io does not work.
Where it is not installed here, the environment .venv/tfio is used. Clips of 4 s are made up and lie in the file
system's cache. A round reads all files of a format, once each way, in turns; the clock starts at the first waveform.
"""

import importlib.util
import sys
import tempfile
import time
from pathlib import Path
from unittest import mock

import harness
from rich.console import Console

ENVIRONMENT = Path(__file__).resolve().parents[1] / ".venv" / "tfio" / "bin" / "python"
FORMATS = {
    "WAV 44.1 kHz": ("wav", 44100),
    "FLAC 16 kHz": ("flac", 16000),
    "MP3 44.1 kHz": ("mp3", 44100),
    "Vorbis 44.1 kHz": ("ogg", 44100),
}
OURS, PEER = "in the graph", "soundfile, in the same pipeline"
SECONDS = 4


def main():
    options = arguments()
    if options.child:
        harness.write(options.child, measure(options))
        return
    python = Path(sys.executable) if importlib.util.find_spec("tensorflow_io") else ENVIRONMENT
    found = None
    if python.is_file():
        passed = [f"--{name}={getattr(options, name)}" for name in ("files", "rounds")]
        found = harness.run_child(Path(__file__).resolve(), "tensorflow", passed, python)
    claims = claims_of(found, options.files)
    Console(width=130).print(harness.claims_table(claims))
    if options.json:
        settings = {name: getattr(options, name) for name in ("files", "rounds", "quick")}
        harness.write(options.json, harness.result("tfio_reading", settings, claims, found=found))


def arguments():
    parser = harness.parser(__doc__, "2 rounds of 20 clips", backends=False)
    parser.add_argument("--files", type=harness.positive, default=200, help="clips a format (default: 200)")
    parser.add_argument("--rounds", type=harness.positive, default=7, help="(default: 7)")
    options = parser.parse_args()
    if options.quick:
        options.files, options.rounds = 20, 2
    return options


def claims_of(found, files):
    """A claim a format, without a bar."""
    claims = []
    for name in FORMATS:
        claim = f"file names -> waveforms in tf.data, {name}"
        if found is None:
            claims.append(harness.skipped(claim, PEER, None, "make test-tfio makes the environment for it"))
            continue
        seconds = found["seconds"][name]
        clips = {way: harness.spread([files / value for value in seconds[way]]) for way in seconds}
        ratio = harness.ratio(seconds[PEER], seconds[OURS])
        claims.append(harness.claim(claim, PEER, ratio, clips_per_second=clips))
    return claims


# In the child, on TensorFlow


def measure(options):
    import tensorflow as tf

    from keras_vitser.audio import tfio_reading

    if not tfio_reading.tensorflow_io_works():
        raise SystemExit(
            f"tensorflow-io does not work with TensorFlow {tf.__version__}; make test-tfio makes an environment"
        )
    seconds = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, (kind, rate) in FORMATS.items():
            paths = clips(Path(folder), kind, rate, options.files)
            datasets = {OURS: tfio_reading.waveforms(paths)}
            with mock.patch.object(tfio_reading, "tensorflow_io_works", return_value=False):
                datasets[PEER] = tfio_reading.waveforms(paths)
            check(datasets)
            contestants = {way: lambda dataset=dataset: timed(dataset) for way, dataset in datasets.items()}
            harness.alternate(contestants, 1)
            seconds[name] = harness.alternate(contestants, options.rounds)
    return {"versions": {"tensorflow": tf.__version__}, "seconds": seconds}


def clips(folder, kind, rate, count):
    """Made-up recordings: a voice-like tone with noise, each another one."""
    import numpy as np
    import soundfile

    time = np.arange(SECONDS * rate) / rate
    paths = [folder / f"{number}.{kind}" for number in range(count)]
    for number, path in enumerate(paths):
        noise = np.random.default_rng(number).normal(0, 0.02, len(time))
        soundfile.write(path, 0.4 * np.sin(2 * np.pi * (100 + number) * time) * np.sin(3 * time) + noise, rate)
    return paths


def check(datasets):
    """Both must give the same waveforms, within a step of 16 bits."""
    for ours, theirs in zip(*(datasets[way].take(4) for way in (OURS, PEER)), strict=True):
        if ours.shape != theirs.shape or not abs(ours - theirs).numpy().max() < 1 / 32768:
            raise SystemExit("the two ways do not give the same waveforms")


def timed(dataset):
    """Seconds from the first waveform to the last; before the first, TensorFlow sets up its graph for seconds."""
    waveforms = iter(dataset)
    next(waveforms)
    start = time.perf_counter()
    for _ in waveforms:
        pass
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
