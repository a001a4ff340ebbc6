"""What a file is by its first bytes, whatever its name says."""

from typing import Final

PARQUET: Final = b"PAR1"
ENCRYPTED_PARQUET: Final = b"PARE"

_SIGNATURES: Final = {
    b"PK\x03\x04": "a zip file, or an office file such as .xlsx or .docx",
    b"PK\x05\x06": "an empty zip file",
    b"\x1f\x8b": "compressed with gzip",
    b"BZh": "compressed with bzip2",
    b"\xfd7zXZ\x00": "compressed with xz",
    b"\x28\xb5\x2f\xfd": "compressed with zstd",
    b"7z\xbc\xaf\x27\x1c": "a 7z file",
    b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1": "an old Office file such as .xls",
    b"%PDF-": "a PDF file",
    b"SQLite format 3\x00": "a SQLite database",
    b"ARROW1": "an Arrow file",
    PARQUET: "a Parquet file",
    ENCRYPTED_PARQUET: "an encrypted Parquet file",
}
_SAMPLE_BYTES: Final = 512


def name_binary(beginning: bytes) -> str | None:
    """Return what a file is, by its first bytes, where it is not text; ``None`` where it may be."""
    for signature, what in _SIGNATURES.items():
        if beginning.startswith(signature):
            return what
    sample = beginning[:_SAMPLE_BYTES]
    # A stray one is a matter of its row.
    is_binary = sample.count(0) > max(3, len(sample) // 20)
    return "binary data, or text in UTF-16 without a mark" if is_binary else None
