"""What a request must satisfy before any of it is scored. Every fault is found, so that one answer names them all."""

import re
from collections.abc import Sequence
from typing import Final

from credence.errors import InvalidTextError, UnknownLanguageError
from credence.language import require_language
from credence.normalise import check_text
from service.errors import Fault, ProblemType, RefusedRequestError, language_fault, statements_fault, text_fault
from service.schemas import DocumentRequest, StatementRequest
from service.settings import Settings

_LONE_SURROGATE: Final = re.compile(r"[\ud800-\udfff]")


def admit_statements(statements: Sequence[StatementRequest], settings: Settings) -> None:
    """Let a list of statements through, or raise ``RefusedRequestError`` with every fault in it."""
    if len(statements) > settings.max_statements:
        raise RefusedRequestError([statements_fault(len(statements), settings.max_statements)])
    faults = [
        fault
        for index, statement in enumerate(statements)
        for fault in _find_faults(statement, settings.max_statement_chars, f"/statements/{index}")
    ]
    if faults:
        raise RefusedRequestError(faults)


def admit_document(document: DocumentRequest, settings: Settings) -> None:
    """Let a document through, or raise ``RefusedRequestError`` with every fault in it."""
    if faults := _find_faults(document, settings.max_document_chars, ""):
        raise RefusedRequestError(faults)


def find_tag_fault(value: str, pointer: str) -> Fault | None:
    """Say why an id or a tag cannot be kept, or return null."""
    if _LONE_SURROGATE.search(value):
        detail = "An id or tag comes back as it was sent, and half a surrogate pair cannot be written in UTF-8."
        return Fault(ProblemType.TEXT_LONE_SURROGATE, detail, pointer)
    if "\0" in value:
        detail = "An id or tag must not hold U+0000, which no database keeps."
        return Fault(ProblemType.TEXT_CONTROL_CHARACTER, detail, pointer)
    return None


def _find_faults(item: StatementRequest | DocumentRequest, max_chars: int, pointer: str) -> list[Fault]:
    faults = []
    try:
        check_text(item.text, max_chars=max_chars)
    except InvalidTextError as error:
        faults.append(text_fault(error, f"{pointer}/text"))
    for name in ("id", "source", "author", "document_id"):
        if fault := find_tag_fault(getattr(item, name) or "", f"{pointer}/{name}"):
            faults.append(fault)
    if item.language is not None:
        try:
            require_language(item.language)
        except UnknownLanguageError as error:
            faults.append(language_fault(error, f"{pointer}/language"))
    return faults
