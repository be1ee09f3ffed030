"""The voices of a vendor and what its account has left, as a client of the API meets them."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from local.emulators import EMULATORS
from local.emulators.creatify import CreatifyEmulator
from speech.apikeys import WRITE
from speech.errors import StoreUnavailable
from speech.settings import BadSettings
from speech.vendors import VENDORS, capabilities, keys_of
from tests.support.edge import Edge, event
from tests.vendors.scripted import Script, Scripted, answer

ROOT = Path(__file__).resolve().parents[3]
VOICE = {"id", "name", "vendor", "languages", "gender", "preview_url"}
Vendor = Callable[..., Scripted]


@pytest.fixture
def vendor(edge: Edge) -> Iterator[Vendor]:
    """A vendor that answers what it is told: `vendor(answer(…), …)`."""
    with ExitStack() as stack:

        def serve(*scripts: Script) -> Scripted:
            server = stack.enter_context(Scripted(list(scripts)))
            edge.vendor_url = server.url
            return server

        yield serve


@pytest.fixture
def edge() -> Edge:
    edge = Edge()
    edge.keys.vendor = {key: f"vk_{key.lower()}" for name in VENDORS for key in keys_of(name)}
    return edge


def get(edge: Edge, path: str, *, token: str | None = None, **query: str) -> tuple[int, Any, Mapping[str, str]]:
    """Status, body and headers."""
    sample = event("api_list_vendors")
    sample["headers"]["authorization"] = f"Bearer {token or edge.an_api_key()}"
    sample["rawPath"] = sample["requestContext"]["http"]["path"] = path
    if query:
        sample["queryStringParameters"] = query
    answered = edge.call("jobs_api", sample)
    return answered["statusCode"], json.loads(answered["body"]), answered["headers"]


def listed(*names: str) -> bytes:
    """A list of Voice.ai's."""
    return answer(200, [{"voice_id": name, "name": name.title(), "status": "AVAILABLE"} for name in names])


def in_languages(**languages: list[str]) -> bytes:
    """A list of Convai's: voice → languages."""
    return answer(200, {"A": [{name: {"voice_value": name, "lang_codes": codes}} for name, codes in languages.items()]})


@pytest.mark.parametrize("name", [name for name in VENDORS if capabilities(name).lists_voices])
def test_the_voices_of_every_vendor_have_one_shape(edge: Edge, name: str) -> None:
    with EMULATORS[name]() as emulator:
        edge.vendor_url = emulator.url
        status, body, headers = get(edge, "/v1/voices", vendor=name)

    assert (status, headers["Content-Type"]) == (200, "application/json")
    assert set(body) == {"voices", "next"}
    assert body["next"] is None
    assert body["voices"]
    for voice in body["voices"]:
        assert set(voice) == VOICE
        assert voice["vendor"] == name
        assert isinstance(voice["languages"], list)
    assert emulator.journal.undocumented == []


def test_whoever_names_no_vendor_gets_the_voices_of_the_stacks_own(edge: Edge, vendor: Vendor) -> None:
    vendor(listed("oliver"))

    for query in ({}, {"vendor": "auto"}):
        assert get(edge, "/v1/voices", **query)[1]["voices"][0]["vendor"] == "voiceai"


@pytest.mark.parametrize(
    ("language", "found"),
    [
        ("en", ["both", "british", "plain", "silent"]),
        ("en-US", ["both", "plain", "silent"]),
        ("EN-gb", ["british", "plain", "silent"]),
        ("en-US-x-slow", ["both", "plain", "silent"]),
        ("pt", ["both", "silent"]),
        ("e", ["silent"]),
        ("ja", ["silent"]),
    ],
)
def test_a_language_leaves_the_voices_that_may_speak_it(
    edge: Edge, vendor: Vendor, language: str, found: list[str]
) -> None:
    vendor(in_languages(both=["en-US", "pt-BR"], british=["en-GB"], plain=["en"], german=["de-DE"], silent=[]))

    body = get(edge, "/v1/voices", vendor="convai", language=language)[1]

    assert [voice["id"] for voice in body["voices"]] == found


def test_the_vendor_is_asked_once_an_hour_for_each_tenant(edge: Edge, vendor: Vendor) -> None:
    server = vendor(listed("first"), listed("second"))

    def names() -> list[str]:
        return [voice["id"] for voice in get(edge, "/v1/voices", vendor="voiceai", language="en")[1]["voices"]]

    assert [names(), names()] == [["first"], ["first"]]
    assert len(server.seen) == 1
    edge.list_voices("another", "voiceai", None)
    assert len(server.seen) == 2
    edge.clock.advance(3_601)
    assert names() == ["second"]


def test_lists_of_two_vendors_are_not_mixed_up(edge: Edge, vendor: Vendor) -> None:
    vendor(listed("oliver"), in_languages(fable=["en-US"]))

    ids = [get(edge, "/v1/voices", vendor=name)[1]["voices"][0]["id"] for name in ("voiceai", "convai", "voiceai")]

    assert ids == ["oliver", "fable", "oliver"]


def test_what_an_older_release_remembered_is_asked_anew(edge: Edge, vendor: Vendor) -> None:
    vendor(listed("oliver"))
    edge.cache.remember("default", "voices#voiceai", b"something else", seconds=60)

    assert get(edge, "/v1/voices", vendor="voiceai")[1]["voices"][0]["id"] == "oliver"


def test_e2_a_list_that_cannot_be_kept_is_still_an_answer(edge: Edge, vendor: Vendor) -> None:
    vendor(listed("oliver"))
    edge.cache.fail_next("remember", StoreUnavailable("busy"))

    assert get(edge, "/v1/voices", vendor="voiceai")[0] == 200


def test_a_list_beyond_all_reason_is_cut(edge: Edge, vendor: Vendor) -> None:
    vendor(listed(*(f"voice-{number}" for number in range(6_000))))

    assert len(get(edge, "/v1/voices", vendor="voiceai")[1]["voices"]) == 5_000


@pytest.mark.parametrize("name", [name for name in VENDORS if not capabilities(name).lists_voices])
def test_a_vendor_without_a_list_says_so_and_what_to_do(edge: Edge, name: str) -> None:
    status, body, _ = get(edge, "/v1/voices", vendor=name)

    assert (status, body["code"], body["retryable"]) == (422, "unsupported-option", False)
    assert [each["field"] for each in body["errors"]] == ["vendor"]
    assert "no list of voices" in body["detail"]
    assert "`voice`" in body["detail"]


@pytest.mark.parametrize(
    ("query", "code", "field"),
    [
        ({"vendor": "nobody"}, "unknown-vendor", "vendor"),
        ({"vendor": "../convai"}, "unknown-vendor", "vendor"),
        ({"vendor": "voiceai", "language": "no tag"}, "invalid-request", "language"),
        ({"vendor": "voiceai", "language": "-en"}, "invalid-request", "language"),
        ({"vendor": "voiceai", "language": "x" * 100}, "invalid-request", "language"),
    ],
)
def test_what_cannot_be_asked_is_422_and_names_the_field(
    edge: Edge, query: dict[str, str], code: str, field: str
) -> None:
    status, body, _ = get(edge, "/v1/voices", **query)

    assert (status, body["code"], [each["field"] for each in body["errors"]]) == (422, code, [field])


REFUSALS = [
    (answer(401, b"no"), 502, "vendor-unauthorized", None),
    (answer(402, b"no"), 503, "vendor-quota-exhausted", "2"),
    (answer(404, b"no"), 502, "vendor-rejected", None),
    (answer(429, b"no", headers=[("Retry-After", "7.5")]), 503, "vendor-throttled", "8"),
    (answer(500, b"no"), 503, "vendor-unavailable", "2"),
    (answer(200, b"<html>"), 502, "vendor-gone", None),
    (lambda connection: connection.close(), 503, "vendor-unavailable", "2"),
]


@pytest.mark.parametrize("path", ["/v1/voices?vendor=creatify", "/v1/vendors/creatify"])
@pytest.mark.parametrize(("reply", "status", "code", "again"), REFUSALS, ids=[each[2] for each in REFUSALS])
def test_what_the_vendor_does_is_a_problem_and_never_our_own_fault(
    edge: Edge, vendor: Vendor, path: str, reply: Script, status: int, code: str, again: str | None
) -> None:
    vendor(reply)
    address, _, query = path.partition("?")

    got, body, headers = get(edge, address, **dict([query.split("=")] if query else []))

    assert (got, body["status"], body["code"], body["vendor"]) == (status, status, code, "creatify")
    assert headers.get("Retry-After") == again
    assert "vk_" not in json.dumps(body)


def test_a_vendor_that_is_not_there_is_503(edge: Edge) -> None:
    assert get(edge, "/v1/voices", vendor="voiceai")[:1] == (503,)


def test_c5_a_refused_key_is_read_anew_once(edge: Edge, vendor: Vendor) -> None:
    server = vendor(answer(401, b"no"), listed("oliver"))

    assert get(edge, "/v1/voices", vendor="voiceai")[0] == 200
    assert edge.keys.freshened == 1
    assert len(server.seen) == 2


def test_a_stack_that_cannot_reach_its_vendor_says_so(edge: Edge) -> None:
    edge.vendor_url = "ftp://voice.test"
    assert get(edge, "/v1/voices", vendor="voiceai")[1]["code"] == "vendor-unavailable"

    edge.keys.fail_next("vendor_keys", BadSettings("The vendor secret must be a JSON object of strings."))
    assert get(edge, "/v1/voices", vendor="convai")[1]["code"] == "vendor-unavailable"


def test_t1_neither_is_told_to_a_key_that_may_not_read(edge: Edge) -> None:
    token = edge.an_api_key(WRITE)

    for path in ("/v1/voices", "/v1/vendors/creatify"):
        assert get(edge, path, token=token)[0] == 403
        assert get(edge, path, token="tts_dev_0123456789abcdef_" + "0" * 64)[0] == 401


# --- One vendor -------------------------------------------------------------------------------


def test_a_vendor_that_tells_what_is_left_shows_it(edge: Edge) -> None:
    with CreatifyEmulator(credits=12.5) as emulator:
        edge.vendor_url = emulator.url
        status, body, _ = get(edge, "/v1/vendors/creatify")

    assert status == 200
    assert body["credits"] == 12.5
    del body["credits"], body["health"]
    assert body in get(edge, "/v1/vendors")[1]["vendors"]
    assert (body["lists_voices"], body["reports_credits"]) == (True, True)


def test_a_vendor_that_does_not_tell_what_is_left_is_not_asked(edge: Edge) -> None:
    for name in VENDORS:
        if name != "creatify":
            status, body, _ = get(edge, f"/v1/vendors/{name}")

            assert (status, body["name"], body["credits"]) == (200, name, None)


@pytest.mark.parametrize("name", ["nobody", "Convai", "..", "%00"])
def test_a_vendor_that_is_not_there_is_404(edge: Edge, name: str) -> None:
    assert get(edge, f"/v1/vendors/{name}")[0] == 404


def test_the_client_of_vendors_is_loaded_for_these_two_routes_alone() -> None:
    program = (
        "import sys; sys.path[:0] = ['functions/jobs_api', 'layers/speech']; import app; "
        "from speech.bootstrap import Services; from speech.settings import Settings; "
        "from tests.fakes import FakePolicies; "
        "parts = Services(Settings(jobs_table='t')); parts._dynamo_policies = FakePolicies(); "
        "parts.list_vendors(); parts.post_job; parts.read_job; "
        "print(*sorted({'httpx', 'httpcore', 'websockets'} & set(sys.modules)))"
    )

    loaded = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env={"AWS_DEFAULT_REGION": "eu-central-1", "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )

    assert loaded.stdout.strip() == ""
