"""``credence worker``: scores batches of a database in a process of its own, beside servers and other workers."""

import signal
from collections.abc import Callable
from contextlib import AbstractContextManager, closing
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Annotated

import typer

# Nothing heavy is imported at the top: ``credence --help`` must be quick.
if TYPE_CHECKING:
    from service.cli import ModelLoader

BundleOption = Annotated[Path | None, typer.Option(help="The folder of a bundle; without it, the shipped one.")]
ThreadsOption = Annotated[
    int | None,
    typer.Option(min=1, max=64, metavar="N", help="How many threads score.", show_default="CREDENCE_BATCH_WORKERS"),
]


class WorkerCommand:
    """The command. Errors that a user can mend are raised in ``expected_errors``, which says them."""

    def __init__(self, load_model: "ModelLoader", expected_errors: Callable[[], AbstractContextManager[None]]) -> None:
        self._load_model = load_model
        self._expected_errors = expected_errors

    def work(self, bundle: BundleOption = None, threads: ThreadsOption = None) -> None:
        """Score the batches of a database until stopped, beside credence serve and other workers.

        It needs the same CREDENCE_DATABASE_URL; with PostgreSQL on as many machines as wanted. Batches that are not
        stored are scored only by who sees the same CREDENCE_STATE_PATH as the server that took them in. No row is lost
        or scored twice, whatever is killed. Ctrl-C or SIGTERM stops it when the rows at hand are done.
        """
        from service.batches.batches import Batches
        from service.log_lines import configure_logs
        from service.models.bundle_choice import find_bundle
        from service.settings import read_settings
        from service.store.database import open_database

        is_stopping = Event()
        with self._expected_errors():
            settings = read_settings(bundle_path=bundle)
            database = open_database(settings.resolved_database_url)
            batches = Batches(settings, database)
            scorer = self._load_model(find_bundle(settings)).scorer
        configure_logs(settings)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: is_stopping.set())
        with closing(database), closing(batches):
            batches.start(scorer, n_workers=threads or settings.batch_workers or 1)
            typer.echo(f"Credence scores batches with model {scorer.info.model_version}. Ctrl-C stops it.")
            is_stopping.wait()
