"""How bytes become text: what a file may be written in, and how to convert what is written otherwise."""

from typing import Final

from service.rows.row import RowFileError

UTF8: Final = "utf-8"
UTF8_MARK: Final = b"\xef\xbb\xbf"
UTF16_MARKS: Final = (b"\xff\xfe", b"\xfe\xff")

# In each of these a line break, a comma and a quote are the bytes that they are in ASCII.
ROW_ENCODINGS: Final = (UTF8, "windows-1251", "windows-1252", "koi8-u", "koi8-r", "iso-8859-5", "cp866")
_OTHER_NAMES: Final = {
    "utf8sig": UTF8,
    "cp1251": "windows-1251",
    "cp1252": "windows-1252",
    "koi8": "koi8-u",
    "ibm866": "cp866",
}
# Below this, bytes of one encoding can by chance be UTF-8 too.
_MIN_TELLING_BYTES: Final = 8


def require_encoding(name: str) -> str:
    """Return the usual name of an encoding that rows may be in; raises ``RowFileError`` that lists the others."""
    known = {_bare(known): known for known in ROW_ENCODINGS} | _OTHER_NAMES
    if found := known.get(_bare(name)):
        return found
    raise RowFileError(f"the encoding is not one that rows may be in; name one of {', '.join(ROW_ENCODINGS)}")


def conversion_hint(raw: bytes = b"") -> str:
    """Return a command that converts a file, by the first bytes of what could not be read as UTF-8."""
    likely = "UTF-16" if raw.startswith(UTF16_MARKS) else "WINDOWS-1251"
    return f"convert it first, for example: iconv -f {likely} -t UTF-8 < old > new"


def encoding_hint(encoding: str) -> str:
    """Say what to do with a file of rows that is not in an encoding."""
    if encoding != UTF8:
        return "name the encoding that the file is in"
    return f"name the encoding of the file, such as windows-1251, or {conversion_hint()}"


def looks_like_utf8(beginning: bytes) -> bool:
    """Return whether bytes that begin a file have letters beyond ASCII and are UTF-8; the last may be cut off."""
    if sum(byte >= 0x80 for byte in beginning) < _MIN_TELLING_BYTES:
        return False
    try:
        beginning.decode(UTF8)
    except UnicodeDecodeError as error:
        return error.reason == "unexpected end of data"
    return True


def _bare(name: str) -> str:
    return name.strip().casefold().replace("-", "").replace("_", "").replace(" ", "")
