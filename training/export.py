"""Torch to bundle: the network as OpenVINO IR, its weights in 8-bit blocks, the embedding in 4-bit rows."""

import io
import re
import tempfile
import warnings
from pathlib import Path
from typing import Final
from xml.etree import ElementTree

import numpy as np
import openvino as ov
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer
from torch import nn

from credence.blocks import BLOCK_SIZE, encode_q4, encode_q8
from credence.bundle import BundlePaths
from credence.model_scorer import EMBEDDING_KEY, constant_key
from training.model import OutcomeClassifier

MIN_AGREEMENT: Final = 0.995
# Smaller constants (norms, biases, the head) are stored as they are: they weigh little and every outcome hangs on them.
_MIN_QUANTISED_VALUES: Final = 16_384


class ExportError(RuntimeError):
    """The bundle does not answer as the torch model does."""


def write_network(model: OutcomeClassifier, tokenizer: Tokenizer, paths: BundlePaths) -> None:
    """Write graph, weights and tokenizer of a model on the CPU into the bundle folder."""
    paths.root.mkdir(parents=True, exist_ok=True)
    graph, flat = _to_ir(model)
    paths.graph.write_text(graph, encoding="utf-8")
    embedding = model.encoder.get_input_embeddings().weight.detach().numpy()
    constants = _constants(graph, flat)
    buffer = io.BytesIO()
    np.savez(buffer, **{EMBEDDING_KEY: encode_q4(embedding).reshape(len(embedding), -1, 18)}, **constants)  # type: ignore[arg-type]
    paths.weights.write_bytes(buffer.getvalue())
    tokenizer.no_truncation()
    tokenizer.no_padding()
    tokenizer.save(str(paths.tokenizer), pretty=False)


def check_agreement(bundle_outcomes: NDArray[np.int64], torch_outcomes: NDArray[np.int64]) -> float:
    """Return the share of equal outcomes; raises ``ExportError`` below the promised share."""
    agreement = float((bundle_outcomes == torch_outcomes).mean())
    if agreement < MIN_AGREEMENT:
        raise ExportError(
            f"the bundle gives the torch model's outcome on {agreement:.2%}; expected {MIN_AGREEMENT:.1%}"
        )
    return agreement


def _to_ir(model: OutcomeClassifier) -> tuple[str, bytes]:
    """Return the graph as XML text and its constants as flat bytes."""
    hidden = model.encoder.config.hidden_size
    example = (torch.zeros(2, 8, hidden), torch.ones(2, 8))
    axes = {0: "batch", 1: "length"}
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        # The tracing exporter announces its retirement; what it writes is what the runtime fuses best.
        warnings.simplefilter("ignore")
        onnx_path = Path(folder) / "network.onnx"
        torch.onnx.export(
            nn.Module.float(model).eval(),
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
    for data in ElementTree.fromstring(graph).iterfind(".//layer[@type='Const']/data"):
        offset, size = int(data.attrib["offset"]), int(data.attrib["size"])
        shape = [int(n) for n in data.attrib["shape"].split(",") if n.strip()]
        raw = np.frombuffer(flat, np.uint8, size, offset)
        count = int(np.prod(shape)) if shape else 1
        if data.attrib["element_type"] == "f32" and count >= _MIN_QUANTISED_VALUES and shape[-1] % BLOCK_SIZE == 0:
            stored[constant_key(offset, "q8")] = encode_q8(raw.view("<f4").reshape(-1, shape[-1]))
        else:
            stored[constant_key(offset, "raw")] = raw
    return stored
