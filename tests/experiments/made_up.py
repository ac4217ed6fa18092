"""Made-up recordings and tiny networks, so that a whole run takes seconds."""

import numpy as np
import soundfile

from keras_vitser.corpora import Clip, Example
from keras_vitser.layers import LogMelImage
from keras_vitser.models import ViTSER

STAGES = ("teacher", "matching", "student")
FRONT_END = {"n_mels": 16, "frames": 16, "hop_length": 256}
NETWORK = {"patch_size": (16, 1), "hidden_dim": 16, "depth": 1, "num_heads": 1, "head_dim": 8, "mlp_dim": 16}

TINY = (
    {f"front_end.{key}": value for key, value in FRONT_END.items()}
    | {f"{role}.{key}": value for role in ("teacher", "student") for key, value in NETWORK.items()}
    | {f"stages.{stage}.{key}": value for stage in STAGES for key, value in {"epochs": 1, "batch_size": 16}.items()}
    | {"teacher.conv_stem": False, "augmentation.copies": 1, "tracking.enabled": False}
)


def front_end(**settings):
    return LogMelImage(**FRONT_END | settings, name="front_end")


def network(role, num_classes, **settings):
    """A tiny teacher (without the stem, which is slow to compile) or student."""
    arguments = {"image_size": (16, 16), **NETWORK, **settings}
    if role == "teacher":
        return ViTSER.teacher(num_classes, conv_stem=False, **arguments)
    return ViTSER.student(num_classes, **arguments)


def chirp(number, seconds=0.5, rate=16000):
    """A sound unlike those of other numbers, float32 `(samples,)`."""
    time = np.arange(round(seconds * rate)) / rate
    return (0.5 * np.sin(2 * np.pi * (200 + 150 * number) * time * (1 + time))).astype(np.float32)


def examples(folder, count, copy=0, seconds=0.5):
    """Examples of `count` recordings that are written to `folder`."""
    made = []
    for number in range(count):
        path = folder / f"{number}.wav"
        if not path.exists():
            soundfile.write(path, chirp(number, seconds), 16000)
        made.append(Example(Clip(path, "calm"), copy))
    return made
