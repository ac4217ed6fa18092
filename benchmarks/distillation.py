"""keras_vitser.distillation.Distiller and keras.distillation.Distiller side by side: samples a second and their ratio.

    python benchmarks/distillation.py
    python benchmarks/distillation.py --backends jax --rounds 15 --json distillation.json

Both train the same student (the paper's) from the same weights with the same teacher, images, labels, losses (label
cross-entropy, and L1 between the feature maps), optimizer and batch. A round is a short `fit` of each, and the teacher
and the student alone; rounds are compared one by one. The clock runs from the end of a `fit`'s first batch to the end
of its last: what is paid once a `fit`, such as tracing, building iterators and looking up cached features, is left out.

Neither uses a loss between logits. Where that of Keras is a baseline, it must be
`LogitsDistillation(loss=keras.losses.KLDivergence())`: its default is no KL divergence of probabilities.

Of the paper's networks the teacher takes 1.14 G multiply-adds forward, the student 0.17 G forward and twice that
backward; layer by layer through their graphs, as the built-in one runs them, 1.19 G and 0.21 G. So by operations the
cache gives 3.7x where the built-in one runs the student once, and 4.9x where it runs it twice, forward and backward; a
compiler may merge the two passes or a part of them.
"""

import argparse
import math
import sys
import time
from pathlib import Path

import harness
import numpy as np
import steps_alone
from harness import timed_fit
from rich.console import Console
from rich.table import Table
from steps_alone import STUDENT, TEACHER

CLASSES = 7
ALPHA = 10.0
OURS, BUILT_IN = "ours", "built-in"
CACHED = "ours, cached"
TINY = {"image_size": (16, 16), "patch_size": (16, 1), "hidden_dim": 16, "mlp_dim": 16, "depth": 1}


def main():
    options = arguments()
    if options.child:
        harness.write(options.child, measure(options))
        return
    passed = ["--batch", str(options.batch), "--rounds", str(options.rounds), "--steps", str(options.steps)]
    passed += ["--tiny"] if options.tiny else []
    found = {}
    for backend in options.backends:
        found[backend] = harness.run_child(Path(__file__).resolve(), backend, passed)
    settings = {name: getattr(options, name) for name in ("batch", "rounds", "steps", "tiny")}
    Console(width=None if sys.stdout.isatty() else 130).print(table(found, options.batch))  # a file has room for all
    if options.json:
        harness.write(options.json, harness.result("distillation", settings, claims(found), backends=found))


def arguments():
    parser = harness.parser(__doc__, "3 rounds of 2 steps")
    parser.add_argument("--batch", type=harness.positive, default=32, help="examples a step (default: 32)")
    parser.add_argument("--rounds", type=harness.positive, default=7, help="(default: 7)")
    parser.add_argument("--steps", type=harness.positive, default=4, help="timed steps a round (default: 4)")
    parser.add_argument("--tiny", action="store_true", help=argparse.SUPPRESS)  # for a test: small networks
    options = parser.parse_args()
    if options.quick:
        options.rounds, options.steps = 3, 2
    return options


def claims(found):
    """A claim a backend and way, for the table of all benchmarks; without a bar."""
    ways = {"speedup": "distillation step", "speedup_cached": "distillation step, teacher cached"}
    return [
        harness.claim(f"{way}, {backend}", "keras.distillation.Distiller", result[key])
        for backend, result in found.items()
        for key, way in ways.items()
    ]


def table(found, batch):
    """What was measured, a column a backend."""
    grid = Table("", *(f"{backend}, {result['device']}" for backend, result in found.items()))
    for name in (OURS, CACHED, BUILT_IN):
        grid.add_row(
            f"samples a second, {name}", *(_spread(found[b]["samples_per_second"][name], ".1f") for b in found)
        )
    for label, key, form in (
        ("ours / built-in", "speedup", ".2f"),
        ("ours, cached / built-in", "speedup_cached", ".2f"),
        ("share of our step outside the networks", "other_share", ".1%"),
    ):
        grid.add_row(label, *(_spread(result[key], form) for result in found.values()))
    grid.add_row("cache paid back after", *(_epochs(result["cache_paid_back_epochs"]) for result in found.values()))
    grid.caption = f"Batch {batch}, {harness.threads()} threads. Median of all rounds (lowest to highest)."
    return grid


def _spread(value, form):
    return f"{value['median']:{form}} ({value['low']:{form}} to {value['high']:{form}})"


def _epochs(number):
    return "never" if number is None else f"{number:.1f} epochs"


# In the child, on one backend


def measure(options):

    batch, steps = options.batch, options.steps
    distillers = {
        OURS: make(OURS, options.tiny),
        CACHED: make(OURS, options.tiny),
        BUILT_IN: make(BUILT_IN, options.tiny),
    }
    shape = distillers[OURS].student.input_shape[1:]
    random = np.random.default_rng(0)
    images, others = random.random((2, (steps + 1) * batch, *shape), dtype="float32")
    labels = random.integers(0, CLASSES, len(images))
    cached = {CACHED: {"cache_teacher": True}}

    losses = check_losses(
        {
            name: distiller.fit(images[:batch], labels[:batch], batch, verbose=0, **cached.get(name, {})).history
            for name, distiller in distillers.items()
        }
    )
    fill, _ = timed_fit(distillers[CACHED], others, labels, batch, cache_teacher=True)  # compiled before, images new
    alone = parts(distillers[OURS], images[:batch], labels[:batch])
    contestants = {
        name: lambda name=name: timed_fit(distillers[name], images, labels, batch, **cached.get(name, {}))[1] / steps
        for name in distillers
    }
    contestants |= {name: lambda call=call: timed_calls(call, steps) / steps for name, call in alone.items()}
    harness.alternate(contestants, 1)  # compiles, fills the cache
    seconds = harness.alternate(contestants, options.rounds)

    inside = np.add(seconds[TEACHER], seconds[STUDENT])
    saved = np.median(seconds[OURS]) - np.median(seconds[CACHED])
    return {
        **harness.device(),
        "losses": losses,
        "seconds_per_step": seconds,
        "samples_per_second": {name: harness.spread([batch / value for value in seconds[name]]) for name in distillers},
        "speedup": harness.ratio(seconds[BUILT_IN], seconds[OURS]),
        "speedup_cached": harness.ratio(seconds[BUILT_IN], seconds[CACHED]),
        "other_share": harness.spread([1 - part / step for part, step in zip(inside, seconds[OURS], strict=True)]),
        "cache_fill_seconds_per_step": fill / (steps + 1),
        "cache_paid_back_epochs": float(fill / (steps + 1) / saved) if saved > 0 else None,
    }


def make(kind, tiny):
    """A compiled distiller of the paper's networks, the same weights every time."""
    import keras

    from keras_vitser.distillation import Distiller
    from keras_vitser.models import ViTSER

    sizes = TINY if tiny else {}
    keras.utils.set_random_seed(0)
    teacher, student = ViTSER.teacher(CLASSES, **sizes), ViTSER.student(CLASSES, **sizes)
    if kind == OURS:
        distiller = Distiller(teacher, student, alpha=ALPHA)
    else:  # the same total, divided by 1 + alpha: its two weights sum to 1
        features = keras.distillation.FeatureDistillation("mae", "feature_map", "feature_map")
        distiller = keras.distillation.Distiller(teacher, student, features, student_loss_weight=1 / (1 + ALPHA))
    distiller.compile(
        keras.optimizers.Adam(1e-4),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=[keras.metrics.SparseCategoricalAccuracy("accuracy")],
    )
    return distiller


def check_losses(histories):
    """The losses of a first step, by which it is seen that all do the same work."""
    names = {"label": "label_loss", "feature": "feature_loss"}
    losses = {name: {key: histories[name][log][0] for key, log in names.items()} for name in (OURS, CACHED)}
    theirs = histories[BUILT_IN]
    losses[BUILT_IN] = {"label": theirs["student_loss"][0], "feature": theirs["distillation_loss"][0]}
    totals = {name: value["label"] + ALPHA * value["feature"] for name, value in losses.items()}
    told = {name: histories[name]["loss"][0] * (1 + ALPHA if name == BUILT_IN else 1) for name in losses}
    for name, value in losses.items():
        pairs = [(value[key], losses[OURS][key]) for key in names] + [(told[name], totals[OURS])]
        if not all(math.isclose(a, b, rel_tol=1e-5, abs_tol=1e-5) for a, b in pairs):
            raise SystemExit(f"the contestants do not have the same losses: {losses}, totals {told}")
    return losses


def timed_calls(call, count):
    """Seconds of `count` calls after a first one; `call(last)` waits for all that was asked for if `last` is true."""
    call(True)
    start = time.perf_counter()
    for index in range(count):
        call(index == count - 1)
    return time.perf_counter() - start


def parts(ours, images, labels):
    """The teacher and the student alone, compiled as in a step."""
    import keras

    images, labels = keras.ops.convert_to_tensor(images), keras.ops.convert_to_tensor(labels)
    return getattr(steps_alone, keras.backend.backend())(ours, images, labels)


if __name__ == "__main__":
    main()
