"""What an address says: whether it is this machine's own, and which addresses count as one caller."""

from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final

_LOOPBACK_NAME: Final = "localhost"
# Whoever has one IPv6 address usually has the whole network around it.
_IPV6_CALLER_BITS: Final = 64
_IPV6_BITS: Final = 128


def parse_address(host: str) -> IPv4Address | IPv6Address | None:
    """Return an address in its plainest form, or null where it is something else, such as a name."""
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


def is_loopback(host: str) -> bool:
    """Say whether only this machine can reach a host by this name or address."""
    name = host.lower().rstrip(".")
    address = parse_address(name)
    if address is not None:
        return address.is_loopback
    return name == _LOOPBACK_NAME or name.endswith(f".{_LOOPBACK_NAME}")


def to_caller(host: str) -> str:
    """Return the name under which an address is counted: an IPv6 address counts with its network of 64 bits."""
    address = parse_address(host)
    if isinstance(address, IPv6Address):
        shift = _IPV6_BITS - _IPV6_CALLER_BITS
        return str(IPv6Address(int(address) >> shift << shift))
    return host if address is None else str(address)
