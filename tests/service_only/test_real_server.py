"""Runs where nothing but the service is installed: ``make test-service-only``."""

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import httpx
import pytest

from credence.labels import LABELS, OUTCOMES

START_SECONDS = 60
STATEMENTS = [
    "The city council voted 31 to 4 on Tuesday to close the old bridge for repairs.",
    "Опозиція звинуватила міністра у змові з імпортерами газу.",
    "За спиной правительства всем тайно управляет кучка иностранных банкиров.",
]


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def wait_until_ready(server: subprocess.Popen[bytes], client: httpx.Client, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and server.poll() is None:
        try:
            if client.get("/readyz").status_code == httpx.codes.OK:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.1)
    pytest.fail(f"the server is not ready (exit code {server.poll()}):\n{log.read_text(encoding='utf-8')}")


@pytest.fixture
def client(tmp_path: Path) -> Iterator[httpx.Client]:
    """Yield a client of a server of its own, which is stopped whatever happens."""
    port = free_port()
    log = tmp_path / "server.log"
    command = [str(Path(sys.executable).with_name("credence")), "serve", "--port", str(port)]
    # From another folder: what is found is what is installed.
    with log.open("wb") as output, subprocess.Popen(command, cwd=tmp_path, stdout=output, stderr=output) as server:
        try:
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30, trust_env=False) as client:
                wait_until_ready(server, client, log)
                yield client
        finally:
            server.terminate()
            try:
                server.wait(timeout=10)
            except subprocess.TimeoutExpired:
                server.kill()


@pytest.mark.parametrize("library", ["torch", "transformers", "sklearn", "scipy", "pandas", "mlflow", "matplotlib"])
def test_no_training_library_is_installed_here(library: str) -> None:
    assert find_spec(library) is None, "this is not the environment of the service; run: make test-service-only"


def test_a_real_server_answers_a_real_request_with_labels(client: httpx.Client) -> None:
    answer = client.post("/v1/score", json={"statements": [{"text": text} for text in STATEMENTS]})
    assert answer.status_code == httpx.codes.OK, answer.text
    results = answer.json()["results"]
    assert [result["language"] for result in results] == ["en", "uk", "ru"]
    for result in results:
        assert result["outcome"] in OUTCOMES
        assert result["label"] in {*LABELS, None}
        assert sum(result["scores"].values()) == pytest.approx(1)
    assert any(result["label"] in LABELS for result in results)
