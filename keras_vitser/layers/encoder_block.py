"""A pre-norm transformer block (paper 1; details as in the authors' published network)."""

from typing import Any

import keras
from keras import ops

from keras_vitser.layers.tensors import Shape, Tensor


@keras.saving.register_keras_serializable(package="keras_vitser")
class EncoderBlock(keras.layers.Layer):
    """`x + attention(norm(x))`, then `x + mlp(norm(x))`.

    One projection without bias gives queries, keys and values, stacked in that
    order with heads outermost within each; the output projection has a bias, and is
    left out for one head as wide as a token. The MLP is Linear, exact GELU, Linear.

    Args:
        num_heads: Positive int. Defaults to 5.
        head_dim: Positive int, width of a head; scores are scaled by its inverse
            square root. Defaults to 64.
        mlp_dim: Positive int, width inside the MLP. Defaults to 256.
        dropout: Float in [0, 1), on attention weights, attention output and both
            MLP layers. Defaults to 0.

    Input shape:
        `(batch, tokens, hidden_dim)`.

    Output shape:
        As the input. With `return_attention=True` in the call, a pair: that, and
        the attention weights `(batch, num_heads, tokens, tokens)`, rows summing to 1.
        With `listeners=N`, only the first N tokens are used as queries, and are returned:
        `(batch, N, hidden_dim)`, weights `(batch, num_heads, N, tokens)`.

    Example:
        >>> import numpy as np
        >>> block = EncoderBlock(num_heads=2)
        >>> tokens, attention = block(np.ones((1, 9, 32), "float32"), return_attention=True)
        >>> tuple(attention.shape)
        (1, 2, 9, 9)
    """

    def __init__(self, num_heads: int = 5, head_dim: int = 64, mlp_dim: int = 256, dropout: float = 0.0, **kwargs: Any):
        super().__init__(**kwargs)
        self.num_heads = num_heads
        self.head_dim = head_dim
        self.mlp_dim = mlp_dim
        self.dropout = dropout

    def build(self, input_shape: Shape) -> None:
        hidden_dim = input_shape[-1]
        inner_dim = self.num_heads * self.head_dim
        tokens = (None, None, hidden_dim)

        def built(layer: keras.layers.Layer, shape: Shape) -> keras.layers.Layer:
            layer.build(shape)
            return layer

        def dense(units: int, name: str, shape: Shape, **kwargs: Any) -> keras.layers.Dense:
            return built(keras.layers.Dense(units, dtype=self.dtype_policy, name=name, **kwargs), shape)

        def norm(name: str) -> keras.layers.LayerNormalization:
            layer = keras.layers.LayerNormalization(epsilon=1e-5, dtype=self.dtype_policy, name=name)
            return built(layer, tokens)

        def dropout(name: str) -> keras.layers.Dropout:
            return keras.layers.Dropout(self.dropout, dtype=self.dtype_policy, name=name)

        self.attention_norm = norm("attention_norm")
        self.query_key_value = dense(3 * inner_dim, "query_key_value", tokens, use_bias=False)
        self.attention_output = None
        if self.num_heads > 1 or self.head_dim != hidden_dim:
            self.attention_output = dense(hidden_dim, "attention_output", (None, None, inner_dim))
        self.mlp_norm = norm("mlp_norm")
        self.mlp_in = dense(self.mlp_dim, "mlp_in", tokens)
        self.mlp_out = dense(hidden_dim, "mlp_out", (None, None, self.mlp_dim))
        names = ("attention_weights_dropout", "attention_dropout", "mlp_in_dropout", "mlp_out_dropout")
        self.dropouts = [dropout(name) for name in names]
        self.built = True

    def call(
        self,
        tokens: Tensor,
        training: bool | None = None,
        return_attention: bool = False,
        listeners: int | None = None,
    ) -> Tensor | tuple[Tensor, Tensor]:
        update, attention = self._attend(self.attention_norm(tokens), training, listeners)
        tokens = tokens[:, :listeners] + update
        tokens = tokens + self._mlp(self.mlp_norm(tokens), training)
        return (tokens, attention) if return_attention else tokens

    def _attend(self, tokens: Tensor, training: bool | None, listeners: int | None = None) -> tuple[Tensor, Tensor]:
        inner_dim = self.num_heads * self.head_dim
        query, key, value = self._query_key_value(tokens, listeners)
        scores = ops.matmul(query, ops.transpose(key, (0, 1, 3, 2))) * self.head_dim**-0.5
        attention = ops.softmax(scores, axis=-1)  # (batch, heads, queries, tokens)
        # Weights sum to 1 (but for dropout), so a mean may be taken out of the values and put back. The many equal
        # tokens of silence, each rounded the same way, drift otherwise.
        mean = 0.0 if self.dropout else ops.mean(value, axis=2, keepdims=True)
        gathered = ops.matmul(self._dropped(attention, 0, training), value - mean) + mean
        gathered = ops.transpose(gathered, (0, 2, 1, 3))  # (batch, queries, heads, head_dim)
        gathered = ops.reshape(gathered, (-1, scores.shape[2], inner_dim))
        if self.attention_output is not None:
            gathered = self._dropped(self.attention_output(gathered), 1, training)
        return gathered, attention

    def _query_key_value(self, tokens: Tensor, listeners: int | None) -> tuple[Tensor, Tensor, Tensor]:
        """Each `(batch, heads, tokens, head_dim)`; queries of the first `listeners` tokens alone."""
        projection, length = self.query_key_value, tokens.shape[1]
        if listeners is None or projection.quantization_mode:
            stacked = ops.reshape(projection(tokens), (-1, length, 3, self.num_heads, self.head_dim))
            stacked = ops.transpose(stacked, (2, 0, 3, 1, 4))  # (3, batch, heads, tokens, head_dim)
            query, key, value = ops.unstack(stacked, 3)
            return query[:, :, :listeners], key, value
        inner_dim = self.num_heads * self.head_dim
        query = ops.matmul(tokens[:, :listeners], projection.kernel[:, :inner_dim])
        query = ops.reshape(
            query, (-1, query.shape[1], self.num_heads, self.head_dim)
        )  # (batch, queries, heads, head_dim)
        key_value = ops.matmul(tokens, projection.kernel[:, inner_dim:])
        key_value = ops.reshape(key_value, (-1, length, 2, self.num_heads, self.head_dim))
        key_value = ops.transpose(key_value, (2, 0, 3, 1, 4))  # (2, batch, heads, tokens, head_dim)
        key, value = ops.unstack(key_value, 2)
        return ops.transpose(query, (0, 2, 1, 3)), key, value

    def _mlp(self, tokens: Tensor, training: bool | None) -> Tensor:
        hidden = self._dropped(ops.gelu(self.mlp_in(tokens), approximate=False), 2, training)
        return self._dropped(self.mlp_out(hidden), 3, training)

    def _dropped(self, tensor: Tensor, index: int, training: bool | None) -> Tensor:
        # Where a backend runs layer by layer, calling one that does nothing costs 0.1 ms.
        return self.dropouts[index](tensor, training=training) if self.dropout else tensor

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return tuple(input_shape)

    def compute_output_spec(
        self,
        tokens: keras.KerasTensor,
        training: bool | None = None,
        return_attention: bool = False,
        listeners: int | None = None,
    ) -> keras.KerasTensor | tuple[keras.KerasTensor, keras.KerasTensor]:
        batch, length, hidden_dim = tokens.shape
        heard = len(range(length)[:listeners])
        output = keras.KerasTensor((batch, heard, hidden_dim), self.compute_dtype)
        attention = keras.KerasTensor((batch, self.num_heads, heard, length), self.compute_dtype)
        return (output, attention) if return_attention else output

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "num_heads": self.num_heads,
            "head_dim": self.head_dim,
            "mlp_dim": self.mlp_dim,
            "dropout": self.dropout,
        }
