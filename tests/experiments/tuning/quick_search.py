"""Searches whose trials train nothing: a score follows from the values. As a program, a chief or worker of one.

`python -m tests.experiments.tuning.quick_search ARGUMENTS`: `keras_vitser.experiments.tuning.process` with such trials,
each of which takes a while.
"""

import hashlib
import json
import sys
import time

import keras

from keras_vitser.errors import DivergedError
from tests.experiments.made_up import TINY

OBJECTIVE = "validation_unweighted_accuracy"
OVERRIDES = TINY | {
    "corpus.name": "demo",
    "corpus.classes": ["anger", "sadness"],
    "protocol.test_speakers": ["speaker6"],
    "tuning.algorithm": "random",
    "tuning.trials": 4,
    "tuning.epochs": 3,
    "tuning.space": {
        "student.patch_width": [1, 2, 4],
        "student.depth": {"low": 1, "high": 4},
        "student.dropout": [0, 0.1, 0.2],
        "stages.student.learning_rate": {"low": 1e-4, "high": 1e-2, "sampling": "log"},
    },
}


def score(values):
    digest = hashlib.sha256(json.dumps(values, sort_keys=True).encode()).digest()
    return digest[0] / 255


def build(self, hp):
    self.config_of(hp)
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile("adam", "mse")
    return model


def fit(self, hp, model, x, y, *, validation_data, epochs=None, initial_epoch=0, callbacks=(), verbose=0):
    config = self.config_of(hp)
    if config.stages.student.learning_rate > HIGHEST_RATE:
        raise DivergedError("stage student diverged: the loss of epoch 1 is nan")
    reached = score({key: config.value_at(key) for key in config.tuning.space})
    for epoch in range(initial_epoch, epochs or config.tuning.epochs):
        for callback in callbacks:
            callback.on_epoch_begin(epoch)
        time.sleep(PAUSE)
        logs = {"loss": 1.0, OBJECTIVE: reached, "validation_loss": 1 - reached}
        for callback in callbacks:
            callback.on_epoch_end(epoch, logs)
    return logs


PAUSE = 0.0
HIGHEST_RATE = 1.0  # a trial with a higher one diverges

if __name__ == "__main__":
    from keras_vitser.experiments.tuning import ViTSERHyperModel, process

    PAUSE = 0.3
    ViTSERHyperModel.build, ViTSERHyperModel.fit = build, fit
    process.main(*sys.argv[1:])
