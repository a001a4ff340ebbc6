"""Turns a file that somebody drops on the page into text: plain text, HTML, Word, or a table of statements."""

import csv
import io
import zipfile
from dataclasses import dataclass
from pathlib import PurePath
from typing import Final

from credence.errors import CredenceError

MAX_EXPANDED_BYTES: Final = 64 * 1024 * 1024
MAX_STATEMENTS: Final = 5_000
_TEXT_COLUMNS: Final = ("text", "statement", "текст", "твердження", "утверждение")
_DELIMITERS: Final = ",;\t"
_ENOUGH_SHARE: Final = 0.6


class TextFileError(CredenceError):
    """A file holds no text that can be read; the message says what was found and what to do."""


@dataclass(frozen=True, slots=True)
class FileText:
    """What was in a file: an article, or a list of statements; the other one is empty."""

    text: str = ""
    statements: tuple[str, ...] = ()


def read_text_file(name: str, raw: bytes) -> FileText:
    """Read a file by the extension of its name. Nothing is fetched from anywhere. Raises ``TextFileError``."""
    if not raw.strip(b"\0 \t\r\n"):
        raise TextFileError("it is empty")
    match PurePath(name).suffix.lower():
        case ".docx":
            return FileText(text=_read_docx(raw))
        case ".html" | ".htm" | ".xhtml":
            return FileText(text=_read_html(raw))
        case ".csv" | ".tsv":
            return FileText(statements=_read_table(decode_text(raw)))
        case ".txt" | ".md" | ".text" | "":
            return FileText(text=decode_text(raw))
    raise TextFileError("its name must end in .txt, .html, .csv or .docx; copy the text and paste it instead")


def decode_text(raw: bytes) -> str:
    """Return bytes as text: UTF-8, UTF-16 by its mark, else the 8-bit encoding that fits best."""
    if raw.startswith((b"PK\x03\x04", b"%PDF", b"\xd0\xcf\x11\xe0", b"\x1f\x8b")):
        raise TextFileError("it is not a text file, whatever its name says; copy the text and paste it instead")
    for encoding in ("utf-16",) if raw.startswith((b"\xff\xfe", b"\xfe\xff")) else ("utf-8-sig",):
        try:
            return raw.decode(encoding)
        except UnicodeDecodeError:
            break
    from charset_normalizer import from_bytes

    best = from_bytes(
        raw, cp_isolation=["cp1251", "koi8_r", "koi8_u", "cp1252", "cp866", "iso8859_5", "mac_cyrillic"]
    ).best()
    if best is None:
        raise TextFileError("its characters cannot be told; save it as UTF-8 and drop it again")
    return str(best)


def _read_html(raw: bytes) -> str:
    import trafilatura

    page = decode_text(raw)
    exact = trafilatura.extract(page, include_comments=False, favor_precision=True) or ""
    broad = trafilatura.extract(page, include_comments=False, favor_recall=True) or ""
    if not broad and not exact:
        raise TextFileError("no article was found in the page; copy the text and paste it instead")
    # The broad way cuts the lines of short pages at their links; the exact one leaves parts of some articles out.
    return exact if len(exact) >= _ENOUGH_SHARE * len(broad) else broad


def _read_docx(raw: bytes) -> str:
    try:
        with zipfile.ZipFile(io.BytesIO(raw)) as archive:
            expanded = sum(item.file_size for item in archive.infolist())
            if expanded > MAX_EXPANDED_BYTES or len(archive.infolist()) > 2_000:
                raise TextFileError(f"it expands to more than {MAX_EXPANDED_BYTES // 1024**2} MiB; save the text alone")
        return _docx_text(raw)
    except TextFileError:
        raise
    # The library raises whatever it trips over in a damaged file.
    except Exception:
        raise TextFileError("it is not a Word document that can be read; save it as .docx or .txt again") from None


def _docx_text(raw: bytes) -> str:
    from docx import Document
    from docx.table import Table

    paragraphs: list[str] = []
    for block in Document(io.BytesIO(raw)).iter_inner_content():
        if isinstance(block, Table):
            paragraphs.extend(cell.text for row in block.rows for cell in row.cells)
        else:
            paragraphs.append(block.text)
    text = "\n\n".join(p for p in paragraphs if p.strip())
    if not text:
        raise TextFileError("the document holds no text")
    return text


def _read_table(text: str) -> tuple[str, ...]:
    first = text.partition("\n")[0]
    delimiter = max(_DELIMITERS, key=first.count)
    try:
        rows = [row for row in csv.reader(io.StringIO(text), delimiter=delimiter) if any(cell.strip() for cell in row)]
    except csv.Error:
        raise TextFileError(
            "it is not a table that can be read: a quote is not closed, or a cell is too long"
        ) from None
    head = [cell.strip().casefold() for cell in rows[0]]
    column = next((head.index(name) for name in _TEXT_COLUMNS if name in head), None)
    if column is None and len(head) > 1:
        raise TextFileError("its first line must name a column text; add one, or keep a single column of statements")
    body = rows if column is None else rows[1:]
    cells = [" ".join(row[column or 0].split()) for row in body if len(row) > (column or 0)]
    statements = tuple(cell for cell in cells if cell)
    if not statements:
        raise TextFileError("its column of statements is empty")
    if len(statements) > MAX_STATEMENTS:
        raise TextFileError(
            f"it holds {len(statements)} statements; the page takes {MAX_STATEMENTS}: send it to /v1/batches"
        )
    return statements
