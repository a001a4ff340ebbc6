"""The OpenAPI document of the service with default settings, as it lies in ``service/openapi.json``."""

import json
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

from service.app import create_app
from service.models.source import ServedModel
from service.settings import Settings
from service.store.database import Database


def write_openapi(served_model: ServedModel) -> str:
    """Return the document as JSON text. Neither the model nor the environment has a part in it."""
    with TemporaryDirectory() as folder:
        # Not read from the environment, as the constructor would.
        settings = Settings.model_construct(state_path=Path(folder))
        with closing(Database(settings.resolved_database_url)) as database:
            document = create_app(settings, served_model, database).openapi()
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"
