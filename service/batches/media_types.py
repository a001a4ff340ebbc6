"""How formats of rows are named in HTTP."""

from email.message import Message
from typing import Final

from service.rows.files import RowFormat
from service.rows.row import RowFileError
from service.rows.text_encoding import UTF8, require_encoding

# The first name of a format is the one that we use.
MEDIA_TYPES: Final = {
    "application/x-ndjson": RowFormat.JSON_LINES,
    "application/jsonl": RowFormat.JSON_LINES,
    "application/x-jsonlines": RowFormat.JSON_LINES,
    "text/csv": RowFormat.CSV,
    "application/vnd.apache.parquet": RowFormat.PARQUET,
}


def to_media_type(file_format: RowFormat, encoding: str = UTF8) -> str:
    """Return the media type of a format, with its encoding where it has one."""
    name = next(name for name, known in MEDIA_TYPES.items() if known is file_format)
    # JSON lines are in UTF-8 where nobody says otherwise; of CSV nobody knows.
    is_known = file_format is RowFormat.PARQUET or (file_format is RowFormat.JSON_LINES and encoding == UTF8)
    return name if is_known else f"{name}; charset={encoding}"


def read_media_type(declared: str) -> tuple[RowFormat, str]:
    """Return the format and the encoding that a media type names; raises ``RowFileError``."""
    message = Message()
    message["content-type"] = declared or "text/plain"
    file_format = MEDIA_TYPES.get(message.get_content_type())
    if file_format is None:
        raise RowFileError(f"Send the header Content-Type with one of: {', '.join(MEDIA_TYPES)}")
    try:
        return file_format, require_encoding(str(message.get_param("charset", UTF8)))
    except RowFileError as error:
        raise RowFileError(f"Of the charset: {error}") from None
