"""Bundle to torch: the weights of a finished bundle, for a run that goes on from it."""

import copy
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import torch
from numpy.typing import NDArray

from credence.blocks import decode_q4
from credence.bundle import Bundle, load_bundle
from credence.errors import BundleError
from credence.model_scorer import read_weights
from training.export import constant_places, to_ir
from training.model import OutcomeClassifier


def load_bundle_weights(model: OutcomeClassifier, root: Path) -> Bundle:
    """Give a model of the same architecture and vocabulary the weights of a bundle, and return that bundle.

    The network's weights come back from their 8-bit blocks, so they are those that the bundle scores with. Raises
    ``BundleError`` where the folder holds no sound bundle, or one of another architecture or vocabulary.
    """
    bundle = load_bundle(root)
    places, graph = _places_by_parameter(model)
    embedding, flat = read_weights(bundle.paths)
    own_embedding = model.encoder.get_input_embeddings().weight
    if _form(graph) != _form(bundle.paths.graph.read_text(encoding="utf-8")):
        raise BundleError(
            "the bundle has another network than this recipe makes; start from one of the same encoder, "
            "written by the same versions of torch and openvino"
        )
    if not np.array_equal(decode_q4(embedding), own_embedding.detach().numpy()):
        raise BundleError(
            "the bundle has another vocabulary or embedding than this recipe makes; start from one of the packaged "
            "encoder, trimmed alike, whose embeddings were not trained"
        )
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter is not own_embedding:
                offset, is_transposed = places[name]
                values = flat[offset : offset + 4 * parameter.numel()].view("<f4")
                shaped = values.reshape(tuple(parameter.shape)[::-1]).T if is_transposed else values
                parameter.copy_(torch.from_numpy(shaped.reshape(tuple(parameter.shape)).copy()))
    return bundle


def _form(graph: str) -> list[tuple[str | None, dict[str, str]]]:
    """Return the type of each layer and what it is set to, without the names, which differ from export to export."""
    layers = ElementTree.fromstring(graph).iterfind(".//layer")
    return [(layer.get("type"), data.attrib if (data := layer.find("data")) is not None else {}) for layer in layers]


def _places_by_parameter(model: OutcomeClassifier) -> tuple[dict[str, tuple[int, bool]], str]:
    """Return where the graph keeps each parameter and whether it lies there transposed, and the graph.

    The exporter renames and transposes; so a copy is exported in which every parameter holds values of its own, and
    each is looked for by its values.
    """
    marked = copy.deepcopy(model)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in marked.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
    graph, flat = to_ir(marked)
    offsets = {
        flat[place.offset : place.offset + place.size_bytes]: place.offset
        for place in constant_places(graph)
        if place.is_float32
    }
    places: dict[str, tuple[int, bool]] = {}
    for name, parameter in marked.named_parameters():
        values: NDArray[np.float32] = parameter.detach().numpy()
        for is_transposed, candidate in ((False, values), (True, values.T)):
            offset = offsets.get(candidate.tobytes())
            if offset is not None:
                places[name] = (offset, is_transposed)
    return places, graph
