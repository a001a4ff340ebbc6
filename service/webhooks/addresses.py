"""Where webhooks may go: the form of a URL, and which addresses its host may have."""

import re
import socket
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import Final, Self
from urllib.parse import urlsplit

from credence.errors import CredenceError

MAX_URL_CHARS: Final = 2_000
_PORTS: Final = {"http": 80, "https": 443}
_MAX_HOST_CHARS: Final = 253
_HOST: Final = re.compile(r"([a-z0-9_-]{1,63}\.)*[a-z0-9_-]{1,63}\.?|[0-9a-f.]*:[0-9a-f:.]*")
# What stands in a URL as it is; all else is percent-encoded, and a control character would start a header.
_CHARACTERS: Final = re.compile(r"[!-~]*")
_NAT64: Final = IPv6Network("64:ff9b::/96")
_V4_BITS: Final = 0xFFFFFFFF

Address = IPv4Address | IPv6Address


class WebhookUrlError(CredenceError):
    """A URL that webhooks cannot go to; the message says what to do and does not repeat the URL."""


@dataclass(frozen=True, slots=True)
class Target:
    """What a URL names. ``path`` is what is asked for, query included; an IPv6 host stands without its brackets."""

    scheme: str
    host: str
    port: int
    path: str

    @classmethod
    def from_url(cls, url: str) -> Self:
        """Take a URL apart. Raises ``WebhookUrlError``."""
        if len(url) > MAX_URL_CHARS or not _CHARACTERS.fullmatch(url) or "\\" in url:
            raise WebhookUrlError(
                f"The URL must have at most {MAX_URL_CHARS:,} characters, all of them ASCII and none of them a space."
            )
        try:
            parts = urlsplit(url)
            host, port = (parts.hostname or "").lower(), parts.port
        except ValueError:
            raise WebhookUrlError("The host or the port of the URL cannot be read.") from None
        if parts.scheme not in _PORTS:
            raise WebhookUrlError("The URL must begin with https:// (or with http:// where that is allowed).")
        if "@" in parts.netloc:
            raise WebhookUrlError("The URL must not hold a user or a password; put a token into its path.")
        if "#" in url:
            raise WebhookUrlError("The URL must not hold a fragment (#...): it would never be sent.")
        if len(host) > _MAX_HOST_CHARS or not _HOST.fullmatch(host) or port == 0:
            raise WebhookUrlError("The URL must name a host, an international one in its xn-- form, and a real port.")
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        return cls(parts.scheme, host, port or _PORTS[parts.scheme], path)

    @property
    def authority(self) -> str:
        """Return the value of the header Host."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"


def admit_url(url: str, *, allow_private: bool) -> None:
    """Check the form of a URL, and its address where it names one by number. Raises ``WebhookUrlError``."""
    target = Target.from_url(url)
    if target.scheme == "http" and not allow_private:
        raise WebhookUrlError("The URL must begin with https://.")
    literal = _read_literal(target.host)
    if literal is not None and (fault := find_address_fault([str(literal)], target.scheme, allow_private)):
        raise WebhookUrlError(f"The URL cannot be used: {fault}.")


def resolve_host(host: str, port: int) -> list[str]:
    """Return the addresses of a host. Raises ``OSError`` or ``UnicodeError`` where it has none."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


def find_address_fault(addresses: list[str], scheme: str, allow_private: bool) -> str | None:
    """Say why nothing may be sent to a host with these addresses, or return null."""
    try:
        parsed = [_unwrap(ip_address(address)) for address in addresses]
    except ValueError:
        parsed = []
    if not parsed:
        return "the host has no address"
    if any(address.is_multicast or address.is_unspecified for address in parsed):
        return "the host has an address that no single machine has"
    if not allow_private and not all(map(_is_public, parsed)):
        return "the host has a private address"
    if scheme == "http" and any(map(_is_public, parsed)):
        return "plain http is for private addresses only"
    return None


def _is_public(address: Address) -> bool:
    is_site_local = isinstance(address, IPv6Address) and (address.is_site_local or address.teredo is not None)
    return address.is_global and not (address.is_multicast or address.is_reserved or is_site_local)


def _unwrap(address: Address) -> Address:
    # Behind such an IPv6 address stands an IPv4 host, and it is that host which is reached.
    if isinstance(address, IPv6Address):
        if address in _NAT64:
            return IPv4Address(int(address) & _V4_BITS)
        return address.ipv4_mapped or address.sixtofour or address
    return address


def _read_literal(host: str) -> Address | None:
    with suppress(ValueError):
        return ip_address(host)
    # Resolvers take 127.1, 0x7f000001 and 2130706433 for addresses too.
    with suppress(OSError):
        return IPv4Address(socket.inet_aton(host))
    return None
