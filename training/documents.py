"""Which rows of the public sets belong together: sentences of one document, tellings of one claim, translations."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from training.corpora import Example
from training.sources import public_sets, set_of
from training.stand_off import read_set_file, text_digest

# Sets whose rows are posts or paragraphs, of which a statement is a part.
POST_SETS: Final = frozenset(
    {"unlp", "euvsdisinfo_summaries", "propaganda_diary_2022", "propaganda_diary_en_2024", "viina_war_reports"}
)
# The field that ties rows of one document, claim or translation together; the line number where there is none.
_CLUSTER_FIELDS: Final[dict[str, str]] = {
    "adaq_ru_quotes": "doc",
    "basil": "url",
    "gum_attribution": "doc_id",
    "mpqa": "doc_id",
    "narrative_catalogue": "concept_id",
    "newsdiscourse": "doc_id",
    "ntrex_parallel_news": "pair_id",
    "polnear": "doc_id",
    "propaganda_diary_2022": "fake_id",
    "rrt_ru_attribution": "doc_id",
    "slavic_news_sentences": "doc_id",
    "slavic_persuasion_ru": "doc_id",
    "szeged_uncertainty": "doc_id",
    "telegram_ru_news": "message_id",
    "ud_reported_speech": "doc_id",
    "ukraine_news_bias": "article_id",
    "unlp": "doc_id",
    "viina_war_reports": "viina_event_id_1pd",
    "warline_timeline": "url",
}


def read_set(data_pack: Path, name: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield each row of a set with its 1-based line number; raises ``CorpusError`` where its file cannot be read."""
    yield from read_set_file(data_pack / public_sets()[name]["file"])


def cluster_of(set_name: str, number: int, row: dict[str, Any]) -> str:
    """Return the name, 12 hexadecimal digits, of what a row of a set belongs to."""
    return text_digest(f"{set_name}:{row.get(_CLUSTER_FIELDS.get(set_name, ''), number)}")[:12]


def clusters_holding(data_pack: Path, examples: Sequence[Example]) -> set[str]:
    """Return the clusters of the rows that hold a text of the examples, each looked for in the set of its origin."""
    wanted: defaultdict[str, set[str]] = defaultdict(set)
    for example in examples:
        wanted[set_of(example.origin)].add(example.text)
    found: set[str] = set()
    for name in wanted.keys() & public_sets().keys():
        for number, row in read_set(data_pack, name):
            is_part = name in POST_SETS and any(text in row["text"] for text in wanted[name])
            if is_part or row["text"] in wanted[name]:
                found.add(cluster_of(name, number, row))
    return found
