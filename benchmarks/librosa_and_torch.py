"""The peer of prediction.py: librosa and the student in eager PyTorch, a clip at a time, as their users write it.

    python librosa_and_torch.py STUDENT.pt CLIPS.npy

A process of its own, so that its threads and those of another library do not take the cores from each other. It reads
a line of JSON, {"clip": NUMBER} or {"files": [...], "labels": [...], "output": FILE}, does that, and writes a line.
"""

import csv
import json
import sys
import time

import librosa
import numpy as np
import torch

RATE, SECONDS = 16000, 4


def image(waveform):
    """float32 tensor `(1, 1, 128, 128)` of a waveform at 16 kHz."""
    power = librosa.feature.melspectrogram(
        y=librosa.util.fix_length(waveform, size=RATE * SECONDS),
        sr=RATE,
        n_fft=1024,
        win_length=512,
        hop_length=64,
        window="hamming",
        pad_mode="constant",
        n_mels=128,
    )
    decibels = librosa.power_to_db(power, ref=np.max, top_db=80)
    bands = torch.from_numpy(decibels[None, ::-1] / 80 + 1).float()
    return torch.nn.functional.interpolate(bands, 128, mode="linear", align_corners=False)[None]


@torch.inference_mode()
def probabilities(student, waveform):
    """float32 array `(classes,)` of a waveform at 16 kHz."""
    return student(image(waveform)).softmax(-1)[0].numpy()


def write_table(student, files, labels, output):
    """Paths and answers as CSV."""
    with open(output, "w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["path", "label", *labels])
        for path in files:
            waveform, _ = librosa.load(path, sr=RATE)
            numbers = probabilities(student, waveform)
            rows.writerow([path, labels[numbers.argmax()], *numbers])


def main():
    student = torch.load(sys.argv[1], weights_only=False)
    clips = np.load(sys.argv[2])
    for line in sys.stdin:
        asked = json.loads(line)
        start = time.perf_counter()
        if "clip" in asked:
            answer = {"probabilities": probabilities(student, clips[asked["clip"]])}
        else:
            answer = {"written": write_table(student, **asked)}
        answer["seconds"] = time.perf_counter() - start
        sys.stdout.write(json.dumps(answer, default=np.ndarray.tolist) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
