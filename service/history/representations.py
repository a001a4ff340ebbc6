"""The form an answer of rows takes: format, entity tag, and the headers that say so."""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from importlib.metadata import version
from typing import Any, Final

from fastapi import Request, Response
from starlette.concurrency import run_in_threadpool
from starlette.responses import StreamingResponse

from credence.labels import DISCLAIMER
from service.errors import Fault, ProblemType, RefusedRequestError
from service.history.query_parameters import TabularParameters
from service.history.tabular import Rows, RowShape, TabularFormat, encode_json, encode_rows

DISCLAIMER_HEADER: Final = "X-Credence-Disclaimer"
_RANGE: Final = re.compile(r"\s*([\w!#$%&'*+.^`|~-]+)/([\w!#$%&'*+.^`|~-]+)\s*(?:;(.*))?")
_QUALITY: Final = re.compile(r"(?:^|;)\s*q\s*=\s*(0(?:\.\d{0,3})?|1(?:\.0{0,3})?)\s*(?:;|$)", re.IGNORECASE)
_TAG: Final = re.compile(r'(?:W/)?("[^"]*")')
TABULAR_RESPONSES: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "description": "Rows, in JSON with what belongs to them around.",
        "content": {
            form.media_type: {"schema": {"type": "string", "format": "binary"}}
            for form in TabularFormat
            if form is not TabularFormat.JSON
        },
        "headers": {"ETag": {"schema": {"type": "string"}, "description": "Send it back as If-None-Match."}},
    },
    304: {"description": "Nothing has changed since the answer that If-None-Match names."},
}


@dataclass(frozen=True, slots=True)
class Representation:
    """The form of one answer. ``is_known`` says that the caller has it already and needs no other."""

    file_format: TabularFormat
    tag: str
    is_known: bool

    def answer_known(self) -> Response:
        """Return the answer that says that nothing has changed."""
        return Response(status_code=304, headers=self._headers())

    async def answer_json(self, rows: Rows, **around: Any) -> Response:
        """Return rows as JSON, with what stands around them."""
        content = await run_in_threadpool(encode_json, {"rows": rows, **around, "disclaimer": DISCLAIMER})
        return Response(content, media_type=self.file_format.media_type, headers=self._headers())

    async def answer(self, rows: Rows, shape: RowShape, name: str, around: dict[str, Any]) -> Response:
        """Return rows as JSON with what stands around them, or as a file with that in headers."""
        if self.file_format is TabularFormat.JSON:
            return await self.answer_json(rows, **around)
        response = await self.answer_file(iter([rows]), shape, name)
        for key, value in around.items():
            response.headers[f"X-Credence-{key.replace('_', '-').title()}"] = str(value).lower()
        return response

    async def answer_file(self, portions: Iterator[Rows], shape: RowShape, name: str) -> Response:
        """Return rows as a file of that name, which is read portion by portion while it is sent."""
        # With the first portion read, a database that does not answer is a problem and not a broken file.
        first = await run_in_threadpool(next, portions, ())
        pieces = encode_rows(_chain(first, portions), shape, self.file_format)
        file_name = f"credence-{name}.{self.file_format}"
        headers = {"Content-Disposition": f'attachment; filename="{file_name}"', DISCLAIMER_HEADER: DISCLAIMER}
        return StreamingResponse(pieces, media_type=self.file_format.media_type, headers=self._headers() | headers)

    def _headers(self) -> dict[str, str]:
        return {"ETag": self.tag, "Cache-Control": "private, no-cache", "Vary": "Accept"}


async def choose_representation(
    request: Request, parameters: TabularParameters, read_revision: Callable[[], int]
) -> Representation:
    """Return the form that a request asks for. Raises ``RefusedRequestError`` where no format is acceptable."""
    file_format = parameters.format or choose_format(request.headers.getlist("accept"))
    # The revision is read before the rows: whatever is written between makes the tag too old, and never too new.
    revision = await run_in_threadpool(read_revision)
    asked = (
        version("credence"),
        revision,
        request.url.path,
        file_format,
        parameters.model_dump_json(exclude={"format"}),
    )
    # Weak, as the same rows need not be the same bytes: sums of shares depend on the order of the summands.
    tag = f'W/"{sha256(repr(asked).encode()).hexdigest()[:32]}"'
    return Representation(file_format, tag, _is_known(request.headers.getlist("if-none-match"), tag))


def choose_format(accept: Sequence[str]) -> TabularFormat:
    """Return the format that the Accept headers of a request like best. Raises ``RefusedRequestError``."""
    ranges = [found for part in ",".join(accept).split(",") if (found := _parse_range(part))]
    if not "".join(accept).strip():
        return TabularFormat.JSON
    liked = [(_quality(form, ranges), -place, form) for place, form in enumerate(TabularFormat)]
    quality, _, best = max(liked)
    if quality > 0:
        return best
    offered = ", ".join(form.media_type for form in TabularFormat)
    detail = f"The Accept header takes none of {offered}; name one of them, or add format={best} and the like."
    raise RefusedRequestError([Fault(ProblemType.NOT_ACCEPTABLE, detail)])


def _parse_range(part: str) -> tuple[str, str, float] | None:
    match = _RANGE.fullmatch(part)
    if match is None:
        return None
    quality = _QUALITY.search(match[3] or "")
    return match[1].lower(), match[2].lower(), float(quality[1]) if quality else 1.0


def _quality(form: TabularFormat, ranges: Iterable[tuple[str, str, float]]) -> float:
    kind, _, subkind = form.media_type.partition("/")
    fitting = [
        (found != "*", sub != "*", quality)
        for found, sub, quality in ranges
        if found in (kind, "*") and sub in (subkind, "*")
    ]
    # The range that says most closely what it means holds.
    return max(fitting)[2] if fitting else 0.0


def _is_known(headers: Sequence[str], tag: str) -> bool:
    known = ",".join(headers)
    return known.strip() == "*" or tag.removeprefix("W/") in _TAG.findall(known)


def _chain(first: Rows, rest: Iterator[Rows]) -> Iterator[Rows]:
    yield first
    yield from rest
