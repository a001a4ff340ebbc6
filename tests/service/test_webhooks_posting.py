import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from service.webhooks.posting import MAX_ANSWER_BYTES, PostingClosedError, PostOutcome, WebhookPoster
from tests.service.webhook_receiver import PEM, Handler, Receiver, answer_raw, receiving

PATIENCE_SECONDS = 30
BODY = b'{"type":"test.ping"}'
SENT = {"webhook-id": "w-1", "Content-Type": "application/json"}


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


@pytest.fixture
def tls_receiver() -> Iterator[Receiver]:
    with receiving(is_tls=True) as receiver:
        yield receiver


def post(url: str, **options: Any) -> PostOutcome:
    return WebhookPoster(**{"allow_private": True, **options}).post(url, SENT, BODY)


def answering(*addresses: str) -> Callable[[str, int], list[str]]:
    return lambda host, port: list(addresses)


def test_a_post_arrives_as_it_was_sent(receiver: Receiver) -> None:
    assert post(receiver.url) == PostOutcome(None)
    (got,) = receiver.received
    assert (got.path, got.body) == ("/hook?token=t0ken", BODY)
    assert got.headers == {
        **{name.lower(): value for name, value in SENT.items()},
        "host": f"127.0.0.1:{receiver.server_port}",
        "content-length": str(len(BODY)),
        "accept-encoding": "identity",
        "connection": "close",
    }


def test_an_ipv6_host_stands_in_brackets(receiver: Receiver) -> None:
    assert post(f"http://[fc00::abcd]:{receiver.server_port}/", resolve=answering("127.0.0.1")) == PostOutcome(None)
    assert receiver.received[0].headers["host"] == f"[fc00::abcd]:{receiver.server_port}"


@pytest.mark.parametrize(("status", "fault"), [(200, None), (299, None), (199, "199"), (404, "404"), (500, "500")])
def test_only_a_status_of_success_is_a_success(receiver: Receiver, status: int, fault: str | None) -> None:
    receiver.answers.append(status)
    outcome = post(receiver.url)
    assert outcome.is_gone is False
    assert outcome.fault == (fault and f"the answer had status {fault}")


def test_gone_for_good_is_something_else_than_a_fault(receiver: Receiver) -> None:
    receiver.answers.append(410)
    assert post(receiver.url).is_gone is True


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(receiver: Receiver, status: int) -> None:
    with receiving() as elsewhere:
        receiver.answers.append(status)
        receiver.answer_headers["Location"] = elsewhere.url
        assert post(receiver.url).fault == f"the answer was a redirect ({status}), which is not followed"
        assert (len(receiver.received), elsewhere.received) == (1, [])


@pytest.mark.parametrize(("asked", "seconds"), [("120", 120), ("-1", 0), ("Mon", 0), ("9" * 7, 0), ("١", 0)])
def test_a_receiver_may_ask_for_time(receiver: Receiver, asked: str, seconds: int) -> None:
    receiver.answers.append(lambda handler: answer_raw(handler, f"HTTP/1.1 503 -\r\nRetry-After: {asked}\r\n\r\n"))
    assert post(receiver.url).retry_after_seconds == seconds


def test_of_a_huge_answer_little_is_read(receiver: Receiver) -> None:
    sent = []

    def answer_without_end(handler: Handler) -> None:
        handler.close_connection = True
        handler.send_response(200)
        handler.end_headers()
        while not handler.server.has_ended.is_set():
            handler.wfile.write(b"x" * 65_536)
            sent.append(65_536)

    receiver.answers.append(answer_without_end)
    assert post(receiver.url) == PostOutcome(None)
    # What was sent beyond it lay in buffers between the two.
    assert sum(sent) < 64 * MAX_ANSWER_BYTES


def drip(handler: Handler, start: bytes) -> None:
    handler.close_connection = True
    handler.wfile.write(start)
    while not handler.server.has_ended.wait(0.02):
        handler.wfile.write(b"x")


def test_an_answer_that_drips_is_not_waited_for(receiver: Receiver) -> None:
    receiver.answers.append(lambda handler: drip(handler, b"HTTP/1.1 200 OK\r\nX: "))
    assert post(receiver.url, timeout_seconds=0.2) == PostOutcome("no answer within 0.2 seconds")


def test_a_status_counts_even_if_the_rest_of_the_answer_drips(receiver: Receiver) -> None:
    receiver.answers.append(lambda handler: drip(handler, b"HTTP/1.1 200 OK\r\n\r\n"))
    assert post(receiver.url, timeout_seconds=0.2) == PostOutcome(None)


@pytest.mark.parametrize(
    ("answer", "fault"),
    [
        ("", "the host closed the connection without an answer"),
        ("SECRETWORD\r\n\r\n", "the host does not answer in HTTP"),
        ("HTTP/1.1 200 OK\r\n" + "X: y\r\n" * 200 + "\r\n", "the host does not answer in HTTP"),
        ("HTTP/1.1 200 OK\r\nX: " + "y" * 100_000, "the host does not answer in HTTP"),
    ],
)
def test_what_is_no_answer_is_a_fault_in_our_own_words(receiver: Receiver, answer: str, fault: str) -> None:
    receiver.answers.append(lambda handler: answer_raw(handler, answer))
    assert post(receiver.url) == PostOutcome(fault)


def test_a_host_that_is_not_there_is_a_fault() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    assert post(f"http://127.0.0.1:{port}/") == PostOutcome("the host refuses the connection")


@pytest.mark.parametrize("error", [socket.gaierror(-2, "SECRETWORD"), UnicodeError("SECRETWORD"), OSError()])
def test_a_name_that_nobody_knows_is_a_fault(error: Exception) -> None:
    def resolve(host: str, port: int) -> list[str]:
        raise error

    assert post("http://hooks.test/", resolve=resolve) == PostOutcome("the host has no address")


def test_a_private_address_gets_nothing_unless_it_is_allowed(receiver: Receiver) -> None:
    tls_url = f"https://127.0.0.1:{receiver.server_port}/"
    assert post(tls_url, allow_private=False) == PostOutcome("the host has a private address")
    named = f"https://hooks.test:{receiver.server_port}/"
    for addresses in (["127.0.0.1"], ["8.8.8.8", "127.0.0.1"], ["::ffff:127.0.0.1"]):
        refused = post(named, allow_private=False, resolve=answering(*addresses))
        assert refused == PostOutcome("the host has a private address")
    assert receiver.received == []


def test_a_name_is_resolved_once_and_what_was_checked_is_what_is_reached(receiver: Receiver) -> None:
    with receiving(host="127.0.0.2", port=receiver.server_port) as rebound:
        answers = iter([["127.0.0.1"], ["127.0.0.2"]])
        asked = []

        def resolve(host: str, port: int) -> list[str]:
            asked.append((host, port))
            return next(answers)

        # Nobody but this resolver knows the name.
        poster = WebhookPoster(allow_private=True, resolve=resolve)
        url = f"http://hooks.test:{receiver.server_port}/"
        assert poster.post(url, SENT, BODY) == PostOutcome(None)
        assert asked == [("hooks.test", receiver.server_port)]
        assert ([got.headers["host"] for got in receiver.received], rebound.received) == (
            [f"hooks.test:{receiver.server_port}"],
            [],
        )


def test_a_name_that_turns_private_gets_nothing_more() -> None:
    answers = iter([["240.0.0.1"], ["127.0.0.1"]])
    poster = WebhookPoster(allow_private=False, resolve=lambda host, port: next(answers))
    for _ in range(2):
        assert poster.post("https://hooks.test/", SENT, BODY) == PostOutcome("the host has a private address")


def test_the_next_address_is_tried_where_one_cannot_be_reached(receiver: Receiver) -> None:
    resolve = answering("127.0.0.3", "127.0.0.1")
    assert post(f"http://hooks.test:{receiver.server_port}/", resolve=resolve) == PostOutcome(None)
    assert len(receiver.received) == 1


def test_tls_checks_the_certificate_for_the_name_of_the_url(tls_receiver: Receiver) -> None:
    port, resolve, trusted = tls_receiver.server_port, answering("127.0.0.1"), PEM.read_text()
    good = post(f"https://hooks.test:{port}/", resolve=resolve, trusted_certificates=trusted)
    assert good == PostOutcome(None)
    assert [got.headers["host"] for got in tls_receiver.received] == [f"hooks.test:{port}"]
    fault = PostOutcome("the host has no certificate that is valid and trusted")
    assert post(f"https://other.test:{port}/", resolve=resolve, trusted_certificates=trusted) == fault
    assert post(f"https://127.0.0.1:{port}/", trusted_certificates=trusted) == fault
    assert post(f"https://hooks.test:{port}/", resolve=resolve) == fault
    assert len(tls_receiver.received) == 1


def test_a_host_without_tls_is_a_fault(receiver: Receiver) -> None:
    url = f"https://hooks.test:{receiver.server_port}/"
    assert post(url, resolve=answering("127.0.0.1")) == PostOutcome("no TLS connection to the host")


def test_a_tls_handshake_is_not_waited_for_either() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"https://hooks.test:{silent.getsockname()[1]}/"
        outcome = post(url, resolve=answering("127.0.0.1"), timeout_seconds=0.2)
    assert outcome == PostOutcome("no answer within 0.2 seconds")


@pytest.mark.parametrize("is_tls", [False, True])
def test_a_post_can_be_broken_off(is_tls: bool) -> None:
    has_begun = threading.Event()

    def say_nothing(handler: Handler) -> None:
        has_begun.set()
        handler.server.has_ended.wait(PATIENCE_SECONDS)

    poster = WebhookPoster(
        allow_private=True, resolve=answering("127.0.0.1"), trusted_certificates=PEM.read_text(), timeout_seconds=60
    )
    with receiving(is_tls=is_tls) as receiver, ThreadPoolExecutor(1) as pool:
        receiver.answers.append(say_nothing)
        url = f"http{'s' if is_tls else ''}://hooks.test:{receiver.server_port}/"
        posting = pool.submit(poster.post, url, SENT, BODY)
        assert has_begun.wait(PATIENCE_SECONDS)
        poster.close()
        with pytest.raises(PostingClosedError):
            posting.result(PATIENCE_SECONDS)
    with pytest.raises(PostingClosedError):
        poster.post(url, SENT, BODY)
