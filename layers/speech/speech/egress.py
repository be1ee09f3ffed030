"""The egress guard: decides which addresses we may open a connection to, for results, webhooks and base URLs."""

import ipaddress
import re
import socket
from collections.abc import Callable, Sequence
from typing import NamedTuple
from urllib.parse import quote, urlsplit

from speech.errors import SpeechError

MAX_URL = 8192

Resolver = Callable[[str, int], Sequence[str]]
"""Host and port to every address they have, as text. Raises OSError when there is none."""


class EgressRefused(SpeechError):
    """We will not connect there. Trying again cannot help: the address itself is wrong."""

    code = "address-refused"
    title = "The address is not one we connect to"
    status = 422


class Target(NamedTuple):
    """A vetted address. Connect to one of `addresses` and nowhere else; `host` is for TLS and the Host header.

    `path` is what goes on the request line: the path and the query, in ASCII.
    """

    scheme: str
    host: str
    port: int
    path: str
    addresses: tuple[str, ...] = ()


# `is_global` differs between Python versions and is true for NAT64, 6to4 and multicast, so what is refused
# stands here: the IANA special-purpose registries, and every form that hides an IPv4 address inside IPv6.
_REFUSED_V4 = tuple(
    ipaddress.IPv4Network(each)
    for each in (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.31.196.0/24",
        "192.52.193.0/24",
        "192.88.99.0/24",
        "192.168.0.0/16",
        "192.175.48.0/24",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",
        "240.0.0.0/4",
    )
)
_GLOBAL_UNICAST_V6 = ipaddress.IPv6Network("2000::/3")
_REFUSED_V6 = tuple(
    ipaddress.IPv6Network(each)
    for each in (
        "2001::/23",  # IETF protocols: Teredo, ORCHID, benchmarking
        "2001:db8::/32",
        "2002::/16",  # 6to4
        "2620:4f:8000::/48",
        "3fff::/20",  # documentation
    )
)


def is_public(address: str) -> bool:
    """Whether an address belongs to the public unicast internet."""
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return False
    if isinstance(ip, ipaddress.IPv4Address):
        return not any(ip in network for network in _REFUSED_V4)
    if ip.scope_id is not None:
        return False
    return ip in _GLOBAL_UNICAST_V6 and not any(ip in network for network in _REFUSED_V6)


def is_loopback(address: str) -> bool:
    """Whether an address is this machine, in its plain form (a mapped ::ffff:127.0.0.1 is not plain)."""
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return False
    return ip.is_loopback if isinstance(ip, ipaddress.IPv4Address) else ip == ipaddress.IPv6Address("::1")


def resolve_host(host: str, port: int) -> tuple[str, ...]:
    """Every address the system knows for a host, in its order of preference. Raises OSError."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return tuple(dict.fromkeys(str(each[4][0]) for each in found))


def parse(url: str, *, local: bool) -> Target:
    """Read an address strictly, without resolving it. Raises EgressRefused."""
    if len(url) > MAX_URL:
        raise EgressRefused("The address is too long.")
    # Parsers disagree about blanks, backslashes and control characters; that is how guards are passed.
    if re.search(r"[\x00-\x20\x7f-\xa0\\\u2000-\u200f\u2028-\u202f\u205f-\u206f\u3000\ud800-\udfff\ufeff]", url):
        raise EgressRefused("The address holds characters that no address may hold.")
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise EgressRefused("The address cannot be read.") from error
    if parts.scheme != "https" and not (local and parts.scheme == "http"):
        raise EgressRefused("Only https addresses are allowed.")
    if "@" in parts.netloc:
        raise EgressRefused("The address must not carry a user name.")
    host, port = _host_and_port(parts.netloc, 443 if parts.scheme == "https" else 80)
    if port != 443 and not local:
        raise EgressRefused("Only port 443 is allowed.")
    path = quote(parts.path or "/", safe="/%:@!$&'()*+,;=~")
    if parts.query:
        path += "?" + quote(parts.query, safe="/%:@!$&'()*+,;=~?[]")
    if not path.startswith("/"):
        raise EgressRefused("The address cannot be read.")
    return Target(scheme=parts.scheme, host=host, port=port, path=path)


def _host_and_port(netloc: str, default: int) -> tuple[str, int]:
    match = re.fullmatch(r"(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+)(?::([0-9]{1,5}))?", netloc, re.ASCII)
    if match is None:
        raise EgressRefused("The address has no plain host name.")
    host, port = match[1].lower(), int(match[2] or default)
    if not 0 < port < 65536:
        raise EgressRefused("The address has no usable port.")
    if host.startswith("["):
        try:
            return str(ipaddress.IPv6Address(host[1:-1])), port
        except ValueError as error:
            raise EgressRefused("The address has no plain host name.") from error
    labels = host.split(".")
    if len(host) > 253 or not all(re.fullmatch(r"(?!-)[a-z0-9_-]{1,63}(?<!-)", label) for label in labels):
        raise EgressRefused("The address has no plain host name.")
    if re.fullmatch(r"[0-9]+|0x[0-9a-f]*", labels[-1]):
        # What ends in a number is an IPv4 address, and only its usual form is one: 0x7f.1, 2130706433
        # and 0177.0.0.1 are read as 127.0.0.1 by the system's resolver.
        try:
            return str(ipaddress.IPv4Address(host)), port
        except ValueError as error:
            raise EgressRefused("The address has no plain host name.") from error
    return host, port


def addresses(
    host: str, port: int, *, local: bool, private: bool = False, resolve: Resolver = resolve_host
) -> tuple[str, ...]:
    """Resolve a host and vet every address it has. Raises EgressRefused, or OSError when it has none.

    `local` allows loopback too; `private`, which counts only when local, allows whatever the host has.
    """
    found = tuple(resolve(host, port))
    if not found:
        raise OSError(f"{host} has no address")
    if local and private:
        return found
    if not all(is_public(each) or (local and is_loopback(each)) for each in found):
        raise EgressRefused("The address does not lead to the public internet.")
    return found


def vet(url: str, *, local: bool, private: bool = False, resolve: Resolver = resolve_host) -> Target:
    """Read, resolve and vet an outbound address. Raises EgressRefused, or OSError when it does not resolve.

    https on port 443 to public addresses only; when `local`, also plain http, any port and loopback.
    """
    target = parse(url, local=local)
    vetted = addresses(target.host, target.port, local=local, private=private, resolve=resolve)
    return Target(target.scheme, target.host, target.port, target.path, vetted)
