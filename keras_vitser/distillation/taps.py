"""Where in a network features are taken, and the one model that gives logits and features together."""

import inspect
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import keras
from keras import ops

from keras_vitser.errors import DistillationError
from keras_vitser.wording import nearest

_OF_THE_CALL = {("feature_map",), ("logits",)}
_PROBABILITIES = ("softmax", "sigmoid")
_ATTENTION_FLAGS = ("return_attention", "return_attention_scores")  # ours, and keras.layers.MultiHeadAttention's


@dataclass(frozen=True)
class Feature:
    """What a tap gives.

    Attributes:
        shape: `(None, ..., width)`; of attention weights `(None, queries, keys, heads)`.
        grid: How the patches lie, `(rows, columns)`, where the network says so; tokens beyond them stand first.
        attention: Whether these are attention weights.
        stored: Whether it was computed before (`Taught`), and is brought to the student's tokens itself.
    """

    shape: tuple
    grid: tuple | None
    attention: bool
    stored: bool = False


class Tap:
    """A network's logits and inner features, from one forward pass over the network's own layers.

    A plain object, so that Keras does not count the layers a second time.

    A feature is named by a layer, or by a path of layers into nested models
    (`"backbone/block_3"`); `"block_3/attention"` are the attention weights of a layer that can
    return them. `"feature_map"` is the input of the last layer where no layer has that name, of a
    subclassed model what its method `feature_map` returns; `"logits"` is the output. A network's
    property `taps` may give further names. A network with a method `named_outputs` (`ViTSER`) says
    itself what it gives by which name, and runs no more than is asked for.

    Args:
        network: A `keras.Model` with one output.
        paths: List of names.
        role: `"teacher"` or `"student"`, for messages.
        with_logits: Bool. Whether `model` gives the logits too.
        inputs: List of `keras.KerasTensor` that a subclassed network is called with where it does not know its own.

    Attributes:
        model: Functional model; its outputs are a dict of `features` (list) and, if wanted, `logits`.
        features: List of `Feature`.

    Raises:
        DistillationError: There is no such feature, or the network cannot be tapped.
    """

    def __init__(
        self,
        network: keras.Model,
        paths: Sequence[str],
        role: str,
        with_logits: bool,
        inputs: list[keras.KerasTensor] | None = None,
    ):
        try:
            tapped = _Tapped(network, [tuple(path.split("/")) for path in paths], inputs, with_logits)
        except _NotThereError as error:
            raise DistillationError(f"`{role}` {network.name!r}: {error}") from None
        outputs = {"features": [tensor for tensor, _ in tapped.features]}
        self.features = [feature for _, feature in tapped.features]
        if with_logits:
            outputs["logits"] = tapped.output
        self.model = keras.Model(tapped.input, outputs, name=f"{role}_tap")
        self._read = None if with_logits else tapped.read

    @property
    def trainable_variables(self) -> list[keras.Variable]:
        """Those that the outputs depend on: without logits, a network that is called as a whole has a head too."""
        variables = self.model.trainable_variables
        return variables if self._read is None else [v for v in variables if id(v) in self._read]


class _NotThereError(Exception):
    pass


class _Tapped:
    """One network called anew on symbolic inputs, layer by layer where it must be, keeping what the paths name.

    Attributes:
        input: The symbolic inputs, in the network's structure.
        output: The network's output.
        features: A pair `(tensor, Feature)` for each path.
        read: Of a network that is called as a whole, the ids of the variables that its features read; else `None`.
    """

    def __init__(self, network, paths, inputs=None, with_logits=True):
        self._network = network
        self.read: set[int] | None = None
        self._outputs, self._inputs, self._inner, self._named = {}, {}, {}, {}
        self._deeper = [path for path in paths if len(path) > 1]
        functional = bool(getattr(network, "inputs", None))
        if functional and callable(getattr(network, "named_outputs", None)):
            self._run_named(network, paths, with_logits)
        elif functional and not (_is_called_its_own_way(network) and set(paths) <= _OF_THE_CALL):
            again = keras.models.clone_model(
                _uncompiled(network), clone_function=lambda layer: layer, call_function=self._call
            )
            self.input, self.output = again.input, again.output
        else:
            if functional:
                inputs = _inputs_like(network.inputs)
            self._run_whole(network, paths, inputs)
        self.features = [self._feature(path) for path in paths]

    def _run_named(self, network, paths, with_logits):
        known = network.nameable_outputs
        for path in paths:
            if path[0] not in known:
                raise _NotThereError(self._unknown(path[0], known))
            if "/".join(path) not in known:
                raise _NotThereError(_nothing_inside(network.get_layer(path[0]), path))
        names = ["/".join(path) for path in paths]
        (self.input,) = _inputs_like(network.inputs)
        reading = _Reading()
        layer = _NamedOutputs(network, [*names, "logits"] if with_logits else names, reading)
        seen = layer(self.input)
        layer.reading, self.read = None, reading.read
        self.output = seen.get("logits")
        grid = getattr(network, "patch_grid", None)
        for path, name in zip(paths, names, strict=True):
            feature = Feature(tuple(seen[name].shape), grid, attention=name.endswith("/attention"))
            self._named[path] = seen[name], feature

    def _run_whole(self, network, paths, inputs):
        if not set(paths) <= _OF_THE_CALL:
            raise _NotThereError(
                "it is a subclassed model, of which only 'feature_map' (what its method of that name returns) and "
                f"'logits' can be named. Received: {['/'.join(path) for path in paths]}"
            )
        if not callable(getattr(network, "feature_map", None)):
            raise _NotThereError(f"the subclassed model {network.name!r} has no method `feature_map`")
        if inputs is None:
            raise _NotThereError("its inputs are not known yet; call it once on a batch before")
        self.input = inputs[0] if len(inputs) == 1 else inputs
        if not network.built:
            network(self.input)
        reading = _Reading()
        layer = _FeatureMap(network, reading)
        seen = layer(self.input)
        layer.reading = None
        self.read = reading.read if set(paths) == {("feature_map",)} else None
        if layer.calls != 1:
            raise _NotThereError(
                "a subclassed model must call its own method `feature_map` once on the way to its logits, as in "
                f"self.head(self.feature_map(inputs)). Received: {layer.calls} calls"
            )
        self.output = seen["logits"]
        self._outputs["feature_map"] = [seen["feature_map"]]

    def _call(self, layer, *args, **kwargs):
        deeper = [path for path in self._deeper if path[0] == layer.name]
        if not deeper:
            output = layer(*args, **kwargs)
        elif isinstance(layer, keras.Model):
            inputs = _inputs_like(keras.tree.flatten(args))
            inner = _Tapped(layer, [path[1:] for path in deeper], inputs)
            model = keras.Model(inner.input, {"output": inner.output, "kept": [tensor for tensor, _ in inner.features]})
            result = model(*args, **kwargs)
            output = result["output"]
            for path, tensor, (_, feature) in zip(deeper, result["kept"], inner.features, strict=True):
                self._inner.setdefault(path, []).append((tensor, feature))
        elif all(path[1:] == ("attention",) for path in deeper) and (flag := _attention_flag(layer)):
            seen = _Attention(layer, flag)(*args, **kwargs)
            output, weights = seen["output"], seen["attention"]
            feature = Feature(tuple(weights.shape), getattr(self._network, "patch_grid", None), attention=True)
            self._inner.setdefault(deeper[0], []).append((weights, feature))
        else:
            raise _NotThereError(_nothing_inside(layer, deeper[0]))
        self._outputs.setdefault(layer.name, []).append(output)
        self._inputs[layer.name] = args
        return output

    def _feature(self, path):
        if path in self._named:
            return self._named[path]
        if len(path) > 1:
            if path not in self._inner:
                raise _NotThereError(self._unknown(path[0]))
            return _once(self._inner[path], path)
        tensor = self._tensor(path[0])
        return tensor, Feature(tuple(tensor.shape), getattr(self._network, "patch_grid", None), attention=False)

    def _tensor(self, name):
        aliases = getattr(self._network, "taps", {})
        if name in aliases:
            layer_name, take = aliases[name]
            return take(_once(self._outputs[layer_name], (layer_name,)))
        if name in self._outputs:
            tensor = _once(self._outputs[name], (name,))
            if not isinstance(tensor, keras.KerasTensor):
                raise _NotThereError(f"layer {name!r} gives several tensors; name a layer that gives one")
            return tensor
        if name == "logits":
            return self.output
        if name == "feature_map":
            last = self._network.layers[-1]
            features = self._inputs.get(last.name, (None,))[0]
            first = keras.tree.flatten(self.input)
            whole = isinstance(last, keras.Model) or not isinstance(features, keras.KerasTensor)
            if whole or any(features is tensor for tensor in first):
                raise _NotThereError(
                    f"there is no feature map before its last layer ({last.name!r}); name a layer, or a path into it"
                )
            return features
        raise _NotThereError(self._unknown(name))

    def _unknown(self, name, names=None):
        names = names or [*getattr(self._network, "taps", {}), *self._outputs]
        near = nearest(name, names)
        hint = f"; did you mean {near!r}?" if near else ";"
        return f"{name!r} is no layer of {self._network.name!r}{hint} its layers are {', '.join(names)}"


class _Attention(keras.layers.Layer):
    """A layer's output and its attention weights, `(batch, queries, keys, heads)`."""

    def __init__(self, layer, flag):
        super().__init__(name=f"{layer.name}_with_attention", dtype=layer.dtype_policy)
        self.layer = layer
        self.flag = flag

    def call(self, *args, **kwargs):
        output, weights = self.layer(*args, **kwargs, **{self.flag: True})
        return {"output": output, "attention": ops.transpose(weights, (0, 2, 3, 1))}


class _NamedOutputs(keras.layers.Layer):
    """What a network's `named_outputs` gives, attention weights as `(batch, queries, keys, heads)`."""

    def __init__(self, network, names, reading):
        super().__init__(name=f"{network.name}_with_names", dtype=network.dtype_policy)
        self.network = network
        self.names = names
        self.reading: _Reading | None = reading  # while the layer is called for the first time, symbolically

    def call(self, inputs, training=None):
        with self.reading or nullcontext():
            seen = self.network.named_outputs(inputs, self.names, training)
        return {
            name: ops.transpose(tensor, (0, 2, 3, 1)) if name.endswith("/attention") else tensor
            for name, tensor in seen.items()
        }


class _FeatureMap(keras.layers.Layer):
    """A subclassed network and what its method `feature_map` returned on the way to the logits: one forward pass."""

    def __init__(self, network, reading):
        super().__init__(name=f"{network.name}_with_feature_map", dtype=network.dtype_policy)
        self.network = network
        self.reading: _Reading | None = reading  # while the layer is called for the first time, symbolically

    def call(self, inputs):
        with _recorded(self.network, self.reading or nullcontext()) as maps:
            logits = self.network(inputs)
        self.calls = len(maps)
        return {"feature_map": maps[0] if maps else logits, "logits": logits}


class _Reading(keras.StatelessScope):
    """Notes which variables are read in it. What is assigned in it is lost, so it is for symbolic calls alone."""

    def __init__(self):
        super().__init__(initialize_variables=False)
        self.read: set[int] = set()

    def get_current_value(self, variable):
        self.read.add(id(variable))
        return super().get_current_value(variable)


@contextmanager
def _recorded(network, scope):
    """Collects what `network.feature_map`, run in `scope`, returns; the network is as before afterwards."""
    original, maps = network.feature_map, []

    def feature_map(*args, **kwargs):
        with scope:
            maps.append(original(*args, **kwargs))
        return maps[-1]

    vars(network)["feature_map"] = feature_map
    try:
        yield maps
    finally:
        del vars(network)["feature_map"]


def _inputs_like(tensors):
    return [keras.Input(batch_shape=tensor.shape, dtype=tensor.dtype) for tensor in tensors]


def _nothing_inside(layer, path):
    return (
        f"nothing can be taken inside {layer.name!r}, a {type(layer).__name__}. Received: {'/'.join(path)!r}; name the "
        "layer itself, a layer of a nested model, or '/attention' of a layer whose call takes "
        f"{' or '.join(_ATTENTION_FLAGS)}"
    )


def _is_called_its_own_way(network):
    """Whether a functional model's class says how it is called, which may cost less than its graph."""
    own = not type(network).call.__module__.startswith("keras.")
    return own and callable(getattr(network, "feature_map", None))


def _uncompiled(network):
    inputs = network.inputs if isinstance(network, keras.Sequential) else network.input
    if isinstance(inputs, list) and len(inputs) == 1:
        inputs = inputs[0]
    return keras.Model(inputs, network.outputs[0])


def _once(found, path):
    if len(found) != 1:
        raise _NotThereError(
            f"{'/'.join(path)!r} is called {len(found)} times, so it is not clear which feature is meant; "
            "name a layer that is called once"
        )
    return found[0]


def _attention_flag(layer):
    arguments = inspect.signature(layer.call).parameters
    return next((flag for flag in _ATTENTION_FLAGS if flag in arguments), None)


def check_network(network: Any, role: str) -> None:
    """Refuses what cannot be tapped at all."""
    if not isinstance(network, keras.Model):
        raise DistillationError(f"`{role}` must be a keras.Model. Received: {type(network).__name__}")
    if not getattr(network, "inputs", None):
        sequential = isinstance(network, keras.Sequential)
        if sequential or not callable(getattr(network, "feature_map", None)):
            raise DistillationError(
                f"`{role}` must be a functional model, a Sequential one that is built, or a subclassed one with a "
                f"method `feature_map` that its `call` goes through. Received: {type(network).__name__} "
                f"{network.name!r}; for a Sequential model, start with keras.Input(shape)"
            )
    elif len(network.outputs) != 1:
        raise DistillationError(
            f"`{role}` must have one output, the logits. Received: {network.name!r} with {len(network.outputs)} "
            "outputs; choose one with keras.Model(model.inputs, model.outputs[0])"
        )


def check_returns_logits(network: keras.Model, role: str) -> None:
    """Refuses a network that ends in softmax or sigmoid: a loss on logits would apply it a second time.

    Of a subclassed network the last layer is not known, so it is not checked.
    """
    if not getattr(network, "inputs", None):
        return
    last = _uncompiled(network).operations[-1]
    if isinstance(last, keras.Model):
        return check_returns_logits(last, role)
    activation = getattr(getattr(last, "activation", None), "__name__", type(last).__name__.lower())
    if activation in _PROBABILITIES:
        raise DistillationError(
            f"`{role}` must return logits, and its last layer {last.name!r} returns probabilities ({activation}). "
            "Build it with activation=None, or without that layer"
        )
    return None


def all_layers(network: keras.Model) -> Iterator[keras.layers.Layer]:
    """A network's layers, nested networks followed by theirs."""
    for layer in network.layers:
        yield layer
        if isinstance(layer, keras.Model):
            yield from all_layers(layer)
