"""What the application is made of: built once, from settings, model and database, and passed on from here."""

from dataclasses import dataclass
from typing import Self

from service.batches.batches import Batches
from service.door.key_ring import KeyRing
from service.draining import Drain
from service.event_stream import EventFeed
from service.keeping import Keeper
from service.metrics import Metrics
from service.models.holder import ModelHolder
from service.models.source import ServedModel
from service.models.supply import ModelSupply
from service.settings import Settings
from service.store.database import Database
from service.store.event_store import EventStore
from service.store.feedback_store import FeedbackStore
from service.store.key_store import KeyStore
from service.store.score_store import ScoreStore
from service.tracing import Tracing, open_tracing
from service.upkeep import Upkeep, build_tasks


@dataclass(frozen=True, slots=True)
class Parts:
    """Everything that more than one route or thread needs. Where there is no supply, the model stays as it is."""

    settings: Settings
    database: Database
    holder: ModelHolder
    supply: ModelSupply | None
    scores: ScoreStore
    feedback: FeedbackStore
    keeper: Keeper
    batches: Batches
    feed: EventFeed
    ring: KeyRing
    metrics: Metrics
    tracing: Tracing | None
    drain: Drain
    upkeep: Upkeep

    @classmethod
    def build(
        cls, settings: Settings, served_model: ServedModel, database: Database, supply: ModelSupply | None
    ) -> Self:
        """Build all of them. No thread is started yet."""
        scores, batches = ScoreStore(database), Batches(settings, database)
        feed = EventFeed(EventStore(database), max_streams=settings.max_event_streams)
        metrics = Metrics()
        metrics.watch_storage(lambda: database.n_faults)
        metrics.watch_streams(lambda: feed.n_streams)
        metrics.describe_model(served_model.scorer.info)
        return cls(
            settings=settings,
            database=database,
            holder=ModelHolder(served_model),
            supply=supply,
            scores=scores,
            feedback=FeedbackStore(database),
            keeper=Keeper(scores, keeps_by_default=settings.store_by_default),
            batches=batches,
            feed=feed,
            ring=KeyRing(KeyStore(database)),
            metrics=metrics,
            tracing=open_tracing(settings.otlp_endpoint),
            drain=Drain(),
            upkeep=Upkeep(
                [*build_tasks(settings, database), batches.build_upkeep_task()],
                shed_deleted=database.shed_deleted,
                tidy_deleted=database.tidy_deleted,
            ),
        )
