"""``credence batch FILE --server URL``: has a service score a file, and fetches the results."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import typer

from credence.labels import DISCLAIMER
from service.batches.client import BatchClient, ServiceError
from service.batches.media_types import to_media_type
from service.commands.arguments import CommandError, check_row_paths
from service.rows.files import check_row_file, row_format
from service.rows.progress import show_progress
from service.rows.text_encoding import UTF8, require_encoding
from service.rows.writers import replacing

_EXIT_BAD_ROWS: Final = 1
_EXIT_INTERRUPTED: Final = 130
_POLL_SECONDS: Final = 1.0


def score_file_there(
    client: BatchClient,
    input_path: Path,
    output_path: Path,
    *,
    may_overwrite: bool,
    encoding: str | None = None,
    store: bool | None = None,
    pause: Callable[[float], None] = time.sleep,
) -> None:
    """Have a service score a file, and say on stderr what came of it; exits with 1 where rows were not scored.

    Ctrl-C asks the service to cancel the batch. Raises ``CommandError``, ``RowFileError``, ``ServiceError`` and
    ``OSError``; then there is no output.
    """
    check_row_paths(input_path, output_path, may_overwrite=may_overwrite)
    input_format, output_format = row_format(input_path), row_format(output_path)
    taken = require_encoding(encoding or UTF8)
    check_row_file(input_path, input_format, encoding=taken)
    typer.echo(f"Sending {input_path} to {client.url_of('')}", err=True)
    media_type = to_media_type(input_format, taken)
    batch: dict[str, Any] | None = None
    try:
        batch = client.upload(input_path, media_type=media_type, key=str(uuid4()), store=store)
        batch = _wait(client, batch, pause)
        _require_done(client, batch)
        with replacing(output_path) as output:
            client.download(batch, output_format.removeprefix("."), output)
    except KeyboardInterrupt:
        if batch is not None:
            _cancel(client, batch)
        raise typer.Exit(_EXIT_INTERRUPTED) from None
    n_rows, n_errors = batch["n_rows"], batch["n_error_rows"]
    typer.echo(f"{n_rows} rows read, {n_errors} of them with errors, into {output_path}", err=True)
    typer.echo(DISCLAIMER, err=True)
    if n_errors:
        raise typer.Exit(_EXIT_BAD_ROWS)


def _wait(client: BatchClient, batch: dict[str, Any], pause: Callable[[float], None]) -> dict[str, Any]:
    with show_progress(1.0) as report:
        while batch["finished_at"] is None:
            pause(_POLL_SECONDS)
            batch = client.read(batch)
            report(batch["n_done_rows"], batch["share_done"])
    return batch


def _require_done(client: BatchClient, batch: dict[str, Any]) -> None:
    if batch["state"] == "done":
        return
    rest = f"; what was scored before is at {client.url_of(batch['results_url'])}"
    if batch["state"] == "failed":
        raise CommandError(f"the file could not be read to its end: {batch['failure']}{rest}")
    raise CommandError(f"the batch was {batch['state']} meanwhile{rest}")


def _cancel(client: BatchClient, batch: dict[str, Any]) -> None:
    try:
        stopped = client.cancel(batch)
    except ServiceError as error:
        typer.echo(f"\ncredence: the batch goes on, {error}; cancel it with", err=True)
        typer.echo(f"  curl -X POST {client.url_of(batch['cancel_url'])}", err=True)
    else:
        done = f"{stopped['n_done_rows']} rows were done and are at {client.url_of(stopped['results_url'])}"
        typer.echo(f"\ncredence: the batch is {stopped['state']}; {done}", err=True)
