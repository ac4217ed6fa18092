"""A transfer in a process of its own that may kill itself: `python -m tests.distillation.killable_transfer JSON`.

The JSON object has "kind" (of the data), "checkpoints" (folder or null), "weights" (file for the student's variables
and histories at the end), and "kill": null, or the stage and the seconds of its training after which SIGKILL comes.
"""

import json
import os
import signal
import sys
import threading
import time

import keras
import numpy as np

from keras_vitser.distillation import transfer

from .networks import X, Y, network

EPOCHS = 40
BATCH = 2


class Batches(keras.utils.PyDataset):
    def __init__(self):
        super().__init__()
        self.generator = np.random.default_rng(5)
        self.order = np.arange(len(X))

    def __len__(self):
        return len(X) // BATCH

    def __getitem__(self, index):
        chosen = self.order[BATCH * index : BATCH * (index + 1)]
        return X[chosen], Y[chosen]

    def on_epoch_end(self):
        self.order = self.generator.permutation(self.order)


def generated(epoch):
    order = np.random.default_rng(epoch).permutation(len(X))
    for start in range(0, len(X), BATCH):
        yield X[order[start : start + BATCH]], Y[order[start : start + BATCH]]


class Kill(keras.callbacks.Callback):
    """From a thread, so at any moment: within a step, an epoch's end, or while a checkpoint is written."""

    def __init__(self, stage, seconds):
        super().__init__()
        self.label_weight = {"matching": 0, "student": 1}[stage]
        self.timer = threading.Timer(seconds, os.kill, [os.getpid(), signal.SIGKILL])
        self.timer.daemon = True

    def on_train_batch_end(self, batch, logs=None):
        """After the first, which is compiled: training itself is what must be met."""
        if self.model.label_weight == self.label_weight and not self.timer.is_alive():
            self.timer.start()
        time.sleep(0.01)  # so that a stage outlasts its kills


def job(kind, checkpoints=None, kill=None, weights=None):
    """The student's variables and the histories as JSON, as arrays by name."""
    middle = [keras.layers.Dropout(0.3, seed=2), keras.layers.BatchNormalization()]
    student = network(2, middle=middle)
    data = {"arrays": (X, Y), "PyDataset": Batches(), "callable": generated}[kind]
    histories = transfer(
        network(1),
        student,
        data,
        matching_epochs=EPOCHS,
        tuning_epochs=EPOCHS,
        learning_rate=0.01,
        batch_size=BATCH,
        checkpoints=checkpoints,
        save_interval=0.03,
        callbacks=[Kill(*kill)] if kill else None,
        verbose=0,
    )
    logs = json.dumps({stage: history.history for stage, history in histories.items()})
    values = [keras.ops.convert_to_numpy(variable.value) for variable in student.variables]
    arrays = {"logs": np.array(logs), **{str(place): value for place, value in enumerate(values)}}
    if weights:
        np.savez(weights, **arrays)
    return arrays


if __name__ == "__main__":
    job(**json.loads(sys.argv[1]))
