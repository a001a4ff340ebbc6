"""Trimming drops pieces that the three languages never use, and changes nothing that they do."""

import copy
import json
import string
from dataclasses import replace
from typing import Final

import numpy as np
import pytest
from tokenizers import Tokenizer
from tokenizers.models import WordLevel

import training.encoders
from training.encoders import PACKAGED_NAME, PretrainedEncoder, load_encoder
from training.vocabulary import trim_tokenizer

SENTENCES: Final = (
    "The central bank left its key rate at 15.5% on Friday, Reuters reported.",
    "U.S. officials say the drone was shot down; Moscow denies it.",
    "#Ukraine: \"No one is safe,\" he wrote - and deleted the post 20 minutes later…",
    "У ДСНС повідомили, що пожежу на об'єкті критичної інфраструктури ліквідували.",
    "За словами очільника ОВА, під завалами можуть бути ще двоє людей.",
    "Пʼять сімей з Камʼянського виїхали до Румунії.",
    "«Ґазета» пише: Єврокомісія виділить 35 млрд євро до 2027-го.",
    "В Минобороны заявили, что ночью сбили 37 беспилотников над Брянской областью.",
    "Якобы «секретные биолаборатории» финансировали из-за рубежа, пишет телеграм-канал.",
    "Съёмочная группа объявила: премьера — 9 мая, вход бесплатный!",
)  # fmt: skip
ALPHABETS: Final = {
    "en": string.ascii_lowercase,
    "uk": "абвгґдеєжзиіїйклмнопрстуфхцчшщьюя",
    "ru": "абвгдеёжзийклмнопрстуфхцчшщъыьэюя",
}


@pytest.fixture(scope="module")
def trimmed(packaged: PretrainedEncoder) -> PretrainedEncoder:
    """The packaged encoder trimmed to the three languages, from a copy of what was decoded above."""
    decoded = replace(packaged, model=copy.deepcopy(packaged.model))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training.encoders, "read_e5s1", lambda path: decoded)
        return load_encoder(PACKAGED_NAME, trim=True)


@pytest.mark.parametrize("sentence", SENTENCES)
def test_ordinary_sentences_are_segmented_as_before(
    packaged: PretrainedEncoder, trimmed: PretrainedEncoder, sentence: str
) -> None:
    assert trimmed.tokenizer.encode(sentence).tokens == packaged.tokenizer.encode(sentence).tokens


@pytest.mark.parametrize("alphabet", ALPHABETS.values(), ids=ALPHABETS)
def test_no_letter_digit_or_sign_becomes_unknown(trimmed: PretrainedEncoder, alphabet: str) -> None:
    unknown = trimmed.tokenizer.token_to_id("<unk>")
    signs = string.digits + ".,;:!?-–—…«»„“”\"'’ʼ()[]%№$€₴₽/&@#*+=<>"
    found = [c for c in alphabet + alphabet.upper() + signs if unknown in trimmed.tokenizer.encode(c).ids]
    assert found == []


def test_made_up_words_and_other_latin_names_are_spelt_out(trimmed: PretrainedEncoder) -> None:
    unknown = trimmed.tokenizer.token_to_id("<unk>")
    for word in ("Qzxjkvw", "ґґіїєщ", "ъыэё", "Müller", "Kovács", "Şırnak", "Παπαδόπουλος"):
        assert unknown not in trimmed.tokenizer.encode(word).ids


def test_about_a_third_of_the_pieces_stays(packaged: PretrainedEncoder, trimmed: PretrainedEncoder) -> None:
    share = trimmed.tokenizer.get_vocab_size() / packaged.tokenizer.get_vocab_size()
    assert 0.2 < share < 0.4


def test_special_pieces_keep_working(trimmed: PretrainedEncoder) -> None:
    tokenizer = trimmed.tokenizer
    assert tokenizer.encode("word").tokens == ["<s>", "▁word", "</s>"]
    assert [tokenizer.token_to_id(piece) for piece in ("<s>", "<pad>", "</s>", "<unk>")] == [0, 1, 2, 3]
    assert trimmed.model.config.pad_token_id == tokenizer.token_to_id("<pad>")
    assert tokenizer.encode("總統").tokens == ["<s>", "▁", "總統", "</s>"]
    assert tokenizer.token_to_id("<unk>") in tokenizer.encode("總統").ids


def test_kept_embedding_rows_are_the_original_ones(packaged: PretrainedEncoder, trimmed: PretrainedEncoder) -> None:
    pieces = trimmed.tokenizer.get_vocab()
    rows = trimmed.model.get_input_embeddings().weight.detach().numpy()
    assert len(rows) == len(pieces) == trimmed.model.config.vocab_size
    old_ids = packaged.tokenizer.get_vocab()
    order = sorted(pieces, key=lambda piece: pieces[piece])
    expected = packaged.model.get_input_embeddings().weight.detach().numpy()[[old_ids[piece] for piece in order]]
    np.testing.assert_array_equal(rows, expected)


def test_the_rest_of_the_encoder_is_untouched(packaged: PretrainedEncoder, trimmed: PretrainedEncoder) -> None:
    before, after = packaged.model.state_dict(), trimmed.model.state_dict()
    assert before.keys() == after.keys()
    changed = [name for name in before if not before[name].equal(after[name])]
    assert changed == ["embeddings.word_embeddings.weight"]
    assert trimmed.digest == packaged.digest


def test_only_unigram_tokenizers_are_trimmed(tiny_tokenizer: Tokenizer) -> None:
    words = Tokenizer(WordLevel({"<unk>": 0, "a": 1}, unk_token="<unk>"))
    with pytest.raises(ValueError, match=r"WordLevel tokenizer; .*set trim = false"):
        trim_tokenizer(json.loads(words.to_str()), [0])
    kept = [i for i in range(tiny_tokenizer.get_vocab_size()) if i != tiny_tokenizer.token_to_id("▁said")]
    shorter = trim_tokenizer(json.loads(tiny_tokenizer.to_str()), kept)
    assert shorter.encode("the cat said").tokens == ["<s>", "▁the", *"▁cat▁said", "</s>"]


def test_kept_ids_are_ascending_and_unique(packaged: PretrainedEncoder, trimmed: PretrainedEncoder) -> None:
    old = packaged.tokenizer.get_vocab()
    pieces = trimmed.tokenizer.get_vocab()
    kept = [old[piece] for piece in sorted(pieces, key=lambda piece: pieces[piece])]
    assert kept == sorted(set(kept))
    assert set(packaged.tokenizer.get_added_tokens_decoder()) <= set(kept)
