"""`keras-vitser serve` in a process of its own."""

import contextlib
import os
import re
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]


class RunningServer:
    """`keras-vitser serve` in a process of its own, on a free port.

    Attributes:
        url: Its address.
        process: The process.
    """

    def __init__(self, folder, *options):
        command = [sys.executable, "-m", "keras_vitser.cli.main", "serve", str(folder), "--port", "0", *options]
        environment = os.environ | {"PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"}
        self.log = Path(folder).parent / f"serve-{time.monotonic_ns()}.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(command, env=environment, stderr=log, stdout=log)
        self.url = self._wait_until_it_says(r"serving at (http://[^/]+)")

    def _wait_until_it_says(self, pattern, seconds=90):
        end = time.monotonic() + seconds
        while time.monotonic() < end and self.process.poll() is None:
            if found := re.search(pattern, self.log.read_text(errors="replace")):
                return found[1]
            time.sleep(0.05)
        self.stop()
        raise AssertionError(self.log.read_text(errors="replace"))

    def stop(self, seconds=30):
        """Ends it by SIGTERM; the exit code."""
        self.process.terminate()
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()


@contextlib.contextmanager
def running_server(folder, *options):
    server = RunningServer(folder, *options)
    try:
        yield server
    finally:
        server.stop()
