"""Block-quantised weights: hand-made blocks, exact round trips where they are promised, error bounds where not."""

import struct
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from credence.blocks import BLOCK_SIZE, Q4_BLOCK_BYTES, Q8_BLOCK_BYTES, decode_q4, decode_q8, encode_q4, encode_q8

Encode = Callable[[NDArray[np.float32]], NDArray[np.uint8]]
Decode = Callable[[NDArray[np.uint8]], NDArray[np.float32]]


def make_q4_blocks(seed: int, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    generator = np.random.default_rng(seed)
    scales = generator.normal(0, 0.1, (*shape, 1)).astype("<f2").view(np.uint8)
    return np.concatenate([scales, generator.integers(0, 256, (*shape, 16), np.uint8)], axis=-1)


def make_values(seed: int, shape: tuple[int, ...]) -> NDArray[np.float32]:
    return np.random.default_rng(seed).normal(0, 0.05, shape).astype(np.float32)


def test_a_hand_made_q4_block_is_read_low_nibbles_first() -> None:
    codes = bytes([0x80, 0x19, 0xF7, *[0x88] * 13])
    values = decode_q4(np.frombuffer(struct.pack("<e", 0.5) + codes, np.uint8).reshape(1, Q4_BLOCK_BYTES))
    expected = np.zeros(BLOCK_SIZE, np.float32)
    expected[[0, 1, 2]] = [-4.0, 0.5, -0.5]
    expected[[16, 17, 18]] = [0.0, -3.5, 3.5]
    np.testing.assert_array_equal(values, expected)


def test_a_hand_made_q8_block_holds_signed_bytes() -> None:
    block = struct.pack("<e32b", 0.25, 127, -127, 1, *[0] * 29)
    values = decode_q8(np.frombuffer(block, np.uint8).reshape(1, Q8_BLOCK_BYTES))
    np.testing.assert_array_equal(values[:4], np.asarray([31.75, -31.75, 0.25, 0.0], np.float32))


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 2**32 - 1))
def test_values_that_came_from_q4_blocks_survive_exactly(seed: int) -> None:
    blocks = make_q4_blocks(seed, (5, 3))
    # A nibble 0 in each block: E5S1 files have it, as the value of greatest magnitude sets the scale.
    blocks[..., 2] &= 0xF0
    values = decode_q4(blocks)
    np.testing.assert_array_equal(decode_q4(encode_q4(values)), values)


def test_encoding_twice_changes_nothing_more() -> None:
    once = decode_q4(encode_q4(make_values(1, (4, 64))))
    np.testing.assert_array_equal(decode_q4(encode_q4(once)), once)


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 2**32 - 1))
def test_q8_values_are_off_by_at_most_half_a_step(seed: int) -> None:
    values = make_values(seed, (4, 96))
    peaks = np.abs(values.reshape(4, 3, BLOCK_SIZE)).max(-1, keepdims=True)
    # Half a step, and what float16 takes off a scale: up to 2**-11 of it, 127 times over for the greatest value.
    bound = np.repeat(peaks * (0.5 / 127 + 2**-11), BLOCK_SIZE, axis=-1).reshape(values.shape)
    assert (np.abs(decode_q8(encode_q8(values)) - values) <= bound).all()


def test_q8_is_closer_than_q4() -> None:
    values = make_values(2, (8, 64))
    off_by_8, off_by_4 = decode_q8(encode_q8(values)) - values, decode_q4(encode_q4(values)) - values
    assert np.abs(off_by_8).mean() * 10 < np.abs(off_by_4).mean()


@pytest.mark.parametrize(
    ("encode", "decode", "n_bytes"),
    [(encode_q4, decode_q4, Q4_BLOCK_BYTES), (encode_q8, decode_q8, Q8_BLOCK_BYTES)],
)
def test_zeros_stay_zeros_and_shapes_are_kept(encode: Encode, decode: Decode, n_bytes: int) -> None:
    blocks = encode(np.zeros((2, 3, 64), np.float32))
    assert blocks.shape == (2, 3, 2, n_bytes)
    np.testing.assert_array_equal(decode(blocks), np.zeros((2, 3, 64), np.float32))


@pytest.mark.parametrize("encode", [encode_q4, encode_q8])
def test_a_row_that_does_not_fill_its_blocks_is_refused(encode: Encode) -> None:
    with pytest.raises(ValueError, match="33 values; expected a multiple of 32"):
        encode(np.zeros((2, 33), np.float32))
