"""A recognizer as a SavedModel: signatures with names, whose answers do not depend on who else asks.

TensorFlow Serving can join requests into batches by itself (`--enable_batching`), outside the graph. For sound this
goes wrong: it pads the shorter of two waveforms with its own first sample, or refuses both, and one file that is none
fails all the requests that it was joined with. So the graph joins requests itself, in TensorFlow's op
`BatchFunction`, behind what is a request's own business: reading, checking, cutting and padding. A bad request then
fails alone, and clips of all lengths are joined.
"""

import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from keras_vitser.audio.graph.faults import refuse, scale_fault
from keras_vitser.audio.graph.hearing import heard_shares
from keras_vitser.audio.graph.wav import WavReader
from keras_vitser.recognizer import NOT_FINITE, Recognizer
from keras_vitser.serving.exports.clip_graph import probabilities_of
from keras_vitser.serving.exports.dft_by_matrices import without_loops

if TYPE_CHECKING:
    import tensorflow as tf

Outputs: TypeAlias = "dict[str, tf.Tensor]"

# Measured on two cores with the paper's student, 8 clients at once: 89 clips/s, a loop of whole batches alone has 85.
_LARGEST_BATCH = 32  # clips that are computed together; a larger request is divided
_LARGEST_REQUEST = 512  # clips
_BATCH_THREADS = 2  # batches under way; one to eight made no difference
_LONGEST_WAIT = 0  # microseconds: a batch is what came while the threads were busy, and nobody waits for company
# Batches: 1024 clips, 260 MB, 12 s on two cores. A request beyond is refused at once, as UNAVAILABLE (HTTP status 503).
_LONGEST_QUEUE = 32


def write_saved_model(recognizer: Recognizer, folder: Path, assets: list[Path]) -> tuple[str, ...]:
    """Writes a SavedModel, on the TensorFlow backend.

    Args:
        recognizer: The model. The signatures `explain` and `embed` need a network with `attention_over_time` and
            `feature_map`, as `ViTSER` has them; other networks get `serving_default` and `wav` only.
        folder: Folder to write to.
        assets: Files to be kept in it, each with its name.

    Returns:
        The names of the signatures.
    """
    import tensorflow as tf

    graphs = _Graphs(recognizer)
    waveform = tf.TensorSpec((None, None), tf.float32, name="waveform")
    audio_bytes = tf.TensorSpec((None,), tf.string, name="audio_bytes")
    signatures = {
        "serving_default": tf.function(graphs.serving_default, [waveform]),
        "wav": tf.function(graphs.wav, [audio_bytes]),
    }
    if hasattr(recognizer.network, "attention_over_time") and hasattr(recognizer.network, "feature_map"):
        signatures["explain"] = tf.function(graphs.explain, [waveform])
        signatures["embed"] = tf.function(graphs.embed, [waveform])
    module = tf.Module()
    module.weights = [variable.value for variable in recognizer.network.variables]
    module.files = [tf.saved_model.Asset(str(path)) for path in assets]
    tf.saved_model.save(module, str(folder), signatures)
    samples = f"samples at {recognizer.front_end.sampling_rate} Hz, full scale at -1 and 1"
    _name_sizes(folder / "saved_model.pb", {"waveform": ("batch", samples), "audio_bytes": ("batch",)})
    return tuple(signatures)


def _name_sizes(path: Path, names: dict[str, tuple[str, ...]]) -> None:
    """Names the axes of inputs, as any server's `/metadata` then shows them; a `tf.TensorSpec` has no place for it."""
    from tensorflow.core.protobuf import saved_model_pb2

    saved = saved_model_pb2.SavedModel.FromString(path.read_bytes())
    for graph in saved.meta_graphs:
        for signature in graph.signature_def.values():
            for key, tensor in signature.inputs.items():
                for axis, name in zip(tensor.tensor_shape.dim, names[key], strict=True):
                    axis.name = name
    path.write_bytes(saved.SerializeToString(deterministic=True))


class _Graphs:
    """What the signatures compute."""

    def __init__(self, recognizer: Recognizer):
        self._network = recognizer.network
        # All clips of a batch at once, on all cores: a clip at a time, as the layer does it, served a third fewer.
        self._front_end = without_loops(recognizer.front_end)
        self._clip_samples: Any = self._front_end.clip_samples  # an int, where a front end can be exported
        self._labels = recognizer.labels
        self._reader = WavReader(recognizer.front_end.sampling_rate)

    def serving_default(self, waveform: "tf.Tensor") -> Outputs:
        return self._answers(self._clips(waveform))

    def wav(self, audio_bytes: "tf.Tensor") -> Outputs:
        return self._answers(self._reader.batch(audio_bytes, self._clip_samples))

    def explain(self, waveform: "tf.Tensor") -> Outputs:
        clips = self._clips(waveform)
        return self._answers(clips) | {"attention": self._joined(self._attention, clips)}

    def embed(self, waveform: "tf.Tensor") -> Outputs:
        return {"feature_map": self._joined(self._feature_map, self._clips(waveform))}

    def _clips(self, waveform):
        """Each row checked by itself, then cut or padded to what the network hears."""
        import tensorflow as tf

        finite = tf.reduce_all(tf.math.is_finite(waveform), axis=1)
        row = tf.argmin(tf.pad(tf.cast(finite, tf.int32), [[0, 1]]))
        faults = [
            (tf.size(waveform) == 0, "waveform holds no samples; expected recordings, (batch, samples)"),
            (
                ~tf.reduce_all(finite),
                tf.strings.format("waveform[{}] holds samples that are NaN or infinite", row),
            ),
            scale_fault(waveform, self._front_end.sampling_rate),
        ]
        with tf.control_dependencies([refuse(faults)]):
            return self._front_end.fitted(tf.identity(waveform))

    def _answers(self, clips):
        import tensorflow as tf

        probabilities = self._joined(self._probabilities, clips)
        with tf.control_dependencies([refuse([(~tf.reduce_all(tf.math.is_finite(probabilities)), NOT_FINITE)])]):
            probabilities = tf.identity(probabilities)
        return {
            "probabilities": probabilities,
            "label": tf.gather(tf.constant(self._labels), tf.argmax(probabilities, axis=1)),
            "score": tf.reduce_max(probabilities, axis=1),
            "heard": heard_shares(clips, self._clip_samples, self._front_end.sampling_rate),
        }

    def _probabilities(self, clips):
        return probabilities_of(self._network, self._front_end, clips)

    def _feature_map(self, clips):
        import tensorflow as tf

        return tf.cast(self._network.feature_map(self._front_end(clips)), tf.float32)

    def _attention(self, clips):
        return self._network.attention_over_time(self._front_end(clips))

    def _joined(self, function, clips):
        """`function(clips)`, computed together with the clips of other requests."""
        import tensorflow as tf

        specification = tf.TensorSpec((None, self._clip_samples), tf.float32)
        concrete = tf.function(function, [specification]).get_concrete_function()
        (values,) = tf.raw_ops.BatchFunction(
            in_tensors=[clips],
            captured_tensors=concrete.captured_inputs,
            f=concrete,
            Tout=[tf.float32],
            num_batch_threads=_BATCH_THREADS,
            max_batch_size=_LARGEST_REQUEST,
            allowed_batch_sizes=list(range(1, _LARGEST_BATCH + 1)),  # all, so that no batch is padded
            enable_large_batch_splitting=True,
            batch_timeout_micros=_LONGEST_WAIT,
            max_enqueued_batches=_LONGEST_QUEUE,
            shared_name=uuid.uuid4().hex,  # two versions in one process must not share a queue
        )
        return tf.ensure_shape(values, concrete.output_shapes)
