"""A recognizer as an ONNX file: waveforms of the network's own length to probabilities."""

from pathlib import Path
from typing import Any

import numpy as np

from keras_vitser.files import strict_json
from keras_vitser.recognizer import Recognizer
from keras_vitser.serving.exports.clip_graph import clip_function
from keras_vitser.serving.exports.dft_by_matrices import without_rfft

_OPSET = 18


def write_onnx(recognizer: Recognizer, file: Path, about: dict[str, Any], card: str) -> None:
    """Writes a file that maps `waveform`, float32 `(batch, clip_samples)`, to `probabilities`, `(batch, classes)`.

    Args:
        recognizer: The model, on the TensorFlow backend.
        file: Path to write to.
        about: Labels, front end and version: each becomes a property of the file, as JSON.
        card: The model card, another property.
    """
    import onnx
    import tf2onnx

    front_end = without_rfft(recognizer.front_end)
    function, waveform = clip_function(recognizer.network, front_end)
    model, _ = tf2onnx.convert.from_function(
        function, input_signature=[waveform], opset=_OPSET, custom_op_handlers={"Erfc": (_erfc, [])}
    )
    for end in (*model.graph.input, *model.graph.output):
        end.type.tensor_type.shape.dim[0].dim_param = "batch"
    properties = {name: strict_json(value, ensure_ascii=False) for name, value in about.items()}
    onnx.helper.set_model_props(model, properties | {"model_card": card})
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, str(file))


def _erfc(graph: Any, node: Any, name: str, args: Any) -> None:
    """1 - Erf(x), which tf2onnx does not write by itself; exact GELU needs it."""
    import tf2onnx

    result = node.output[0]
    shape, dtype = graph.get_shape(result), graph.get_dtype(result)
    one = graph.make_const(tf2onnx.utils.make_name("one"), np.ones((), np.float32))
    erf = graph.make_node("Erf", [node.input[0]])
    graph.remove_node(node.name)
    ends = [one.output[0], erf.output[0]]
    graph.make_node("Sub", ends, outputs=[result], name=node.name, shapes=[shape], dtypes=[dtype])
