"""The service beside what one would write in an afternoon: FastAPI around ``transformers.pipeline``, the same weights.

    python -m tests.trials.plain_pipeline --seconds 15

Both are real servers on this machine, asked by the same clients for the same statements: lists of 64, and one statement
at a time. The weights are those of the shipped bundle, put back into torch; the plain service has neither language,
calibration, normal form nor offsets. It needs what training needs. Prints a Markdown table.
"""

import argparse
import asyncio
import socket
import statistics
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import torch
import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel
from torch import Tensor
from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerFast, TextClassificationPipeline
from transformers.modeling_outputs import SequenceClassifierOutput

from credence.bundle import default_bundle_path, load_bundle
from credence.labels import OUTCOMES
from tests.trials.overload import measure_scorer, measure_service, measure_usual, read_texts, run_server
from training.encoders import load_encoder
from training.model import OutcomeClassifier
from training.warm_start import load_bundle_weights

LIST_SIZE = 64


class PlainModel(PreTrainedModel):  # type: ignore[misc]
    """The shipped network in the form that the library's pipelines take."""

    config_class = PreTrainedConfig

    def __init__(self, config: PreTrainedConfig, classifier: OutcomeClassifier) -> None:
        super().__init__(config)
        self.classifier = classifier

    def forward(self, input_ids: Tensor, attention_mask: Tensor, **_: Any) -> SequenceClassifierOutput:
        """Return the logits of token ids (n, length)."""
        return SequenceClassifierOutput(logits=self.classifier(input_ids, attention_mask.float()))


class Statement(BaseModel):
    """A statement as the service takes it."""

    text: str


class Request(BaseModel):
    """A list of statements as the service takes it."""

    statements: list[Statement]
    store: bool = False


def build_pipeline() -> tuple[TextClassificationPipeline, str]:
    """Return the pipeline, and the prefix that each text is read with."""
    encoder = load_encoder("packaged", trim=True)
    classifier = OutcomeClassifier(encoder.model, dropout=0.0)
    bundle = load_bundle_weights(classifier, default_bundle_path())
    names = dict(enumerate(str(outcome) for outcome in OUTCOMES))
    model = PlainModel(PreTrainedConfig(id2label=names, label2id={v: k for k, v in names.items()}), classifier).eval()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=encoder.tokenizer, pad_token="<pad>")
    tokenizer.model_max_length = bundle.manifest.max_length_tokens
    return TextClassificationPipeline(model=model, tokenizer=tokenizer), bundle.manifest.text_prefix


def build_plain_app() -> FastAPI:
    """Return the service of an afternoon, at the path of ours."""
    pipeline, prefix = build_pipeline()
    app = FastAPI()

    @app.post("/v1/score")
    def score(request: Request) -> dict[str, Any]:
        texts = [prefix + statement.text for statement in request.statements]
        with torch.inference_mode():
            return {"results": pipeline(texts, top_k=None, truncation=True, batch_size=32)}

    return app


@contextmanager
def run_plain_server() -> Iterator[str]:
    """Run the plain service in a thread, and give its address."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(build_plain_app(), log_level="warning"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    address = f"http://127.0.0.1:{listener.getsockname()[1]}"
    while not server.started:
        time.sleep(0.05)
    try:
        yield address
    finally:
        server.should_exit = True
        thread.join()
        listener.close()


def measure(url: str, texts: list[str], seconds: float) -> list[str]:
    """Return the rate of lists and the time of one statement, in words."""
    httpx.post(f"{url}/v1/score", json={"statements": [{"text": texts[0]}]}, timeout=60, trust_env=False)
    rate = asyncio.run(measure_service(url, texts, seconds, LIST_SIZE, store=False))
    usual = asyncio.run(measure_usual(url, texts))
    return [f"{rate:.0f}", f"{statistics.median(usual) * 1000:.0f} ms"]


def main() -> None:
    """Measure both; see the head of this module."""
    parser = argparse.ArgumentParser(prog="python -m tests.trials.plain_pipeline", description="Compare services.")
    parser.add_argument("--seconds", type=float, default=15.0, help="how long lists are sent to each")
    seconds = parser.parse_args().seconds
    texts = read_texts()
    model_version = load_bundle(default_bundle_path()).manifest.model_version
    bare = measure_scorer(texts, seconds, LIST_SIZE)
    with run_plain_server() as url:
        plain = measure(url, texts, seconds)
    with run_server() as url:
        ours = measure(url, texts, seconds)
    print(f"Weights of bundle {model_version}; torch with {torch.get_num_threads()} threads in float32.\n")
    print("| | statements a second, lists of 64 | one statement, nobody else, p50 |\n|---|---|---|")
    print(f"| bare scorer | {bare:.0f} | |")
    print(f"| Credence over HTTP, nothing kept | {ours[0]} | {ours[1]} (kept) |")
    print(f"| FastAPI + transformers.pipeline | {plain[0]} | {plain[1]} |")


if __name__ == "__main__":
    main()
