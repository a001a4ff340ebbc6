"""Keeps a spreadsheet from taking a cell of CSV for a formula (OWASP, CSV injection)."""

import re
from typing import Final

_SIGNS: Final = r"[=+\-@\t\r]"
# Apostrophes that stand there already count too: else what is guarded and what only looks so would come out alike.
_DANGEROUS: Final = re.compile(f"'*{_SIGNS}")
_GUARDED: Final = re.compile(f"'+{_SIGNS}")


def guard_cell(cell: str) -> str:
    """Return a cell with an apostrophe in front, where a spreadsheet would take it for a formula."""
    return f"'{cell}" if _DANGEROUS.match(cell) else cell


def unguard_cell(cell: str) -> str:
    """Return what ``guard_cell`` was given."""
    return cell[1:] if _GUARDED.match(cell) else cell
