"""``POST /v1/texts``: a file as text, for whoever has an article as HTML, Word or a table."""

from typing import Annotated, Final, Literal

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, Field
from starlette.concurrency import run_in_threadpool

from service.api_description import problem_responses
from service.errors import Fault, ProblemType, RefusedRequestError
from service.text_files import TextFileError, read_text_file

FILE_ROUTE: Final = ("POST", "/v1/texts")


class FileTextAnswer(BaseModel):
    """What was in a file. Nothing of it is scored or kept."""

    kind: Literal["document", "statements"] = Field(description="Whether it is an article or a list of statements.")
    text: str = Field(description="The article; empty for a list.")
    statements: list[str] = Field(description="The statements; empty for an article.")


def build_texts_router() -> APIRouter:
    """Return the route that reads files."""
    router = APIRouter(tags=["scoring"])

    @router.post(
        FILE_ROUTE[1],
        summary="Read a file",
        responses=problem_responses(
            ProblemType.BODY_TOO_LARGE,
            ProblemType.UNREADABLE_FILE,
            ProblemType.INVALID_FIELD,
            ProblemType.INTERNAL_ERROR,
        ),
        openapi_extra={
            "requestBody": {"required": True, "content": {"*/*": {"schema": {"type": "string", "format": "binary"}}}}
        },
    )
    async def read_file(
        request: Request,
        name: Annotated[
            str, Query(min_length=1, max_length=255, description="The name of the file, with its extension.")
        ],
    ) -> FileTextAnswer:
        """Return the text of a file: .txt, .html (its article), .docx, or .csv (its statements). Nothing is fetched."""
        raw = await request.body()
        try:
            found = await run_in_threadpool(read_text_file, name, raw)
        except TextFileError as error:
            detail = f"The file cannot be read: {error}."
            raise RefusedRequestError([Fault(ProblemType.UNREADABLE_FILE, detail)]) from None
        kind: Literal["document", "statements"] = "statements" if found.statements else "document"
        return FileTextAnswer(kind=kind, text=found.text, statements=list(found.statements))

    return router
