"""The settings as a table in Markdown, from the class that has them."""

from typing import Any, Final

from pydantic_core import PydanticUndefined

from service.settings import ENV_PREFIX, Settings

_HEAD: Final = f"""# Settings

Every setting of the service is a variable of the environment: `{ENV_PREFIX}` and its name in capitals. An empty
variable counts as none. `credence settings --output service/SETTINGS.md` writes this file from `service/settings.py`,
and `credence doctor` says which are set.

| variable | default | may be | what it is |
|---|---|---|---|
"""
_STATE_FOLDER: Final = "the user's data folder"
_FORMATS: Final = {"path": "a path", "password": "a secret"}


def write_setting_table() -> str:
    """Return the table, as a whole Markdown document."""
    schemas: dict[str, Any] = Settings.model_json_schema()["properties"]
    rows = [
        (f"`{ENV_PREFIX}{name.upper()}`", _default(name), _values(schemas[name]), _escape(field.description or ""))
        for name, field in Settings.model_fields.items()
    ]
    return _HEAD + "".join(f"| {' | '.join(cells)} |\n" for cells in rows)


def _default(name: str) -> str:
    default = Settings.model_fields[name].default
    if default is PydanticUndefined:
        return _STATE_FOLDER
    if default is None or default == ():
        return "none"
    return f"`{str(default).lower() if isinstance(default, bool) else default}`"


def _values(schema: dict[str, Any]) -> str:
    kinds = [kind for kind in schema.get("anyOf", [schema]) if kind["type"] != "null"]
    kind = kinds[0]
    if "enum" in kind:
        return ", ".join(f"`{value}`" for value in kind["enum"])
    if kind["type"] == "array":
        return "a list with commas"
    if kind["type"] == "boolean":
        return "`true`, `false`"
    if kind["type"] == "string":
        return _FORMATS.get(kind.get("format", ""), "a string")
    return f"a {'whole ' if kind['type'] == 'integer' else ''}number{_bounds(kind)}"


def _bounds(kind: dict[str, Any]) -> str:
    bounds = (("minimum", "from"), ("exclusiveMinimum", "above"), ("maximum", "to"))
    return "".join(f" {word} {kind[name]:,}" for name, word in bounds if name in kind)


def _escape(text: str) -> str:
    return text.replace("|", "\\|")
