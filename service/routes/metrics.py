"""``GET /metrics``: what Prometheus reads."""

from fastapi import APIRouter, Request, Response
from prometheus_client.exposition import choose_encoder

from service.metrics import Metrics


def build_metrics_router(metrics: Metrics) -> APIRouter:
    """Return the route that Prometheus reads."""
    router = APIRouter(include_in_schema=False)

    @router.get("/metrics")
    def report_metrics(request: Request) -> Response:
        """Answer in the format that is asked for: OpenMetrics or the older text."""
        encode, content_type = choose_encoder(request.headers.get("accept", ""))
        return Response(encode(metrics.registry), media_type=content_type)

    return router
