"""The egress guard against addresses that want in (C13, C19, S1)."""

from collections.abc import Sequence

import pytest

from speech.egress import EgressRefused, is_public, vet

PUBLIC = "93.184.216.34"

NOWHERE = "0.0.0.0"  # noqa: S104 - a destination here, nothing is bound to it

HOSTILE_ADDRESSES = [
    *(NOWHERE, "0.1.2.3", "10.0.0.1", "10.255.255.255", "100.64.0.1", "100.100.100.200", "100.127.255.255"),
    *("127.0.0.1", "127.0.0.2", "127.255.255.254", "169.254.0.1", "169.254.169.254", "169.254.170.2"),
    *("172.16.0.1", "172.31.255.255", "192.0.0.1", "192.0.0.8", "192.0.0.9", "192.0.0.10", "192.0.0.170"),
    *("192.0.2.1", "192.88.99.1", "192.88.99.2", "192.168.0.1", "192.168.255.255", "198.18.0.1", "198.19.255.255"),
    *("198.51.100.1", "203.0.113.1", "224.0.0.1", "224.0.0.251", "232.1.1.1", "239.255.255.255"),
    *("240.0.0.1", "254.1.1.1", "255.255.255.255", "::", "::1", "::2", "::127.0.0.1", "::10.0.0.1"),
    *("::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "::ffff:93.184.216.34", "::ffff:0:127.0.0.1"),
    *("64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b::5db8:d822", "64:ff9b:1::1", "64:ff9b:1:fffe::1"),
    *("100::1", "100:0:0:1::1", "2001::1", "2001:0:4136:e378:8000:63bf:3fff:fdd2", "2001:2::1", "2001:10::1"),
    *("2001:1::1", "2001:3::1", "2001:4:112::1", "2001:1ff::1"),
    *("2001:20::1", "2001:db8::1", "2002:7f00:1::", "2002:a9fe:a9fe::1", "2002:5db8:d822::1", "3fff::1", "5f00::1"),
    *("fc00::1", "fd00::1", "fd00:ec2::254", "fe80::1", "fe80::1%eth0", "febf::1", "fec0::1", "ff02::1", "ff0e::1"),
    *("4000::1", "8000::1", "", "not an address", "127.1", "0177.0.0.1"),
]

HOSTILE_URLS = [
    # other schemes, and none
    *("http://example.com/a", "ftp://example.com/a", "file:///etc/passwd", "gopher://example.com/", "data:audio/wav,x"),
    *("//example.com/a", "example.com/a", "", "/", "https:", "https:/example.com", "https:example.com", "https:///a"),
    *("javascript:alert(1)", "wss://example.com/", "HTTP://example.com/", "ldap://example.com/", "dict://example.com:11211/"),
    # ports
    *("https://example.com:80/", "https://example.com:8443/", "https://example.com:22/", "https://example.com:0/"),
    *("https://example.com:65536/", "https://example.com:99999/", "https://example.com:-1/", "https://example.com:/"),
    *("https://example.com:443443/", "https://example.com:4 43/", "https://example.com:٤٤٣/", "https://example.com:+443/"),
    # user information
    *("https://user@example.com/", "https://user:password@example.com/", "https://example.com@127.0.0.1/"),
    *("https://@example.com/", "https://example.com:443@127.0.0.1/", "https://a@b@example.com/"),
    *("https://127.0.0.1%2f@example.com/", "https://example.com%40127.0.0.1/", "https://example.com%00.evil.test/"),
    # what parsers read differently
    *("https://example.com\\@127.0.0.1/", "https:\\\\127.0.0.1\\", "https://127.0.0.1\\.example.com/"),
    *("https://exa mple.com/", "https://example.com/a b", "https://example.com/\ta", "https://example.com/\r\nHost: x"),
    *(" https://example.com/", "https://example.com/ ", "https://example.com/\x00", "https://example.com\n/", "\x01https://a.b/"),
    *("https://example.com/\ud800", "https://\udfff.example.com/", "https://example.com/?\udc00"),
    *("https://example.com /", "https://127.0.0.1/", "https://exam\u200bple.com/", "https://example.com#@127.0.0.1\\"),
    *("https://[::1/", "https://::1/", "https://[::1]]/", "https://[]/", "https://[127.0.0.1]/", "https://[fe80::1%25eth0]/"),
    *("https://example..com/", "https://.example.com/", "https://example.com./", "https://-example.com/", "https://example-.com/"),
    *("https://" + "a" * 64 + ".com/", "https://" + "a." * 130 + "com/", "https://example.com/" + "a" * 9000, "https://*/"),
    # loopback and metadata written as numbers
    *("https://2130706433/", "https://0x7f000001/", "https://0x7f.0.0.1/", "https://0177.0.0.1/", "https://017700000001/"),
    *("https://127.1/", "https://127.0.1/", "https://0/", "https://0x0/", "https://00000177.0.0.01/", "https://127.0.0.1/"),
    *("https://127.000.000.001/", "https://0x7f.1/", "https://0X7F.0X0.0X0.0X1/", "https://2852039166/", "https://0xa9fea9fe/"),
    *("https://0251.0376.0251.0376/", "https://169.254.169.254/latest/meta-data/", "https://425.510.425.510/"),
    *("https://0x/", "https://1.2.3.4.5/", "https://256.256.256.256/", "https://4294967297/", "https://0.0.0.0/"),
    *("https://10.0.0.1/", "https://192.168.1.1/", "https://172.16.0.1/", "https://100.64.0.1/", "https://224.0.0.1/"),
    # the same in IPv6 and in full-width or enclosed digits
    *("https://[::1]/", "https://[::]/", "https://[0:0:0:0:0:0:0:1]/", "https://[::ffff:127.0.0.1]/", "https://[::ffff:7f00:1]/"),
    *("https://[64:ff9b::7f00:1]/", "https://[2002:7f00:1::]/", "https://[fe80::1]/", "https://[fd00:ec2::254]/"),
    *("https://[ff02::1]/", "https://[::127.0.0.1]/", "https://[2001:db8::1]/", "https://[fec0::1]/"),
    *("https://①②⑦.⓪.⓪.①/", "https://127。0。0。1/", "https://１２７.0.0.1/", "https://ⓛocalhost/", "https://bücher.example/"),
]  # fmt: skip


def public(host: str, port: int) -> Sequence[str]:
    """A resolver that knows only itself: literal addresses as they are, any name as one public address."""
    return (host,) if host.replace(".", "").isdigit() or ":" in host else (PUBLIC,)


@pytest.mark.parametrize("address", HOSTILE_ADDRESSES)
def test_s1_an_address_that_is_not_on_the_public_internet_is_refused(address: str) -> None:
    assert not is_public(address)

    with pytest.raises(EgressRefused):
        vet("https://results.example.com/a.mp3", local=False, resolve=lambda *_: (address,))


@pytest.mark.parametrize("address", HOSTILE_ADDRESSES)
def test_s1_one_bad_address_among_good_ones_spoils_them_all(address: str) -> None:
    with pytest.raises(EgressRefused):
        vet("https://results.example.com/a.mp3", local=False, resolve=lambda *_: (PUBLIC, address, "1.1.1.1"))


@pytest.mark.parametrize("url", HOSTILE_URLS)
def test_s1_a_hostile_url_is_refused(url: str) -> None:
    with pytest.raises(EgressRefused) as caught:
        vet(url, local=False, resolve=public)

    assert caught.value.code == "address-refused"
    assert not caught.value.retryable


def test_s1_the_tables_are_as_long_as_they_should_be() -> None:
    assert len(set(HOSTILE_ADDRESSES)) >= 60
    assert len(set(HOSTILE_URLS)) >= 100


@pytest.mark.parametrize(
    "address", [PUBLIC, "1.1.1.1", "172.32.0.1", "100.128.0.1", "2606:4700::6810:84e5", "2a00:1450::1"]
)
def test_a_public_address_is_allowed(address: str) -> None:
    target = vet("https://results.example.com/a%20b.mp3?X=1&y=ä#part", local=False, resolve=lambda *_: (address,))

    assert (target.host, target.port, target.addresses) == ("results.example.com", 443, (address,))
    assert target.path == "/a%20b.mp3?X=1&y=%C3%A4"


def test_s1_rebinding_gains_nothing_because_the_vetted_address_is_what_is_returned() -> None:
    replies = iter([(PUBLIC,), ("127.0.0.1",)])

    target = vet("https://rebind.example.com/", local=False, resolve=lambda *_: next(replies))

    assert target.addresses == (PUBLIC,)


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:8001/a", "http://localhost:8001/a", "http://[::1]:1/", "https://127.0.0.1/"]
)
def test_loopback_and_plain_http_are_for_the_laptop(url: str) -> None:
    def loopback(host: str, port: int) -> Sequence[str]:
        return ("::1",) if ":" in host else ("127.0.0.1",)

    assert vet(url, local=True, resolve=loopback).addresses
    with pytest.raises(EgressRefused):
        vet(url, local=False, resolve=loopback)


@pytest.mark.parametrize("address", ["10.0.0.1", "169.254.169.254", "::ffff:127.0.0.1", "fe80::1", NOWHERE])
def test_s1_even_on_the_laptop_a_result_is_not_fetched_from_elsewhere_inside(address: str) -> None:
    with pytest.raises(EgressRefused):
        vet("http://results.example.com/", local=True, resolve=lambda *_: (address,))


def test_a_base_url_may_be_private_on_the_laptop_and_only_there() -> None:
    assert vet("http://dify.home:8080/v1", local=True, private=True, resolve=lambda *_: ("10.0.0.7",)).addresses
    with pytest.raises(EgressRefused):
        vet("https://dify.home/v1", local=False, private=True, resolve=lambda *_: ("10.0.0.7",))


def test_a_name_without_an_address_is_no_refusal_but_a_fault_that_may_pass() -> None:
    with pytest.raises(OSError, match="no address"):
        vet("https://gone.example.com/", local=False, resolve=lambda *_: ())
