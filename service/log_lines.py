"""How log lines look, and what of them is let through: never a text, a path as sent, or an exception's message.

Lines of the service itself hold none of these. Of what other libraries log, only the words that stand in their code are
kept, and of an exception its kind and where it came from.
"""

import logging
import re
import sys
import traceback
from pathlib import Path
from typing import Any, Final, TextIO

import structlog
from structlog.typing import EventDict, Processor

from service.settings import Settings

FIELDS: Final = ("request_id", "method", "route", "status", "milliseconds", "n_statements", "model_version")
_OURS: Final = "service"
_SERVER: Final = "uvicorn"
# A traceback that somebody has already made a message of.
_FRAME: Final = re.compile(r'File "([^"]+)", line (\d+), in (\S+)')


def configure_logs(settings: Settings, stream: TextIO = sys.stderr) -> None:
    """Send every log line of the process to a stream: as JSON, or as text where it is a terminal or a setting says so.

    Other libraries than the server's are heard from the level of warnings on.
    """
    is_terminal = stream.isatty()
    is_json = settings.log_format == "json" or (settings.log_format == "auto" and not is_terminal)
    handler = logging.StreamHandler(stream)
    handler.setFormatter(build_formatter(is_json=is_json, has_colours=is_terminal))
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    level = settings.log_level.upper()
    logging.getLogger(_OURS).setLevel(level)
    logging.getLogger(_SERVER).setLevel(max(logging.INFO, logging.getLevelNamesMapping()[level]))


def build_formatter(*, is_json: bool, has_colours: bool) -> logging.Formatter:
    """Return what makes lines of log records."""
    renderer: Processor = (
        structlog.processors.JSONRenderer(ensure_ascii=False)
        if is_json
        else structlog.dev.ConsoleRenderer(colors=has_colours, pad_event_to=0)
    )
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[
            _keep_what_is_safe,
            structlog.stdlib.add_log_level,
            structlog.stdlib.ExtraAdder(allow=FIELDS),
            structlog.processors.TimeStamper(fmt="iso", utc=True),
        ],
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
    )


def _keep_what_is_safe(logger: Any, method: str, event: EventDict) -> EventDict:
    record: logging.LogRecord = event["_record"]
    error = record.exc_info[1] if record.exc_info else None
    event.pop("exc_info", None)
    event.pop("stack_info", None)
    name = record.name.partition(".")[0]
    if name != _OURS:
        event["logger"] = record.name
        # The server's own values are addresses and numbers; those of others may be anything.
        message = str(event["event"] if name == _SERVER else record.msg)
        event["event"] = message.strip().partition("\n")[0]
        if frames := _FRAME.findall(message):
            event["frames"] = " > ".join(f"{Path(file).name}:{line} {function}" for file, line, function in frames)
    if error is not None:
        event["kind"] = type(error).__name__
        event["frames"] = name_frames(error)
    return event


def name_frames(error: BaseException) -> str:
    """Return where an exception came from, the innermost place last."""
    frames = traceback.extract_tb(error.__traceback__)
    return " > ".join(f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in frames)
