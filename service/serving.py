"""Runs the application under uvicorn."""

import logging

import typer
import uvicorn

from service.app import create_app
from service.examples import STATEMENTS
from service.model_source import ServedModel
from service.settings import Settings


def serve_model(settings: Settings, served_model: ServedModel) -> None:
    """Say where the API is and how to ask it something, and serve until stopped."""
    address = f"http://{f'[{settings.host}]' if ':' in settings.host else settings.host}:{settings.port}"
    typer.echo(f"Credence serves model {served_model.scorer.info.model_version} at {address}. Ask it something:\n")
    typer.echo(f"  curl {address}/v1/score -H 'Content-Type: application/json' \\")
    typer.echo(f'    -d \'{{"statements": [{{"text": "{STATEMENTS["en"]}"}}]}}\'\n')
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    uvicorn.run(
        create_app(settings, served_model),
        host=settings.host,
        port=settings.port,
        # uvicorn's own access log would repeat query strings; the app logs each request without them.
        access_log=False,
        log_config=None,
        server_header=False,
    )
