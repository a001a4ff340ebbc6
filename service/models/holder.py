"""The model that is served: one place that everybody looks at, and that is exchanged at one stroke."""

from service.models.source import ServedModel


class ModelHolder:
    """Holds the served model. Whoever works with it takes ``current`` once, and keeps it no longer than the work takes.

    A model that has been exchanged is gone as soon as the last of them is done.
    """

    def __init__(self, model: ServedModel) -> None:
        self._current = model

    @property
    def current(self) -> ServedModel:
        """Return the served model: scorer, card and calibration that belong together."""
        return self._current

    def exchange(self, model: ServedModel) -> None:
        """Serve another model, which has been warmed up, from now on."""
        self._current = model
