"""Waveforms to log-Mel images: ours on each backend beside librosa, tf.signal, torch.stft and jax.numpy.

    python benchmarks/log_mel.py                     # on one core
    python benchmarks/log_mel.py --cores all --json log_mel.json

All make the same images (the paper's settings) of the same clips of 4 s, and each is compared with librosa's before it
is timed; librosa takes a clip at a time, as its users do, the others the whole batch. The peers are the formula as it
is usually written: all frames, a dense bank, the log of everything; tf.signal in one `tf.function`, jax.numpy in one
`jax.jit`, PyTorch eagerly. A child process a backend runs ours, that backend's peer and librosa in turn.

Real speech is read from the folder that KERAS_VITSER_RECORDINGS names; without it, the generated voices of `demo`.
"""

import os
import sys
import time
from pathlib import Path

import harness
import numpy as np
from rich.console import Console
from rich.table import Table

OURS, LIBROSA = "ours", "librosa, a clip at a time"
PEERS = {"tensorflow": "tf.signal", "jax": "jax.numpy", "torch": "torch.stft"}
MOST_DECIBELS = 0.02
SECONDS, RATE, N_FFT, WINDOW, HOP, BANDS, COLUMNS, TOP_DB = 4, 16000, 1024, 512, 64, 128, 128, 80.0
FRAMES = SECONDS * RATE // HOP + 1


def main():
    options = arguments()
    if options.cores == "one" and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:1])  # children inherit it
    if options.child:
        harness.write(options.child, measure(options))
        return
    passed = ["--clips", str(options.clips), "--rounds", str(options.rounds), "--cores", options.cores]
    found = {backend: harness.run_child(Path(__file__).resolve(), backend, passed) for backend in options.backends}
    Console(width=None if sys.stdout.isatty() else 130).print(table(found, options.clips))
    if options.json:
        settings = {name: getattr(options, name) for name in ("clips", "rounds", "cores", "quick")}
        harness.write(options.json, harness.result("log_mel", settings, claims(found, options.cores), backends=found))


def arguments():
    parser = harness.parser(__doc__, "2 rounds of 8 clips")
    parser.add_argument("--clips", type=harness.positive, default=32, help="clips a batch (default: 32)")
    parser.add_argument("--rounds", type=harness.positive, default=9, help="(default: 9)")
    parser.add_argument("--cores", choices=("one", "all"), default="one", help="(default: one)")
    options = parser.parse_args()
    if options.quick:
        options.rounds, options.clips = 2, 8
    return options


def claims(found, cores):
    """Beside librosa, and beside the fastest of the plain peers, each backend's in a process of its own."""
    beside_librosa = {backend: result["beside_librosa"] for backend, result in found.items()}
    peers = {result["peer"]: result["milliseconds_a_clip"]["peer"]["median"] for result in found.values()}
    fastest = min(peers, key=peers.get)
    beside_peer = {
        backend: peers[fastest] / result["milliseconds_a_clip"][OURS]["median"] for backend, result in found.items()
    }
    what = f"waveforms -> log-Mel images, {cores} core{'s' if cores == 'all' else ''}"
    made = harness.claims_of_best(what, LIBROSA, beside_librosa, ">= 4")
    return made + harness.claims_of_best(what, f"{fastest}, whole batches", beside_peer, ">= 2")


def table(found, clips):
    """What was measured, a column a backend."""
    grid = Table("", *(f"{backend}, {result['device']}" for backend, result in found.items()))
    rows = {"ours": OURS, "the same in plain": "peer", LIBROSA: LIBROSA}
    for label, name in rows.items():
        cells = [_spread(result["milliseconds_a_clip"][name], ".2f") for result in found.values()]
        grid.add_row(f"ms a clip, {label}", *cells)
    for label, key in (("librosa / ours", "beside_librosa"), ("plain / ours", "beside_peer")):
        grid.add_row(label, *(_spread(result[key], ".2f") for result in found.values()))
    grid.add_row("difference to librosa, ours", *(f"{r['decibels'][OURS]:.5f} dB" for r in found.values()))
    grid.caption = f"Batches of {clips}, {harness.threads()} threads. Median of all rounds (lowest to highest)."
    return grid


def _spread(value, form):
    return f"{value['median']:{form}} ({value['low']:{form}} to {value['high']:{form}})"


# In the child, on one backend


def measure(options):
    import keras

    backend = keras.backend.backend()
    if backend == "torch":
        import torch

        torch.set_num_threads(harness.threads())
    source, batch = clips(options.clips)
    functions = {OURS: ours(), "peer": globals()[backend](), LIBROSA: of_librosa}
    images = {name: function(batch) for name, function in functions.items()}
    decibels = {name: float(np.abs(image - images[LIBROSA]).max()) * TOP_DB for name, image in images.items()}
    if max(decibels.values()) > MOST_DECIBELS:
        raise SystemExit(f"the contestants do not make the same images: {decibels} dB from librosa's")

    def timed(function):
        start = time.perf_counter()
        function(batch)
        return time.perf_counter() - start

    contestants = {name: lambda function=function: timed(function) for name, function in functions.items()}
    harness.alternate(contestants, 1)
    seconds = harness.alternate(contestants, options.rounds)
    return {
        **harness.device(),
        "peer": PEERS[backend],
        "clips": source,
        "decibels": decibels,
        "seconds": seconds,
        "milliseconds_a_clip": {
            name: harness.spread([1000 * value / len(batch) for value in values]) for name, values in seconds.items()
        },
        "beside_librosa": harness.ratio(seconds[LIBROSA], seconds[OURS]),
        "beside_peer": harness.ratio(seconds["peer"], seconds[OURS]),
    }


def clips(count, first=0):
    """Where clips come from, and float32 `(count, 64000)`: other clips for another `first`."""
    from keras_vitser import corpora
    from keras_vitser.audio import read_waveform

    folder = os.environ.get("KERAS_VITSER_RECORDINGS")
    if folder:
        paths = [path for name in ("savee", "ravdess", "emodb") for path in sorted(Path(folder, name).rglob("*.flac"))]
    else:
        paths = [clip.path for clip in corpora.load("demo").clips]
    batch = np.zeros((count, SECONDS * RATE), np.float32)
    step = max(len(paths) // count, 1)
    for index, row in enumerate(batch):
        waveform = read_waveform(paths[(index * step + first) % len(paths)])[: len(row)]
        row[: len(waveform)] = waveform
    return "recordings" if folder else "demo", batch


def ours():
    """The layer in a model, compiled as Keras does it."""
    import keras

    from keras_vitser.layers import LogMelImage

    waveforms = keras.Input((SECONDS * RATE,))
    model = keras.Model(waveforms, LogMelImage()(waveforms))
    return lambda batch: model.predict_on_batch(batch)[..., 0]


def of_librosa(batch):
    import librosa

    images = []
    for clip in batch:
        power = librosa.feature.melspectrogram(
            y=clip, sr=RATE, n_fft=N_FFT, hop_length=HOP, win_length=WINDOW, window="hamming", n_mels=BANDS
        )
        decibels = librosa.power_to_db(power, ref=np.max, top_db=TOP_DB)[::-1]
        left, right, weight = _columns()
        image = decibels[:, left] + weight * (decibels[:, right] - decibels[:, left])
        images.append((image + TOP_DB) / TOP_DB)
    return np.stack(images)


def _columns():
    position = np.clip((np.arange(COLUMNS) + 0.5) * FRAMES / COLUMNS - 0.5, 0, FRAMES - 1)
    left = np.floor(position).astype(np.int32)
    return left, np.minimum(left + 1, FRAMES - 1), (position - left).astype(np.float32)


def _bank():
    import librosa

    return librosa.filters.mel(sr=RATE, n_fft=N_FFT, n_mels=BANDS)[::-1].T.copy()


def _window():
    phase = 2 * np.pi * np.arange(WINDOW) / WINDOW
    return (0.54 - 0.46 * np.cos(phase)).astype(np.float32)


def tensorflow():
    import tensorflow as tf

    bank, (left, right, weight) = _bank(), _columns()

    @tf.function
    def images(batch):
        padded = tf.pad(batch, [[0, 0], [WINDOW // 2, WINDOW // 2]])
        spectra = tf.signal.stft(padded, WINDOW, HOP, N_FFT, window_fn=lambda length, dtype: tf.constant(_window()))
        power = tf.square(tf.abs(spectra)) @ bank
        largest = tf.maximum(tf.reduce_max(power, axis=(1, 2), keepdims=True), 1e-10)
        decibels = 10 * tf.math.log(tf.maximum(power, 1e-10) / largest) / tf.math.log(10.0)
        scaled = tf.maximum(decibels + TOP_DB, 0) / TOP_DB
        at_left, at_right = tf.gather(scaled, left, axis=1), tf.gather(scaled, right, axis=1)
        return tf.transpose(at_left + weight[:, None] * (at_right - at_left), (0, 2, 1))

    return lambda batch: images(batch).numpy()


def jax():
    import jax as jax_
    import jax.numpy as jnp

    bank, (left, right, weight) = _bank(), _columns()
    starts = np.arange(FRAMES)[:, None] * HOP + np.arange(WINDOW)

    @jax_.jit
    def images(batch):
        frames = jnp.pad(batch, ((0, 0), (WINDOW // 2, WINDOW // 2)))[:, starts] * _window()
        power = jnp.square(jnp.abs(jnp.fft.rfft(frames, N_FFT))) @ bank
        largest = jnp.maximum(power.max(axis=(1, 2), keepdims=True), 1e-10)
        decibels = 10 * jnp.log10(jnp.maximum(power, 1e-10) / largest)
        scaled = jnp.maximum(decibels + TOP_DB, 0) / TOP_DB
        at_left, at_right = scaled[:, left], scaled[:, right]
        return (at_left + weight[:, None] * (at_right - at_left)).transpose(0, 2, 1)

    return lambda batch: np.asarray(images(batch))


def torch():
    import torch as torch_

    bank, window, (left, right, weight) = torch_.tensor(_bank()), torch_.tensor(_window()), _columns()
    left, right, weight = torch_.tensor(left), torch_.tensor(right), torch_.tensor(weight)

    @torch_.no_grad()
    def images(batch):
        spectra = torch_.stft(
            torch_.from_numpy(batch), N_FFT, HOP, WINDOW, window, pad_mode="constant", return_complex=True
        )
        power = spectra.abs().square().transpose(1, 2) @ bank
        largest = power.amax(dim=(1, 2), keepdim=True).clamp(min=1e-10)
        decibels = 10 * torch_.log10(power.clamp(min=1e-10) / largest)
        scaled = (decibels + TOP_DB).clamp(min=0) / TOP_DB
        at_left, at_right = scaled[:, left], scaled[:, right]
        return (at_left + weight[:, None] * (at_right - at_left)).transpose(1, 2).numpy()

    return images


if __name__ == "__main__":
    main()
