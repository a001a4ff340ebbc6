"""A client of the service: ``CredenceClient``, and for asyncio ``AsyncCredenceClient``; needs ``credence[client]``."""

from credence.client.answers import (
    BadRow,
    Batch,
    BatchRow,
    DocumentResult,
    Event,
    Feedback,
    KeptScore,
    Lineage,
    ModelDescription,
    ScoredStatement,
    ScoreResult,
    Series,
    SeriesRow,
    Statement,
    Summary,
    SummaryRow,
)
from credence.client.attempts import (
    CredenceApiError,
    RetryPolicy,
    ServiceUnreachableError,
    UnexpectedAnswerError,
)
from credence.client.blocking import CredenceClient
from credence.client.calls import Filters
from credence.client.nonblocking import AsyncCredenceClient

__all__ = [
    "AsyncCredenceClient",
    "BadRow",
    "Batch",
    "BatchRow",
    "CredenceApiError",
    "CredenceClient",
    "DocumentResult",
    "Event",
    "Feedback",
    "Filters",
    "KeptScore",
    "Lineage",
    "ModelDescription",
    "RetryPolicy",
    "ScoreResult",
    "ScoredStatement",
    "Series",
    "SeriesRow",
    "ServiceUnreachableError",
    "Statement",
    "Summary",
    "SummaryRow",
    "UnexpectedAnswerError",
]
