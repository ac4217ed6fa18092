"""A run in a process of its own that may kill itself: `python -m tests.experiments.killable_run JSON`.

The JSON object has "runs" (folder), "resume" (bool: the one run in it), "epochs" (of each stage), and "kill": null, or
the stage and the seconds of its training after which SIGKILL comes.
"""

import json
import os
import signal
import sys
import threading
import time
from pathlib import Path

from keras_vitser import experiments
from tests.experiments.made_up import STAGES, TINY

STEPS = 8  # an epoch
OVERRIDES = TINY | {f"stages.{stage}.batch_size": 8 for stage in STAGES}
OVERRIDES |= {
    "corpus.name": "demo",
    "corpus.classes": ["anger", "sadness"],
    "protocol.test_speakers": ["speaker6"],
    "stages.save_interval": 0.05,
}


def of_epochs(count):
    return OVERRIDES | {f"stages.{stage}.epochs": count for stage in STAGES}


def progress_that_kills(stage, seconds):
    """From a thread, so at any moment of the stage after its first step, which is compiled."""
    timer = threading.Timer(seconds, os.kill, [os.getpid(), signal.SIGKILL])
    timer.daemon = True

    def progress(task, done, total):
        if task == stage:
            if not timer.is_alive():
                timer.start()
            time.sleep(0.02)  # so that a stage outlasts its kills

    return progress


def job(runs, resume=False, epochs=3, kill=None):
    progress = progress_that_kills(*kill) if kill else lambda *step: None
    if resume:
        (folder,) = Path(runs).iterdir()
        return experiments.resume(folder, progress=progress)
    return experiments.run(None, runs=runs, overrides=of_epochs(epochs), progress=progress)


if __name__ == "__main__":
    job(**json.loads(sys.argv[1]))
