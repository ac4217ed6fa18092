"""The peer of benchmarks/prediction.py: librosa and an eager PyTorch student, written without this package."""

import librosa
import numpy as np
import torch
from torch import nn

RATE, SECONDS = 16000, 4


def image(waveform):
    """float32 tensor `(1, 128, 128)` of a waveform at 16 kHz."""
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
    return nn.functional.interpolate(bands, 128, mode="linear", align_corners=False)


class Attention(nn.Module):
    def __init__(self, dim=256, heads=5, head_dim=64):
        super().__init__()
        self.heads = heads
        self.scale = head_dim**-0.5
        self.query_key_value = nn.Linear(dim, 3 * heads * head_dim, bias=False)
        self.output = nn.Linear(heads * head_dim, dim)

    def forward(self, x):
        query, key, value = (part.unflatten(-1, (self.heads, -1)) for part in self.query_key_value(x).chunk(3, dim=-1))
        scores = torch.einsum("bqhd,bkhd->bhqk", query, key) * self.scale
        gathered = torch.einsum("bhqk,bkhd->bqhd", scores.softmax(-1), value)
        return self.output(gathered.flatten(2))


class Block(nn.Module):
    def __init__(self, dim=256, mlp_dim=256):
        super().__init__()
        self.attention_norm = nn.LayerNorm(dim)
        self.attention = Attention(dim)
        self.mlp_norm = nn.LayerNorm(dim)
        self.mlp = nn.Sequential(nn.Linear(dim, mlp_dim), nn.GELU(), nn.Linear(mlp_dim, dim))

    def forward(self, x):
        x = x + self.attention(self.attention_norm(x))
        return x + self.mlp(self.mlp_norm(x))


class Student(nn.Module):
    """The paper's student on images `(batch, 128, 128)`: a token a column."""

    def __init__(self, classes, depth=3, dim=256, bands=128):
        super().__init__()
        self.patches = nn.Sequential(nn.LayerNorm(bands), nn.Linear(bands, dim), nn.LayerNorm(dim))
        self.class_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.blocks = nn.Sequential(*(Block(dim) for _ in range(depth)))
        self.norm = nn.LayerNorm(dim)
        self.head = nn.Linear(dim, classes)

    def forward(self, images):
        tokens = self.patches(images.transpose(1, 2))
        tokens = torch.cat([self.class_token.expand(len(tokens), -1, -1), tokens], dim=1)
        return self.head(self.norm(self.blocks(tokens))[:, 0])


def with_weights(network):
    """A `Student` with the weights of a `ViTSER.student`, by the arrays' order, which is the same."""
    student = Student(network.num_classes, network.depth)
    arrays = [np.asarray(array) for array in network.get_weights()]
    tokens = student.class_token  # a module's own parameter comes before those of its parts; there after the patches
    others = [parameter for parameter in student.parameters() if parameter is not tokens]
    patches = len(list(student.patches.parameters()))
    parameters = [*others[:patches], tokens, *others[patches:]]
    with torch.no_grad():
        for parameter, array in zip(parameters, arrays, strict=True):
            is_kernel = array.ndim == 2
            parameter.copy_(torch.from_numpy(array.T.copy() if is_kernel else array))
    return student.eval()


@torch.inference_mode()
def probabilities(student, waveform):
    """float32 array `(classes,)` of a waveform at 16 kHz."""
    return student(image(waveform)).softmax(-1)[0].numpy()
