"""Kinds of settings: lists with commas, and rates. Each refuses what it cannot use, with a word on what it may be."""

import re
from ipaddress import ip_network
from typing import Annotated, Any, Final
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, StringConstraints
from pydantic_settings import NoDecode

NO_LIMIT: Final = "none"
MODEL_SOURCE: Final = r"(?:models:/(?P<model>[^/@\s]+)|file:(?P<folder>[^\n]+))@(?P<alias>[\w-][\w.-]*)"
_RATE: Final = rf"^([1-9]\d{{0,8}}/(second|minute|hour|day)|{NO_LIMIT})$"
_HOST_NAME: Final = re.compile(r"(\*\.)?[a-z0-9_]([a-z0-9_.-]*[a-z0-9_])?")


def _split(value: Any) -> Any:
    return tuple(part for part in re.split(r"[,\s]+", value) if part) if isinstance(value, str) else value


def _check_model_source(name: str) -> str:
    if not re.fullmatch(MODEL_SOURCE, name):
        raise ValueError("name it as models:/credence@champion, or as file:FOLDER@ALIAS")
    return name


def _check_origins(origins: tuple[str, ...]) -> tuple[str, ...]:
    for origin in origins:
        parts = urlsplit(origin)
        if parts.scheme not in ("http", "https") or not parts.hostname or origin != f"{parts.scheme}://{parts.netloc}":
            raise ValueError("name each origin as https://host or http://host:port, without a path and without *")
        if "*" in origin or "@" in origin:
            raise ValueError("name each origin in full: * would let every page of the web in")
    return tuple(origin.lower() for origin in origins)


def _check_networks(networks: tuple[str, ...]) -> tuple[str, ...]:
    try:
        return tuple(str(ip_network(network, strict=False)) for network in networks)
    except ValueError:
        raise ValueError("name each proxy by its address or network, such as 10.0.0.7 or 10.0.0.0/8") from None


def _check_hosts(hosts: tuple[str, ...]) -> tuple[str, ...]:
    names = tuple(host.lower().rstrip(".") for host in hosts)
    if not all(_HOST_NAME.fullmatch(name) for name in names):
        raise ValueError("name each host without a port, such as news.example.org or *.example.org")
    return names


Origins = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split), AfterValidator(_check_origins)]
Networks = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split), AfterValidator(_check_networks)]
HostNames = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split), AfterValidator(_check_hosts)]
Rate = Annotated[str, StringConstraints(pattern=_RATE)]
ModelSourceName = Annotated[str, AfterValidator(_check_model_source)]
