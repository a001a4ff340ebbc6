"""Block-quantised weights: 32 values share one float16 scale.

The 4-bit layout is that of ``E5S1`` files and of GGML's ``q4_0``: a float16 scale ``d``, then 16 bytes of which byte
``j`` holds value ``j`` in its low and value ``j + 16`` in its high nibble; a value is ``(nibble - 8) * d``. The 8-bit
layout is GGML's ``q8_0``: a float16 scale, then 32 signed bytes; a value is ``code * d``.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

BLOCK_SIZE: Final = 32
Q4_BLOCK_BYTES: Final = 2 + BLOCK_SIZE // 2
Q8_BLOCK_BYTES: Final = 2 + BLOCK_SIZE


def decode_q4(blocks: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Turn blocks of shape (..., n_blocks, 18) into values of shape (..., n_blocks * 32)."""
    scales, codes = _split(blocks)
    nibbles = np.concatenate([codes & 0x0F, codes >> 4], axis=-1).astype(np.int8) - 8
    return _join(scales, nibbles.astype(np.float32))


def encode_q4(values: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Turn values of shape (..., n * 32) into blocks of shape (..., n, 18).

    The value of greatest magnitude becomes nibble 0, so values that came from 4-bit blocks survive exactly.
    """
    grouped = _group(values)
    peaks = np.take_along_axis(grouped, np.abs(grouped).argmax(axis=-1)[..., None], axis=-1)
    scales = (peaks / -8).astype(np.float16)
    nibbles = np.clip(np.rint(_divide(grouped, scales)) + 8, 0, 15).astype(np.uint8)
    half = BLOCK_SIZE // 2
    return np.concatenate([scales.view(np.uint8), nibbles[..., :half] | (nibbles[..., half:] << 4)], axis=-1)


def decode_q8(blocks: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Turn blocks of shape (..., n_blocks, 34) into values of shape (..., n_blocks * 32)."""
    scales, codes = _split(blocks)
    return _join(scales, codes.view(np.int8).astype(np.float32))


def encode_q8(values: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Turn values of shape (..., n * 32) into blocks of shape (..., n, 34)."""
    grouped = _group(values)
    scales = (np.abs(grouped).max(axis=-1, keepdims=True) / 127).astype(np.float16)
    codes = np.clip(np.rint(_divide(grouped, scales)), -127, 127).astype(np.int8)
    return np.concatenate([scales.view(np.uint8), codes.view(np.uint8)], axis=-1)


def _split(blocks: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    scales = np.ascontiguousarray(blocks[..., :2]).view("<f2").astype(np.float32)
    return scales, np.ascontiguousarray(blocks[..., 2:])


def _group(values: NDArray[np.float32]) -> NDArray[np.float32]:
    if values.shape[-1] % BLOCK_SIZE:
        raise ValueError(f"the last axis holds {values.shape[-1]} values; expected a multiple of {BLOCK_SIZE}")
    return values.reshape(*values.shape[:-1], -1, BLOCK_SIZE)


def _join(scales: NDArray[np.float32], codes: NDArray[np.float32]) -> NDArray[np.float32]:
    values: NDArray[np.float32] = scales * codes
    return values.reshape(*values.shape[:-2], -1)


def _divide(values: NDArray[np.float32], scales: NDArray[np.float16]) -> NDArray[np.float32]:
    wide = scales.astype(np.float32)
    return np.divide(values, wide, out=np.zeros_like(values), where=wide != 0)
