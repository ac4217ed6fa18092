"""Answers of the paper's student, beside librosa and the same network in eager PyTorch.

    python benchmarks/prediction.py
    python benchmarks/prediction.py --backends jax --calls 500 --files 200 --json prediction.json

One clip: a warm `Recognizer.predict` of a 4 s waveform in memory; the two take turns of ten calls. A folder: 44.1 kHz
WAV files to a CSV, by `predict_stream` and `write_answers`, and by a loop over `librosa.load`, the network and
`csv.writer`; the two take turns folder by folder. Each has a process of its own, the other's waits; both have the
same weights, and all probabilities must agree within 1e-4 before anything is printed.
"""

import csv
import sys
import tempfile
import time
from pathlib import Path

import harness
import numpy as np
from rich.console import Console
from rich.table import Table

CLASSES = 7
RATE, SECONDS, FILE_RATE = 16000, 4, 44100
OURS, PEER = "ours", "librosa and eager PyTorch"
TOLERANCE = 1e-4
CALLS_A_TURN = 10
REST = 0.02  # seconds, until threads that wait for more work have gone to sleep


def main():
    options = arguments()
    if options.child:
        harness.write(options.child, measure(options))
        return
    names = ("calls", "files", "rounds")
    passed = [text for name in names for text in (f"--{name}", str(getattr(options, name)))]
    found = {b: harness.run_child(Path(__file__).resolve(), b, passed) for b in options.backends}
    Console(width=None if sys.stdout.isatty() else 130).print(table(found))
    if options.json:
        settings = {name: getattr(options, name) for name in (*names, "quick")}
        harness.write(options.json, harness.result("prediction", settings, claims(found), backends=found))


def arguments():
    parser = harness.parser(__doc__, "20 calls, 2 rounds of 8 files")
    parser.add_argument(
        "--calls", type=harness.positive, default=200, help="timed calls of each on one clip (default: 200)"
    )
    parser.add_argument("--files", type=harness.positive, default=96, help="files of the folder (default: 96)")
    parser.add_argument("--rounds", type=harness.positive, default=5, help="times that the folder is done (default: 5)")
    options = parser.parse_args()
    if options.quick:
        options.calls, options.files, options.rounds = 20, 8, 2
    return options


def claims(found):
    """One clip and a folder, beside the peer."""
    made = []
    for what, key, bar in (
        ("one clip, warm, median", "clip_ratio", ">= 2"),
        ("one clip, warm, 99th percentile", "clip_ratio_99", ">= 2"),
        ("a folder, files to CSV", "folder_ratio_spread", ">= 4"),
    ):
        ratios = {backend: result[key] for backend, result in found.items()}
        made += harness.claims_of_best(what, PEER, ratios, bar)
    return made


def table(found):
    grid = Table("", *(f"{backend}, {result['device']}" for backend, result in found.items()))
    for label, key, form in (
        ("one clip, ours: median, 99th percentile (ms)", "clip_ms", None),
        ("one clip, peer: median, 99th percentile (ms)", "clip_ms_peer", None),
        ("one clip: peer / ours, median", "clip_ratio", ".2f"),
        ("one clip: peer / ours, 99th percentile", "clip_ratio_99", ".2f"),
        ("folder, ours (ms a file)", "folder_ms", ".1f"),
        ("folder, peer (ms a file)", "folder_ms_peer", ".1f"),
        ("folder: peer / ours", "folder_ratio", ".2f"),
        ("largest difference of a probability", "difference", ".1e"),
    ):
        values = (result[key] for result in found.values())
        grid.add_row(label, *(f"{v:{form}}" if form else f"{v[0]:.1f}, {v[1]:.1f}" for v in values))
    grid.caption = f"{harness.threads()} threads. Medians of calls and of rounds."
    return grid


# In the child, on one backend


def measure(options):
    import keras

    from keras_vitser.models import ViTSER
    from keras_vitser.recognizer import Recognizer

    keras.utils.set_random_seed(0)
    recognizer = Recognizer(ViTSER.student(CLASSES), [f"class {number}" for number in range(CLASSES)])
    clips = np.stack(list(voices(8)))
    with tempfile.TemporaryDirectory() as folder:
        files = write_files(Path(folder), options.files)
        with peer_with(recognizer.network, clips, Path(folder)) as peer:
            clip = one_clip(recognizer, peer, clips, options.calls)
            whole = whole_folder(recognizer, peer, files, Path(folder), options.rounds)
    return {
        **harness.device(),
        **clip,
        **whole,
        "difference": max(clip["difference"], whole["difference"]),
    }


def peer_with(network, clips, folder):
    """`librosa_and_torch` with a network's weights."""
    import torch
    from plain_torch import PlainViTSER

    student, waveforms = folder / "student.pt", folder / "clips.npy"
    torch.save(PlainViTSER(network).eval(), student)
    np.save(waveforms, clips)
    return harness.Peer(Path(__file__).with_name("librosa_and_torch.py"), student, waveforms)


def voices(count):
    """Generated voices of 4 s at 16 kHz, no two alike."""
    from keras_vitser.audio import read_waveform
    from keras_vitser.corpora import load

    clips = load("demo").clips
    generator = np.random.default_rng(0)
    for number in range(count):
        voice = np.resize(read_waveform(clips[number % len(clips)].path), RATE * SECONDS)
        yield (voice * generator.uniform(0.3, 1) + generator.normal(0, 1e-3, len(voice))).astype(np.float32)


def write_files(folder, count):
    import soundfile

    from keras_vitser.audio import resample

    files = [folder / f"{number}.wav" for number in range(count)]
    for file, voice in zip(files, voices(count), strict=True):
        soundfile.write(file, resample(voice, RATE, FILE_RATE), FILE_RATE)
    return [str(file) for file in files]


def one_clip(recognizer, peer, clips, calls):
    answers, seconds = {OURS: {}, PEER: {}}, {OURS: [], PEER: []}

    def ours(number):
        start = time.perf_counter()
        answer = recognizer.predict(clips[number], sampling_rate=RATE)
        return answer.probabilities, time.perf_counter() - start

    def theirs(number):
        answer = peer.ask(clip=number)
        return answer["probabilities"], answer["seconds"]

    def turn(name, answer):
        time.sleep(REST)
        for _ in range(CALLS_A_TURN):
            number = len(seconds[name]) % len(clips)
            answers[name][number], taken = answer(number)
            seconds[name].append(taken)
        return sum(seconds[name][-CALLS_A_TURN:])

    contestants = {OURS: lambda: turn(OURS, ours), PEER: lambda: turn(PEER, theirs)}
    harness.alternate(contestants, 2)  # compiles
    seconds = {OURS: [], PEER: []}
    harness.alternate(contestants, -(-calls // CALLS_A_TURN))
    at = {name: np.percentile(values, [50, 99]) * 1000 for name, values in seconds.items()}
    heard = sorted(answers[OURS])
    return {
        "difference": check(*([answers[name][number] for number in heard] for name in (OURS, PEER))),
        "clip_seconds": seconds,
        "clip_ms": at[OURS].tolist(),
        "clip_ms_peer": at[PEER].tolist(),
        "clip_ratio": float(at[PEER][0] / at[OURS][0]),
        "clip_ratio_99": float(at[PEER][1] / at[OURS][1]),
    }


def whole_folder(recognizer, peer, files, folder, rounds):
    tables = {OURS: folder / "ours.csv", PEER: folder / "peer.csv"}
    contestants = {
        OURS: lambda: our_folder(recognizer, files, tables[OURS]),
        PEER: lambda: peer.ask(files=files, labels=recognizer.labels, output=str(tables[PEER]))["seconds"],
    }
    harness.alternate(contestants, 1)
    difference = check(*(read_table(tables[name], recognizer.labels) for name in (OURS, PEER)))
    seconds = harness.alternate(contestants, rounds)
    ratio = harness.ratio(seconds[PEER], seconds[OURS])
    return {
        "difference": difference,
        "folder_seconds": seconds,
        "folder_ms": float(np.median(seconds[OURS]) / len(files) * 1000),
        "folder_ms_peer": float(np.median(seconds[PEER]) / len(files) * 1000),
        "folder_ratio": ratio["median"],
        "folder_ratio_spread": ratio,
    }


def our_folder(recognizer, files, output):
    from keras_vitser import prediction

    output.unlink(missing_ok=True)
    start = time.perf_counter()
    prediction.write_answers(
        output,
        files,
        lambda paths, first: prediction.predict_stream(recognizer, paths, start=first),
        recognizer.labels,
        {"model": "benchmark"},
    )
    return time.perf_counter() - start


def read_table(path, labels):
    with open(path, newline="") as file:
        return [[float(row[label]) for label in labels] for row in csv.DictReader(file)]


def check(ours, theirs):
    difference = float(np.abs(np.subtract(ours, theirs)).max())
    if not difference <= TOLERANCE:
        raise SystemExit(f"the contestants do not give the same answers: they differ by {difference:.1e}")
    return difference


if __name__ == "__main__":
    main()
