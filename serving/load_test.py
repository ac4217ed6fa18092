"""Loads a server of TensorFlow Serving's REST API and says what it bears: `python serving/load_test.py --help`.

Three parts, each bounded in time and in number:

1. A bare loop of the model, `model(batch)` with a batch of as many clips as there are clients, in a process of its own
   while the server is idle: what the machine can do at all. Only with `--model-dir`, on the server's machine.
2. Clients that ask one after the other, each again as soon as it is answered. No request may fail, the throughput must
   be at least 0.8 of the bare loop's, and the 99th percentile of the latency under 5 times the median.
3. Twice that rate, whether answers come or not. What is too much must be refused with 429 or 503, memory must stay
   flat (where the server shows `process_resident_memory_bytes`), and right afterwards a request must be answered.

Only the standard library is used (the bare loop needs TensorFlow), so that the clients take little from the server's
cores. The last line printed is a JSON object with all figures; the exit code is 1 where one is not as it must be.
"""

import argparse
import asyncio
import base64
import io
import json
import random
import statistics
import struct
import subprocess
import sys
import time
import urllib.parse
import wave
from pathlib import Path
from typing import Any

METRICS_PATH = "/monitoring/prometheus/metrics"
SHARE, TAIL = 0.8, 5.0  # least throughput beside the bare loop's, largest 99th percentile beside the median
GROWTH = 1.1  # largest memory at the overload's end beside that after its first third
MAX_OPEN = 400  # requests under way at once


def main() -> None:
    options = parse_arguments()
    if options.bare:
        print(json.dumps(bare_loop(options)))
        return
    try:
        figures = asyncio.run(measure(options))
    except OSError as error:
        sys.exit(f"{options.url}: {error}; is a server running there?")
    for name, value in figures.items():
        print(f"{name:>24}  {value}")
    failures = what_fails(figures)
    for failure in failures:
        print(f"FAILED: {failure}")
    print(json.dumps(figures | {"failures": failures}))
    sys.exit(bool(failures))


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url", help="the server, http://127.0.0.1:8501")
    parser.add_argument("--model", default="vit_ser", help="the model's name (default: vit_ser)")
    parser.add_argument("--model-dir", type=Path, help="the folder that the server serves, for the bare loop")
    parser.add_argument("--clients", type=int, default=8, choices=range(1, 65), metavar="1..64", help="default: 8")
    parser.add_argument("--seconds", type=float, default=60.0, help="of part 2, at most 600 (default: 60)")
    parser.add_argument("--clip-seconds", type=float, default=4.0, help="of sound in a request (default: 4)")
    parser.add_argument("--bare", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    options.seconds = min(options.seconds, 600.0)
    return options


async def measure(options: argparse.Namespace) -> dict[str, Any]:
    address = urllib.parse.urlsplit(options.url)
    server = (address.hostname, address.port or 80)
    message = request_bytes(server, options.model, options.clip_seconds)
    bare = [run_bare_loop(options)] if options.model_dir else []
    figures: dict[str, Any] = {"bare_clips_a_second": None}
    figures |= await closed_loop(server, message, options.clients, options.seconds)
    if bare:  # before and after, as a machine is not always equally fast
        figures["bare_clips_a_second"] = round((bare[0] + run_bare_loop(options)) / 2, 2)
    rate, seconds = 2 * figures["clips_a_second"], max(options.seconds / 4, 2.0)
    await open_loop(server, message, rate, seconds / 2)  # until each size of batch was met
    memory = await resident_bytes(server)
    figures |= await open_loop(server, message, rate, seconds)
    after = await resident_bytes(server)
    figures["memory_growth"] = round(after / memory, 3) if memory and after else None
    figures["recovered_ms"] = await recovery(server, message)
    return figures


def what_fails(figures: dict[str, Any]) -> list[str]:
    failures = []
    if figures["failed"]:
        failures.append(f"{figures['failed']} requests failed")
    bare = figures["bare_clips_a_second"]
    if bare and figures["clips_a_second"] < SHARE * bare:
        failures.append(f"throughput is {figures['clips_a_second'] / bare:.2f} of the bare loop's, under {SHARE}")
    if figures["p99_ms"] > TAIL * figures["median_ms"]:
        failures.append(f"the 99th percentile is over {TAIL:g} times the median")
    if figures["overload_other"]:
        failures.append(f"requests of the overload got other than an answer, 429 or 503: {figures['overload_other']}")
    if not figures["overload_shed"]:
        failures.append("nothing was refused at twice the sustainable rate")
    if figures["memory_growth"] and figures["memory_growth"] > GROWTH:
        failures.append(f"memory grew {figures['memory_growth']:.2f} times")
    if figures["recovered_ms"] is None or figures["recovered_ms"] > TAIL * figures["median_ms"]:
        failures.append("after the overload a request was not answered as before")
    return failures


async def closed_loop(server: tuple[str, int], message: bytes, clients: int, seconds: float) -> dict[str, float]:
    latencies, failed = [], 0

    async def client(until: float) -> None:
        nonlocal failed
        connection = await asyncio.open_connection(*server)
        while (started := time.perf_counter()) < until:
            if await exchange(connection, message) == 200:
                latencies.append(time.perf_counter() - started)
            else:
                failed += 1
        connection[1].close()

    async def run(length: float) -> float:
        started = time.perf_counter()
        results = await asyncio.gather(*(client(started + length) for _ in range(clients)), return_exceptions=True)
        for error in filter(None, results):
            raise error
        return time.perf_counter() - started

    await run(min(seconds / 4, 2.0))  # the first batches of each size take longer
    latencies.clear()
    took = await run(seconds)
    latencies.sort()
    return {
        "requests": len(latencies) + failed,
        "failed": failed,
        "clips_a_second": round(len(latencies) / took, 2),
        "median_ms": round(1000 * statistics.median(latencies), 2),
        "p99_ms": round(1000 * latencies[int(0.99 * (len(latencies) - 1))], 2),
    }


async def open_loop(server: tuple[str, int], message: bytes, rate: float, seconds: float) -> dict[str, Any]:
    """Requests at fixed moments, each on a connection that is free or new."""
    statuses: dict[int, int] = {}
    free: list = []
    under_way: set[asyncio.Task] = set()

    async def one() -> None:
        connection = free.pop() if free else None
        try:
            connection = connection or await asyncio.open_connection(*server)
            status = await exchange(connection, message)
            free.append(connection)
        except (OSError, asyncio.IncompleteReadError):
            status = 0
        statuses[status] = statuses.get(status, 0) + 1

    started, count = time.perf_counter(), 0
    while (now := time.perf_counter() - started) < seconds:
        while count < now * rate and len(under_way) < MAX_OPEN:
            task = asyncio.create_task(one())
            under_way.add(task)
            task.add_done_callback(under_way.discard)
            count += 1
        await asyncio.sleep(1 / rate)
    await asyncio.gather(*under_way)
    for connection in free:
        connection[1].close()
    shed = statuses.get(429, 0) + statuses.get(503, 0)
    return {
        "overload_rate": round(rate, 2),
        "overload_requests": count,
        "overload_answered": statuses.get(200, 0),
        "overload_shed": shed,
        "overload_other": {str(status): n for status, n in statuses.items() if status not in (200, 429, 503)},
    }


async def recovery(server: tuple[str, int], message: bytes) -> float | None:
    """Milliseconds of one request right after the overload; `None` where it failed."""
    connection = await asyncio.open_connection(*server)
    started = time.perf_counter()
    status = await exchange(connection, message)
    took = time.perf_counter() - started
    connection[1].close()
    return round(1000 * took, 2) if status == 200 else None


async def exchange(connection: tuple[asyncio.StreamReader, asyncio.StreamWriter], message: bytes) -> int:
    """Sends a request and reads its answer; the answer's status."""
    return (await exchanged(connection, message))[0]


async def exchanged(connection: tuple, message: bytes) -> tuple[int, bytes]:
    reader, writer = connection
    writer.write(message)
    await writer.drain()
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
    length = int(head.partition("content-length:")[2].partition("\r\n")[0])
    return int(head.split(" ", 2)[1]), await reader.readexactly(length)


async def resident_bytes(server: tuple[str, int]) -> float | None:
    connection = await asyncio.open_connection(*server)
    message = f"GET {METRICS_PATH} HTTP/1.1\r\nHost: {server[0]}\r\n\r\n".encode()
    _, page = await exchanged(connection, message)
    connection[1].close()
    for line in page.decode().splitlines():
        if line.startswith("process_resident_memory_bytes "):
            return float(line.split()[1])
    return None


def request_bytes(server: tuple[str, int], model: str, clip_seconds: float) -> bytes:
    instances = [{"b64": base64.b64encode(noise_file(clip_seconds)).decode()}]
    body = json.dumps({"signature_name": "wav", "instances": instances}).encode()
    head = (
        f"POST /v1/models/{model}:predict HTTP/1.1\r\nHost: {server[0]}:{server[1]}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def noise_file(seconds: float) -> bytes:
    """A 16-bit mono WAV file at 16 kHz."""
    generator = random.Random(0)
    samples = [generator.randrange(-8000, 8000) for _ in range(round(16000 * seconds))]
    file = io.BytesIO()
    with wave.open(file, "wb") as sound:
        sound.setparams((1, 2, 16000, 0, "NONE", ""))
        sound.writeframes(struct.pack(f"<{len(samples)}h", *samples))
    return file.getvalue()


def run_bare_loop(options: argparse.Namespace) -> float:
    command = [sys.executable, __file__, *sys.argv[1:], "--bare"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300)
    return json.loads(done.stdout.splitlines()[-1])


def bare_loop(options: argparse.Namespace) -> float:
    """Clips a second of the newest version's signature `wav`, without a server."""
    import tensorflow as tf

    versions = [path for path in options.model_dir.iterdir() if path.name.isdigit()]
    model = tf.saved_model.load(str(max(versions, key=lambda path: int(path.name)))).signatures["wav"]
    batch = tf.constant([noise_file(options.clip_seconds)] * options.clients)
    for _ in range(5):
        model(audio_bytes=batch)
    seconds = min(max(options.seconds / 4, 2.0), 15.0)
    started, count = time.perf_counter(), 0
    while time.perf_counter() - started < seconds:
        model(audio_bytes=batch)["probabilities"].numpy()
        count += options.clients
    return round(count / (time.perf_counter() - started), 2)


if __name__ == "__main__":
    main()
