"""Finds a kept document by its text. Texts have no index, so that only the newest are looked through."""

from typing import Final

from sqlalchemy import select

from service.store.database import Database
from service.store.records import StoredDocument
from service.store.score_reads import read_document
from service.store.tables import documents

# So many of the newest documents are compared; suggestions are made soon after the scores that they are about.
NEWEST_DOCUMENTS: Final = 2_000


class CommentSearch:
    """Looks for documents; raises ``StorageUnavailableError``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def find(self, text: str, *, source: str | None = None) -> StoredDocument | None:
        """Return the newest document with exactly this text, and with this source where one is given, or null."""
        newest = select(documents.c.seq, documents.c.id, documents.c.text)
        if source is not None:
            newest = newest.where(documents.c.source == source)
        looked_through = newest.order_by(documents.c.seq.desc()).limit(NEWEST_DOCUMENTS).subquery()
        query = select(looked_through.c.id).where(looked_through.c.text == text)
        with self._database.reading() as connection:
            found = connection.execute(query.order_by(looked_through.c.seq.desc()).limit(1)).scalar_one_or_none()
            return None if found is None else read_document(connection, found)
