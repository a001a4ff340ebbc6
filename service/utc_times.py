"""How times are written in files and answers that are not made by pydantic."""

from datetime import datetime


def write_time(time: datetime) -> str:
    """Return an aware time in ISO 8601, with ``Z`` where it is in UTC."""
    return time.isoformat().replace("+00:00", "Z")
