"""A list answered in a process of its own that may kill itself: `python -m tests.prediction.killable_job JSON`.

The JSON object has "model", "manifest", "output", "pause" (seconds a row, so that a job outlasts its kills), and
"kill": null, or the seconds after the first row of its own after which SIGKILL comes.
"""

import json
import os
import signal
import sys
import threading
import time
from pathlib import Path

from keras_vitser import prediction
from keras_vitser.recognizer import Recognizer


def job(model, manifest, output, pause=0.0, kill=None):
    recognizer = Recognizer.load(model)
    killer = threading.Timer(kill or 0, os.kill, [os.getpid(), signal.SIGKILL])
    killer.daemon = True

    def progress(rows):
        if kill is not None and not killer.is_alive():
            killer.start()
        time.sleep(pause)

    return prediction.write_answers(
        output,
        prediction.manifest_paths(manifest),
        lambda paths, start: prediction.predict_stream(recognizer, paths, folder=Path(manifest).parent, start=start),
        recognizer.labels,
        prediction.job_of(model),
        progress,
    )


if __name__ == "__main__":
    job(**json.loads(sys.argv[1]))
