"""A training step of teacher and student, beside the same network in plain PyTorch.

    python benchmarks/training_step.py
    python benchmarks/training_step.py --backends jax torch --rounds 15 --json training_step.json

Ours is a step of `fit`: cross-entropy of labels, Adam, float32. The peer is `plain_torch`, as PyTorch users write it
(einsum attention, `nn.InstanceNorm2d`), eager and with `torch.compile`; before the clock starts it gets our weights and
must give our logits and our first losses. A round is a few steps of each, in turns, in one process a backend; the
compiled peer takes its turns with the eager one alone, in a process of its own: PyTorch 2.13 corrupts its memory there
where a convolution is followed by a normalisation (github.com/pytorch/pytorch/issues/181689), as in the teacher.
TensorFlow is also run with `jit_compile=True`: for a network like this, Keras' own choice there is not to compile.
"""

import argparse
import os
import shutil
import time
from pathlib import Path

import harness
from rich.console import Console

EAGER, COMPILED = "plain PyTorch, eager", "plain PyTorch, torch.compile"
OURS, OURS_COMPILED = "ours", "ours, jit_compile=True"
BARS = {"student": ">= 1.3", "teacher": ">= 2"}
MOST_DIFFERENCE = 1e-4


def main():
    options = arguments()
    if options.child:
        harness.write(options.child, measure(options))
        return
    passed = ["--batch", str(options.batch), "--rounds", str(options.rounds), "--steps", str(options.steps)]
    passed += ["--tiny"] if options.tiny else []
    script = Path(__file__).resolve()
    found = {
        each: harness.run_child(script, each, [*passed, "--networks", *options.networks]) for each in options.backends
    }
    compiled = {name: peers_of(name, script, passed, options.no_compile) for name in options.networks}
    claims = [claim for name in options.networks for claim in claims_of(name, found, compiled[name])]
    Console(width=130).print(harness.claims_table(claims))
    if options.json:
        settings = {name: getattr(options, name) for name in ("batch", "rounds", "steps", "tiny", "quick")}
        harness.write(
            options.json, harness.result("training_step", settings, claims, backends=found, compiled=compiled)
        )


def arguments():
    parser = harness.parser(__doc__, "2 rounds of a step each, nothing of PyTorch's compiled")
    parser.add_argument("--networks", nargs="+", choices=tuple(BARS), default=tuple(BARS), help="default: both")
    parser.add_argument("--batch", type=harness.positive, default=32, help="examples a step (default: 32)")
    parser.add_argument("--rounds", type=harness.positive, default=5, help="(default: 5)")
    parser.add_argument("--steps", type=harness.positive, default=2, help="timed steps a round (default: 2)")
    parser.add_argument("--tiny", action="store_true", help=argparse.SUPPRESS)  # for a test: small networks
    parser.add_argument("--no_compile", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--peers", action="store_true", help=argparse.SUPPRESS)  # for a child: eager and compiled alone
    options = parser.parse_args()
    if options.quick:
        options.rounds, options.steps, options.no_compile = 2, 1, True
    return options


def peers_of(name, script, passed, no_compile):
    """Seconds a step of the eager and the compiled peer, or why there are none."""
    why_not = "not asked for" if no_compile else why_not_compiled()
    if not why_not:
        try:
            return harness.run_child(script, "torch", [*passed, "--networks", name, "--peers"])[name]
        except SystemExit as error:
            why_not = f"torch.compile ended in an error, {error}"
    return {"skipped": why_not}


def claims_of(name, found, compiled):
    """The best of ours against the eager peer, which has the bar; then each alone, and against the compiled peer."""
    singles, ratios = [], {}
    for backend, result in found.items():
        seconds = result[name]["seconds_per_step"]
        for ours in (OURS, OURS_COMPILED):
            if ours in seconds:
                label = f"{name}, {backend}{ours.removeprefix(OURS)}"
                ratios[label] = harness.ratio(seconds[EAGER], seconds[ours])
                singles.append(harness.claim(f"training step of {label}", EAGER, ratios[label]))
    best = max(ratios, key=lambda label: ratios[label]["median"])
    text = f"training step of {name}, the best"
    first = harness.claim(text, EAGER, ratios[best], BARS[name], best=best)
    if "skipped" in compiled:
        return [first, *singles, harness.skipped(text, COMPILED, None, compiled["skipped"])]
    seconds = compiled["seconds_per_step"]
    peers = harness.ratio(seconds[EAGER], seconds[COMPILED])
    ratio = ratios[best]["median"] / peers["median"]  # both beside the eager peer, each in its own process
    return [first, *singles, harness.claim(text, COMPILED, ratio, compiled_beside_eager=peers)]


# In the child, on one backend


def measure(options):
    found = {name: _measure(name, options) for name in options.networks}
    import torch

    where = harness.device()
    return {**where, "versions": {**where["versions"], "torch": torch.__version__}, **found}


def _measure(name, options):
    import keras
    import network_steps
    import numpy as np
    import torch
    from plain_torch import PlainViTSER, Trainer

    torch.set_num_threads(harness.threads())
    batch = options.batch
    model = network_steps.network(name, options.tiny)
    images, labels = network_steps.batches(model, batch, options.steps)
    trainers = {EAGER: Trainer(PlainViTSER(model), network_steps.LEARNING_RATE)}
    models = {OURS: model}
    if options.peers:
        models = {}
        trainers[COMPILED] = Trainer(PlainViTSER(model), network_steps.LEARNING_RATE, compiled=True)
    elif keras.backend.backend() == "tensorflow":
        models[OURS_COMPILED] = network_steps.network(name, options.tiny, jit_compile=True)

    theirs = torch.from_numpy(images).permute(0, 3, 1, 2).contiguous(), torch.from_numpy(labels)
    with torch.no_grad():
        logits = trainers[EAGER].plain(theirs[0][:batch]).numpy()
    difference = float(np.abs(logits - keras.ops.convert_to_numpy(model(images[:batch]))).max())
    if not difference < MOST_DIFFERENCE:
        raise SystemExit(f"{name}: the networks differ by {difference:.1e}; they should do the same work")

    losses = {kind: trainer.step(theirs[0][:batch], theirs[1][:batch]) for kind, trainer in trainers.items()}
    losses |= {
        kind: each.fit(images[:batch], labels[:batch], batch, verbose=0).history["loss"][0]
        for kind, each in models.items()
    }
    if not np.allclose(list(losses.values()), losses[EAGER], rtol=0, atol=MOST_DIFFERENCE):
        raise SystemExit(f"{name}: the first losses differ, {losses}; all should do the same work")

    contestants = {kind: network_steps.timed_steps(each, images, labels, batch) for kind, each in models.items()}
    contestants |= {kind: _timed(trainer, *theirs, batch) for kind, trainer in trainers.items()}
    harness.alternate(contestants, 1)  # compiles
    seconds = harness.alternate(contestants, options.rounds)
    return {"seconds_per_step": seconds, "losses": losses, "difference": difference}


def why_not_compiled():
    """Why torch.compile cannot be measured here, or nothing."""
    compiler = os.environ.get("CXX", "g++")
    return None if shutil.which(compiler) else f"torch.compile needs a C++ compiler, and there is no {compiler}"


def _timed(trainer, images, labels, batch):
    parts = list(zip(images.split(batch), labels.split(batch), strict=True))

    def seconds():
        trainer.step(*parts[0])
        start = time.perf_counter()
        for part in parts[1:]:
            trainer.step(*part)
        return (time.perf_counter() - start) / len(parts[1:])

    return seconds


if __name__ == "__main__":
    main()
