"""The page at ``/`` and the dashboard: templates, scripts and styles of the package, which draw from the public API."""

import json
from importlib import resources
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final

from fastapi import APIRouter, Request
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.responses import HTMLResponse
from starlette.staticfiles import StaticFiles

from credence.labels import DISCLAIMER, LABELS, MEANINGS, REASON_MEANINGS
from credence.language import SUPPORTED_LANGUAGES
from service.models.holder import ModelHolder
from service.settings import Settings
from service.signs import NO_LABEL_SIGN, SIGNS

ASSETS_PATH: Final = "/assets"
LANGUAGES: Final = (("en", "English", "EN"), ("uk", "Українська", "УК"))
_SIGNS: Final = {str(outcome): sign for outcome, sign in SIGNS.items()} | {"none": NO_LABEL_SIGN}
_RANGES_DAYS: Final = (1, 7, 30, 90, 365)
_FOLDER: Final = Path(str(resources.files("service"))) / "page"


def build_assets() -> StaticFiles:
    """Return what serves scripts and styles."""
    return StaticFiles(directory=_FOLDER / "assets")


def build_page_router(settings: Settings, holder: ModelHolder) -> APIRouter:
    """Return the routes of the two pages."""
    router = APIRouter(include_in_schema=False)
    environment = Environment(
        loader=FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    texts = {code: read_texts(code) for code, *_ in LANGUAGES}

    def render(request: Request, name: str, section: str) -> HTMLResponse:
        code = choose_language(request)
        page = environment.get_template(name).render(
            lang=code,
            # Not the table itself: a template would take `t.clear` for its method.
            t=SimpleNamespace(**texts[code]),
            script_texts=texts[code] | {"signs": _SIGNS},
            section=section,
            languages=LANGUAGES,
            scored_languages=SUPPORTED_LANGUAGES,
            labels=LABELS,
            signs=_SIGNS,
            ranges=_RANGES_DAYS,
            store_by_default=settings.store_by_default,
            model_version=holder.current.scorer.info.model_version,
        )
        return HTMLResponse(page, headers={"Vary": "Accept-Language", "Cache-Control": "no-cache"})

    @router.get("/")
    async def show_page(request: Request) -> HTMLResponse:
        return render(request, "page.html.j2", "page")

    @router.get("/dashboard")
    async def show_dashboard(request: Request) -> HTMLResponse:
        return render(request, "dashboard.html.j2", "dashboard")

    return router


def read_texts(code: str) -> dict[str, Any]:
    """Return the texts of the interface in a language. What the core says in English is taken from there."""
    texts: dict[str, Any] = json.loads((_FOLDER / "texts" / f"{code}.json").read_text(encoding="utf-8"))
    if code != "en":
        return texts
    return {
        **texts,
        "disclaimer": DISCLAIMER,
        **{f"means_{label}": MEANINGS[label] for label in LABELS},
        **{f"reason_{reason}": meaning for reason, meaning in REASON_MEANINGS.items()},
    }


def choose_language(request: Request) -> str:
    """Return the language that the address names or, without one, the first known one that the browser prefers."""
    known = [code for code, *_ in LANGUAGES]
    if (asked := request.query_params.get("lang")) in known:
        return str(asked)
    preferred = []
    for part in request.headers.get("accept-language", "").split(","):
        tag, _, quality = part.partition(";q=")
        try:
            preferred.append((-float(quality or 1), tag.strip().partition("-")[0].lower()))
        except ValueError:
            continue
    return next((code for _, code in sorted(preferred, key=lambda pair: pair[0]) if code in known), known[0])
