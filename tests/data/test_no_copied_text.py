import gzip
import json
import re
from collections.abc import Iterator
from pathlib import Path

STATEMENTS = Path(__file__).parents[2] / "datasets" / "statements"
# "This was reported by Interfax" is written anew every day; shorter lines than this belong to nobody.
SHORTEST_TEXT_WORDS = 6


def normalised(text: str) -> str:
    """Return the words alone: a copy stays one under another case, other spaces and other punctuation."""
    return " ".join(re.findall(r"\w+", text.casefold()))


def texts_of_the_pack(data_pack: Path) -> Iterator[tuple[str, str]]:
    for path in [*sorted(data_pack.glob("gold/*.jsonl")), *sorted(data_pack.glob("sets/*.jsonl.gz"))]:
        raw = path.read_bytes()
        lines = gzip.decompress(raw) if path.suffix == ".gz" else raw
        for number, line in enumerate(lines.decode().splitlines(), start=1):
            yield f"{path.name} line {number}", json.loads(line)["text"]


def test_no_statement_of_ours_stands_in_a_public_set(data_pack: Path) -> None:
    lines = [line for path in STATEMENTS.glob("*.jsonl") for line in path.read_text(encoding="utf-8").splitlines()]
    rows = [(normalised(row["text"]), row["id"]) for row in map(json.loads, lines)]
    ours = {words: identifier for words, identifier in rows if len(words.split()) >= SHORTEST_TEXT_WORDS}
    theirs = ((normalised(text), where) for where, text in texts_of_the_pack(data_pack))
    assert [(ours[words], where) for words, where in theirs if words in ours] == []
