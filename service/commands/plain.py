"""Commands whose help shows a flag as a flag, and that tell a text from an option."""

import re
from typing import Any, Final

from typer.core import TyperCommand, TyperGroup

# The context is untyped throughout: its class has no public name that the overridden methods take.
# No option has a space before its value, and none begins with anything but a letter.
_LIKE_TEXT: Final = re.compile(r"-(?:[^-a-zA-Z]|[^=]*\s)")


class PlainCommand(TyperCommand):
    """A command whose --help takes no value, and says so."""

    def get_help_option(self, ctx: Any) -> Any:
        """Return the option --help, without a type."""
        return _as_flag(super().get_help_option(ctx))


class PlainGroup(TyperGroup):
    """A group of commands whose --help takes no value, and says so."""

    def get_help_option(self, ctx: Any) -> Any:
        """Return the option --help, without a type."""
        return _as_flag(super().get_help_option(ctx))


class TextCommand(PlainCommand):
    """A command with a text as argument: one that begins with a hyphen is not just called an unknown option."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the command line; says what to do with a text that begins with a hyphen."""
        has_text = any(_LIKE_TEXT.match(argument) for argument in args)
        try:
            return super().parse_args(ctx, args)
        except Exception as error:
            # The class of the error has no public name, and moved between versions of typer.
            if has_text and type(error).__name__ == "NoSuchOption":
                _refuse_option(ctx, error)
            raise


def _refuse_option(ctx: Any, error: Exception) -> None:
    hint = f'a text that begins with - goes after --, as in {ctx.command_path} -- "-5 ...", or through stdin'
    ctx.fail(f"{error}; {hint}.")


def _as_flag(option: Any) -> Any:
    if option is not None:
        option.metavar = ""
    return option
