"""``/$discovery/rest``: what Google's own client libraries ask a host before they use the Perspective API there."""

from typing import Any, Final

from fastapi import APIRouter, Request, Response

from service.routes.perspective import ANALYZE_PATH, SUGGEST_PATH

_NAME: Final = "commentanalyzer"
_VERSION: Final = "v1alpha1"
_QUERY: Final = {
    name: {"type": "string", "location": "query"} for name in ("key", "alt", "fields", "prettyPrint", "quotaUser")
}
# The libraries send whatever they are given, so that the shapes need not be told here: /openapi.json has them.
_KINDS: Final = {
    f"{method}Comment{part}{kind}": {"id": f"{method}Comment{part}{kind}", "type": "object", "properties": {}}
    for method, part in (("Analyze", ""), ("Suggest", "Score"))
    for kind in ("Request", "Response")
}


def build_discovery_router() -> APIRouter:
    """Return the route of the discovery document."""
    router = APIRouter()

    @router.get("/$discovery/rest", include_in_schema=False)
    async def discover(request: Request, response: Response) -> dict[str, Any]:
        """Return where the methods are: on the host that was asked."""
        root = str(request.base_url)
        response.headers["Cache-Control"] = "no-store"
        return {
            "kind": "discovery#restDescription",
            "discoveryVersion": "v1",
            "id": f"{_NAME}:{_VERSION}",
            "name": _NAME,
            "version": _VERSION,
            "title": "Credence, in the shape of the Perspective API",
            "protocol": "rest",
            "rootUrl": root,
            "baseUrl": root,
            "servicePath": "",
            "batchPath": "",
            "parameters": _QUERY,
            "schemas": _KINDS,
            "resources": {
                "comments": {
                    "methods": {
                        "analyze": _method("analyze", ANALYZE_PATH, "AnalyzeComment"),
                        "suggestscore": _method("suggestscore", SUGGEST_PATH, "SuggestCommentScore"),
                    }
                }
            },
        }

    return router


def _method(name: str, path: str, kind: str) -> dict[str, Any]:
    return {
        "id": f"{_NAME}.comments.{name}",
        "path": path.removeprefix("/"),
        "flatPath": path.removeprefix("/"),
        "httpMethod": "POST",
        "parameters": {},
        "parameterOrder": [],
        "request": {"$ref": f"{kind}Request"},
        "response": {"$ref": f"{kind}Response"},
    }
