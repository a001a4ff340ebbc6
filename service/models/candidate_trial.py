"""Takes a candidate through its trial: fetch, verify, try out, load, compare. The served model is not touched."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from credence.errors import CredenceError
from service.middleware import log_unexpected
from service.models.candidate import CandidateState
from service.models.shadowing import Shadowing, ShadowReport
from service.models.shelf import KeptModel
from service.models.source import ServedModel, Target
from service.models.supply import ModelSupply
from service.models.trial import TrialError, check_model, check_successor
from service.scoring.pool import PoolStoppedError
from service.store.database import StorageUnavailableError

ShowState = Callable[[CandidateState, KeptModel | None], None]


@dataclass(frozen=True, slots=True)
class TriedModel:
    """A model that may take over, and how it differs from the one that is served."""

    kept: KeptModel
    model: ServedModel
    shadow: ShadowReport


class CandidateTrial:
    """The trial of one candidate after the other."""

    def __init__(self, supply: ModelSupply, shadowing: Shadowing) -> None:
        self._supply = supply
        self._shadowing = shadowing

    def fetch(self, target: Target, show: ShowState) -> KeptModel:
        """Have a whole copy of a candidate on the shelf; raises ``TrialError`` with what is wrong."""
        show(CandidateState.FETCHING, None)
        with _finding_faults("it cannot be kept"):
            return self._supply.fetch(target, on_verify=lambda: show(CandidateState.VERIFYING, None))

    def run(
        self, kept: KeptModel, served: ServedModel, show: ShowState, *, goes_on: Callable[[], bool]
    ) -> TriedModel | None:
        """Try a copy out, and compare it; null where it was not to go on. Raises ``TrialError`` with what is wrong."""
        show(CandidateState.VERIFYING, kept)
        with _finding_faults("it cannot be tried out"):
            self._supply.try_out(self._supply.shelf.path(kept.bundle_digest))
        model = self.load(kept)
        check_successor(model.scorer.info, served.scorer.info)
        show(CandidateState.SHADOWING, kept)
        try:
            with _finding_faults("it cannot be compared"):
                shadow = self._shadowing.compare(served.scorer, model.scorer, goes_on=goes_on)
        except PoolStoppedError:
            return None
        return None if shadow is None else TriedModel(kept, model, shadow)

    def load(self, kept: KeptModel) -> ServedModel:
        """Load a copy on the shelf, and warm it up; raises ``TrialError`` where that does not work."""
        with _finding_faults("it cannot be loaded"):
            model = self._supply.load(self._supply.shelf.path(kept.bundle_digest))
        check_model(model)
        return model


@contextmanager
def _finding_faults(what: str) -> Iterator[None]:
    """Turn whatever goes wrong into a ``TrialError``; only that the service stops says nothing of a candidate."""
    try:
        yield
    except PoolStoppedError:
        raise
    except (CredenceError, StorageUnavailableError) as error:
        raise TrialError(str(error)) from error
    except Exception as error:
        if not isinstance(error, OSError):
            log_unexpected(error)
        reason = (error.strerror if isinstance(error, OSError) else None) or type(error).__name__
        raise TrialError(f"{what}: {reason}") from error
