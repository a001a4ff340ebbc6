"""Public tasks that neighbour ours, read from the data pack into one shape: folds of labelled texts, and what to beat.

Tasks with an official split have one fold, of that split; the others are cut into five folds, each of which is the
test part once. ``neighbouring_tasks.toml`` says what each task asks, and how it differs from the published one.
"""

import tomllib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from sklearn.model_selection import StratifiedGroupKFold

from training.metrics import Ints
from training.sources import CorpusError, public_sets
from training.stand_off import read_set_file

DESCRIPTIONS_PATH: Final = Path(__file__).with_suffix(".toml")
N_FOLDS: Final = 5
# A tenth of what is learned from, for choices where a task has no development part.
_DEV_FOLDS: Final = 10
_SEED: Final = 13

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class LabelledText:
    """A text, the columns of its labels (one, or in a multi-label task any number), and the document it is from."""

    text: str
    labels: frozenset[int]
    group: str


@dataclass(frozen=True, slots=True)
class Fold:
    """What is learned from, what choices are made on, and what is measured."""

    train: tuple[LabelledText, ...]
    dev: tuple[LabelledText, ...]
    test: tuple[LabelledText, ...]


@dataclass(frozen=True, slots=True)
class TaskDescription:
    """What a task asks, and what is published of it.

    ``scored`` are the labels over which F1 is averaged; in a ``multi_label`` task a text may have any number of labels.
    ``split`` says how the rows were parted, ``differences`` what sets our data apart from the published ones.
    """

    title: str
    set_name: str
    labels: tuple[str, ...]
    scored: tuple[str, ...]
    multi_label: bool
    split: str
    published: str
    differences: tuple[str, ...]

    @property
    def scored_columns(self) -> list[int]:
        """Return the columns of the scored labels."""
        return [self.labels.index(name) for name in self.scored]


@dataclass(frozen=True, slots=True)
class Task:
    """A task and its folds."""

    name: str
    description: TaskDescription
    folds: tuple[Fold, ...]


@dataclass(frozen=True, slots=True)
class _Reading:
    """How rows of a set become labelled texts.

    ``labels`` gives null where a row is not of the task. ``parts`` names the field of the official split and which of
    its values are ``train``, ``dev`` and ``test``; it is null where there is no official split.
    """

    labels: Callable[[Row], Sequence[str] | None]
    group: Callable[[Row], str]
    parts: tuple[str, dict[str, str]] | None


_READINGS: Final = {
    "newsdiscourse": _Reading(
        labels=lambda row: [row["label"]],
        # Numbers of documents begin anew in each domain.
        group=lambda row: f"{row['domain']}/{row['doc_id']}",
        parts=("split", {"train": "train", "validation": "dev", "test": "test"}),
    ),
    "babe": _Reading(
        labels=lambda row: None if row["label_bias"] == "No agreement" else [row["label_bias"]],
        group=lambda row: row["url"] or row["text"],
        parts=None,
    ),
    "polnear": _Reading(
        labels=lambda row: [row["label"]],
        group=lambda row: row["doc_id"],
        parts=("split", {"train": "train", "dev": "dev", "test": "test"}),
    ),
    "liar": _Reading(
        labels=lambda row: [row["label"]],
        group=lambda row: row["url"],
        parts=("split", {"train": "train", "valid": "dev", "test": "test"}),
    ),
    "unlp_manipulation": _Reading(
        labels=lambda row: [row["label"]],
        group=lambda row: row["text"],
        parts=None,
    ),
    "unlp_techniques": _Reading(
        labels=lambda row: row["techniques"],
        group=lambda row: row["text"],
        parts=None,
    ),
    "uncertainty": _Reading(
        labels=lambda row: None if row["conll2010_label"] is None else [row["conll2010_label"]],
        group=lambda row: row["doc_id"],
        parts=("conll2010_split", {"train": "train", "eval": "test"}),
    ),
}
TASK_NAMES: Final = tuple(_READINGS)


def read_task(name: str, data_pack: Path) -> Task:
    """Read the task of this name (``TASK_NAMES``); raises ``CorpusError`` at a row that is not what its card says."""
    description = describe_task(name)
    rows = list(_labelled_rows(name, description, data_pack / public_sets()[description.set_name]["file"]))
    has_split = _READINGS[name].parts is not None
    folds = (_official(rows),) if has_split else _cross_validation([text for _, text in rows])
    if not all(fold.train and fold.test for fold in folds):
        raise CorpusError(f"{name}: a part of the split holds no row")
    return Task(name, description, folds)


def describe_task(name: str) -> TaskDescription:
    """Return what the task of this name asks, as ``neighbouring_tasks.toml`` has it."""
    entry = tomllib.loads(DESCRIPTIONS_PATH.read_text(encoding="utf-8"))[name]
    fields: dict[str, Any] = {"multi_label": False, "scored": entry["labels"], **entry}
    frozen: dict[str, Any] = {k: tuple(value) if isinstance(value, list) else value for k, value in fields.items()}
    return TaskDescription(**frozen)


def label_matrix(texts: Sequence[LabelledText], n_labels: int) -> Ints:
    """Return 1 where a text has a label and 0 elsewhere, (n_texts, n_labels)."""
    matrix = np.zeros((len(texts), n_labels), np.int64)
    for row, text in enumerate(texts):
        matrix[row, list(text.labels)] = 1
    return matrix


def _labelled_rows(name: str, description: TaskDescription, path: Path) -> Iterator[tuple[str | None, LabelledText]]:
    """Yield the rows that are of the task, each with its part of the official split, if there is one."""
    reading = _READINGS[name]
    for number, row in read_set_file(path):
        try:
            labels = reading.labels(row)
            if labels is None:
                continue
            columns = frozenset(description.labels.index(label) for label in labels)
            part = None if reading.parts is None else reading.parts[1][row[reading.parts[0]]]
            found = part, LabelledText(row["text"], columns, reading.group(row))
        except (KeyError, TypeError, ValueError) as error:
            raise CorpusError(f"{path.name} line {number}: {error!r}; expected what its card lists") from error
        yield found


def _official(rows: Sequence[tuple[str | None, LabelledText]]) -> Fold:
    train, dev, test = (tuple(text for part, text in rows if part == wanted) for wanted in ("train", "dev", "test"))
    return Fold(train, dev, test)


def _cross_validation(texts: Sequence[LabelledText]) -> tuple[Fold, ...]:
    """Cut into folds of near-equal label mix; texts of one document stay together."""
    folds = []
    for learned, test in _grouped_folds(texts, N_FOLDS):
        rest = [texts[i] for i in learned]
        train, dev = next(_grouped_folds(rest, _DEV_FOLDS))
        folds.append(Fold(tuple(rest[i] for i in train), tuple(rest[i] for i in dev), tuple(texts[i] for i in test)))
    return tuple(folds)


def _grouped_folds(texts: Sequence[LabelledText], n_folds: int) -> Iterator[tuple[Ints, Ints]]:
    # Of several labels the rarest makes the stratum: it is the one that an unlucky fold would lack.
    counts = np.bincount([label for text in texts for label in text.labels])
    strata = [min(text.labels, key=lambda label: (counts[label], label), default=-1) for text in texts]
    splitter = StratifiedGroupKFold(n_folds, shuffle=True, random_state=_SEED)
    splits: Iterator[tuple[Ints, Ints]] = splitter.split(np.zeros(len(texts)), strata, [t.group for t in texts])
    return splits
