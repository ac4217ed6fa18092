"""A search in a process of its own that may kill itself: `python -m tests.experiments.tuning.killable_search JSON`.

The JSON object has "runs" (folder), "resume" (bool: the one search in it), and "kill": null, or the trials that have
ended and the seconds after them when SIGKILL comes.
"""

import json
import os
import signal
import sys
import threading
from pathlib import Path

from keras_vitser.experiments import tuning
from tests.experiments.tuning.quick_search import OVERRIDES

REAL = OVERRIDES | {
    "tuning.trials": 3,
    "tuning.epochs": 2,
    "tuning.space": {"student.depth": [1], "stages.student.learning_rate": {"low": 1e-4, "high": 1e-2}},
}


def progress_that_kills(ended, seconds):
    timer = threading.Timer(seconds, os.kill, [os.getpid(), signal.SIGKILL])
    timer.daemon = True

    def progress(task, done, total):
        if task == "trials" and done == ended and not timer.is_alive():
            timer.start()

    return progress


def job(runs, resume=False, kill=None):
    progress = progress_that_kills(*kill) if kill else lambda *step: None
    if resume:
        (folder,) = Path(runs).iterdir()
        return tuning.tune(resume=folder, progress=progress)
    return tuning.tune(None, runs=runs, overrides=REAL, progress=progress)


if __name__ == "__main__":
    job(**json.loads(sys.argv[1]))
