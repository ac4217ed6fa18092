"""keras_vitser/layers/encoder_block.py"""

import keras
import numpy as np
import pytest
from scipy.special import erf

from keras_vitser.layers import EncoderBlock

from .layer_checks import check_layer, to_numpy

pytestmark = pytest.mark.backends("tensorflow", "jax", "torch")

TOKENS = np.random.default_rng(0).standard_normal((2, 7, 12)).astype("float32")


def layer_norm(x, gamma, beta):
    mean = x.mean(axis=-1, keepdims=True)
    return (x - mean) / np.sqrt(((x - mean) ** 2).mean(axis=-1, keepdims=True) + 1e-5) * gamma + beta


def block_of_the_paper(x, weights, heads, width):
    """Pre-norm; query, key, value stacked in that order, heads outermost within each; scale 1/sqrt(width)."""
    norm = layer_norm(x, weights["attention_norm/gamma"], weights["attention_norm/beta"])
    inner = heads * width
    query, key, value = np.split(norm @ weights["query_key_value/kernel"], [inner, 2 * inner], axis=-1)
    gathered, attention = [], []
    for head in range(heads):
        part = slice(head * width, (head + 1) * width)
        scores = query[..., part] @ key[..., part].swapaxes(1, 2) / np.sqrt(width)
        rows = np.exp(scores - scores.max(axis=-1, keepdims=True))
        rows /= rows.sum(axis=-1, keepdims=True)
        attention.append(rows)
        gathered.append(rows @ value[..., part])
    update = np.concatenate(gathered, axis=-1)
    if "attention_output/kernel" in weights:
        update = update @ weights["attention_output/kernel"] + weights["attention_output/bias"]
    x = x + update
    norm = layer_norm(x, weights["mlp_norm/gamma"], weights["mlp_norm/beta"])
    hidden = norm @ weights["mlp_in/kernel"] + weights["mlp_in/bias"]
    hidden = hidden * 0.5 * (1 + erf(hidden / np.sqrt(2)))
    return x + hidden @ weights["mlp_out/kernel"] + weights["mlp_out/bias"], np.stack(attention, axis=1)


def built(num_heads, head_dim, mlp_dim=16, **kwargs):
    """A block with drawn weights, and these by name in float64."""
    block = EncoderBlock(num_heads, head_dim, mlp_dim, **kwargs)
    block(TOKENS)
    generator = np.random.default_rng(1)
    block.set_weights([generator.normal(0, 0.5, weight.shape) for weight in block.get_weights()])
    names = ["/".join(variable.path.split("/")[-2:]) for variable in block.weights]
    return block, dict(zip(names, [w.astype("float64") for w in block.get_weights()], strict=True))


def test_as_every_layer(tmp_path):
    arguments = {"num_heads": 3, "head_dim": 4, "mlp_dim": 20, "dropout": 0.25}
    # 0.15: sums up to about 4 of four products in bfloat16's 8 bits.
    check_layer(EncoderBlock, arguments, TOKENS, tmp_path, half_atol=0.15)


@pytest.mark.parametrize(("num_heads", "head_dim"), [(3, 4), (1, 5), (2, 12), (1, 12)])
def test_equals_the_statement_in_numpy(num_heads, head_dim):
    block, weights = built(num_heads, head_dim)
    expected, expected_attention = block_of_the_paper(TOKENS.astype("float64"), weights, num_heads, head_dim)
    output, attention = block(TOKENS, return_attention=True)
    # 2e-5 at numbers up to about 10: a dozen float32 roundings (5e-7 each) in a row.
    np.testing.assert_allclose(to_numpy(output), expected, atol=2e-5, rtol=0)
    # 2e-6 of probabilities up to 1.
    np.testing.assert_allclose(to_numpy(attention), expected_attention, atol=2e-6, rtol=0)
    np.testing.assert_array_equal(to_numpy(block(TOKENS)), to_numpy(output))


@pytest.mark.parametrize("quantized", [False, True])
def test_listeners_are_the_first_tokens(quantized):
    block, _ = built(3, 4)
    if quantized:
        block.query_key_value.quantize("int8")
    output, attention = block(TOKENS, return_attention=True)
    first, weights = block(TOKENS, return_attention=True, listeners=2)
    # 1e-5 at numbers up to about 10: a product of fewer rows sums in another order.
    np.testing.assert_allclose(to_numpy(first), to_numpy(output)[:, :2], atol=1e-5, rtol=0)
    np.testing.assert_allclose(to_numpy(weights), to_numpy(attention)[:, :, :2], atol=1e-6, rtol=0)
    symbolic = block(keras.KerasTensor(TOKENS.shape), return_attention=True, listeners=2)
    assert [tuple(tensor.shape) for tensor in symbolic] == [first.shape, weights.shape]


def test_a_thousand_equal_tokens_equal_the_statement_in_numpy():
    """A short clip: most of its image is silence. Sums of equal numbers drift in float32 where nothing is done."""
    block, weights = built(3, 4)
    tokens = np.concatenate([TOKENS, np.repeat(TOKENS[:, :1], 1000, axis=1)], axis=1)
    expected, _ = block_of_the_paper(tokens.astype("float64"), weights, 3, 4)
    # 5e-6 at numbers up to about 10. The plain sum over the tokens is 8e-6 (JAX) to 3e-5 (PyTorch) off.
    np.testing.assert_allclose(to_numpy(block(tokens)), expected, atol=5e-6, rtol=0)


def test_dropout_of_attention_is_of_the_values_themselves():
    """With every weight of attention dropped, what is left is the bias of the output projection."""
    block, weights = built(3, 4, dropout=0.5)
    for index, layer in enumerate(block.dropouts):
        layer.rate = 1 - 1e-7 if index == 0 else 0.0
    update, _ = block._attend(keras.ops.convert_to_tensor(TOKENS), True)
    bias = np.broadcast_to(weights["attention_output/bias"], update.shape)
    # 1e-6: one float32 rounding.
    np.testing.assert_allclose(to_numpy(update), bias, atol=1e-6, rtol=0)


def test_one_head_as_wide_as_a_token_has_no_output_projection():
    assert not any("attention_output" in name for name in built(1, 12)[1])
    assert "attention_output/bias" in built(1, 11)[1]
    assert "attention_output/bias" in built(2, 12)[1]


def test_query_key_value_has_no_bias():
    assert [name for name in built(2, 4)[1] if name.startswith("query")] == ["query_key_value/kernel"]


def test_rows_of_attention_sum_to_one():
    _, attention = built(3, 4)[0](TOKENS, return_attention=True)
    assert attention.shape == (2, 3, 7, 7)
    # 1e-6: a float32 sum of seven numbers that make 1.
    np.testing.assert_allclose(to_numpy(attention).sum(axis=-1), 1, atol=1e-6, rtol=0)


def test_order_of_tokens_does_not_matter():
    block, _ = built(3, 4)
    order = np.random.default_rng(2).permutation(7)
    # 1e-5: the same float32 sums in another order.
    np.testing.assert_allclose(to_numpy(block(TOKENS[:, order])), to_numpy(block(TOKENS))[:, order], atol=1e-5, rtol=0)


def test_dropout_works_in_training_only():
    block, _ = built(3, 4, dropout=0.5)
    inference = to_numpy(block(TOKENS, training=False))
    np.testing.assert_array_equal(to_numpy(block(TOKENS, training=False)), inference)
    first, second = to_numpy(block(TOKENS, training=True)), to_numpy(block(TOKENS, training=True))
    assert (first != inference).any()
    assert (first != second).any()


def test_dropout_stands_at_all_four_places():
    block, _ = built(3, 4, dropout=0.5)
    inference = to_numpy(block(TOKENS))
    assert len(block.dropouts) == 4
    for place in range(4):
        for index, layer in enumerate(block.dropouts):
            layer.rate = 0.5 if index == place else 0.0
        assert (to_numpy(block(TOKENS, training=True)) != inference).any(), block.dropouts[place].name


def test_gradient_reaches_the_input():
    """Tokens that attention ignores still get the residual: removing it would stop stages (b) and (c)."""
    tokens = keras.Input((7, 12))
    block, _ = built(3, 4)
    for weight in block.weights:
        weight.assign(np.zeros(weight.shape))
    np.testing.assert_array_equal(to_numpy(keras.Model(tokens, block(tokens))(TOKENS)), TOKENS)
