"""Errors of the domain. None of their messages repeats the text that caused them."""


class CredenceError(Exception):
    """Base of every error that Credence raises on purpose."""


class InvalidTextError(CredenceError):
    """A text that cannot be scored; ``kind`` is stable and names the fault, ``index`` the text in a list.

    ``kind`` is one of ``empty``, ``too_long``, ``control_character``, ``lone_surrogate``.
    """

    def __init__(self, kind: str, message: str, index: int | None = None) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message
        self.index = index


class UnknownLanguageError(CredenceError):
    """A language was asked for that is not one of en, uk, ru."""


class BundleError(CredenceError):
    """A bundle is missing, incomplete, altered or made for another version."""
