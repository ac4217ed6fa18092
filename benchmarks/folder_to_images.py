"""A folder of WAV files at 44.1 kHz to cached images: ours on each backend beside librosa in a pool of processes.

    python benchmarks/folder_to_images.py
    python benchmarks/folder_to_images.py --clips 640 --json folder.json

Both decode, resample to 16 kHz and make the paper's images on all cores, and their images are compared before either
is timed. The pool has as many processes as there are cores, and is started and warm before the clock runs. Ours
begins with an empty cache each round, reads each file once more for its key, and writes each image to disk; what a
second run takes, with the images in the cache, is told beside it, and how far memory rose above what the imports took.

The files are written to a temporary folder from the recordings that KERAS_VITSER_RECORDINGS names, or from `demo`.
"""

import multiprocessing
import resource
import sys
import tempfile
import time
from pathlib import Path

import harness
import log_mel
import numpy as np
from rich.console import Console
from rich.table import Table

OURS, AGAIN, LIBROSA = "ours", "ours, a second time", "librosa in a pool"
FILE_RATE = 44100
MOST_DECIBELS = 0.02


def main():
    options = arguments()
    if options.child:
        harness.write(options.child, measure(options))
        return
    passed = ["--clips", str(options.clips), "--rounds", str(options.rounds)]
    found = {backend: harness.run_child(Path(__file__).resolve(), backend, passed) for backend in options.backends}
    Console(width=None if sys.stdout.isatty() else 130).print(table(found, options.clips))
    if options.json:
        settings = {name: getattr(options, name) for name in ("clips", "rounds", "quick")}
        harness.write(options.json, harness.result("folder_to_images", settings, claims(found), backends=found))


def arguments():
    parser = harness.parser(__doc__, "2 rounds of 32 clips")
    parser.add_argument("--clips", type=harness.positive, default=256, help="files in the folder (default: 256)")
    parser.add_argument("--rounds", type=harness.positive, default=5, help="(default: 5)")
    options = parser.parse_args()
    if options.quick:
        options.rounds, options.clips = 2, 32
    return options


def claims(found):
    """Speed beside the pool, and how far memory rose."""
    speed = {backend: result["speedup"] for backend, result in found.items()}
    made = harness.claims_of_best(
        "folder of WAV files -> cached images", "librosa in a pool of processes", speed, ">= 2.5"
    )
    for backend, result in found.items():
        megabytes = result["peak_bytes"] / 1e6
        made.append(harness.claim(f"its memory above the imports, {backend}", "", megabytes, "< 1500 MB"))
    return made


def table(found, clips):
    """What was measured, a column a backend."""
    grid = Table("", *(f"{backend}, {result['device']}" for backend, result in found.items()))
    for name in (OURS, AGAIN, LIBROSA):
        cells = [log_mel._spread(result["clips_per_second"][name], ".0f") for result in found.values()]
        grid.add_row(f"clips a second, {name}", *cells)
    grid.add_row("ours / librosa", *(log_mel._spread(result["speedup"], ".2f") for result in found.values()))
    grid.add_row("difference to librosa", *(f"{result['decibels']:.5f} dB" for result in found.values()))
    grid.add_row("memory above the imports", *(f"{result['peak_bytes'] / 1e6:.0f} MB" for result in found.values()))
    grid.caption = f"{clips} clips, {harness.threads()} threads. Median of all rounds (lowest to highest)."
    return grid


# In the child, on one backend


def measure(options):

    from keras_vitser.corpora import Clip, Example
    from keras_vitser.experiments.feature_store import FeatureStore
    from keras_vitser.layers import LogMelImage

    imported = _peak_bytes()
    with tempfile.TemporaryDirectory() as folder, multiprocessing.get_context("spawn").Pool(harness.threads()) as pool:
        paths = write_files(Path(folder), options.clips)

        def ours(cache):
            start = time.perf_counter()
            images = FeatureStore(cache, LogMelImage()).features([Example(Clip(path, "calm")) for path in paths])
            return time.perf_counter() - start, images

        def empty():
            with tempfile.TemporaryDirectory(dir=folder) as cache:
                return ours(cache)[0]

        def librosa():
            start = time.perf_counter()
            images = pool.map(image_of_librosa, paths, chunksize=4)
            return time.perf_counter() - start, images

        kept = Path(folder) / "kept"
        kept.mkdir()
        images, theirs = ours(kept)[1][..., 0], np.stack(librosa()[1])
        peak = _peak_bytes() - imported
        decibels = float(np.abs(images - theirs).max()) * log_mel.TOP_DB
        if decibels > MOST_DECIBELS:
            raise SystemExit(f"the contestants do not make the same images: {decibels} dB between them")
        contestants = {OURS: empty, AGAIN: lambda: ours(kept)[0], LIBROSA: lambda: librosa()[0]}
        seconds = harness.alternate(contestants, options.rounds)
    return {
        **harness.device(),
        "decibels": decibels,
        "seconds": seconds,
        "clips_per_second": {
            name: harness.spread([options.clips / value for value in values]) for name, values in seconds.items()
        },
        "speedup": harness.ratio(seconds[LIBROSA], seconds[OURS]),
        "peak_bytes": peak,
    }


def write_files(folder, count):
    """The clips as mono WAV files of 16 bits at 44.1 kHz."""
    import soundfile

    from keras_vitser.audio import resample

    paths = []
    for number in range(0, count, 32):
        _, batch = log_mel.clips(min(32, count - number), first=number)
        for clip in batch:
            paths.append(folder / f"{len(paths)}.wav")
            soundfile.write(paths[-1], resample(clip, log_mel.RATE, FILE_RATE), FILE_RATE)
    return paths


def image_of_librosa(path):
    import librosa

    waveform, _ = librosa.load(path, sr=log_mel.RATE)
    clip = np.zeros((1, log_mel.SECONDS * log_mel.RATE), np.float32)
    clip[0, : min(len(waveform), clip.shape[1])] = waveform[: clip.shape[1]]
    return log_mel.of_librosa(clip)[0]


def _peak_bytes():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


if __name__ == "__main__":
    main()
