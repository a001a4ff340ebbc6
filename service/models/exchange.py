"""Lets another model take over while the service runs: fetch, verify, try out, compare, exchange; or say why not.

Whatever is wrong with a candidate or its source, the model that works goes on.
"""

import logging
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from threading import Event, Lock
from typing import Final

from credence.errors import CredenceError
from service.metrics import Metrics
from service.models.candidate import Candidate, CandidateState, ExchangeReport
from service.models.candidate_trial import CandidateTrial, TriedModel
from service.models.holder import ModelHolder
from service.models.shadowing import Shadowing, ShadowReport
from service.models.shelf import KeptModel, ShelfState
from service.models.source import ServedModel, SourceError, Target
from service.models.supply import ModelSupply
from service.models.trial import TrialError
from service.settings import Settings
from service.store.score_store import utc_now

# A refused candidate is tried again after the time between two looks, then after twice that, and so on up to this.
MAX_RETRY_SECONDS: Final = 3600.0
_MAX_DOUBLINGS: Final = 16
_LOGGER: Final = logging.getLogger("service")


class NotExchangedError(CredenceError):
    """Another model cannot take over now; the message says why."""


class ModelExchange:
    """Decides which model is served.

    One thread calls ``look``; ``report``, ``promote``, ``roll_back`` and ``stop`` may be called by any.
    """

    def __init__(
        self,
        supply: ModelSupply,
        holder: ModelHolder,
        shadowing: Shadowing,
        settings: Settings,
        metrics: Metrics,
        *,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        self._supply = supply
        self._trial = CandidateTrial(supply, shadowing)
        self._holder = holder
        self._settings = settings
        self._metrics = metrics
        self._now = now
        # Held while it is decided what is served, so that two who decide come one after the other.
        self._turn = Lock()
        self._is_stopping = Event()
        self._state = self._read_state()
        self._candidate: Candidate | None = None
        self._seen_id: str | None = None
        self._checked_at: datetime | None = None
        self._source_fault: str | None = None
        self._n_refusals = 0

    def report(self) -> ExchangeReport:
        """Say where the exchange stands, without waiting for anybody."""
        state = self._state
        return ExchangeReport(
            source=self._supply.source.name,
            served=state.served,
            previous=state.previous,
            candidate=self._candidate,
            checked_at=self._checked_at,
            source_fault=self._source_fault,
        )

    def stop(self) -> None:
        """Begin no further step of a trial."""
        self._is_stopping.set()

    def look(self, *, at_once: bool = False) -> None:
        """Look what the alias names, and take it through its trial if it is another one, until it names no other.

        One that was refused has its next trial when its time has come, or ``at_once``. Nothing that is wrong with a
        candidate or the source is raised.
        """
        while (target := self._find_target()) is not None and self._is_due(target, at_once=at_once):
            at_once = False
            try:
                self._try(target)
            except TrialError as error:
                self._refuse(target, str(error))
            if self._is_stopping.is_set():
                return

    def promote(self, bundle_digest: str | None = None) -> None:
        """Let the candidate that waits take over, if it is the one that is meant. Raises ``NotExchangedError``."""
        with self._turn:
            candidate = self._candidate
            if candidate is None or candidate.model is None or not candidate.can_be_promoted:
                raise NotExchangedError("no candidate waits to be promoted")
            if bundle_digest not in (None, candidate.model.bundle_digest):
                raise NotExchangedError("another candidate waits than the one that is named; look at it first")
            self._install(candidate.model, self._load_again(candidate.model), candidate.target_id)
            self._candidate = replace(candidate, state=CandidateState.EXCHANGED, since=self._now(), reason=None)

    def roll_back(self) -> None:
        """Serve the model before the served one again, from its copy on the shelf, until the alias moves.

        It takes as long as loading takes; the served one answers until then. Raises ``NotExchangedError``.
        """
        with self._turn:
            before = self._state
            if before.previous is None:
                raise NotExchangedError("there is no model to go back to")
            model = self._load_again(before.previous)
            settled_id = self._seen_id or before.settled_id
            self._serve(model, ShelfState(before.source, before.previous, None, settled_id), "rolled-back")
            # What is in its trial just now keeps its place, and waits to be promoted by hand.
            if self._candidate is None or self._candidate.state in {CandidateState.EXCHANGED, CandidateState.REFUSED}:
                shadow = self._candidate.shadow if self._candidate else None
                self._candidate = Candidate(
                    target_id=before.settled_id or "",
                    source_version=before.served.source_version,
                    state=CandidateState.ROLLED_BACK,
                    since=self._now(),
                    model=before.served,
                    reason="it was rolled back by hand; it can be promoted again",
                    shadow=shadow,
                )

    def _read_state(self) -> ShelfState:
        info = self._holder.current.scorer.info
        state = self._supply.shelf.read_state(self._supply.source.name)
        if state is not None and state.served.bundle_digest == info.bundle_digest:
            return state
        # Another process has written meanwhile what it serves.
        served = KeptModel(info.bundle_digest, info.model_version, source_version="")
        return ShelfState(self._supply.source.name, served, None, None)

    def _is_due(self, target: Target, *, at_once: bool) -> bool:
        with self._turn:
            candidate = self._candidate
            is_same = candidate is not None and candidate.target_id == target.id
            if not is_same:
                self._n_refusals = 0
            if target.id == self._state.settled_id:
                # The alias was moved back, so nothing is to be promoted any more.
                if candidate is not None and not is_same and candidate.state is not CandidateState.ROLLED_BACK:
                    self._candidate = None
                return False
            if candidate is None or not is_same:
                return True
            is_early = candidate.retry_at is not None and self._now() < candidate.retry_at
            return candidate.state is not CandidateState.READY and (at_once or not is_early)

    def _find_target(self) -> Target | None:
        try:
            target = self._supply.source.find_target()
        except SourceError as error:
            if self._source_fault is None:
                _LOGGER.warning("the model source cannot be asked: %s", error)
            self._checked_at, self._source_fault = self._now(), str(error)
            return None
        self._checked_at, self._source_fault = self._now(), None
        self._seen_id = target.id
        return target

    def _try(self, target: Target) -> None:
        def show(state: CandidateState, model: KeptModel | None) -> None:
            with self._turn:
                self._candidate = self._to_candidate(target, state, model)

        kept = self._trial.fetch(target, show)
        if kept.bundle_digest == self._state.served.bundle_digest:
            with self._turn:
                self._candidate = None
                self._remember(replace(self._state, served=kept, settled_id=target.id))
            return
        tried = self._trial.run(kept, self._holder.current, show, goes_on=lambda: not self._is_stopping.is_set())
        # Where the alias has been moved meanwhile the next look is at the other one.
        if tried is not None and ((latest := self._find_target()) is None or latest.id == target.id):
            self._decide(target, tried)

    def _decide(self, target: Target, tried: TriedModel) -> None:
        with self._turn:
            reason = self._find_objection(target, tried.shadow)
            if reason is None:
                self._install(tried.kept, tried.model, target.id)
            state = CandidateState.EXCHANGED if reason is None else CandidateState.READY
            self._candidate = self._to_candidate(target, state, tried.kept, reason=reason, shadow=tried.shadow)

    def _find_objection(self, target: Target, shadow: ShadowReport) -> str | None:
        if self._state.settled_id == target.id:
            return "the served model was rolled back meanwhile, so it waits to be promoted by hand"
        if self._settings.model_exchange == "manual":
            return "it waits to be promoted by hand"
        least = self._settings.min_agreement
        if shadow.agreement is not None and shadow.agreement < least:
            return f"it agrees on {shadow.agreement:.3f} of the labels, and takes over by itself only from {least:g} on"
        return None

    def _install(self, kept: KeptModel, model: ServedModel, target_id: str) -> None:
        before = self._state
        self._serve(model, ShelfState(before.source, kept, before.served, target_id), "exchanged")

    def _serve(self, model: ServedModel, state: ShelfState, result: str) -> None:
        self._holder.exchange(model)
        self._metrics.describe_model(model.scorer.info)
        self._metrics.count_exchange(result)
        before, served = self._state.served, state.served
        _LOGGER.info(
            "model %s (%.12s) is served now instead of %s (%.12s)",
            served.model_version, served.bundle_digest, before.model_version, before.bundle_digest,
        )  # fmt: skip
        self._remember(state)

    def _remember(self, state: ShelfState) -> None:
        self._state = state
        kept = [state.served, state.previous, self._candidate.model if self._candidate else None]
        try:
            self._supply.shelf.write_state(state)
            self._supply.shelf.delete_copies(but={model.bundle_digest for model in kept if model is not None})
        except OSError as error:
            _LOGGER.warning("which model is served cannot be written down: %s", error.strerror)

    def _load_again(self, kept: KeptModel) -> ServedModel:
        try:
            return self._trial.load(kept)
        except TrialError as error:
            raise NotExchangedError(f"the copy of model {kept.model_version} cannot be used: {error}") from error

    def _refuse(self, target: Target, reason: str) -> None:
        _LOGGER.warning("version %s of the model is refused: %s", target.version, reason)
        self._metrics.count_exchange("refused")
        seconds = self._settings.model_check_seconds * 2 ** min(self._n_refusals, _MAX_DOUBLINGS)
        self._n_refusals += 1
        with self._turn:
            refused = self._to_candidate(target, CandidateState.REFUSED, None, reason=reason)
            retry_at = self._now() + timedelta(seconds=min(seconds, MAX_RETRY_SECONDS))
            self._candidate = replace(refused, retry_at=retry_at)

    def _to_candidate(
        self,
        target: Target,
        state: CandidateState,
        model: KeptModel | None,
        *,
        reason: str | None = None,
        shadow: ShadowReport | None = None,
    ) -> Candidate:
        return Candidate(target.id, target.version, state, self._now(), model, reason, shadow)
