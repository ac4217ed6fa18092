"""The peer of prediction.py: librosa and the student in eager PyTorch, a clip at a time, as their users write it.

    python librosa_and_torch.py STUDENT.pt CLIPS.npy

A `harness.Peer`, whose jobs are {"clip": NUMBER} and {"files": [...], "labels": [...], "output": FILE}.
"""

import csv
import sys
import time

import harness
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

    def job(clip=None, **table):
        start = time.perf_counter()
        if clip is None:
            write_table(student, **table)
            return {"seconds": time.perf_counter() - start}
        numbers = probabilities(student, clips[clip])
        return {"seconds": time.perf_counter() - start, "probabilities": numbers.tolist()}

    harness.answer(job)


if __name__ == "__main__":
    main()
