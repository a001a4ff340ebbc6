"""A tiny encoder that is real all the way, the packaged one, and a blank MLflow store: each made once."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from accelerate.state import AcceleratorState
from mlflow import MlflowClient
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

from credence.blocks import decode_q4, encode_q4
from training.encoders import PACKAGED_NAME, PretrainedEncoder, load_encoder
from training.model import OutcomeClassifier

SPECIALS = {"bos_token": "<s>", "pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}
LETTERS = "abcdefghijklmnopqrstuvwxyzабвгґдеєжзиіїйклмнопрстуфхцчшщъыьэюяё0123456789.,:?!'▁"
WORDS = ("▁the", "▁said", "▁query", "▁що", "▁заявив", "▁что", "▁заявил")
SIZES = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 512}
NO_DROPOUT = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}


@pytest.fixture(autouse=True)
def _forgotten_precision() -> Iterator[None]:
    """Let each test choose a precision: accelerate keeps the first one for the life of the process."""
    yield
    AcceleratorState._reset_state(reset_partial_state=True)


@pytest.fixture(scope="session")
def tiny_tokenizer() -> Tokenizer:
    pieces = [*((s, 0.0) for s in SPECIALS.values()), *((c, -6.0) for c in LETTERS), *((w, -8.0) for w in WORDS)]
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=3))
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.add_special_tokens(list(SPECIALS.values()))
    tokenizer.post_processor = processors.TemplateProcessing("<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)])
    return tokenizer


@pytest.fixture(scope="session")
def tiny_folder(tiny_tokenizer: Tokenizer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An encoder as a Hugging Face folder; its embeddings, like the packaged ones, come from 4-bit blocks."""
    torch.set_num_threads(1)  # Threads that wait for each other cost tiny models more than they give.
    torch.manual_seed(1)
    model = BertModel(BertConfig(vocab_size=tiny_tokenizer.get_vocab_size(), pad_token_id=1, **SIZES, **NO_DROPOUT))
    embedding = model.get_input_embeddings().weight
    embedding.data = torch.from_numpy(decode_q4(encode_q4(embedding.detach().numpy() * 20)))
    folder = tmp_path_factory.mktemp("tiny-encoder")
    model.save_pretrained(folder)
    PreTrainedTokenizerFast(tokenizer_object=tiny_tokenizer, **SPECIALS).save_pretrained(folder)
    return folder


@pytest.fixture
def tiny_encoder(tiny_folder: Path) -> PretrainedEncoder:
    return load_encoder(str(tiny_folder), trim=False)


@pytest.fixture
def tiny_model(tiny_encoder: PretrainedEncoder) -> OutcomeClassifier:
    torch.manual_seed(2)
    return OutcomeClassifier(tiny_encoder.model, 0.0).eval()


@pytest.fixture(scope="session")
def packaged() -> PretrainedEncoder:
    return load_encoder(PACKAGED_NAME, trim=False)


@pytest.fixture(scope="session")
def blank_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    MlflowClient(f"sqlite:///{path}").search_experiments()
    return path
