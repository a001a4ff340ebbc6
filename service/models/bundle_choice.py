"""Which bundle a command scores with: that of a folder, or the one that is served from a source of models."""

from pathlib import Path

from service.settings import Settings


def find_bundle(settings: Settings) -> Path | None:
    """Return the folder of the bundle, or null for the shipped one.

    Raises ``SourceError``, ``ShelfError``, ``BundleError`` and ``TrialError`` where a source has none that can be used.
    """
    if settings.model_source is None:
        return settings.bundle_path
    from service.models.supply import ModelSupply

    return ModelSupply.from_settings(settings).find_first()
