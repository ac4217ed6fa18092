"""How much of a machine's floating-point rate a training step reaches, beside one large matrix product.

    python benchmarks/operations.py
    python benchmarks/operations.py --backends tensorflow --json operations.json

Operations are counted from the shapes of the layers: two for each multiply-add of a matrix product or convolution, once
forward and twice backward, nothing for all the rest (normalisation, softmax, GELU, the optimizer, the feeding of data),
whose time counts. They are divided by the seconds of a step of `fit`, and by the rate of a float32 matrix product of
PyTorch on the same cores, in turns. So is the step that training_step.py's bar asks for, so many times as fast as the
same network in eager PyTorch: a share above 1 would need fewer operations, not a better use of the machine.
"""

import argparse
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

import harness
import training_step
from rich.console import Console

BARS = {"student": ">= 0.5", "teacher": None}
PEER = "a float32 matrix product"
TIMES = {name: float(bar.removeprefix(">= ")) for name, bar in training_step.BARS.items()}


def main():
    options = arguments()
    if options.child:
        harness.write(options.child, measure(options))
        return
    passed = [f"--{name}={getattr(options, name)}" for name in ("batch", "rounds", "steps", "size")]
    passed += ["--tiny"] if options.tiny else []
    found = {each: harness.run_child(Path(__file__).resolve(), each, passed) for each in options.backends}
    claims = [claim for name in BARS for claim in claims_of(name, found)]
    Console(width=130).print(harness.claims_table(claims))
    if options.json:
        settings = {name: getattr(options, name) for name in ("batch", "rounds", "steps", "size", "tiny", "quick")}
        harness.write(options.json, harness.result("operations", settings, claims, backends=found))


def arguments():
    parser = harness.parser(__doc__, "2 rounds of a step each, matrices of 1024 rows")
    parser.add_argument("--batch", type=harness.positive, default=32, help="examples a step (default: 32)")
    parser.add_argument("--rounds", type=harness.positive, default=5, help="(default: 5)")
    parser.add_argument("--steps", type=harness.positive, default=2, help="timed steps a round (default: 2)")
    parser.add_argument("--size", type=harness.positive, default=4096, help="rows of the matrices (default: 4096)")
    parser.add_argument("--tiny", action="store_true", help=argparse.SUPPRESS)  # for a test: small networks
    options = parser.parse_args()
    if options.quick:
        options.rounds, options.steps, options.size = 2, 1, 1024
    return options


def claims_of(name, found):
    """The backend that reaches most has the bar, and what training_step.py asks for beside it; then each alone."""
    text = f"share of the rate, step of {name}"
    shares = {backend: result[name]["share"] for backend, result in found.items()}
    best, *singles = harness.claims_of_best(text, PEER, shares, BARS[name])
    asked = found[best["figures"]["best"]][name]["asked"]
    return [best, harness.claim(f"{text}, if {TIMES[name]:g} times {training_step.EAGER}", PEER, asked), *singles]


def forward_operations(model):
    """Operations of one image through a `ViTSER`: two for each multiply-add of its products and convolutions.

    In the last block only the tokens that are pooled listen to the others.

    Args:
        model: A `keras_vitser.models.ViTSER`.

    Returns:
        Int.
    """
    bands, frames = model.image_size
    rows, columns = model.patch_grid
    channels, multiply_adds = 1, 0
    for convolution in model.get_layer("conv_stem").convolutions if model.conv_stem else ():
        multiply_adds += bands * frames * 9 * channels * convolution.filters
        channels = convolution.filters
    channels += 2 if model.coordinates else 0
    patches, tokens = rows * columns, rows * columns + 1
    inner = model.num_heads * model.head_dim
    multiply_adds += patches * (bands // rows) * (frames // columns) * channels * model.hidden_dim
    key_and_value = 2 * model.hidden_dim * inner
    listening = 2 * model.hidden_dim * inner + 2 * tokens * inner + 2 * model.hidden_dim * model.mlp_dim
    listeners = [tokens] * (model.depth - 1) + [1 if model.pooling == "class_token" else tokens]
    multiply_adds += sum(tokens * key_and_value + count * listening for count in listeners)
    multiply_adds += model.hidden_dim * model.num_classes
    return 2 * multiply_adds


def step_operations(model, batch):
    """Operations of a training step: forward once, and backward twice, for the inputs and for the weights."""
    return 3 * batch * forward_operations(model)


# In the child, on one backend


def measure(options):
    import network_steps
    import torch

    torch.set_num_threads(harness.threads())
    left, right = torch.rand(2, options.size, options.size)
    models = {name: network_steps.network(name, options.tiny) for name in BARS}
    contestants, peers = {PEER: lambda: _timed_product(left, right)}, {name: f"{name}, plain" for name in models}
    with tempfile.TemporaryDirectory() as folder, ExitStack() as processes:
        for name, model in models.items():
            images, labels = network_steps.batches(model, options.batch, options.steps)
            contestants[name] = network_steps.timed_steps(model, images, labels, options.batch)
            peer = processes.enter_context(network_steps.plain_peer(model, images, labels, folder))
            contestants[peers[name]] = lambda peer=peer: peer.ask(batch=options.batch)["seconds"]
        harness.alternate(contestants, 1)  # compiles
        seconds = harness.alternate(contestants, options.rounds)

    def share(operations, contestant):
        """Of the rate of the product; its seconds are above the fraction."""
        return harness.ratio(
            [operations * product for product in seconds[PEER]],
            [2 * options.size**3 * value for value in seconds[contestant]],
        )

    found = {**harness.device(), "seconds": seconds}
    for name, model in models.items():
        operations = step_operations(model, options.batch)
        found[name] = {
            "operations": operations,
            "share": share(operations, name),
            "asked": share(TIMES[name] * operations, peers[name]),
        }
    return found


def _timed_product(left, right):
    start = time.perf_counter()
    left @ right
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
