"""One suite for every vendor against its emulator, enrolled from the registry: a new vendor is here by existing."""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from local.emulators import EMULATORS
from local.emulators.base import WRONG_KEY, Emulator
from speech.audio.verify import verify
from speech.errors import (
    InvalidRequest,
    UnknownVendor,
    UnsupportedOperation,
    UnsupportedOption,
    UnusableAudio,
    VendorAmbiguous,
    VendorError,
    VendorJobExpired,
    VendorJobFailed,
    VendorMisbehaved,
    VendorQuotaExhausted,
    VendorRejected,
    VendorThrottled,
    VendorUnauthorized,
    VendorUnavailable,
)
from speech.vendors import VENDORS, capabilities, check_request, keys_of, validate_options, vendor_class
from speech.vendors.base import AudioReady, Callback, Delivery, Option, StillWorking, SynthesisRequest, Vendor
from speech.vendors.http import VendorClient
from tests.vendors.scripted import Scripted, answer

ROOT = Path(__file__).resolve().parents[2]
TEXT = "The quick brown fox jumps over the lazy dog, and nobody minds."

INSIDE_A_FRAME = 5_003
"""Where an answer is cut that nothing else gives away: between two frames an untagged MP3 would look whole."""

Vendors = Callable[..., Vendor]


@pytest.fixture(params=VENDORS)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def emulator(name: str) -> Iterator[Emulator]:
    with EMULATORS[name](**EMULATORS[name].in_tests) as running:
        yield running


@pytest.fixture
def vendor_of(name: str, emulator: Emulator) -> Vendors:
    """The adapter, with this much time for each call and keys that are right unless said otherwise."""

    def make(*, seconds: float = 20, key: str = "vk_right", max_audio: int = 1 << 26) -> Vendor:
        client = VendorClient(name, emulator.url, local=True, deadline_seconds=seconds, max_audio=max_audio)
        return vendor_class(name)(client, dict.fromkeys(keys_of(name), key))

    return make


def answers_at_once(name: str) -> bool:
    return Delivery.IMMEDIATE in capabilities(name).delivery


def request_for(name: str, text: str = TEXT, **more: Any) -> SynthesisRequest:
    return SynthesisRequest(text=text, voice=EMULATORS[name].default_voice, **more)


def audio_of(vendor: Vendor, request: SynthesisRequest) -> AudioReady:
    """Start, and check until there is audio."""
    outcome = vendor.start(request)
    until = time.monotonic() + 30
    while isinstance(outcome, StillWorking):
        assert time.monotonic() < until, "the vendor never finished"
        pause()
        outcome = vendor.check(outcome.vendor_job_id)
    return outcome


def pause() -> None:
    """Between two checks."""
    time.sleep(0.02)  # the emulator works in a thread of its own, and tells nobody when it is done


def text_of(length: int) -> str:
    """Words, as many characters as asked for to the last one."""
    return (TEXT + " ") * (length // len(TEXT)) + "x" * (length % len(TEXT) or 1)


# --- Speaking ---------------------------------------------------------------------------------


def test_a_text_becomes_audio_and_is_billed_once(name: str, emulator: Emulator, vendor_of: Vendors) -> None:
    ready = audio_of(vendor_of(), request_for(name))

    heard = verify(ready.data, characters=len(TEXT))
    assert heard.container in capabilities(name).audio_formats
    assert heard.frames / heard.sample_rate > 1
    assert len(emulator.book.of(TEXT)) == len(emulator.book) == 1


def test_nothing_is_sent_that_the_vendor_does_not_document(name: str, emulator: Emulator, vendor_of: Vendors) -> None:
    known = capabilities(name)
    request = request_for(name, language=(known.languages or ("en",))[0])

    audio_of(vendor_of(), request)

    assert emulator.journal.entries
    assert emulator.journal.undocumented == []


@pytest.mark.proves("creatify: limit script", "playht: limit text")
def test_a_text_of_exactly_the_limit_is_taken(name: str, emulator: Emulator, vendor_of: Vendors) -> None:
    limit = capabilities(name).character_limit
    text = text_of(limit)[:limit]

    outcome = vendor_of().start(request_for(name, text))

    assert isinstance(outcome, AudioReady | StillWorking)
    assert emulator.book.characters == limit


def test_unicode_arrives_as_it_was(name: str, emulator: Emulator, vendor_of: Vendors) -> None:
    text = 'Grüße, “señor” — 日本 👩‍👩‍👧 <b>&amp;</b> \\ "quoted" é.'

    vendor_of().start(request_for(name, text))

    assert len(emulator.book.of(text)) == 1


def legal_values(option: Option, emulator: type[Emulator]) -> list[Any]:
    if option.name in emulator.examples:
        return [emulator.examples[option.name]]
    if option.choices:
        return [option.choices[0], option.choices[-1]]
    if option.kind == "boolean":
        return [True, False]
    if option.kind in ("number", "integer"):
        return [each for each in (option.minimum, option.maximum) if each is not None] or [1]
    return ["plain.wav" if option.kind == "filename" else "plain"]


def deliveries(name: str) -> list[Any]:
    """The ways in which a request may ask for its audio; None where there is one."""
    return [each for option in capabilities(name).options if option.name == "delivery" for each in option.choices] or [
        None
    ]


OPTIONS = [(name, option) for name in VENDORS for option in capabilities(name).options if not option.is_ours]
EVERY_OPTION = [
    pytest.param(name, option, delivery, id="-".join(filter(None, [name, option.name, delivery])))
    for name, option in OPTIONS
    for delivery in deliveries(name)
]


@pytest.mark.proves(
    "convai: field filename",
    "convai: field encoding",
    "voiceai: field model",
    "voiceai: field language",
    "dify: field user",
    "dify: field streaming",
    "dify: field message_id",
    "playht: field quality",
    "playht: field output_format",
    "playht: field sample_rate",
    "playht: field seed",
    "playht: field temperature",
    "playht: field voice_engine",
    "playht: field emotion",
    "playht: field voice_guidance",
    "playht: field style_guidance",
)
@pytest.mark.parametrize(("name", "option", "delivery"), EVERY_OPTION)
def test_every_declared_option_arrives_by_its_name_and_is_taken(
    name: str, option: Option, delivery: str | None, emulator: Emulator, vendor_of: Vendors
) -> None:
    by_name = {each.name: each for each in capabilities(name).options}
    beside: dict[str, Any] = {"delivery": delivery} if delivery else {}
    if option.only_with:
        beside[option.only_with[0]] = option.only_with[1][0]
    if option.needs:
        beside[option.needs] = legal_values(by_name[option.needs], EMULATORS[name])[0]
    for value in legal_values(option, EMULATORS[name]):
        asked = {**beside, option.name: value}
        options = check_request(name, voice=emulator.default_voice, options=asked)
        emulator.journal.clear()

        ready = audio_of(vendor_of(), request_for(name, "Yes.", options=options))

        assert verify(ready.data, characters=4).frames > 0
        [sent] = [entry.body for entry in emulator.journal.entries if entry.method in ("POST", "WS")]
        arrived = {field: sent[field] for field in asked if not by_name[field].is_ours}
        assert arrived == {field: value for field, value in asked.items() if not by_name[field].is_ours}
        assert "delivery" not in sent
        assert emulator.journal.undocumented == []


# --- Free questions ---------------------------------------------------------------------------


@pytest.mark.proves("convai: field voice", "creatify: field accent", "voiceai: field voice_id", "playht: field voice")
def test_the_voices_of_the_list_are_voices_that_speak(name: str, emulator: Emulator, vendor_of: Vendors) -> None:
    if not capabilities(name).lists_voices:
        with pytest.raises(UnsupportedOperation):
            vendor_of().voices()
        return

    found = vendor_of().voices()

    assert found
    assert len({each.id for each in found}) == len(found)
    for voice in found[:2]:
        check_request(name, voice=voice.id)
        audio_of(vendor_of(), SynthesisRequest(text="Yes.", voice=voice.id))
    assert emulator.journal.undocumented == []


def test_what_is_left_goes_down_with_what_is_spoken(name: str, emulator: Emulator, vendor_of: Vendors) -> None:
    if not capabilities(name).reports_credits:
        with pytest.raises(UnsupportedOperation):
            vendor_of().credits_left()
        return

    before = vendor_of().credits_left()
    audio_of(vendor_of(), request_for(name))

    assert vendor_of().credits_left() < before
    assert emulator.journal.undocumented == []


# --- Refusals ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ("throttled", VendorThrottled),
        ("quota", VendorQuotaExhausted),
        ("unauthorized", VendorUnauthorized),
        ("rejected", VendorRejected),
        ("server-error", VendorUnavailable),
    ],
)
def test_c3_c4_c5_c7_a_documented_refusal_has_its_error(
    name: str, emulator: Emulator, vendor_of: Vendors, fault: str, error: type[VendorError]
) -> None:
    emulator.faults.play(fault)

    with pytest.raises(error) as caught:
        vendor_of().start(request_for(name))

    assert caught.value.vendor == name
    assert caught.value.vendor_status is not None
    assert caught.value.vendor_status >= 400
    assert len(emulator.book) == 0


@pytest.mark.parametrize("status", [502, 503, 504])
def test_c4_a_page_of_whatever_stands_before_the_vendor_means_that_it_is_not_there(
    name: str, emulator: Emulator, vendor_of: Vendors, status: int
) -> None:
    emulator.faults.play("status", status=status, body="<html><h1>Bad Gateway</h1></html>", content_type="text/html")

    with pytest.raises(VendorUnavailable) as caught:
        vendor_of().start(request_for(name))

    assert (caught.value.vendor, caught.value.vendor_status) == (name, status)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [("7", 7), ("0", 1), ("-5", None), ("soon", None), ("99999999", 900), ("Wed, 21 Oct 2015 07:28:00 GMT", 1)],
)
def test_c3_the_delay_a_throttle_asks_for_is_kept_within_reason(
    name: str, emulator: Emulator, vendor_of: Vendors, header: str, seconds: float | None
) -> None:
    emulator.faults.play("status", status=429, headers={"Retry-After": header}, body={})

    with pytest.raises(VendorThrottled) as caught:
        vendor_of().start(request_for(name))

    assert caught.value.retry_after == seconds


def test_c5_a_wrong_key_is_refused_and_not_shown(name: str, vendor_of: Vendors) -> None:
    with pytest.raises(VendorUnauthorized) as caught:
        vendor_of(key=WRONG_KEY).start(request_for(name))

    assert WRONG_KEY not in caught.value.detail


def test_c5_without_keys_no_request_leaves(name: str, emulator: Emulator, vendor_of: Vendors) -> None:
    with pytest.raises(VendorUnauthorized):
        vendor_of(key="").start(request_for(name))

    assert emulator.journal.entries == []


def test_i17_what_the_vendor_says_never_carries_our_text_or_key_into_an_error(
    name: str, emulator: Emulator, vendor_of: Vendors
) -> None:
    words = "Cannot speak zyxwvu with key secretkey"
    for body in ({"error": words, "ERROR": words, "detail": words}, words, {"script": [words], "text": [words]}):
        emulator.faults.play("status", status=400, body=body)

        with pytest.raises(VendorError) as caught:
            vendor_of(key="secretkey").start(request_for(name, "Please say zyxwvu for us."))

        assert "zyxwvu" not in repr(caught.value) + caught.value.detail
        assert "secretkey" not in repr(caught.value) + caught.value.detail


# --- Faults of transport ----------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["hang", "reset", "lost"])
def test_c2_c18_an_answer_that_never_comes_is_ambiguous(
    name: str, emulator: Emulator, vendor_of: Vendors, fault: str
) -> None:
    emulator.faults.play(fault)

    with pytest.raises(VendorAmbiguous):
        vendor_of(seconds=3 if fault == "lost" else 0.4).start(request_for(name))

    sent = [entry for entry in emulator.journal.entries if entry.method == "POST"]
    assert len(sent) == 1, "the client never tries again by itself"


def test_c1_a_vendor_that_is_not_there_was_not_asked(name: str, vendor_of: Vendors, emulator: Emulator) -> None:
    vendor = vendor_of()
    emulator.stop()

    with pytest.raises(VendorUnavailable) as caught:
        vendor.start(request_for(name))

    assert not isinstance(caught.value, VendorAmbiguous)


@pytest.mark.parametrize(
    ("fault", "options"),
    [
        ("cut", {"framing": "length"}),
        ("cut", {"framing": "chunked"}),
        ("cut", {"framing": "close", "bytes": INSIDE_A_FRAME}),
        ("stall", {}),
        ("false-length", {}),
        ("drip", {}),
        ("endless", {}),
        ("empty", {}),
        ("no-content", {}),
        ("json", {}),
        ("html", {}),
        ("text", {}),
        ("null", {}),
        ("gzip", {}),
        ("bomb", {"bytes": 1 << 24}),
        ("truncated", {"bytes": INSIDE_A_FRAME}),
        ("silent", {}),
        ("wrong-container", {"container": "png"}),
        ("wrong-container", {"container": "zip"}),
    ],
)
def test_c8_c9_c10_c11_c12_c14_what_is_not_good_audio_never_passes(
    name: str, emulator: Emulator, vendor_of: Vendors, fault: str, options: dict[str, Any]
) -> None:
    emulator.faults.play(fault, times=None, **options)
    slow = fault in ("stall", "false-length", "drip")

    began = time.monotonic()
    with pytest.raises((VendorError, UnusableAudio)) as caught:
        verify(audio_of(vendor_of(seconds=1 if slow else 20, max_audio=1 << 20), request_for(name)).data, characters=62)

    assert isinstance(caught.value, UnusableAudio) or caught.value.retryable
    assert time.monotonic() - began < 15
    assert len(emulator.book) <= 1


@pytest.mark.parametrize(
    ("fault", "bodies"), [("empty", VendorMisbehaved), ("html", VendorMisbehaved), ("json", VendorMisbehaved)]
)
def test_c8_a_success_that_is_plainly_no_audio_is_misbehaviour(
    name: str, emulator: Emulator, vendor_of: Vendors, fault: str, bodies: type[VendorError]
) -> None:
    emulator.faults.play(fault, times=None)

    with pytest.raises(bodies):
        audio_of(vendor_of(), request_for(name))


def test_c13_a_redirect_is_not_followed(name: str, emulator: Emulator, vendor_of: Vendors) -> None:
    emulator.faults.play("redirect")

    with pytest.raises(VendorMisbehaved):
        vendor_of().start(request_for(name))

    assert not [entry for entry in emulator.journal.entries if entry.path == "/elsewhere"]


def test_c11_speech_that_comes_slowly_but_in_time_is_taken(name: str, emulator: Emulator, vendor_of: Vendors) -> None:
    emulator.faults.play("drip", seconds=0.3)

    assert verify(audio_of(vendor_of(), request_for(name)).data, characters=len(TEXT)).frames > 0


# --- Vendors with jobs of their own -----------------------------------------------------------

WITH_JOBS = [each for each in VENDORS if not answers_at_once(each)]
WITHOUT_JOBS = [each for each in VENDORS if answers_at_once(each)]
CALLING_BACK = [each for each in VENDORS if Delivery.CALLBACK in capabilities(each).delivery]


@pytest.mark.parametrize("name", WITHOUT_JOBS)
def test_a_vendor_that_answers_at_once_has_nothing_to_check(name: str, vendor_of: Vendors) -> None:
    vendor = vendor_of()

    with pytest.raises(UnsupportedOperation):
        vendor.check("job")
    with pytest.raises(UnsupportedOperation):
        vendor.read_callback(Callback(headers={}, body=b"{}"))
    with pytest.raises(UnsupportedOperation):
        vendor.reconcile(["https://api.example.com/callbacks/x"])


@pytest.mark.parametrize("name", WITH_JOBS)
def test_a_vendor_with_jobs_says_when_to_check(name: str, vendor_of: Vendors) -> None:
    working = vendor_of().start(request_for(name))

    assert isinstance(working, StillWorking)
    assert working.vendor_job_id
    assert 1 <= working.check_after <= 60


@pytest.mark.parametrize("name", WITH_JOBS)
def test_c17_a_job_that_the_vendor_forgot_is_gone(name: str, emulator: Emulator, vendor_of: Vendors) -> None:
    emulator.faults.play("job-forgotten")
    working = vendor_of().start(request_for(name))
    assert isinstance(working, StillWorking)

    with pytest.raises(VendorJobExpired):
        vendor_of().check(working.vendor_job_id)


@pytest.mark.parametrize("name", WITH_JOBS)
def test_c17_a_failed_job_is_failed(name: str, emulator: Emulator, vendor_of: Vendors) -> None:
    emulator.faults.play("job-failed")

    with pytest.raises(VendorJobFailed):
        audio_of(vendor_of(), request_for(name))


@pytest.mark.parametrize("name", WITH_JOBS)
@pytest.mark.parametrize("fault", ["job-stuck", "job-unknown-status", "job-without-address"])
def test_c17_whatever_is_not_an_end_is_still_working(
    name: str, emulator: Emulator, vendor_of: Vendors, fault: str
) -> None:
    emulator.faults.play(fault)
    working = vendor_of().start(request_for(name))
    assert isinstance(working, StillWorking)

    until = time.monotonic() + 0.3
    while time.monotonic() < until:
        pause()
        assert isinstance(vendor_of().check(working.vendor_job_id), StillWorking)


@pytest.mark.proves("creatify: delivery webhook")
@pytest.mark.parametrize("name", CALLING_BACK)
@pytest.mark.parametrize("switches", [{"webhook_body": "json"}, {"webhook_body": "form"}, {"webhook_field": "output"}])
def test_a_callback_names_the_job_that_was_started(
    name: str, emulator: Emulator, vendor_of: Vendors, switches: dict[str, Any]
) -> None:
    for switch, value in {"webhooks": "final", **switches}.items():
        setattr(emulator.switches, switch, value)
    with Scripted([answer(204)]) as receiver:
        working = vendor_of().start(request_for(name), callback_url=f"{receiver.url}/callbacks/{name}/token")
        assert isinstance(working, StillWorking)
        until = time.monotonic() + 10
        while not receiver.seen and time.monotonic() < until:
            pause()

    seen = receiver.seen[0]
    assert seen.path == f"/callbacks/{name}/token"
    assert vendor_of().read_callback(Callback(headers=seen.headers, body=seen.body)) == working.vendor_job_id
    assert emulator.journal.undocumented == []


@pytest.mark.parametrize("name", CALLING_BACK)
@pytest.mark.parametrize("fault", ["lost", "job-without-id"])
def test_b9_c18_a_lost_create_is_found_and_not_bought_again(
    name: str, emulator: Emulator, vendor_of: Vendors, fault: str
) -> None:
    ours = f"http://127.0.0.1:9/callbacks/{name}/token-2"
    other = vendor_of().start(request_for(name, "Another."), callback_url=ours.replace("token-2", "token-1"))
    assert isinstance(other, StillWorking)
    emulator.faults.play(fault)

    with pytest.raises(VendorAmbiguous):
        vendor_of().start(request_for(name), callback_url=ours)
    found = vendor_of().reconcile([f"http://127.0.0.1:9/callbacks/{name}/token-0", ours])

    assert isinstance(found, StillWorking)
    assert found.vendor_job_id != other.vendor_job_id
    assert len(emulator.book.of(TEXT)) == 1
    assert vendor_of().reconcile([f"http://127.0.0.1:9/callbacks/{name}/token-3"]) is None
    assert emulator.journal.undocumented == []


# --- What makes a vendor complete -------------------------------------------------------------


def test_a_registered_vendor_has_an_emulator_a_page_and_tests_of_its_quirks(name: str) -> None:
    assert name in EMULATORS, f"local/emulators/{name}.py, listed in local/emulators/__init__.py"
    assert (ROOT / f"docs/vendors/{name}.md").is_file()
    assert (ROOT / f"tests/vendors/test_{name}.py").is_file()
    assert vendor_class(name).name == name
    assert vendor_class(name).base_url.startswith("https://")
    assert keys_of(name)
    assert all(key.startswith(name.upper()) for key in keys_of(name))


def test_every_declared_fact_has_a_source(name: str) -> None:
    known = capabilities(name)

    assert all(option.source for option in known.options)
    assert known.character_limit > 0
    assert known.audio_formats
    assert known.delivery
    assert known.concurrency >= 2, "a queue's maximum concurrency cannot be lower"


def test_declaration_and_code_agree_about_how_audio_arrives(name: str) -> None:
    delivery = capabilities(name).delivery
    code = vendor_class(name)

    assert (code.check is not Vendor.check) == (not answers_at_once(name))
    assert (code.read_callback is not Vendor.read_callback) == (Delivery.CALLBACK in delivery)


@pytest.mark.parametrize("unknown", ["nobody", "", "Convai", "base", "http", "../convai", "__init__"])
def test_an_unknown_vendor_is_refused_with_the_names_there_are(unknown: str) -> None:
    for ask in (vendor_class, capabilities, keys_of, check_request):
        with pytest.raises(UnknownVendor) as caught:
            ask(unknown)
        assert caught.value.errors[0].field == "vendor"
        assert all(name in caught.value.detail for name in VENDORS)


def test_an_unknown_option_is_refused_by_name(name: str) -> None:
    with pytest.raises(UnsupportedOption) as caught:
        validate_options(capabilities(name), {"colour": "blue"})

    assert caught.value.errors[0].field == "vendor_options.colour"
    assert all(option.name in caught.value.detail for option in capabilities(name).options)


def test_everything_that_is_wrong_is_said_at_once() -> None:
    with pytest.raises(InvalidRequest) as caught:
        check_request("convai", speed=2, options={"encoding": "ogg", "language": "en", "filename": "a/b"})

    assert {each.field for each in caught.value.errors} == {
        "voice",
        "speed",
        "vendor_options.encoding",
        "vendor_options.language",
        "vendor_options.filename",
    }


def test_knowing_the_vendors_costs_nothing_at_import() -> None:
    program = (
        "import sys; from speech.vendors import VENDORS, capabilities; [capabilities(each) for each in VENDORS]; "
        "print(*sorted({'httpx', 'httpcore', 'ssl', 'pydantic', 'email', 'http'} & set(sys.modules)))"
    )

    loaded = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT / "layers/speech",
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )

    assert loaded.stdout.strip() == ""


def test_the_matrix_in_the_docs_is_what_the_adapters_say() -> None:
    compared = subprocess.run(
        [sys.executable, str(ROOT / "docs/generate_vendor_matrix.py"), "--check"],
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert compared.returncode == 0, compared.stderr
