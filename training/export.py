"""Torch to bundle: the network as OpenVINO IR, its weights in 8-bit blocks, the embedding in 4-bit rows."""

import io
import re
import tempfile
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from xml.etree import ElementTree

import numpy as np
import openvino as ov
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer
from torch import Tensor, nn

from credence.blocks import BLOCK_SIZE, encode_q4, encode_q8
from credence.bundle import BundlePaths
from credence.calibration import softmax
from credence.model_scorer import EMBEDDING_KEY, constant_key
from training.metrics import Floats
from training.model import OutcomeClassifier

MAX_SCORE_GAP: Final = 0.1
# Smaller constants (norms, biases, the head) are stored as they are: they weigh little and every outcome hangs on them.
_MIN_QUANTISED_VALUES: Final = 16_384


class ExportError(RuntimeError):
    """The bundle does not answer as the torch model does."""


def write_network(model: OutcomeClassifier, tokenizer: Tokenizer, paths: BundlePaths) -> None:
    """Write graph, weights and tokenizer of a model on the CPU into the bundle folder."""
    paths.root.mkdir(parents=True, exist_ok=True)
    graph, flat = to_ir(model)
    paths.graph.write_text(graph, encoding="utf-8")
    embedding = model.encoder.get_input_embeddings().weight.detach().numpy()
    constants = _constants(graph, flat)
    buffer = io.BytesIO()
    np.savez(buffer, **{EMBEDDING_KEY: encode_q4(embedding)}, **constants)  # type: ignore[arg-type]
    paths.weights.write_bytes(buffer.getvalue())
    tokenizer.no_truncation()
    tokenizer.no_padding()
    tokenizer.save(str(paths.tokenizer), pretty=False)


@dataclass(frozen=True, slots=True)
class Comparison:
    """How near a bundle is to its torch model: the share of equal outcomes, and the widest gap between scores."""

    agreement: float
    max_score_gap: float


def compare_logits(bundle_logits: Floats, torch_logits: Floats) -> Comparison:
    """Compare logits (n, n_outcomes) of the same texts; raises ``ExportError`` where scores are too far apart.

    A different outcome alone is no fault: near a tie, the rounding of 8-bit blocks is enough to tip it.
    """
    gap = float(np.abs(softmax(bundle_logits) - softmax(torch_logits)).max())
    if gap > MAX_SCORE_GAP:
        raise ExportError(
            f"the bundle's scores differ from the torch model's by {gap:.3f}; at most {MAX_SCORE_GAP} is allowed"
        )
    return Comparison(float((bundle_logits.argmax(1) == torch_logits.argmax(1)).mean()), gap)


class _FromEmbeddings(nn.Module):
    """What is exported: everything behind the embedding, which the runtime looks up in its 4-bit rows."""

    def __init__(self, model: OutcomeClassifier) -> None:
        super().__init__()
        self.model = model

    def forward(self, embeddings: Tensor, mask: Tensor) -> Tensor:
        return self.model.logits_of_embeddings(embeddings, mask)


def to_ir(model: OutcomeClassifier) -> tuple[str, bytes]:
    """Return the graph of a model as XML text, and its constants as the flat bytes that the graph names."""
    hidden = model.encoder.config.hidden_size
    example = (torch.zeros(2, 8, hidden), torch.ones(2, 8))
    axes = {0: "batch", 1: "length"}
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        # The tracing exporter announces its retirement; what it writes is what the runtime fuses best.
        warnings.simplefilter("ignore")
        onnx_path = Path(folder) / "network.onnx"
        torch.onnx.export(
            _FromEmbeddings(model).eval(),
            example,
            str(onnx_path),
            dynamo=False,
            input_names=["embeddings", "mask"],
            output_names=["logits"],
            dynamic_axes={"embeddings": axes, "mask": axes, "logits": {0: "batch"}},
        )
        network = ov.Core().read_model(str(onnx_path))
        ir_path = Path(folder) / "network.xml"
        ov.save_model(network, str(ir_path), compress_to_fp16=False)
        graph = ir_path.read_text(encoding="utf-8")
        return re.sub(r"\n\s*<rt_info>.*?</rt_info>", "", graph, flags=re.S), ir_path.with_suffix(".bin").read_bytes()


def _constants(graph: str, flat: bytes) -> dict[str, NDArray[np.uint8]]:
    stored: dict[str, NDArray[np.uint8]] = {}
    for place in constant_places(graph):
        raw = np.frombuffer(flat, np.uint8, place.size_bytes, place.offset)
        count = int(np.prod(place.shape)) if place.shape else 1
        if place.is_float32 and count >= _MIN_QUANTISED_VALUES and place.shape[-1] % BLOCK_SIZE == 0:
            stored[constant_key(place.offset, "q8")] = encode_q8(raw.view("<f4").reshape(-1, place.shape[-1]))
        else:
            stored[constant_key(place.offset, "raw")] = raw
    return stored


@dataclass(frozen=True, slots=True)
class ConstantPlace:
    """Where a constant of the graph lies in the flat bytes, and its form."""

    offset: int
    size_bytes: int
    shape: tuple[int, ...]
    is_float32: bool


def constant_places(graph: str) -> Iterator[ConstantPlace]:
    """Yield the place of each constant that a graph names."""
    for data in ElementTree.fromstring(graph).iterfind(".//layer[@type='Const']/data"):
        yield ConstantPlace(
            offset=int(data.attrib["offset"]),
            size_bytes=int(data.attrib["size"]),
            shape=tuple(int(n) for n in data.attrib["shape"].split(",") if n.strip()),
            is_float32=data.attrib["element_type"] == "f32",
        )
