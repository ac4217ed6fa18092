"""Sound as phones and browsers write it, made by FFmpeg through PyAV."""

import io
import tempfile
from pathlib import Path

import numpy as np

CONTAINERS = {  # what each is called, and what makes it: format, codec, rate, options
    "MPEG-4": ("ipod", "aac", 44100, {}),
    "MPEG-4 of a browser": ("mp4", "aac", 48000, {"movflags": "frag_keyframe+empty_moov+default_base_moof"}),
    "MPEG-4 to be streamed": ("ipod", "aac", 16000, {"movflags": "faststart"}),
    "MPEG-4 in another codec": ("mov", "alac", 44100, {}),
    "Matroska": ("webm", "libopus", 48000, {}),
    "Matroska of a browser": ("webm", "libopus", 48000, {"live": "1"}),
    "ASF": ("asf", "wmav2", 44100, {}),
    "AMR": ("amr", "libopencore_amrnb", 8000, {}),
    "AAC": ("adts", "aac", 16000, {}),
    "WavPack": ("wv", "wavpack", 44100, {}),
    "TTA": ("tta", "tta", 16000, {}),
    "AC-3": ("ac3", "ac3", 48000, {}),
    "AC-3 enhanced": ("eac3", "eac3", 48000, {}),
    "FLV": ("flv", "aac", 16000, {}),
    "AVI": ("avi", "pcm_s16le", 16000, {}),
    "AVI in another codec": ("avi", "aac", 16000, {}),
    "MPEG-TS": ("mpegts", "aac", 48000, {}),
}


def sweep(rate, seconds):
    """float32 `(samples,)`: from 200 Hz up, below what a telephone hears."""
    time = np.arange(round(rate * seconds)) / rate
    return (0.5 * np.sin(2 * np.pi * (200 * time + 300 * time**2))).astype("float32")


def made(name, channels=1, seconds=2.0):
    """A sweep, as the bytes of a file."""
    import av

    format, codec, rate, options = CONTAINERS[name]
    layout = ("mono", "stereo")[channels - 1]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "clip"
        with av.open(str(path), "w", format=format, container_options=options) as output:
            stream = output.add_stream(codec, rate=rate, layout=layout)
            stream.bit_rate = 12200 if codec == "libopencore_amrnb" else 128000
            frame = av.AudioFrame.from_ndarray(np.stack([sweep(rate, seconds)] * channels), "fltp", layout)
            frame.sample_rate, frame.pts = rate, 0
            size = stream.codec_context.frame_size or 0
            resampler = av.AudioResampler(stream.format.name, layout, rate, frame_size=size)
            for part in resampler.resample(frame) + resampler.resample(None):
                output.mux(stream.encode(part))
            output.mux(stream.encode(None))
        return path.read_bytes()


def film_without_sound():
    """A short MPEG-4 film of black pictures."""
    import av

    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as output:
        stream = output.add_stream("mpeg4", rate=25)
        stream.width = stream.height = 16
        stream.pix_fmt = "yuv420p"
        for _ in range(3):
            output.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((16, 16, 3), np.uint8), format="rgb24")))
        output.mux(stream.encode(None))
    return file.getvalue()
