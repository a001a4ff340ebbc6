"""A real server in a process of its own, which can be killed and started again."""

import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

import httpx

from tests.trials.tiny_credence import SECONDS_VARIABLE

START_SECONDS: Final = 120.0
_UNLIMITED: Final = {
    "CREDENCE_OPEN_RATE_LIMIT": "none",
    "CREDENCE_FEEDBACK_RATE_LIMIT": "none",
    "CREDENCE_MAX_OPEN_BATCHES": "100000",
}


class ServingProcess:
    """``credence serve`` on a port of its own, with the shipped model or a tiny one."""

    def __init__(
        self, state: Path, database_url: str, *, is_real: bool = False, seconds_per_statement: float = 0.0
    ) -> None:
        self.port = find_free_port()
        self.log = state.parent / "server.log"
        self._is_real = is_real
        self._environment = os.environ | _UNLIMITED | {
            "CREDENCE_STATE_PATH": str(state),
            "CREDENCE_DATABASE_URL": database_url,
            "CREDENCE_PORT": str(self.port),
            SECONDS_VARIABLE: str(seconds_per_statement),
        }  # fmt: skip
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Return the address of the server."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start the process, without waiting for it."""
        program = (
            [str(Path(sys.executable).with_name("credence"))]
            if self._is_real
            else [sys.executable, "-m", "tests.trials.tiny_credence"]
        )
        with self.log.open("ab") as output:
            self._process = subprocess.Popen(
                [*program, "serve"], env=self._environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output
            )

    def wait_until_ready(self) -> None:
        """Return when the server answers; raises ``RuntimeError`` where it does not start."""
        deadline = time.monotonic() + START_SECONDS
        while self._running().poll() is None and time.monotonic() < deadline:
            try:
                if httpx.get(f"{self.url}/readyz", trust_env=False).status_code == httpx.codes.OK:
                    return
            except httpx.TransportError:
                pass
            time.sleep(0.02)
        raise RuntimeError(f"the server does not start; see {self.log}")

    def kill(self) -> None:
        """End the process as nothing but SIGKILL or a power cut does."""
        self._running().kill()
        self._running().wait()

    def stop(self) -> None:
        """Ask the process to end, and wait until it has."""
        self._running().terminate()
        try:
            self._running().wait(timeout=60)
        except subprocess.TimeoutExpired:
            self.kill()

    def read_peak_bytes(self) -> int:
        """Return the most memory that the process has held so far or since ``forget_peak``; Linux only."""
        status = Path(f"/proc/{self._running().pid}/status").read_text(encoding="ascii")
        return int(status.partition("VmHWM:")[2].split()[0]) * 1024

    def forget_peak(self) -> None:
        """Let the peak begin anew at what the process holds now."""
        Path(f"/proc/{self._running().pid}/clear_refs").write_text("5", encoding="ascii")

    def _running(self) -> "subprocess.Popen[bytes]":
        if self._process is None:
            raise RuntimeError("the server was not started")
        return self._process


def find_free_port() -> int:
    """Return a port that nobody listens on just now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port
