"""Adds what users of the service proposed, as ``credence feedback export`` wrote it, to the statements to learn from.

Feedback is only ever learned, never held back. A row that is nearly a held-back statement is left out and counted, and
with it what comes from the same document.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from credence.bundle import file_digest
from credence.labels import Outcome
from credence.language import SUPPORTED_LANGUAGES
from credence.normalise import normalise_text
from training.corpora import Corpus, Example, normal_texts
from training.sources import DATASETS_DIR, FEEDBACK_ORIGIN, CorpusError
from training.splits import NEAR_DUPLICATE_SIMILARITY, nearest_statements
from training.stand_off import expecting_fields, read_rows, text_digest

# The same whatever the file is called: a name that somebody chose would stand in manifest and card.
FEEDBACK_FILE: Final = f"{FEEDBACK_ORIGIN}export.jsonl"
_ORIGIN: Final = f"{FEEDBACK_ORIGIN}export"
_FIELDS: Final = frozenset(
    {"id", "text", "text_sha256", "lang", "label", "n_reviewers", "n_agreeing"}
    | {"document_id", "stored_document_id", "scored_at"}
)
# No rule of the codebook was asked for.
_NO_RULE: Final = 0


@dataclass(frozen=True, slots=True)
class FeedbackCounts:
    """What became of the rows of an export; each is counted once.

    ``n_repeated`` are texts that stand in another row or among the statements, ``n_contradictory`` texts that rows of
    different labels share.
    """

    n_rows: int
    n_learned: int
    n_unlabelled: int
    n_other_languages: int
    n_repeated: int
    n_contradictory: int
    n_near_held_back: int

    def __str__(self) -> str:
        """Return the counts as one line."""
        return (
            f"{self.n_rows} rows of feedback, {self.n_learned} learned; left out: {self.n_unlabelled} without a label, "
            f"{self.n_other_languages} in another language, {self.n_repeated} repeated, {self.n_contradictory} "
            f"contradictory, {self.n_near_held_back} near held-back statements"
        )


def add_feedback(corpus: Corpus, path: Path, *, datasets_dir: Path = DATASETS_DIR) -> tuple[Corpus, FeedbackCounts]:
    """Return the corpus with the feedback of an export among what is learned, and what became of its rows.

    Raises ``CorpusError`` at the first row that is not of an export.
    """
    rows = list(read_feedback(path))
    labelled = [(where, row) for where, row in rows if row["label"] is not None]
    found = [_example(where, row) for where, row in labelled if row["lang"] in SUPPORTED_LANGUAGES]
    single, n_contradictory = _drop_repeated(found, {e.text for e in corpus.learned()})
    kept = _drop_near_held_back(single, corpus, _suite_texts(datasets_dir))
    counts = FeedbackCounts(
        n_rows=len(rows),
        n_learned=len(kept),
        n_unlabelled=len(rows) - len(labelled),
        n_other_languages=len(labelled) - len(found),
        n_repeated=len(found) - len(single) - n_contradictory,
        n_contradictory=n_contradictory,
        n_near_held_back=len(single) - len(kept),
    )
    digests = {**corpus.digests, FEEDBACK_FILE: file_digest(path)}
    return replace(corpus, examples=(*corpus.examples, *kept), digests=digests), counts


def read_feedback(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield each row of an export with the words that say where it stands; raises ``CorpusError``."""
    if not path.is_file():
        raise CorpusError(f"data.feedback_path: there is no file {path}; credence feedback export writes one")
    for where, row in read_rows(path):
        with expecting_fields(where):
            if missing := ", ".join(sorted(_FIELDS - row.keys())):
                raise CorpusError(f"{where}: missing {missing}; expected a row of credence feedback export")
            if text_digest(row["text"]) != row["text_sha256"]:
                raise CorpusError(f"{where}: the text is not the one that the feedback was given to; export it anew")
        yield where, row


def _example(where: str, row: dict[str, Any]) -> Example:
    with expecting_fields(where):
        document = row["document_id"] or row["stored_document_id"]
        is_opposed = row["n_agreeing"] < row["n_reviewers"]
        return Example(
            id=row["id"],
            text=row["text"],
            language=row["lang"],
            label=Outcome(row["label"]),
            rule=_NO_RULE,
            sure=1 if is_opposed else min(1 + row["n_agreeing"], 3),
            split="train",
            cluster=f"{FEEDBACK_ORIGIN}document/{document}" if document else row["id"],
            origin=_ORIGIN,
            date=row["scored_at"],
        )


def _drop_repeated(found: Sequence[Example], known: Iterable[str]) -> tuple[list[Example], int]:
    """Return one example of each text that is new and has one label, and how many contradict each other."""
    by_text: defaultdict[str, list[Example]] = defaultdict(list)
    for example, text in zip(found, normal_texts(found), strict=True):
        by_text[text].append(example)
    learned = {normalise_text(text).text for text in known} if found else set()
    fresh = [same for text, same in by_text.items() if text not in learned]
    agreed = [same[0] for same in fresh if len({e.label for e in same}) == 1]
    return agreed, sum(len(same) for same in fresh if len({e.label for e in same}) > 1)


def _suite_texts(datasets_dir: Path) -> list[str]:
    files = sorted((datasets_dir / "suites").glob("*.jsonl"))
    return [row["text"] for path in files for _, row in read_rows(path)]


def _drop_near_held_back(found: Sequence[Example], corpus: Corpus, suite_texts: Sequence[str]) -> list[Example]:
    held_back = [e.text for e in corpus.examples if e.split != "train"]
    guarded = [normalise_text(text).text for text in (*held_back, *suite_texts)]
    if not found or not guarded:
        return list(found)
    cosines, _ = nearest_statements(normal_texts(found), guarded)
    near = {e.cluster for e, cosine in zip(found, cosines, strict=True) if cosine >= NEAR_DUPLICATE_SIMILARITY}
    return _drop_what_the_guard_finds([e for e in found if e.cluster not in near], corpus, held_back)


def _drop_what_the_guard_finds(found: list[Example], corpus: Corpus, held_back: Sequence[str]) -> list[Example]:
    """Look as ``check_no_leak`` will, which weighs runs of characters by how rare they are in train, until all is well.

    A row that is dropped changes that a little, so what is left is looked at again.
    """
    train = [e.text for e in corpus.split("train")]
    while found and held_back:
        cosines, rows = nearest_statements(held_back, [*train, *(e.text for e in found)])
        close = rows[(cosines >= NEAR_DUPLICATE_SIMILARITY) & (rows >= len(train))]
        if not close.size:
            break
        near = {found[row - len(train)].cluster for row in close}
        found = [e for e in found if e.cluster not in near]
    return found
