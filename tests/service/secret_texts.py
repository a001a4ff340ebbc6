"""Texts that are found nowhere else, and the search for them in whatever is left behind."""

import base64
import hashlib
import json
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from uuid import uuid4

from sqlalchemy import text

from service.store.database import Database


class Secret:
    """Texts and tags that are found nowhere else, and every shape in which somebody could recognise them."""

    def __init__(self) -> None:
        self._started_at = time.time()
        self.word = f"Канарка-{uuid4().hex}\"\\'é😀"
        self.statements = (f"The court met on Monday near {self.word}.", f"Він заявив, що {self.word} йшов дощ.")
        self.document = " ".join(self.statements)
        self.tags = {name: f"{name} {self.word}" for name in ("source", "author", "document_id")}
        self._traces = traces_of(self.word, (*self.statements, self.document, *self.tags.values()))

    def body_for(self, route: str, **fields: Any) -> dict[str, Any]:
        """Return a request that is full of it."""
        if route == "/v1/documents":
            return {"text": self.document, "id": self.word, **self.tags, **fields}
        return {"statements": [{"text": text, "id": self.word, **self.tags} for text in self.statements], **fields}

    def is_in(self, content: bytes | str) -> bool:
        raw = content.encode("utf-8", "surrogateescape") if isinstance(content, str) else content
        return any(trace in raw for trace in self._traces)

    def find_files(self, folders: Iterable[Path]) -> list[Path]:
        """Return the files that hold it, or have it in their name; those from before it was made are passed over."""
        paths = [path for folder in folders for path in folder.rglob("*")]
        return [p for p in paths if self.is_in(p.name) or (self._is_new(p) and self.is_in(p.read_bytes()))]

    def _is_new(self, path: Path) -> bool:
        return path.is_file() and path.stat().st_mtime > self._started_at - 1


def traces_of(word: str, texts: Iterable[str]) -> set[bytes]:
    """Return a word in every encoding, and the hashes of the texts that it is in."""
    found = {word.encode(encoding) for encoding in ("utf-8", "utf-16-le", "utf-16-be")}
    found |= {json.dumps(word, ensure_ascii=is_ascii)[1:-1].encode() for is_ascii in (True, False)}
    found.add(word.encode().hex().encode())
    for raw in (word.encode(), *(given.encode() for given in texts)):
        found.add(base64.b64encode(raw).rstrip(b"="))
        for name in ("md5", "sha1", "sha256"):
            digest = hashlib.new(name, raw).digest()
            found |= {digest, digest.hex().encode(), base64.b64encode(digest).rstrip(b"=")}
    return found


def settle(database: Database) -> None:
    """Let everything that is to reach the files reach them."""
    if database.kind == "sqlite":
        database.shed_deleted()
        return
    with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("CHECKPOINT"))
