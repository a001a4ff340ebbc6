"""Which scope opens which path: the one table of it. Whoever adds a route sees that its path is in here.

The first line that fits a method and a path holds. A path fits its line, and so does everything below it. What is in no
line is there for keys with the scope ``admin`` alone, and to others it does not exist.
"""

from dataclasses import dataclass
from typing import Final

from service.door.api_keys import Scope

READING: Final = frozenset({"GET", "HEAD", "OPTIONS"})
SENDING: Final = frozenset({"POST"})
ROOT: Final = "/"


@dataclass(frozen=True, slots=True)
class Rule:
    """One line: the scope that opens a path, or null where no key is needed. Without methods it holds for all."""

    path: str
    scope: Scope | None
    methods: frozenset[str] | None = None
    # Feedback has a limit of its own, which scoring does not use up.
    is_feedback: bool = False
    # The API that these paths are like sends its key as ?key=...
    takes_key_in_query: bool = False

    def fits(self, method: str, path: str) -> bool:
        """Say whether the line is about a request."""
        if self.methods is not None and method not in self.methods:
            return False
        return path == self.path or (self.path != ROOT and path.startswith(f"{self.path}/"))


RULES: Final = (
    Rule(ROOT, None, READING),
    Rule("/dashboard", None, READING),
    Rule("/assets", None, READING),
    Rule("/favicon.ico", None, READING),
    Rule("/livez", None, READING),
    Rule("/readyz", None, READING),
    Rule("/openapi.json", None, READING),
    Rule("/v1/model", None, READING),
    Rule("/metrics", Scope.READ, READING),
    Rule("/v1/score", Scope.SCORE),
    Rule("/v1/texts", Scope.SCORE),
    Rule("/v1/documents", Scope.SCORE, SENDING),
    Rule("/v1/documents", Scope.READ, READING),
    Rule("/v1/documents", Scope.ADMIN),
    Rule("/v1/batches", Scope.SCORE, SENDING),
    Rule("/v1/batches", Scope.READ, READING),
    Rule("/v1/batches", Scope.ADMIN),
    Rule("/v1/scores", Scope.READ, READING),
    Rule("/v1/scores", Scope.ADMIN),
    Rule("/v1/stats", Scope.READ),
    Rule("/v1/events", Scope.READ),
    Rule("/v1/feedback", Scope.FEEDBACK, SENDING, is_feedback=True),
    Rule("/v1/feedback", Scope.READ, READING),
    Rule("/v1/feedback", Scope.ADMIN),
    Rule("/v1/webhooks", Scope.ADMIN),
    Rule("/v1/admin", Scope.ADMIN),
    Rule("/$discovery/rest", None, READING),
    Rule("/v1alpha1/comments:analyze", Scope.SCORE, takes_key_in_query=True),
    Rule("/v1alpha1/comments:suggestscore", Scope.FEEDBACK, is_feedback=True, takes_key_in_query=True),
)


def find_rule(method: str, path: str) -> Rule | None:
    """Return the line that holds for a request, or null where there is none."""
    return next((rule for rule in RULES if rule.fits(method, path)), None)
