"""Log lines: what they say, how they look, and what they never hold."""

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient

from service.log_lines import build_formatter, configure_logs
from service.middleware import log_unexpected
from service.settings import Settings

CANARY = "CANARY-91c4"
BODY = {"statements": [{"text": f"The court met on Monday, says {CANARY}."}] * 2}


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _logs_as_they_were() -> Iterator[None]:
    loggers = [logging.getLogger(name) for name in (None, "service", "uvicorn")]
    before = [(logger.level, list(logger.handlers)) for logger in loggers]
    yield
    for logger, (level, handlers) in zip(loggers, before, strict=True):
        logger.setLevel(level)
        logger.handlers[:] = handlers


@pytest.fixture
def stream() -> io.StringIO:
    stream = io.StringIO()
    configure_logs(Settings(), stream)
    return stream


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_request_is_one_line_with_what_happened(client: TestClient, stream: io.StringIO) -> None:
    response = client.post("/v1/score", json=BODY)
    (line,) = [line for line in lines(stream) if line["event"] == "request"]
    assert line.pop("milliseconds") > 0
    assert line.pop("timestamp").endswith("Z")
    assert line == {
        "event": "request",
        "level": "info",
        "request_id": response.headers["X-Request-Id"],
        "method": "POST",
        "route": "/v1/score",
        "status": 200,
        "n_statements": 2,
        "model_version": "tiny-1",
    }


def test_probes_are_not_logged_unless_asked_for(client: TestClient, stream: io.StringIO) -> None:
    for path in ("/livez", "/readyz", "/metrics"):
        client.get(path)
    assert not lines(stream)
    configure_logs(Settings(log_level="debug"), stream)
    client.get("/livez")
    assert [line["route"] for line in lines(stream)] == ["/livez"]


def test_neither_path_nor_query_nor_method_nor_text_nor_key_is_logged(client: TestClient, stream: io.StringIO) -> None:
    headers = {"Authorization": f"Bearer cred_{CANARY}", "User-Agent": CANARY, "Idempotency-Key": CANARY}
    client.post(f"/v1/score?q={CANARY}", json=BODY, headers=headers)
    client.post(f"/v1/score?q={CANARY}", json=BODY)
    client.get(f"/v1/{CANARY}/{CANARY}")
    client.request(CANARY, f"/v1/{CANARY}")
    client.post("/v1/score", content=CANARY, headers={"Content-Type": CANARY})
    assert len(lines(stream)) >= 5
    assert CANARY not in stream.getvalue()


def test_of_an_exception_only_kind_and_place_are_logged(stream: io.StringIO) -> None:
    try:
        raise ValueError(CANARY)
    except ValueError as error:
        log_unexpected(error)
        logging.getLogger("asyncio").exception("Task exception was never retrieved\nfuture: %s", error)
        logging.getLogger("uvicorn.error").error("Exception in ASGI application\n", exc_info=error, stack_info=True)
    ours, of_asyncio, of_the_server = lines(stream)
    assert ours["event"].startswith("unexpected ValueError at test_logs.py:")
    assert of_asyncio["event"] == "Task exception was never retrieved"
    assert of_the_server["event"] == "Exception in ASGI application"
    for line in (of_asyncio, of_the_server):
        assert line["kind"] == "ValueError"
        assert line["frames"].endswith("test_of_an_exception_only_kind_and_place_are_logged")
    assert CANARY not in stream.getvalue()


def test_a_traceback_that_was_made_a_message_is_cut_down_to_its_places(stream: io.StringIO) -> None:
    message = f'Traceback (most recent call last):\n  File "/srv/app.py", line 7, in start\nValueError: {CANARY}\n'
    logging.getLogger("uvicorn.error").error(message)
    (line,) = lines(stream)
    assert (line["event"], line["frames"]) == ("Traceback (most recent call last):", "app.py:7 start")


def test_the_server_logs_the_same_way_and_other_libraries_only_their_own_words(stream: io.StringIO) -> None:
    logging.getLogger("uvicorn.error").info("Started server process [%d]", 42)
    logging.getLogger("urllib3.connectionpool").warning("Retrying after %s: %s", CANARY, f"/hook?key={CANARY}")
    logging.getLogger("urllib3.connectionpool").info("POST %s", CANARY, extra={"status": CANARY})
    found = [(line["logger"], line["event"]) for line in lines(stream)]
    assert found == [
        ("uvicorn.error", "Started server process [42]"),
        ("urllib3.connectionpool", "Retrying after %s: %s"),
    ]


def test_a_message_stays_one_line(stream: io.StringIO) -> None:
    logging.getLogger("service").warning("batches wait: %s", 'a"b\nc')
    (line,) = lines(stream)
    assert line["event"] == 'batches wait: a"b\nc'


@pytest.mark.parametrize(
    ("log_format", "stream", "is_json"),
    [
        ("auto", io.StringIO(), True),
        ("auto", Terminal(), False),
        ("json", Terminal(), True),
        ("text", io.StringIO(), False),
    ],
)
def test_the_format_fits_the_reader(log_format: Any, stream: io.StringIO, is_json: bool) -> None:
    configure_logs(Settings(log_format=log_format), stream)
    logging.getLogger("service").info("request", extra={"route": "/v1/score", "status": 200})
    text = stream.getvalue()
    assert text.startswith("{") is is_json
    assert "/v1/score" in text
    assert ("\x1b[" in text) is (isinstance(stream, Terminal) and not is_json)


def test_the_level_is_a_setting() -> None:
    stream = io.StringIO()
    configure_logs(Settings(log_level="warning"), stream)
    logging.getLogger("service").info("not this")
    logging.getLogger("uvicorn.error").info("nor this")
    logging.getLogger("service").warning("but this")
    assert [line["event"] for line in lines(stream)] == ["but this"]


def test_text_lines_hold_no_exception_message_either() -> None:
    record = logging.LogRecord("service", logging.ERROR, __file__, 1, "failed", (), None)
    try:
        raise ValueError(CANARY)
    except ValueError as error:
        record.exc_info = (ValueError, error, error.__traceback__)
    text = build_formatter(is_json=False, has_colours=False).format(record)
    assert "ValueError" in text
    assert CANARY not in text
