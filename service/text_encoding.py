"""How bytes that are not UTF-8 can be told and converted."""

from typing import Final

UTF16_MARKS: Final = (b"\xff\xfe", b"\xfe\xff")


def conversion_hint(raw: bytes = b"") -> str:
    """Return a command that converts a file, by the first bytes of what could not be read as UTF-8."""
    likely = "UTF-16" if raw.startswith(UTF16_MARKS) else "WINDOWS-1251"
    return f"convert it first, for example: iconv -f {likely} -t UTF-8 < old > new"
