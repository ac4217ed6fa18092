"""A training step of teacher and student, beside the same network in plain PyTorch.

    python benchmarks/training_step.py
    python benchmarks/training_step.py --backends jax torch --rounds 15 --json training_step.json

Ours is a step of `fit`: cross-entropy of labels, Adam, float32. The peer is `plain_torch`, as PyTorch users write it
(einsum attention, `nn.InstanceNorm2d`), eager and with `torch.compile`; it gets our weights, and must give our logits
and our first losses. A round is a few steps of each, in turns, each in a process of its own while the others wait. The
compiled peer takes its turns beside our PyTorch alone, because compiling takes minutes; where it ends in an error, that
is told: PyTorch 2.13 corrupts its memory where a convolution is followed by a normalisation, as in the teacher
(github.com/pytorch/pytorch/issues/181689). TensorFlow is also run with `jit_compile=True`: for a network like this,
Keras' own choice there is not to compile.
"""

import argparse
import os
import shutil
import tempfile
from contextlib import ExitStack
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
    passed += [f"--{name}" for name in ("tiny", "no_compile") if getattr(options, name)]
    passed += ["--networks", *options.networks]
    found = {each: harness.run_child(Path(__file__).resolve(), each, passed) for each in options.backends}
    claims = [claim for name in options.networks for claim in claims_of(name, found)]
    Console(width=130).print(harness.claims_table(claims))
    if options.json:
        settings = {name: getattr(options, name) for name in ("batch", "rounds", "steps", "tiny", "quick")}
        harness.write(options.json, harness.result("training_step", settings, claims, backends=found))


def arguments():
    parser = harness.parser(__doc__, "2 rounds of a step each, nothing of PyTorch's compiled")
    parser.add_argument("--networks", nargs="+", choices=tuple(BARS), default=tuple(BARS), help="default: both")
    parser.add_argument("--batch", type=harness.positive, default=32, help="examples a step (default: 32)")
    parser.add_argument("--rounds", type=harness.positive, default=5, help="(default: 5)")
    parser.add_argument("--steps", type=harness.positive, default=2, help="timed steps a round (default: 2)")
    parser.add_argument("--tiny", action="store_true", help=argparse.SUPPRESS)  # for a test: small networks
    parser.add_argument("--no_compile", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.quick:
        options.rounds, options.steps, options.no_compile = 2, 1, True
    return options


def claims_of(name, found):
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
    claims = [harness.claim(f"training step of {name}, the best", EAGER, ratios[best], BARS[name], best=best)]
    return claims + singles + [_compiled(name, found, ratios[best]["median"])]


def _compiled(name, found, best):
    """The best of ours against the compiled peer, both taken beside the eager one."""
    text = f"training step of {name}, the best"
    if "torch" not in found:
        return harness.skipped(text, COMPILED, None, "it takes its turns beside our PyTorch, which was not asked for")
    result = found["torch"][name]
    if COMPILED not in result["seconds_per_step"]:
        return harness.skipped(text, COMPILED, None, result["skipped"])
    seconds = result["seconds_per_step"]
    peers = harness.ratio(seconds[EAGER], seconds[COMPILED])
    return harness.claim(text, COMPILED, best / peers["median"], compiled_beside_eager=peers)


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
    from plain_torch import PlainViTSER

    batch, backend = options.batch, keras.backend.backend()
    model = network_steps.network(name, options.tiny)
    images, labels = network_steps.batches(model, batch, options.steps)
    models = {OURS: model}
    if backend == "tensorflow":
        models[OURS_COMPILED] = network_steps.network(name, options.tiny, jit_compile=True)

    with torch.no_grad():
        logits = PlainViTSER(model)(torch.from_numpy(images[:batch]).permute(0, 3, 1, 2)).numpy()
    difference = float(np.abs(logits - keras.ops.convert_to_numpy(model(images[:batch]))).max())
    if not difference < MOST_DIFFERENCE:
        raise SystemExit(f"{name}: the networks differ by {difference:.1e}; they should do the same work")

    with tempfile.TemporaryDirectory() as folder, ExitStack() as processes:

        def started(*how):
            return processes.enter_context(network_steps.plain_peer(model, images, labels, folder, *how))

        peers, why_not = {EAGER: started()}, "not asked for" if options.no_compile else why_not_compiled()
        losses = {EAGER: peers[EAGER].ask(batch=batch)["loss"]}
        if backend == "torch" and not why_not:
            peers[COMPILED] = started("compiled")
            try:
                losses[COMPILED] = peers[COMPILED].ask(batch=batch)["loss"]
            except harness.PeerEndedError as error:
                why_not = f"torch.compile ended in an error: {error}"
                del peers[COMPILED]
        losses |= {
            kind: each.fit(images[:batch], labels[:batch], batch, verbose=0).history["loss"][0]
            for kind, each in models.items()
        }
        if not np.allclose(list(losses.values()), losses[EAGER], rtol=0, atol=MOST_DIFFERENCE):
            raise SystemExit(f"{name}: the first losses differ, {losses}; all should do the same work")

        contestants = {kind: network_steps.timed_steps(each, images, labels, batch) for kind, each in models.items()}
        contestants |= {kind: lambda peer=peer: peer.ask(batch=batch)["seconds"] for kind, peer in peers.items()}
        harness.alternate(contestants, 1)  # compiles
        seconds = harness.alternate(contestants, options.rounds)
    return {"seconds_per_step": seconds, "losses": losses, "difference": difference, "skipped": why_not}


def why_not_compiled():
    """Why torch.compile cannot be measured here, or nothing."""
    compiler = os.environ.get("CXX", "g++")
    return None if shutil.which(compiler) else f"torch.compile needs a C++ compiler, and there is no {compiler}"


if __name__ == "__main__":
    main()
