"""Runs the network of a bundle: texts to logits, grouped by length so that none depend on their neighbours."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Final

import numpy as np
import openvino as ov
from numpy.typing import NDArray
from tokenizers import Encoding, Tokenizer

from credence.blocks import BLOCK_SIZE, decode_q4, decode_q8
from credence.bundle import BundlePaths
from credence.errors import BundleError
from credence.labels import OUTCOMES

EMBEDDING_KEY: Final = "embedding.q4"
MAX_BATCH: Final = 32
_LENGTH_STEP: Final = 8
# No run of tokens spells out more characters than this on average, so the rest of a longer text need not be tokenised.
_MAX_CHARS_PER_TOKEN: Final = 16


@dataclass(frozen=True, slots=True)
class Logits:
    """``values`` (n_statements, n_outcomes), how many characters of each text were read, and what it took."""

    values: NDArray[np.float32]
    read_chars: tuple[int, ...]
    n_tokens: int
    tokenise_seconds: float
    infer_seconds: float


class OutcomeModel:
    """The network, its tokenizer and the word embedding of one bundle. Safe to call from several threads."""

    def __init__(
        self, paths: BundlePaths, *, text_prefix: str, max_length_tokens: int, inference_threads: int | None = None
    ) -> None:
        """Expand the weights and compile the network; raises ``BundleError`` if the parts do not fit together."""
        self._prefix = text_prefix
        self._max_chars = max_length_tokens * _MAX_CHARS_PER_TOKEN
        self._tokenizer = Tokenizer.from_file(str(paths.tokenizer))
        self._tokenizer.enable_truncation(max_length_tokens)
        self._embedding, weights = read_weights(paths)
        if len(self._embedding) != self._tokenizer.get_vocab_size():
            raise BundleError(
                f"the embedding has {len(self._embedding)} rows; "
                f"the tokenizer has {self._tokenizer.get_vocab_size()} pieces"
            )
        core = ov.Core()
        network = core.read_model(paths.graph.read_text(encoding="utf-8"), ov.Tensor(weights))
        options: dict[str, str | int] = {"PERFORMANCE_HINT": "LATENCY"}
        if inference_threads is not None:
            options["INFERENCE_NUM_THREADS"] = inference_threads
        self._network = core.compile_model(network, "CPU", options)

    def score_logits(self, texts: Sequence[str]) -> Logits:
        """Return the logits of each text, in the order given."""
        started = perf_counter()
        encodings = self._tokenizer.encode_batch([self._prefix + text[: self._max_chars] for text in texts])
        groups: defaultdict[int, list[int]] = defaultdict(list)
        for row, encoding in enumerate(encodings):
            groups[-(-len(encoding.ids) // _LENGTH_STEP) * _LENGTH_STEP].append(row)
        tokenised = perf_counter()
        values = np.empty((len(texts), len(OUTCOMES)), np.float32)
        request = self._network.create_infer_request()
        for length, rows in groups.items():
            for start in range(0, len(rows), MAX_BATCH):
                batch = rows[start : start + MAX_BATCH]
                values[batch] = self._infer(request, [encodings[row].ids for row in batch], length)
        return Logits(
            values,
            read_chars=tuple(self._read_chars(t, e) for t, e in zip(texts, encodings, strict=True)),
            n_tokens=sum(len(encoding.ids) for encoding in encodings),
            tokenise_seconds=tokenised - started,
            infer_seconds=perf_counter() - tokenised,
        )

    def _infer(self, request: ov.InferRequest, ids: list[list[int]], length: int) -> NDArray[np.float32]:
        mask = np.zeros((len(ids), length), np.float32)
        embeddings = np.zeros((len(ids), length, self._embedding.shape[1] * BLOCK_SIZE), np.float32)
        for row, row_ids in enumerate(ids):
            mask[row, : len(row_ids)] = 1
            embeddings[row, : len(row_ids)] = decode_q4(self._embedding[row_ids])
        result: NDArray[np.float32] = request.infer([embeddings, mask])[0]
        return result

    def _read_chars(self, text: str, encoding: Encoding) -> int:
        if not encoding.overflowing:
            return min(len(text), self._max_chars)
        ends = [end for _, end in encoding.offsets]
        return max(0, max(ends) - len(self._prefix))


def constant_key(offset: int, encoding: str) -> str:
    """Return the name under which the constant that begins at a byte of the expanded weights is stored."""
    return f"{offset:012d}.{encoding}"


def read_weights(paths: BundlePaths) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Return the embedding in its 4-bit rows, and the network's constants as the flat bytes that its graph names."""
    with np.load(paths.weights, allow_pickle=False) as archive:
        return archive[EMBEDDING_KEY], _expand({key: archive[key] for key in archive.files if key != EMBEDDING_KEY})


def _expand(constants: dict[str, NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """Lay the constants out as the flat bytes that the graph refers to."""
    pieces: list[tuple[int, NDArray[np.uint8]]] = []
    for key, stored in constants.items():
        start, encoding = key.split(".")
        data = decode_q8(stored).reshape(-1).view(np.uint8) if encoding == "q8" else stored
        pieces.append((int(start), data))
    flat = np.zeros(max(start_byte + data.nbytes for start_byte, data in pieces), np.uint8)
    for start_byte, data in pieces:
        flat[start_byte : start_byte + data.nbytes] = data
    return flat
