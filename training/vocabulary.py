"""Which pieces of a multilingual SentencePiece vocabulary the three languages need, and the tokenizer without the rest.

A Unigram model (Kudo 2018, arXiv:1804.10959) segments by the scores of its pieces alone, so dropping pieces that a text
never uses leaves its segmentation as it was; every single letter stays, so nothing in the three languages is unknown.
"""

import json
import unicodedata
from collections.abc import Iterable
from typing import Any, Final

import wordfreq
from tokenizers import Tokenizer

from credence.language import SUPPORTED_LANGUAGES

WORD_BOUNDARY: Final = "▁"
COMMON_WORDS: Final = 120_000
# Modifier letters for the sake of U+02BC, the apostrophe of Ukrainian spelling, which Unicode counts as a letter.
_KEPT_LETTERS: Final = ("LATIN", "CYRILLIC", "GREEK", "MODIFIER LETTER")


def kept_piece_ids(tokenizer: Tokenizer) -> list[int]:
    """Return the ids, ascending, of the special pieces, single characters and pieces that common words use.

    Common words are the ``COMMON_WORDS`` most frequent ones of each language after ``wordfreq``, each in lower, title
    and upper case.
    """
    used: set[int] = set()
    for batch in _batches(_common_word_forms(), 20_000):
        for encoding in tokenizer.encode_batch(batch, add_special_tokens=False):
            used.update(encoding.ids)
    pieces = tokenizer.get_vocab()
    used.update(tokenizer.get_added_tokens_decoder())
    # A word behind a quotation mark, a hyphen or a # has no boundary sign before it.
    inner = {piece[1:] for piece, i in pieces.items() if i in used and piece.startswith(WORD_BOUNDARY)}
    return sorted(i for piece, i in pieces.items() if i in used or piece in inner or _is_basic(piece))


def trim_tokenizer(spec: dict[str, Any], kept_ids: list[int]) -> Tokenizer:
    """Return the tokenizer of a ``tokenizer.json`` with only the kept pieces, renumbered in their order.

    Raises ``ValueError`` unless the model is a Unigram model.
    """
    if spec["model"]["type"] != "Unigram":
        raise ValueError(
            f"found a {spec['model']['type']} tokenizer; only Unigram ones can be trimmed, so set trim = false"
        )
    new_ids = {old: new for new, old in enumerate(kept_ids)}
    vocabulary = spec["model"]["vocab"]
    trimmed = {**spec, "model": {**spec["model"], "vocab": [vocabulary[i] for i in kept_ids]}}
    trimmed["model"]["unk_id"] = new_ids[spec["model"]["unk_id"]]
    trimmed["added_tokens"] = [{**t, "id": new_ids[t["id"]]} for t in spec["added_tokens"]]
    processor = spec["post_processor"]
    if processor is not None and processor["type"] == "TemplateProcessing":
        specials = {
            name: {**token, "ids": [new_ids[i] for i in token["ids"]]}
            for name, token in processor["special_tokens"].items()
        }
        trimmed["post_processor"] = {**processor, "special_tokens": specials}
    return Tokenizer.from_str(json.dumps(trimmed))


def _common_word_forms() -> Iterable[str]:
    for language in SUPPORTED_LANGUAGES:
        for word in wordfreq.top_n_list(language, COMMON_WORDS, wordlist="large"):
            yield word
            yield word.title()
            yield word.upper()


def _batches(items: Iterable[str], size: int) -> Iterable[list[str]]:
    batch: list[str] = []
    for item in items:
        batch.append(item)
        if len(batch) == size:
            yield batch
            batch = []
    yield batch


def _is_basic(piece: str) -> bool:
    text = piece.removeprefix(WORD_BOUNDARY)
    if len(text) <= 1:
        return not text or not text.isalpha() or unicodedata.name(text, "").startswith(_KEPT_LETTERS)
    return not any(c.isalpha() or unicodedata.category(c).startswith("M") for c in text)
