"""ViT-SER, teacher and student (paper 1: Kim and Lee 2024; sizes as in the authors' published network)."""

import os
from collections.abc import Callable, Sequence
from typing import Any, Self

import keras
from keras import ops

from keras_vitser.labels import LabelCheck, checked_call
from keras_vitser.layers import (
    ClassToken,
    ConvStem,
    CoordinateConcat,
    EncoderBlock,
    TokenPooling,
    VerticalPatches,
)
from keras_vitser.models.finite_weights import check_finite


@keras.saving.register_keras_serializable(package="keras_vitser")
class ViTSER(keras.Model):
    """A vision transformer that reads a log-Mel image in vertical patches and returns logits.

    A functional model with fixed layer names: `conv_stem` and `coordinates` (teacher),
    `patches`, `class_token`, `encoder_block_0` and so on, `encoder_norm`,
    `feature_map`, `head`. There is no position embedding: the teacher is told
    positions by coordinate channels, the student learns them from the teacher.

    Args:
        num_classes: Positive int, number of logits.
        image_size: `(bands, frames)` of the images. Defaults to `(128, 128)`.
        patch_size: `(bands, frames)` of a patch. Defaults to `(128, 1)`.
        hidden_dim: Positive int, width of a token. Defaults to 256.
        depth: Positive int, number of encoder blocks. Defaults to 3.
        num_heads: Positive int, attention heads a block. Defaults to 5.
        head_dim: Positive int, width of a head. Defaults to 64.
        mlp_dim: Positive int, width inside the MLP. Defaults to 256.
        conv_stem: Bool. Whether six convolutions come first; or a tuple of positive ints, the channels
            of others in their place (ours), `(16, 32, 64, 32, 16, 1)` being the six. Defaults to `False`.
        coordinates: Bool. Whether coordinate channels are added, or `"published"` for those
            of the authors' code, which on non-square images have another scale (see
            `CoordinateConcat`). Defaults to `False`.
        pooling: `"class_token"` (default) or `"mean"` of all tokens: the feature map.
        dropout: Float in [0, 1). Defaults to 0.
        name: Optional name.

    Input shape:
        `(batch, bands, frames, 1)`, values in 0..1.

    Output shape:
        `(batch, num_classes)`, logits.

    Raises:
        ValueError: An argument is out of its range, or patches do not fill the image.

    Example:
        >>> import numpy as np
        >>> student = ViTSER.student(num_classes=7)
        >>> student.count_params()
        1417991
        >>> image = np.zeros((2, 128, 128, 1), "float32")
        >>> tuple(student(image).shape), tuple(student.feature_map(image).shape)
        ((2, 7), (2, 256))
    """

    def __init__(
        self,
        num_classes: int,
        image_size: tuple[int, int] = (128, 128),
        patch_size: tuple[int, int] = (128, 1),
        hidden_dim: int = 256,
        depth: int = 3,
        num_heads: int = 5,
        head_dim: int = 64,
        mlp_dim: int = 256,
        conv_stem: bool | Sequence[int] = False,
        coordinates: bool | str = False,
        pooling: str = "class_token",
        dropout: float = 0.0,
        name: str | None = None,
        dtype: Any = None,
        **kwargs: Any,
    ):
        sizes = {
            "num_classes": num_classes,
            "hidden_dim": hidden_dim,
            "depth": depth,
            "num_heads": num_heads,
            "head_dim": head_dim,
            "mlp_dim": mlp_dim,
        }
        if not isinstance(conv_stem, bool):
            if not isinstance(conv_stem, list | tuple) or not conv_stem:
                raise ValueError(
                    f"`conv_stem` must be a bool or a tuple of channels. Received: conv_stem={conv_stem!r}"
                )
            sizes |= {f"conv_stem[{index}]": count for index, count in enumerate(conv_stem)}
            conv_stem = tuple(conv_stem)
        for key, value in sizes.items():
            if not isinstance(value, int) or value < 1:
                raise ValueError(f"`{key}` must be a positive int. Received: {key}={value!r}")
        if coordinates not in (False, True, "published"):
            raise ValueError(f"`coordinates` must be a bool or 'published'. Received: coordinates={coordinates!r}")
        if not 0 <= dropout < 1:
            raise ValueError(f"`dropout` must be in [0, 1). Received: dropout={dropout}")

        images = keras.Input((*image_size, 1), name="image")
        x = images
        if conv_stem:
            channels: dict[str, Any] = {} if conv_stem is True else {"channels": conv_stem}
            x = ConvStem(**channels, dtype=dtype, name="conv_stem")(x)
        if coordinates:
            x = CoordinateConcat(coordinates == "published", dtype=dtype, name="coordinates")(x)
        x = VerticalPatches(patch_size, hidden_dim, dtype=dtype, name="patches")(x)
        x = ClassToken(dtype=dtype, name="class_token")(x)
        for index in range(depth):
            x = EncoderBlock(num_heads, head_dim, mlp_dim, dropout, dtype=dtype, name=f"encoder_block_{index}")(x)
        x = keras.layers.LayerNormalization(epsilon=1e-5, dtype=dtype, name="encoder_norm")(x)
        x = TokenPooling(pooling, dtype=dtype, name="feature_map")(x)
        logits = keras.layers.Dense(num_classes, dtype=dtype, name="head")(x)
        super().__init__(inputs=images, outputs=logits, name=name, **kwargs)

        self.num_classes = num_classes
        self.image_size = tuple(image_size)
        self.patch_size = tuple(patch_size)
        self.hidden_dim = hidden_dim
        self.depth = depth
        self.num_heads = num_heads
        self.head_dim = head_dim
        self.mlp_dim = mlp_dim
        self.conv_stem = conv_stem
        self.coordinates = coordinates
        self.pooling = pooling
        self.dropout = dropout
        self._own_dtype = dtype

    @classmethod
    def teacher(cls, num_classes: int, **kwargs: Any) -> Self:
        """The paper's teacher: stem, coordinates, depth 6. 2,912,200 parameters for 7 classes.

        Any argument of `ViTSER` may be given; the large teacher has `depth=12, num_heads=12`.
        """
        arguments: dict[str, Any] = {"depth": 6, "conv_stem": True, "coordinates": True, "name": "teacher", **kwargs}
        return cls(num_classes, **arguments)

    @classmethod
    def student(cls, num_classes: int, **kwargs: Any) -> Self:
        """The paper's student: no stem, no coordinates, depth 3. 1,417,991 parameters for 7 classes.

        Any argument of `ViTSER` may be given.
        """
        return cls(num_classes, **{"name": "student"} | kwargs)

    @classmethod
    def from_author_checkpoint(
        cls,
        path: str | os.PathLike,
        image_size: tuple[int, int] = (128, 128),
        patch_size: tuple[int, int] = (128, 1),
        num_heads: int | None = None,
        pooling: str = "class_token",
    ) -> "ViTSER":
        """The network of a PyTorch checkpoint that the paper's authors published, or that their code wrote.

        Teacher or student, depth, widths and number of classes are read off the shapes; image size, patch size,
        heads and pooling are not in the file. PyTorch need not be installed, and no code that the file may carry
        is run.

        Args:
            path: The file, `torch.save({"model_state_dict": ...}, path)`.
            image_size: `(bands, frames)` of the images; `(128, 1001)` for the published teacher with the
                uninterpolated time axis. Defaults to `(128, 128)`.
            patch_size: `(bands, frames)` of a patch. Defaults to `(128, 1)`.
            num_heads: Positive int, or `None` (default) for heads of width 64.
            pooling: `"class_token"` (default) or `"mean"`, the code's other option.

        Returns:
            The `ViTSER`, whose logits and feature map are those of the authors' network.

        Raises:
            CheckpointError: The file is missing, damaged, needs code to be run, is not their format, or does not
                fit the sizes given; the message names the key.
        """
        from keras_vitser.models.vit_ser.author_checkpoint import from_author_checkpoint

        return from_author_checkpoint(cls, path, image_size, patch_size, num_heads, pooling)

    @classmethod
    def from_preset(cls, preset: str | os.PathLike) -> "ViTSER":
        """The network of a preset, without labels and front end; `Recognizer.from_preset` has them too.

        Args:
            preset: A folder that `Recognizer.save_to_preset` wrote, a name, `hf://USER/REPO@REVISION` or
                `kaggle://USER/MODEL/FRAMEWORK/VARIATION/VERSION`; revision and version may be left out.

        Returns:
            The `ViTSER`, with its weights.

        Raises:
            PresetError: There is no such preset, it cannot be downloaded, or it holds what does not belong there.
            ModelFolderError: A file in it is missing or damaged, comes from a newer version, or holds a weight that is
                NaN or infinite.
        """
        from keras_vitser.models.model_folder import NETWORK_FILE, read_network
        from keras_vitser.models.presets import preset_folder

        return read_network(preset_folder(preset) / NETWORK_FILE)

    @property
    def patch_grid(self) -> tuple[int, ...]:
        """How the patches lie in the image, `(rows, columns)`."""
        return tuple(size // patch for size, patch in zip(self.image_size, self.patch_size, strict=True))

    @property
    def taps(self) -> dict[str, tuple[str, Callable[[Any], Any]]]:
        """Names of `named_outputs` besides the layers': a layer, and what is taken of its output."""
        return {
            "all_tokens": ("encoder_norm", lambda tokens: tokens),
            "class_token": ("encoder_norm", lambda tokens: tokens[:, 0]),
            "patch_tokens": ("encoder_norm", lambda tokens: tokens[:, 1:]),
        }

    @property
    def nameable_outputs(self) -> list[str]:
        """All that `named_outputs` can be asked for: list of str."""
        return list(self._sources())

    def named_outputs(self, images: Any, names: Sequence[str], training: bool | None = None) -> dict[str, Any]:
        """The forward pass: what is named of all that is computed in it. No layer after the last one named is run.

        Where no name needs more, only the pooled tokens are used as queries in the last block: of a student, with its
        class token, a fifth of all operations is saved.

        Args:
            images: `(batch, bands, frames, 1)`.
            names: Strs, of `nameable_outputs`:
                `"logits"`, `(batch, num_classes)`;
                `"feature_map"`, the pooled tokens, `(batch, hidden_dim)`;
                `"all_tokens"`, after the last normalisation, `(batch, 1 + patches, hidden_dim)`, class token first,
                `"class_token"`, that first one, and `"patch_tokens"`, all others;
                `"encoder_block_0/attention"`, a block's attention weights, `(batch, num_heads, queries, keys)`, and
                `"pooled_attention"`, the last block's with the pooled tokens alone as queries;
                any other layer's name, for its output.
            training: Bool or `None`, as for `call`.

        Returns:
            Dict of tensors by name.

        Raises:
            ValueError: There is no such name.

        Example:
            >>> import numpy as np
            >>> student = ViTSER.student(num_classes=7)
            >>> out = student.named_outputs(np.zeros((2, 128, 128, 1)), ["logits", "encoder_block_2/attention"])
            >>> tuple(out["logits"].shape), tuple(out["encoder_block_2/attention"].shape)
            ((2, 7), (2, 5, 129, 129))
        """
        sources = self._sources()
        unknown = [name for name in names if name not in sources]
        if unknown:
            raise ValueError(f"`names` must be among {', '.join(sources)}. Received: {unknown[0]!r}")
        wanted = {name: sources[name] for name in names}
        (images,) = keras.tree.flatten(images)  # as Keras does it: from a dict or a list, of any dtype, without channel
        x = ops.reshape(ops.cast(images, self.inputs[0].dtype), (-1, *self.image_size, 1))  # (batch, bands, frames, 1)
        out = {}
        for layer in self.layers[1:]:
            attention = None
            if isinstance(layer, EncoderBlock):
                queries = self._last_queries(wanted) if layer.name == self._last_block else None
                x, attention = layer(x, training=training, return_attention=True, listeners=queries)
            else:
                x = layer(x, training=training) if isinstance(layer, ConvStem) else layer(x)
            for name, (source, take) in wanted.items():
                if source == layer.name:
                    out[name] = take(x, attention)
            if len(out) == len(wanted):
                break
        return {name: out[name] for name in wanted}

    def _sources(self):
        """By name: the layer that gives it, and what is taken of that layer's output and attention weights."""
        layers = {layer.name: (layer.name, lambda x, attention: x) for layer in self.layers[1:]}
        blocks = [f"encoder_block_{index}" for index in range(self.depth)]
        return {
            **{name: (layer, lambda x, attention, take=take: take(x)) for name, (layer, take) in self.taps.items()},
            **{name: source for name, source in layers.items() if name not in self.taps},
            "logits": layers["head"],
            **{f"{block}/attention": (block, lambda x, attention: attention) for block in blocks},
            "pooled_attention": (self._last_block, lambda x, attention: attention[:, :, : self._pooled_tokens]),
        }

    @property
    def _last_block(self):
        return f"encoder_block_{self.depth - 1}"

    @property
    def _pooled_tokens(self):
        """How many of the first tokens are pooled, `None` for all."""
        return 1 if self.pooling == "class_token" else None

    def _last_queries(self, names):
        """How many of the first tokens are used as queries in the last block, `None` for all."""
        needing_all = {self._last_block, f"{self._last_block}/attention", "encoder_norm", "all_tokens", "patch_tokens"}
        return None if needing_all & set(names) else self._pooled_tokens

    def call(self, images: Any, training: bool | None = None, mask: Any = None) -> Any:
        return self.named_outputs(images, ["logits"], training)["logits"]

    def tokens(self, images: Any) -> Any:
        """All tokens after the last normalisation, `(batch, 1 + patches, hidden_dim)`, class token first."""
        return self.named_outputs(images, ["all_tokens"], training=False)["all_tokens"]

    def feature_map(self, images: Any, training: bool | None = False) -> Any:
        """What the losses match: the pooled tokens, `(batch, hidden_dim)`."""
        return self.named_outputs(images, ["feature_map"], training)["feature_map"]

    def attention_weights(self, images: Any) -> list[Any]:
        """How much each token (row) attends to each other one.

        Args:
            images: `(batch, bands, frames, 1)`.

        Returns:
            List of `depth` tensors `(batch, num_heads, 1 + patches, 1 + patches)`, rows summing
            to 1, class token first.
        """
        names = [f"encoder_block_{index}/attention" for index in range(self.depth)]
        return list(self.named_outputs(images, names, training=False).values())

    def attention_over_time(self, images: Any) -> Any:
        """How much the pooled tokens attend to each column of patches, in the last block, mean of the heads.

        Args:
            images: `(batch, bands, frames, 1)`.

        Returns:
            float32 tensor `(batch, columns)`, rows summing to 1.
        """
        weights = self.named_outputs(images, ["pooled_attention"], training=False)["pooled_attention"]
        to_patches = ops.mean(ops.cast(weights, "float32")[..., 1:], axis=(1, 2))
        to_columns = ops.sum(ops.reshape(to_patches, (-1, *self.patch_grid)), axis=1)  # (batch, columns)
        return to_columns / ops.sum(to_columns, axis=1, keepdims=True)

    def fit(self, x: Any = None, y: Any = None, *args: Any, **kwargs: Any) -> keras.callbacks.History:
        """As `keras.Model.fit`.

        Raises:
            DistillationError: A label is beyond the classes, or no number: arrays are looked at before the first step,
                other data a batch at a time.
        """
        return checked_call(super().fit, self._label_check(), (x, y, *args), kwargs)

    def evaluate(self, x: Any = None, y: Any = None, *args: Any, **kwargs: Any) -> Any:
        """As `keras.Model.evaluate`.

        Raises:
            DistillationError: As `fit`.
        """
        return checked_call(super().evaluate, self._label_check(), (x, y, *args), kwargs)

    def save(self, filepath: str | os.PathLike, *args: Any, **kwargs: Any) -> None:
        """As `keras.Model.save`.

        Raises:
            NonFiniteWeightsError: A weight is NaN or infinite; nothing is written.
        """
        check_finite(self, filepath)
        super().save(filepath, *args, **kwargs)

    def export(self, filepath: str | os.PathLike, *args: Any, **kwargs: Any) -> None:
        """As `keras.Model.export`.

        Raises:
            NonFiniteWeightsError: As `save`.
        """
        check_finite(self, filepath)
        super().export(filepath, *args, **kwargs)

    def _label_check(self):
        return LabelCheck(getattr(self, "loss", None), (None, self.num_classes))

    def get_config(self) -> dict[str, Any]:
        names = (
            "num_classes",
            "image_size",
            "patch_size",
            "hidden_dim",
            "depth",
            "num_heads",
            "head_dim",
            "mlp_dim",
            "conv_stem",
            "coordinates",
            "pooling",
            "dropout",
            "name",
        )
        config = {name: getattr(self, name) for name in names}
        dtype = self._own_dtype
        if isinstance(dtype, keras.dtype_policies.DTypePolicy):
            dtype = keras.saving.serialize_keras_object(dtype)
        return {**config, "trainable": self.trainable, "dtype": dtype}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: dict[str, Any] | None = None) -> Self:
        return cls(**config)
