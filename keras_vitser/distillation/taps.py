"""Where in a network a feature is taken, and the one model that gives logits and feature together."""

import keras

from keras_vitser.errors import DistillationError

_PROBABILITIES = ("softmax", "sigmoid")


class Tap:
    """A network's logits and one inner feature, from one forward pass over the network's own layers.

    A plain object, so that Keras does not count the layers a second time.

    Args:
        network: Functional or built Sequential `keras.Model` with one output.
        layer_name: Name of the layer whose output is the feature, or `None` for the
            input of the last layer, which for `ViTSER` is the feature map.
        role: `"teacher"` or `"student"`, for messages.
        with_logits: Bool. Whether the model gives a dict of `feature` and `logits`, or the feature alone.

    Raises:
        DistillationError: There is no such feature, or the network cannot be tapped.
    """

    def __init__(self, network, layer_name, role, with_logits):
        _check_network(network, role)
        self.feature_spec = _feature_tensor(network, layer_name, role)
        outputs = self.feature_spec
        if with_logits:
            outputs = {"feature": self.feature_spec, "logits": network.outputs[0]}
        inputs = network.inputs[0] if len(network.inputs) == 1 else network.inputs
        self.model = keras.Model(inputs, outputs, name=f"{role}_tap")


def _check_network(network, role):
    if not isinstance(network, keras.Model):
        raise DistillationError(f"`{role}` must be a keras.Model. Received: {type(network).__name__}")
    outputs = getattr(network, "outputs", None)
    if not outputs or not getattr(network, "inputs", None):
        raise DistillationError(
            f"`{role}` must be a functional model, or a Sequential one that is built, so that its layers can be "
            f"tapped. Received: {type(network).__name__} {network.name!r}; for a Sequential model, start with "
            "keras.Input(shape); for a subclassed one, wrap its layers as keras.Model(inputs, outputs)"
        )
    if len(outputs) != 1:
        raise DistillationError(
            f"`{role}` must have one output, the logits. Received: {network.name!r} with {len(outputs)} outputs; "
            "choose one with keras.Model(model.inputs, model.outputs[0])"
        )


def _feature_tensor(network, layer_name, role):
    if layer_name is not None:
        names = [layer.name for layer in network.layers]
        if layer_name not in names:
            raise DistillationError(
                f"`{role}_feature` must name a layer of {network.name!r}. Received: {layer_name!r}; its layers are "
                + ", ".join(names)
            )
        return network.get_layer(layer_name).output
    last = network.layers[-1]
    if isinstance(last, keras.Model | keras.layers.InputLayer) or last.input is network.inputs[0]:
        raise DistillationError(
            f"no feature can be taken before the last layer of {network.name!r} ({last.name!r}); "
            f"name a layer with `{role}_feature`"
        )
    return last.input


def check_returns_logits(network, role):
    """Refuses a network that ends in softmax or sigmoid: the label loss would apply it a second time."""
    last = network.layers[-1]
    activation = getattr(getattr(last, "activation", None), "__name__", "")
    if isinstance(last, keras.layers.Softmax) or activation in _PROBABILITIES:
        raise DistillationError(
            f"`{role}` must return logits, and its last layer {last.name!r} returns probabilities "
            f"({activation or 'softmax'}). Build it with activation=None, or without that layer"
        )
