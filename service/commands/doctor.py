"""``credence doctor``: looks whether the service can run here, and says of each thing what was found and what to do.

Nothing is changed by looking, and no secret is shown.
"""

import platform
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from functools import partial
from importlib.metadata import PackageNotFoundError, metadata, requires, version
from os import R_OK, W_OK, X_OK, access
from pathlib import Path
from typing import Final

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from credence.errors import CredenceError
from service.batches.intake import RESERVED_BYTES
from service.commands.port_probe import probe_port
from service.door.door import OpenDoorError, check_door
from service.examples import STATEMENTS
from service.models.shelf import ModelShelf
from service.models.source import ServedModel, SourceError, open_source
from service.models.supply import SHELF_FOLDER
from service.settings import ENV_PREFIX, Settings, find_unknown_variables
from service.store.database import Database
from service.store.inspection import DatabaseFacts, inspect_database, is_open_to_others
from service.store.key_store import KeyStore
from service.store.score_store import utc_now

ModelLoader = Callable[[Path | None], ServedModel]
_EXTRA: Final = "service"
_LITTLE_BYTES: Final = 1024**3
_MEBIBYTE: Final = 1024**2
_BUSY_SECONDS: Final = 3.0
# Clocks of two machines that are further apart than this are not both right.
_CLOCK_TOLERANCE: Final = timedelta(minutes=1)


class State(StrEnum):
    """How something stands."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Check:
    """What was found of one thing, and what to do where it is not well."""

    name: str
    state: State
    found: str
    advice: str | None = None


def examine(read_settings: Callable[[], Settings], load_model: ModelLoader) -> Iterator[Check]:
    """Look at everything, one thing after the other."""
    yield from _guarded("python", _check_python)
    yield from _guarded("packages", _check_packages)
    try:
        settings = read_settings()
    except CredenceError as error:
        yield Check("settings", State.FAILED, str(error), "Mend it; the rest was not looked at.")
        return
    yield from _guarded("settings", partial(_check_settings, settings))
    yield from _guarded("model", partial(_check_model, settings, load_model))
    yield from _guarded("state", partial(_check_state, settings))
    yield from _guarded("database", partial(_check_database, settings))
    yield from _guarded("port", partial(_check_port, settings))


def _guarded(name: str, look: Callable[[], Sequence[Check]]) -> Sequence[Check]:
    try:
        return look()
    except CredenceError as error:
        return [Check(name, State.FAILED, str(error))]
    except OSError as error:
        return [Check(name, State.FAILED, f"{error.filename}: {error.strerror}" if error.filename else str(error))]
    except Exception as error:
        # Its message could hold anything.
        return [Check(name, State.FAILED, f"this could not be looked at: {type(error).__name__}")]


def _check_python() -> Sequence[Check]:
    found, wanted = platform.python_version(), metadata("credence")["Requires-Python"] or ""
    if SpecifierSet(wanted).contains(found, prereleases=True):
        return [Check("python", State.OK, f"Python {found}")]
    return [Check("python", State.FAILED, f"Python {found}", f"Credence needs Python {wanted}.")]


def _check_packages() -> Sequence[Check]:
    faults, n_wanted = [], 0
    for text in requires("credence") or ():
        wanted = Requirement(text)
        if wanted.marker is not None and not wanted.marker.evaluate({"extra": _EXTRA}):
            continue
        n_wanted += 1
        try:
            found = version(wanted.name)
        except PackageNotFoundError:
            faults.append(f"{wanted.name} is missing")
        else:
            if not wanted.specifier.contains(found, prereleases=True):
                faults.append(f"{wanted.name} is {found}, wanted {wanted.specifier}")
    told = f"credence {version('credence')} and {n_wanted} packages that it needs"
    if not faults:
        return [Check("packages", State.OK, told)]
    return [Check("packages", State.FAILED, "; ".join(faults), f"pip install 'credence[{_EXTRA}]' brings them.")]


def _check_settings(settings: Settings) -> Sequence[Check]:
    given = sorted(f"{ENV_PREFIX}{name.upper()}" for name in settings.model_fields_set)
    found = f"set: {', '.join(given)}" if given else "all as they are by default"
    if unknown := find_unknown_variables():
        advice = "credence settings lists those that there are."
        return [Check("settings", State.WARNING, f"{found}; no settings: {', '.join(unknown)}", advice)]
    return [Check("settings", State.OK, found)]


def _check_model(settings: Settings, load_model: ModelLoader) -> Sequence[Check]:
    path, checks = settings.bundle_path, list[Check]()
    if settings.model_source is not None:
        path, check = _find_shelved(settings)
        checks.append(check)
        if path is None:
            return checks
    started = time.perf_counter()
    scorer = load_model(path).scorer
    scores = scorer.score_statements(list(STATEMENTS.values()))
    seconds = time.perf_counter() - started
    found = f"model {scorer.info.model_version}, bundle {scorer.info.bundle_digest[:12]}"
    silent = [code for code, score in zip(STATEMENTS, scores, strict=True) if score.scores is None]
    if silent:
        advice = "Take another bundle, or install the package anew."
        found = f"{found} does not score its examples in {', '.join(silent)}"
        return [*checks, Check("model", State.FAILED, found, advice)]
    told = f"{found}, whole; examples in {', '.join(STATEMENTS)} scored after {seconds:.1f} s"
    return [*checks, Check("model", State.OK, told)]


def _find_shelved(settings: Settings) -> tuple[Path | None, Check]:
    uri, shelf = settings.model_tracking_uri, settings.state_path / SHELF_FOLDER
    kept = None
    try:
        source = open_source(settings.model_source, None if uri is None else uri.get_secret_value())
        if shelf.is_dir() and (state := ModelShelf(shelf).read_state(source.name)) is not None:
            kept = shelf / state.served.bundle_digest
        target = source.find_target()
    except SourceError as error:
        if kept is None:
            return None, Check("model source", State.FAILED, str(error), "Without it no model can be fetched.")
        return kept, Check("model source", State.WARNING, str(error), "The model that was fetched last is served.")
    found = f"the alias names version {target.version}"
    if kept is None:
        advice = "credence serve fetches it at its first start."
        return None, Check("model source", State.WARNING, f"{found}, and none was fetched yet", advice)
    return kept, Check("model source", State.OK, found)


def _check_state(settings: Settings) -> Sequence[Check]:
    folder = settings.state_path.absolute()
    if folder.exists() and not folder.is_dir():
        return [Check("state", State.FAILED, f"{folder} is no folder", "Name another with CREDENCE_STATE_PATH.")]
    there = next(path for path in (folder, *folder.parents) if path.exists())
    if not access(there, R_OK | W_OK | X_OK):
        advice = "Let the user of the service write there, or name another with CREDENCE_STATE_PATH."
        return [Check("state", State.FAILED, f"{there} cannot be written to", advice)]
    found = f"{folder}" if there == folder else f"{folder} is not there yet; credence serve makes it"
    n_free = shutil.disk_usage(there).free
    disk, advice = f"{n_free // _MEBIBYTE:,} MiB free", "Make room, or name another disk with CREDENCE_STATE_PATH."
    state = State.FAILED if n_free < RESERVED_BYTES else State.WARNING if n_free < _LITTLE_BYTES else State.OK
    return [Check("state", State.OK, found), Check("disk", state, disk, None if state is State.OK else advice)]


def _check_database(settings: Settings) -> Sequence[Check]:
    database = Database(settings.resolved_database_url, busy_seconds=_BUSY_SECONDS, is_read_only=True)
    path = database.path
    if path is not None and not path.exists():
        found = f"there is none at {path} yet; credence serve makes it"
        return [Check("database", State.OK, found), *_check_keys(settings, None)]
    with closing(database):
        facts = inspect_database(database)
        checks = [_judge_schema(path, facts)]
        if path is not None and is_open_to_others(path):
            advice = f"chmod 600 {path}, and 700 for its folder."
            checks.append(Check("privacy", State.WARNING, "other users of this machine can read the database", advice))
        if facts.is_newest:
            checks += [_judge_clock(facts), *_check_keys(settings, database)]
    return checks


def _judge_schema(path: Path | None, facts: DatabaseFacts) -> Check:
    kind = "PostgreSQL" if path is None else f"SQLite, {path}"
    found = f"{kind}, {facts.n_bytes / _MEBIBYTE:,.1f} MiB, schema {facts.revision}"
    if facts.journal is not None:
        found = f"{found}, journal {facts.journal}"
    if facts.revision is None:
        return Check(
            "database", State.WARNING, f"{kind}: nothing of Credence is in it", "credence serve makes its tables."
        )
    if not facts.is_known:
        advice = "A newer version of Credence made it: install that, or name another with CREDENCE_DATABASE_URL."
        return Check("database", State.FAILED, f"{found}, which this version does not know", advice)
    if not facts.is_newest:
        return Check("database", State.WARNING, f"{found}, an older one", "credence serve brings it up to date.")
    return Check("database", State.OK, found)


def _judge_clock(facts: DatabaseFacts) -> Check:
    now = utc_now()
    if facts.newest_score_at is not None and facts.newest_score_at > now + _CLOCK_TOLERANCE:
        found = f"the newest score is from {facts.newest_score_at:%Y-%m-%d %H:%M} UTC, and it is {now:%Y-%m-%d %H:%M}"
        advice = "Set the clock; if it is right, that score was made while it was wrong."
        return Check("clock", State.WARNING, found, advice)
    if abs(facts.clock - now) > _CLOCK_TOLERANCE:
        seconds = round((facts.clock - now).total_seconds())
        advice = "Set both clocks, with NTP for instance."
        return Check("clock", State.WARNING, f"the clock of the database is off by {seconds} seconds", advice)
    return Check("clock", State.OK, f"{now:%Y-%m-%d %H:%M} UTC")


def _check_keys(settings: Settings, database: Database | None) -> Sequence[Check]:
    advice = "credence keys create NAME --scope score --scope read makes one."
    if database is None:
        if not settings.keys_are_required:
            return [Check("keys", State.OK, "none is needed")]
        return [Check("keys", State.FAILED, "they are needed, and there is none", advice)]
    store = KeyStore(database)
    try:
        check_door(settings, store)
    except OpenDoorError as error:
        return [Check("keys", State.FAILED, str(error))]
    has_usable = store.has_usable()
    if settings.keys_are_required and not has_usable:
        return [Check("keys", State.WARNING, "they are needed, and there is no usable one", advice)]
    if not settings.keys_are_required and settings.allow_open:
        return [Check("keys", State.WARNING, "whoever can connect may do everything", "Leave out CREDENCE_ALLOW_OPEN.")]
    return [Check("keys", State.OK, "they are needed" if settings.keys_are_required else "none is needed")]


def _check_port(settings: Settings) -> Sequence[Check]:
    probe = probe_port(settings.host, settings.port)
    return [Check("port", State(probe.state), probe.found, probe.advice)]
