"""Hostile addresses wherever an address may come from: no connection but to what was vetted (S1, T6)."""

import socket
from collections.abc import Callable, Sequence
from itertools import cycle, product
from typing import Any

import pytest

from speech.egress import EgressRefused
from speech.errors import SpeechError, VendorUnavailable
from speech.vendors.http import HttpWebhookSender, VendorClient
from tests.support.prove import proven

PUBLIC = "93.184.216.34"
OTHER_PUBLIC = "2606:4700::6810:84e5"
INSIDE = (
    *("127.0.0.1", "127.1.2.3", "0.0.0.0", "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254"),  # noqa: S104 - a destination
    *("100.64.0.1", "192.0.0.8", "198.18.0.1", "224.0.0.1", "240.0.0.1", "255.255.255.255", "192.88.99.1"),
)
INSIDE_V6 = (
    *("::1", "::", "fe80::1", "fe80::1%lo", "fc00::1", "fd00:ec2::254", "ff02::1", "fec0::1", "2001:db8::1", "100::1"),
    *("2001::1", "2001:0:4136:e378:8000:63bf:3fff:fdd2", "3fff::1", "5f00::1", "64:ff9b:1::1"),
)


def _hidden(address: str) -> list[str]:
    """IPv6 addresses that lead to an IPv4 address: compatible, mapped, translated, NAT64, 6to4."""
    high, low = (int.from_bytes(socket.inet_aton(address)[at : at + 2], "big") for at in (0, 2))
    tail = f"{high:x}:{low:x}"
    return [
        f"::{tail}",
        f"::ffff:{tail}",
        f"::ffff:{address}",
        f"::ffff:0:{tail}",
        f"64:ff9b::{tail}",
        f"2002:{tail}::",
    ]


ADDRESSES = (*INSIDE, *INSIDE_V6, *(each for address in INSIDE for each in _hidden(address)))
"""What no name may resolve to."""


def _spelled(address: str) -> list[str]:
    """Hosts that a resolver, or another parser, reads as this IPv4 address."""
    parts = [int(part) for part in address.split(".")]
    number = int.from_bytes(bytes(parts), "big")
    octal, hexadecimal = (".".join(spell(part) for part in parts) for spell in ("0{:o}".format, "0x{:x}".format))
    return [
        *(address, f"{address}.", str(number), hex(number), f"0{number:o}", octal, hexadecimal, octal + "."),
        *(
            f"{parts[0]}.{number & 0xFFFFFF}",
            f"{parts[0]}.{parts[1]}.{number & 0xFFFF}",
            f"{parts[0]}.0x{number & 0xFFFFFF:x}",
        ),
        *("。".join(address.split(".")), "".join(chr(ord(c) + 0xFEE0) if c.isdigit() else c for c in address)),
        *(f"x@{address}", f"example.com@{address}", f"{address}#@example.com", f"{address}\\@example.com"),
        *(f"{address}%2f.example.com", f"{address}%00.example.com", f"{address}:80", f"{address}:443@example.com"),
        *(f"[{each}]" for each in _hidden(address)),
    ]


HOSTS = (
    *(
        host
        for address in ("127.0.0.1", "169.254.169.254", "10.0.0.1", "100.64.0.1", "10.9.8.7")
        for host in _spelled(address)
    ),
    *(f"[{each}]" for each in INSIDE_V6),
    *(
        "[::1%25lo]",
        "[::1%lo]",
        "[fe80::1%25eth0]",
        "[::ffff:7f00:1]:80",
        "[0:0:0:0:0:0:0:1]",
        "[::1",
        "::1",
        "[]",
        "[v1.x]",
    ),
    *(
        "",
        ".",
        "..",
        "a..b",
        "-a.example",
        "a-.example",
        "*.example.com",
        "exa mple.com",
        "example.com:0",
        "example.com:22",
    ),
    *(
        "example.com:65536",
        "example.com:http",
        "example.com:-443",
        "example.com:+443",
        "example.com:４４３",
        "ex%61mple.com",
    ),
    *(
        "ⓛocalhost",
        "bücher.example",
        "xn--/.example",
        "exam\u200bple.com",
        "example.com\u2024",
        "a" * 64 + ".com",
        "a." * 127 + "com",
    ),
)
SCHEMES = ("http", "ftp", "file", "gopher", "wss", "ws", "data", "javascript", "ldap", "unix", "HTTPS+unix", "//", "")
URLS = (
    *(f"https://{host}/a.mp3" for host in HOSTS),
    *(f"{scheme}://example.com/a.mp3" if scheme != "//" else "//example.com/a.mp3" for scheme in SCHEMES),
    *(
        "https:example.com",
        "https:/example.com",
        "https:///a",
        "https:\\\\example.com",
        " https://example.com/",
        "https://",
    ),
    *(
        "https://example.com/\r\nHost: x",
        "https://example.com/\x00",
        "https://example.com/\ud800",
        "https://example.com/ a",
    ),
    *(
        "https://example.com/\u2028",
        "\x01https://example.com/",
        "https://exa\tmple.com/",
        "https://example.com/" + "a" * 9_000,
    ),
)
"""What is no address to us, whatever it resolves to."""

Way = Callable[[str, Any], Any]
"""Uses an address, with a resolver for the names in it."""


def fetch_a_result(url: str, resolve: Any) -> None:
    VendorClient("acme", "https://api.example", resolve=resolve).fetch(url)


def call_a_webhook(url: str, resolve: Any) -> None:
    HttpWebhookSender(local=False, resolve=resolve).send(url, headers={}, body=b"{}")


def call_a_base_url(url: str, resolve: Any) -> None:
    VendorClient("acme", url, resolve=resolve).request("POST", "/tts", json={"text": "Hello."})


def open_a_socket(url: str, resolve: Any) -> None:
    with VendorClient("acme", url, resolve=resolve).converse("/ws", headers={}, keep="x"):
        pass


WAYS: tuple[Way, ...] = (fetch_a_result, call_a_webhook, call_a_base_url, open_a_socket)


@pytest.fixture
def connected(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Every address that a socket was asked to connect to. None is reached."""
    tried: list[Any] = []

    def note(_: socket.socket, address: Any) -> None:
        tried.append(address)
        raise ConnectionRefusedError("the test takes notes only")

    monkeypatch.setattr(socket.socket, "connect", note)
    monkeypatch.setattr(socket.socket, "connect_ex", note)
    monkeypatch.setattr(socket.socket, "sendto", lambda *_: pytest.fail("something was sent"))
    monkeypatch.setattr(socket, "getaddrinfo", _literal_only)
    return tried


def _literal_only(host: str, port: int, *_: Any, **__: Any) -> list[Any]:
    """The system's resolver would ask the network; here it reads numbers alone, in every spelling that it knows."""
    try:
        number = socket.inet_ntoa(socket.inet_aton(host))
    except OSError:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        number = host if ":" in host or host == PUBLIC else ""
        if not number:
            raise socket.gaierror(socket.EAI_NONAME, "no such name") from None
        return [(family, socket.SOCK_STREAM, 6, "", (number, port))]
    return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (number, port))]


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_s1_t6_c19_no_hostile_address_is_connected_to(way: Way, connected: list[Any]) -> None:
    for url in URLS:
        with pytest.raises(EgressRefused):
            way(url, _public_or_literal)

    assert connected == []


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_s1_t6_no_name_that_leads_inside_is_connected_to_alone_or_among_others(way: Way, connected: list[Any]) -> None:
    for address, others in product(ADDRESSES, ((), (PUBLIC,), (OTHER_PUBLIC, PUBLIC))):
        for answer in ((*others, address), (address, *others)):
            with pytest.raises(EgressRefused):
                way("https://results.example.com/a.mp3", lambda *_, found=answer: found)

    assert connected == []


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_s1_t6_an_answer_that_changes_between_two_looks_gains_nothing(way: Way, connected: list[Any]) -> None:
    """The name is looked up once for each connection, and the connection goes to what was looked at."""
    for address in ADDRESSES:
        answers = cycle([(PUBLIC,), (address,)])

        with pytest.raises(SpeechError) as first:
            way("https://rebind.example.com/a.mp3", lambda *_, found=answers: next(found))
        with pytest.raises(EgressRefused):
            way("https://rebind.example.com/a.mp3", lambda *_, found=answers: next(found))

        assert isinstance(first.value, VendorUnavailable)

    assert set(connected) == {(PUBLIC, 443)}
    assert len(connected) == len(ADDRESSES)


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_s1_a_good_address_is_connected_to_by_the_number_that_was_vetted(way: Way, connected: list[Any]) -> None:
    with pytest.raises(VendorUnavailable):
        way("https://results.example.com/a.mp3", lambda *_: (PUBLIC, OTHER_PUBLIC))

    assert [address[:2] for address in connected] == [(PUBLIC, 443), (OTHER_PUBLIC, 443)]


def test_s1_the_tables_hold_more_than_three_hundred_addresses() -> None:
    assert len(set(URLS)) >= 150
    assert len(set(ADDRESSES)) >= 100
    both = len(set(URLS)) + len(set(ADDRESSES))
    assert both >= 300
    proven("hostile-addresses", addresses=both, ways=len(WAYS), connections=0)


def _public_or_literal(host: str, port: int) -> Sequence[str]:
    """Names are all public; a number is what the system takes it for."""
    try:
        return tuple(each[4][0] for each in _literal_only(host, port))
    except OSError:
        return (PUBLIC,)


@pytest.fixture(autouse=True)
def _a_proxy_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:3128")
