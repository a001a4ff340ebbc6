"""Baselines that any model must beat: each learns from the same examples and gives probabilities."""

from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol

import numpy as np
from sklearn.dummy import DummyClassifier
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline, make_union
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from credence.labels import OUTCOMES
from training.config import ExperimentConfig
from training.corpora import Example, normal_texts
from training.encoders import load_encoder
from training.evaluation import Predictions
from training.loop import embed_texts, encode_texts
from training.metrics import Floats
from training.model import OutcomeClassifier
from training.sources import set_of

# Words that announce attribution, hedge or accusation; a model that is no better than these has learned a word list.
CUE_WORDS: Final = (
    "said says told claims claimed alleged allegedly accused reportedly may might could according believes sources "
    "fake false fact-checkers nazi secret puppet biolabs regime plot "
    "заявив заявила сказав каже повідомив за словами нібито звинуватив може могли ймовірно джерела фейк нацисти таємно "
    "маріонетки біолабораторії режим "
    "заявил заявила сказал сообщил по словам якобы обвинил может могли вероятно источники фейк нацисты тайно "
    "марионетки биолаборатории режим"
)


class Baseline(Protocol):
    """Learns from examples, then gives probabilities (n, n_outcomes)."""

    def fit(self, examples: Sequence[Example]) -> None:
        """Learn from labelled examples."""
        ...

    def predict(self, examples: Sequence[Example]) -> Floats:
        """Return probabilities (n, n_outcomes), without looking at the labels."""
        ...


class PipelineBaseline:
    """A scikit-learn classifier over what ``view`` shows of each example."""

    def __init__(self, estimator: Any, view: Callable[[Sequence[Example]], Any]) -> None:
        self._estimator = estimator
        self._view = view

    def fit(self, examples: Sequence[Example]) -> None:
        """Learn from labelled examples."""
        self._estimator.fit(self._view(examples), [OUTCOMES.index(e.label) for e in examples])

    def predict(self, examples: Sequence[Example]) -> Floats:
        """Return probabilities (n, n_outcomes); an outcome that was never seen gets 0."""
        probabilities = np.zeros((len(examples), len(OUTCOMES)))
        probabilities[:, self._estimator.classes_] = self._estimator.predict_proba(self._view(examples))
        return probabilities


def build_baseline(config: ExperimentConfig) -> Baseline:
    """Return the baseline that the config names; raises ``ValueError`` for a kind that is not a baseline."""
    regression = LogisticRegression(max_iter=2000, random_state=config.seed)
    balanced = LogisticRegression(max_iter=2000, C=10.0, class_weight="balanced", random_state=config.seed)
    one_hot = OneHotEncoder(handle_unknown="ignore")
    match config.model:
        case "majority":
            return PipelineBaseline(DummyClassifier(strategy="prior"), _languages)
        case "language_only":
            return PipelineBaseline(make_pipeline(one_hot, regression), _languages)
        case "source_only":
            return PipelineBaseline(make_pipeline(one_hot, regression), _sets)
        case "cue_words":
            counts = CountVectorizer(vocabulary=sorted(set(CUE_WORDS.split())), binary=True, token_pattern=r"[\w-]+")
            return PipelineBaseline(make_pipeline(counts, regression), normal_texts)
        case "tfidf":
            return PipelineBaseline(make_pipeline(build_tfidf(), balanced), normal_texts)
        case "frozen_encoder":
            return PipelineBaseline(make_pipeline(StandardScaler(), regression), _frozen_view(config))
        case _:
            raise ValueError(f"{config.model} is not a baseline")


def predict_with_baseline(
    config: ExperimentConfig, learned: Sequence[Example], examples: Sequence[Example]
) -> Predictions:
    """Learn the baseline that the config names, and return what it says of the examples."""
    baseline = build_baseline(config)
    baseline.fit(learned)
    return Predictions(config.name, baseline.predict(examples), (True,) * len(examples))


def build_tfidf() -> Any:
    """Return the features of texts: words, pairs of words and runs of characters, weighted by TF-IDF."""
    words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, min_df=2)
    characters = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5), sublinear_tf=True, min_df=2)
    return make_union(words, characters)


def _languages(examples: Sequence[Example]) -> list[list[str]]:
    return [[e.language] for e in examples]


def _sets(examples: Sequence[Example]) -> list[list[str]]:
    return [[set_of(e.origin)] for e in examples]


def _frozen_view(config: ExperimentConfig) -> Callable[[Sequence[Example]], Floats]:
    encoder = load_encoder(config.encoder.name, trim=config.encoder.trim)
    model = OutcomeClassifier(encoder.model, 0.0)

    def view(examples: Sequence[Example]) -> Floats:
        ids = encode_texts(
            encoder.tokenizer,
            normal_texts(examples),
            prefix=config.encoder.text_prefix,
            max_length=config.data.max_length_tokens,
        )
        return embed_texts(model, ids).astype(np.float64)

    return view
