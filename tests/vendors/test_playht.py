"""PlayHT's quirks, asserted on the requests that went out and on the answers its documents describe."""

import json
import socket
import time
from collections.abc import Callable
from typing import Any

import pytest

from local.emulators.playht import PlayhtEmulator
from speech.audio.verify import VerifiedAudio, verify
from speech.errors import (
    InvalidRequest,
    UnsupportedOperation,
    UnsupportedOption,
    VendorAmbiguous,
    VendorError,
    VendorJobExpired,
    VendorJobFailed,
    VendorMisbehaved,
    VendorQuotaExhausted,
    VendorRejected,
    VendorTextTooLong,
    VendorThrottled,
    VendorUnauthorized,
    VendorUnavailable,
)
from speech.vendors import check_request, validate_options
from speech.vendors.base import AudioReady, StillWorking, SynthesisRequest
from speech.vendors.http import VendorClient
from speech.vendors.playht import PlayHt
from tests.vendors.scripted import Script, Scripted, answer

Serve = Callable[..., Scripted]
WAV = b"RIFF\x24\x00\x00\x00WAVEfmt " + bytes(40)
VOICE = "s3://voice-cloning-zero-shot/d9ff78ba-d016-47f6-b0ef-dd630f59414e/female-cs/manifest.json"
JOB = "LqAqLrNfRHK6QdQpxj"
REQUEST = SynthesisRequest(text="Hi.", voice=VOICE)
FOLLOWED = SynthesisRequest(text="Hi.", voice=VOICE, options={"delivery": "events"})


def playht(server: Scripted, *, seconds: float = 10) -> PlayHt:
    client = VendorClient("playht", server.url, local=True, deadline_seconds=seconds)
    return PlayHt(client, {"PLAYHT_API_KEY": "key", "PLAYHT_USER_ID": "user"})


def refused(server: Scripted, request: SynthesisRequest = REQUEST) -> VendorError:
    with pytest.raises(VendorError) as caught:
        playht(server).start(request)
    return caught.value


# --- Creating a job ---------------------------------------------------------------------------


@pytest.mark.proves(
    "playht: delivery json",
    "playht: header Accept application/json",
    "playht: header Accept */*",
    "playht: status 201",
    "playht: field text",
    "playht: field voice",
    "playht: default format",
)
def test_a_job_is_created_with_both_keys_and_an_explicit_accept(serve: Serve) -> None:
    server = serve(answer(201, {"id": JOB, "output": None}, headers=[("Location", f"/api/v2/tts/{JOB}")]))

    working = playht(server).start(REQUEST)

    seen = server.seen[0]
    assert (seen.method, seen.path) == ("POST", "/api/v2/tts"), "without a slash at the end"
    assert PlayHt.base_url == "https://api.play.ht"
    assert (seen.headers["authorization"], seen.headers["x-user-id"]) == ("Bearer key", "user")
    assert seen.headers["accept"] == "application/json", "*/* is ambiguous in the documents"
    assert seen.json == {"text": "Hi.", "voice": VOICE, "output_format": "wav"}
    assert working == StillWorking(vendor_job_id=JOB, check_after=2.0)


@pytest.mark.proves(
    "playht: field speed",
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
def test_every_field_is_sent_by_its_own_name_and_delivery_is_ours_alone(serve: Serve) -> None:
    server = serve(answer(201, {"id": JOB}))
    wanted = {
        "voice_engine": "PlayHT2.0",
        "quality": "premium",
        "output_format": "mp3",
        "sample_rate": 48000,
        "seed": 7,
        "temperature": 0.5,
        "emotion": "female_happy",
        "voice_guidance": 3,
        "style_guidance": 20.5,
        "text_guidance": 1.5,
    }
    options = validate_options(PlayHt.capabilities, {**wanted, "delivery": "json"})

    playht(server).start(SynthesisRequest(text="Hi.", voice=VOICE, language="de", speed=1.5, options=options))

    assert server.seen[0].json == {"text": "Hi.", "voice": VOICE, "speed": 1.5, **wanted}


@pytest.mark.proves(
    "playht: limit seed",
    "playht: limit temperature",
    "playht: limit voice_engine",
    "playht: limit emotion",
    "playht: limit voice_guidance",
    "playht: limit style_guidance",
)
def test_null_is_sent_where_the_documents_allow_it(serve: Serve) -> None:
    server = serve(answer(201, {"id": JOB}))
    nulls = dict.fromkeys(
        ("seed", "temperature", "voice_engine", "emotion", "voice_guidance", "style_guidance", "text_guidance")
    )
    options = validate_options(PlayHt.capabilities, nulls)

    playht(server).start(SynthesisRequest(text="Hi.", voice=VOICE, options=options))

    assert server.seen[0].json == {"text": "Hi.", "voice": VOICE, "output_format": "wav", **nulls}


def test_a_text_that_only_the_mini_engine_takes_comes_in_a_format_that_fits(serve: Serve) -> None:
    server = serve(answer(201, {"id": JOB}))
    options = {"voice_engine": "Play3.0-mini"}

    playht(server).start(SynthesisRequest(text="x" * 2000, voice=VOICE, options=options))
    playht(server).start(SynthesisRequest(text="x" * 2001, voice=VOICE, options=options))

    assert [seen.json["output_format"] for seen in server.seen] == ["wav", "flac"]


@pytest.mark.proves("playht: limit text", "playht: limit text with Play3.0-mini")
@pytest.mark.parametrize(
    ("options", "limit"),
    [
        ({}, 2000),
        ({"voice_engine": None}, 2000),
        ({"voice_engine": "PlayHT2.0"}, 2000),
        ({"voice_engine": "PlayDialog"}, 2000),
        ({"voice_engine": "Play3.0-mini"}, 20_000),
    ],
)
def test_the_limit_of_characters_is_the_engines(options: dict[str, Any], limit: int) -> None:
    assert PlayHt.capabilities.limit_for(options) == limit


@pytest.mark.proves(
    "playht: limit sample_rate",
    "playht: limit seed",
    "playht: limit temperature",
    "playht: limit voice_engine",
    "playht: limit emotion",
    "playht: limit voice_guidance",
    "playht: limit style_guidance",
)
@pytest.mark.parametrize(
    "options",
    [
        {"sample_rate": 7999},
        {"sample_rate": 48001},
        {"sample_rate": 24000.5},
        {"sample_rate": None},
        {"seed": -1},
        {"seed": 1.5},
        {"temperature": 2.1},
        {"temperature": -0.1},
        {"quality": None},
        {"quality": "best"},
        {"output_format": "mulaw"},
        {"output_format": "aac"},
        {"voice_engine": "PlayHT2.0-turbo"},
        {"emotion": "glad"},
        {"voice_guidance": 0.9},
        {"voice_guidance": 6.1},
        {"style_guidance": 0.9},
        {"style_guidance": 31},
        {"text_guidance": 2.1},
        {"language": "german"},
        {"delivery": "stream"},
        {"text": "other"},
        {"voice": VOICE},
        {"speed": 1},
        {"webhook": "https://example.com"},
    ],
)
def test_options_outside_the_documented_ranges_are_refused_by_name(options: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest) as caught:
        validate_options(PlayHt.capabilities, options)

    assert [each.field for each in caught.value.errors] == [f"vendor_options.{next(iter(options))}"]


@pytest.mark.proves("playht: limit speed")
@pytest.mark.parametrize(("speed", "allowed"), [(0.1, True), (5, True), (0.09, False), (0, False), (5.01, False)])
def test_a_speed_is_from_a_tenth_to_five(speed: float, allowed: bool) -> None:
    if allowed:
        assert check_request("playht", voice=VOICE, speed=speed) == {}
        return
    with pytest.raises(InvalidRequest) as caught:
        check_request("playht", voice=VOICE, speed=speed)

    assert [each.field for each in caught.value.errors] == ["speed"]


@pytest.mark.proves(
    "playht: limit emotion",
    "playht: limit voice_guidance",
    "playht: limit style_guidance",
    "playht: default voice_engine",
)
@pytest.mark.parametrize(
    "option",
    [{"emotion": "male_sad"}, {"voice_guidance": 1}, {"style_guidance": 30}],
)
@pytest.mark.parametrize("engine", ["PlayHT1.0", "Play3.0-mini", "PlayDialog", "PlayDialog-turbo"])
def test_what_only_playht2_knows_is_refused_with_another_engine(option: dict[str, Any], engine: str) -> None:
    with pytest.raises(InvalidRequest, match=r"only with voice_engine PlayHT2\.0"):
        validate_options(PlayHt.capabilities, {**option, "voice_engine": engine})

    for other in ({}, {"voice_engine": None}, {"voice_engine": "PlayHT2.0"}):
        assert validate_options(PlayHt.capabilities, {**option, **other}) == {**option, **other}
    nothing = {next(iter(option)): None, "voice_engine": engine}
    assert validate_options(PlayHt.capabilities, nothing) == nothing


@pytest.mark.proves(
    "playht: limit sample_rate",
    "playht: limit seed",
    "playht: limit temperature",
    "playht: limit voice_guidance",
    "playht: limit style_guidance",
)
def test_limits_themselves_are_allowed() -> None:
    for options in (
        {"sample_rate": 8000, "seed": 0, "temperature": 0, "voice_guidance": 1, "style_guidance": 1},
        {"sample_rate": 48000.0, "temperature": 2, "voice_guidance": 6, "style_guidance": 30, "text_guidance": 2},
        {"voice_engine": "Play3.0-mini", "language": "german"},
        {"voice_engine": "PlayDialogMultilingual", "language": "hebrew"},
    ):
        assert validate_options(PlayHt.capabilities, options) == options


@pytest.mark.proves("playht: field voice")
def test_without_a_voice_nothing_is_asked(serve: Serve) -> None:
    server = serve(answer(201, {"id": JOB}))

    with pytest.raises(UnsupportedOption):
        playht(server).start(SynthesisRequest(text="Hi."))

    assert not server.seen


@pytest.mark.proves("playht: answer header Location", "playht: answer header Content-Location")
@pytest.mark.parametrize(
    "place",
    [
        ("Location", f"/api/v2/tts/{JOB}"),
        ("Location", f"/api/v2/tts/{JOB}?format=event-stream"),
        ("Location", f"https://compatible.example/proxy/api/v2/tts/{JOB}/"),
        ("Content-Location", f"/api/v2/tts/{JOB}?format=event-stream"),
    ],
)
@pytest.mark.parametrize("request_", [REQUEST, FOLLOWED])
@pytest.mark.parametrize("status", [200, 201])
def test_the_id_may_come_in_a_header_alone(
    serve: Serve, place: tuple[str, str], request_: SynthesisRequest, status: int
) -> None:
    working = playht(serve(answer(status, b"", headers=[place]))).start(request_)

    assert working == StillWorking(vendor_job_id=JOB, check_after=2.0)


@pytest.mark.parametrize("body", [b"", {}, {"id": "../x"}, {"id": 5}, {"id": ""}, b"event: completed\n\n"])
@pytest.mark.parametrize("location", ["", "/", "/api/v2/tts", "/api/v2/tts/", "/api/v2/tts/a/b", "/api/v2/tts/%2e"])
@pytest.mark.parametrize("request_", [REQUEST, FOLLOWED])
def test_c18_a_create_without_an_id_is_ambiguous(
    serve: Serve, body: Any, location: str, request_: SynthesisRequest
) -> None:
    caught = refused(serve(answer(201, body, headers=[("Location", location)])), request_)

    assert type(caught) is VendorAmbiguous


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (401, {"error_message": "Unauthorized", "error_id": "UNAUTHORIZED"}, VendorUnauthorized),
        (403, {"error_message": "Forbidden", "error_id": "FORBIDDEN"}, VendorUnauthorized),
        (403, b"", VendorUnauthorized),
        (402, {"error_message": "Payment required", "error_id": "PAYMENT"}, VendorQuotaExhausted),
        (403, {"error_message": "You have not enough credits", "error_id": "FORBIDDEN"}, VendorQuotaExhausted),
        (403, {"error_message": "Not enough characters left.", "error_id": "X"}, VendorQuotaExhausted),
        (400, {"error_message": "Out of credits", "error_id": "X"}, VendorQuotaExhausted),
        (400, {"error_message": "Bad voice", "error_id": "BAD_VOICE"}, VendorRejected),
        (400, b"<html>", VendorRejected),
        (404, {"error_message": "Not found"}, VendorRejected),
        (406, {"error_message": "Not acceptable"}, VendorRejected),
        (429, "Rate limit exceeded. Try again within a minute.", VendorThrottled),
        (429, b"", VendorThrottled),
        (500, {"message": "Oops", "error": "Internal"}, VendorUnavailable),
        (500, {"message": "Not enough credits", "error": "Internal"}, VendorUnavailable),
        (503, b"<html>", VendorUnavailable),
        (302, b"", VendorMisbehaved),
    ],
)
@pytest.mark.parametrize("request_", [REQUEST, FOLLOWED])
def test_c3_c4_c5_refusals_have_three_kinds_of_body(
    serve: Serve, status: int, body: Any, error: type[VendorError], request_: SynthesisRequest
) -> None:
    caught = refused(serve(answer(status, body)), request_)

    assert type(caught) is error
    assert (caught.vendor, caught.vendor_status) == ("playht", status)


def test_the_vendors_words_and_its_error_id_are_kept(serve: Serve) -> None:
    caught = refused(serve(answer(400, {"error_message": "Voice not found", "error_id": "BAD_VOICE"})))

    assert (caught.detail, caught.vendor_code) == ("PlayHT answered 400: Voice not found.", "BAD_VOICE")


# --- Looking at a job -------------------------------------------------------------------------


@pytest.mark.proves("playht: delivery json", "playht: answer job")
@pytest.mark.parametrize(
    "job",
    [{}, {"output": None}, {"output": {}}, {"output": {"url": None}}, {"output": {"url": ""}}, {"status": "queued"}],
)
def test_c17_a_job_without_an_address_is_still_working(serve: Serve, job: dict[str, Any]) -> None:
    server = serve(answer(200, {"id": JOB, **job}))

    assert isinstance(playht(server).check(JOB), StillWorking)
    seen = server.seen[0]
    assert (seen.method, seen.path, seen.headers["accept"]) == ("GET", f"/api/v2/tts/{JOB}", "application/json")
    assert (seen.headers["authorization"], seen.headers["x-user-id"]) == ("Bearer key", "user")


@pytest.mark.proves("playht: delivery json")
def test_the_result_is_public_and_fetched_without_keys(serve: Serve) -> None:
    files = serve(answer(200, WAV))
    server = serve(answer(200, {"id": JOB, "output": {"url": f"{files.url}/pigeon/{JOB}_0.wav"}}))

    assert playht(server).check(JOB) == AudioReady(data=WAV)
    assert files.seen[0].path == f"/pigeon/{JOB}_0.wav"
    assert not {"authorization", "x-user-id"} & files.seen[0].headers.keys()


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (404, {"error_message": "Not found"}, VendorJobExpired),
        (410, b"", VendorJobExpired),
        (200, {"id": JOB, "status": "failed"}, VendorJobFailed),
        (200, {"id": JOB, "status": "error", "output": None}, VendorJobFailed),
        (200, {"id": JOB, "status": "error", "error_message": "Out of credits"}, VendorQuotaExhausted),
        (200, {"id": JOB, "output": {"url": "https://10.0.0.1/a.wav"}}, VendorJobFailed),
        (200, {"id": JOB, "output": {"url": "file:///etc/passwd"}}, VendorJobFailed),
        (200, b"<html>", VendorUnavailable),
        (200, [JOB], VendorUnavailable),
        (400, b"", VendorUnavailable),
        (500, b"", VendorUnavailable),
        (401, b"", VendorUnauthorized),
        (429, "Rate limit exceeded", VendorThrottled),
    ],
)
def test_c17_c19_how_a_check_may_end_badly(serve: Serve, status: int, body: Any, error: type[VendorError]) -> None:
    with pytest.raises(VendorError) as caught:
        playht(serve(answer(status, body))).check(JOB)

    assert type(caught.value) is error


def test_i17_why_a_job_failed_is_said_where_it_does_not_quote_the_text(serve: Serve) -> None:
    def said(job: dict[str, Any]) -> str:
        with pytest.raises(VendorJobFailed) as caught:
            playht(serve(answer(200, {"id": JOB, "status": "failed", **job}))).check(JOB)
        return caught.value.detail

    reason = {"error_message": "The harbour cannot be spoken"}
    assert said(reason) == "PlayHT's job failed."
    assert said({**reason, "input": {"text": "At the harbour."}}) == "PlayHT's job failed."
    assert said({**reason, "input": {"text": "Hi."}}) == "PlayHT's job failed: The harbour cannot be spoken."


@pytest.mark.parametrize("vendor_job_id", ["", "../x", "a/b", "a?b", "x" * 101, "jöb"])
def test_an_id_that_cannot_be_one_is_not_asked_about(serve: Serve, vendor_job_id: str) -> None:
    server = serve(answer(200, {}))

    with pytest.raises(VendorJobExpired):
        playht(server).check(vendor_job_id)

    assert not server.seen


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (404, VendorMisbehaved),
        (403, VendorMisbehaved),
        (302, VendorMisbehaved),
        (429, VendorUnavailable),
        (503, VendorUnavailable),
    ],
)
def test_c19_a_result_that_is_not_there(serve: Serve, status: int, error: type[VendorError]) -> None:
    files = serve(answer(status))
    server = serve(answer(200, {"id": JOB, "output": {"url": files.url}}))

    with pytest.raises(VendorError) as caught:
        playht(server).check(JOB)

    assert type(caught.value) is error


def test_b9_playht_lists_no_jobs_so_a_lost_create_cannot_be_found(serve: Serve) -> None:
    with pytest.raises(UnsupportedOperation):
        playht(serve(answer(200))).reconcile(["https://api.example.com/callbacks/x"])


# --- Listening to a job -----------------------------------------------------------------------


def event(name: str, data: Any) -> bytes:
    text = data if isinstance(data, str) else json.dumps(data, ensure_ascii=False)
    return f"event: {name}\ndata: {text}\n\n".encode()


PROGRESS = [
    event("generating", {"id": JOB, "progress": 0, "stage": "queued"}),
    event("generating", {"id": JOB, "progress": 0.01, "stage": "active"}),
    event("generating", {"id": JOB, "progress": 0.1, "stage": "preload", "stage_progress": 0, "note": "für é 日本"}),
    event("generating", {"id": JOB, "progress": 0.5, "stage": "generate", "stage_progress": 0.5}),
    event("ping", "not json"),
    event("generating", {"id": JOB, "progress": 0.99, "stage": "postprocessing", "stage_progress": 1}),
]


def completed(files: Scripted) -> bytes:
    url = f"{files.url}/pigeon/{JOB}_0.wav"
    return event("completed", {"id": JOB, "progress": 1, "stage": "complete", "url": url, "duration": 1.2, "size": 60})


def stream(*pieces: bytes, status: int = 201, located: bool = True, ends: bool = True) -> Script:
    """An answer of events: each piece a write of its own, and at the end a close, or silence."""

    def script(connection: socket.socket) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        head = [f"HTTP/1.1 {status} Scripted", "Content-Type: text/event-stream", "Transfer-Encoding: chunked"]
        if located:
            address = f"/api/v2/tts/{JOB}"
            head += [f"Location: {address}", f"Content-Location: {address}?format=event-stream"]
        connection.sendall("\r\n".join(head).encode() + b"\r\n\r\n")
        for piece in pieces:
            connection.sendall(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
        connection.sendall(b"0\r\n\r\n") if ends else connection.recv(1)

    return script


@pytest.mark.proves("playht: delivery events", "playht: header Accept text/event-stream", "playht: query format")
def test_events_are_asked_for_by_header_and_by_query(serve: Serve) -> None:
    server = serve(stream(*PROGRESS))

    playht(server).start(FOLLOWED)

    seen = server.seen[0]
    assert (seen.method, seen.path) == ("POST", "/api/v2/tts?format=event-stream")
    assert seen.headers["accept"] == "text/event-stream"
    assert (seen.headers["authorization"], seen.headers["x-user-id"]) == ("Bearer key", "user")
    assert seen.json == {"text": "Hi.", "voice": VOICE, "output_format": "wav"}


@pytest.mark.proves("playht: delivery events", "playht: status 201 of events")
@pytest.mark.parametrize("status", [200, 201])
@pytest.mark.parametrize("located", [True, False])
def test_c16_the_completed_event_brings_the_audio_and_ends_the_listening(
    serve: Serve, status: int, located: bool
) -> None:
    files = serve(answer(200, WAV))
    server = serve(stream(*PROGRESS, completed(files), status=status, located=located, ends=False))

    assert playht(server).start(FOLLOWED) == AudioReady(data=WAV)
    assert files.seen[0].path == f"/pigeon/{JOB}_0.wav"
    assert "authorization" not in files.seen[0].headers
    assert len(server.seen) == 1, "nothing is asked that was told"


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n"])
@pytest.mark.parametrize("size", [1, 50, 10_000])
def test_c16_events_in_any_pieces_with_any_line_end_and_comments_between(
    serve: Serve, line_end: bytes, size: int
) -> None:
    files = serve(answer(200, WAV))
    whole = b": comment\n\n".join([*PROGRESS, completed(files)]).replace(b"\n", line_end)
    server = serve(stream(*(whole[start : start + size] for start in range(0, len(whole), size))))

    assert playht(server).start(FOLLOWED) == AudioReady(data=WAV)


@pytest.mark.parametrize("pieces", [0, 1, len(PROGRESS)])
@pytest.mark.parametrize("ends", [True, False])
def test_c16_a_stream_that_ends_or_falls_silent_before_the_job_does_is_left_for_looking(
    serve: Serve, pieces: int, ends: bool
) -> None:
    server = serve(stream(*PROGRESS[:pieces], ends=ends))

    working = playht(server, seconds=10 if ends else 0.4).start(FOLLOWED)

    assert working == StillWorking(vendor_job_id=JOB, check_after=2.0)
    assert len(server.seen) == 1


def test_c16_a_stream_that_is_cut_in_the_middle_of_an_event_is_left_for_looking(serve: Serve) -> None:
    def cut(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n")
        piece = PROGRESS[0] + PROGRESS[1][:-9]
        connection.sendall(f"{len(piece) + 1:x}\r\n".encode() + piece)

    working = playht(serve(cut)).start(FOLLOWED)

    assert working == StillWorking(vendor_job_id=JOB, check_after=2.0), "the events knew the id"


def test_c18_a_stream_that_names_no_job_in_any_way_is_ambiguous(serve: Serve) -> None:
    server = serve(stream(event("generating", "{"), event("generating", [1]), event("ping", "x"), located=False))

    assert type(refused(server, FOLLOWED)) is VendorAmbiguous


@pytest.mark.parametrize("answered", [b"", {"id": JOB, "output": None}])
def test_a_server_that_answers_with_the_job_in_place_of_events_is_understood(serve: Serve, answered: Any) -> None:
    server = serve(answer(201, answered, headers=[("Location", f"/api/v2/tts/{JOB}")]))

    assert playht(server).start(FOLLOWED) == StillWorking(vendor_job_id=JOB, check_after=2.0)


@pytest.mark.parametrize(
    ("name", "data", "error"),
    [
        ("error", {"id": JOB, "message": "Generation failed"}, VendorJobFailed),
        ("error", "no json", VendorJobFailed),
        ("failed", {"id": JOB}, VendorJobFailed),
        ("error", {"id": JOB, "error_message": "Not enough credits"}, VendorQuotaExhausted),
    ],
)
def test_c16_an_event_may_say_that_the_job_failed(serve: Serve, name: str, data: Any, error: type[VendorError]) -> None:
    assert type(refused(serve(stream(PROGRESS[0], event(name, data), ends=False)), FOLLOWED)) is error


def test_c16_an_unknown_event_means_still_working(serve: Serve) -> None:
    files = serve(answer(200, WAV))
    server = serve(stream(event("throttling", {"id": JOB}), event("complete?", "x"), completed(files)))

    assert playht(server).start(FOLLOWED) == AudioReady(data=WAV)


@pytest.mark.parametrize("data", [{"id": JOB}, {"id": JOB, "url": None}, "no json"])
def test_c17_completed_without_an_address_is_left_for_looking(serve: Serve, data: Any) -> None:
    server = serve(stream(event("completed", data)))

    assert playht(server).start(FOLLOWED) == StillWorking(vendor_job_id=JOB, check_after=2.0)


@pytest.mark.parametrize("files", [answer(404), answer(503), answer(200, b"<html>"), answer(200, WAV, length=999)])
def test_c19_a_result_that_cannot_be_fetched_yet_is_left_for_looking_and_not_bought_again(
    serve: Serve, files: bytes
) -> None:
    server = serve(stream(completed(serve(files))))

    assert playht(server, seconds=1).start(FOLLOWED) == StillWorking(vendor_job_id=JOB, check_after=2.0)


def test_c2_an_answer_that_never_comes_is_ambiguous_for_who_listens_too(serve: Serve) -> None:
    server = serve(lambda connection: connection.recv(1))

    with pytest.raises(VendorAmbiguous):
        playht(server, seconds=0.3).start(FOLLOWED)


# --- Against the emulator ---------------------------------------------------------------------

SENTENCE = "The quick brown fox jumps over the lazy dog, für é 日本."


def emulated(emulator: PlayhtEmulator) -> PlayHt:
    client = VendorClient("playht", emulator.url, local=True, deadline_seconds=20)
    return PlayHt(client, {"PLAYHT_API_KEY": "key", "PLAYHT_USER_ID": "user"})


def heard(outcome: AudioReady | StillWorking) -> VerifiedAudio:
    assert isinstance(outcome, AudioReady)
    return verify(outcome.data, characters=len(SENTENCE))


@pytest.mark.proves("playht: answer events")
@pytest.mark.parametrize(
    "switches",
    [
        {},
        {"events_status": 200},
        {"any_accept": "json"},
        {"pings": True, "pace": 0.3},
        {"line_end": "crlf"},
        {"comments": True},
        {"joined": True},
        {"split": True},
        {"line_end": "crlf", "comments": True, "joined": True, "split": True, "pings": True},
    ],
)
def test_c16_events_bring_audio_however_they_are_written(switches: dict[str, Any]) -> None:
    with PlayhtEmulator(**{"pace": 0.05, **switches}) as emulator:
        request = SynthesisRequest(text=SENTENCE, voice=VOICE, options={"delivery": "events"})

        assert heard(emulated(emulator).start(request)).container == "wav"

        assert len(emulator.book) == 1
        assert emulator.journal.undocumented == []
        asked = [entry for entry in emulator.journal.entries if entry.path.startswith("/api/")]
        assert [(entry.method, entry.query) for entry in asked] == [("POST", {"format": "event-stream"})]


def test_c16_events_that_are_cut_leave_a_job_that_is_looked_at_and_bought_once() -> None:
    with PlayhtEmulator(pace=0.1) as emulator:
        emulator.faults.play("events-cut")
        vendor = emulated(emulator)

        outcome = vendor.start(SynthesisRequest(text=SENTENCE, voice=VOICE, options={"delivery": "events"}))
        assert isinstance(outcome, StillWorking)
        until = time.monotonic() + 20
        while isinstance(outcome, StillWorking) and time.monotonic() < until:
            time.sleep(0.02)  # between two looks, so that the emulator can speak
            outcome = vendor.check(outcome.vendor_job_id)

        assert heard(outcome).container == "wav"
        assert len(emulator.book) == 1


@pytest.mark.parametrize(("failure", "told"), [("event", True), ("silence", False)])
def test_c17_a_job_that_fails_while_we_listen_is_failed_if_it_says_so(failure: str, told: bool) -> None:
    with PlayhtEmulator(pace=0.05, failure=failure) as emulator:
        emulator.faults.play("job-failed")
        request = SynthesisRequest(text=SENTENCE, voice=VOICE, options={"delivery": "events"})

        if told:
            with pytest.raises(VendorJobFailed):
                emulated(emulator).start(request)
        else:
            assert isinstance(emulated(emulator).start(request), StillWorking)


@pytest.mark.proves("playht: limit jobs", "playht: limit files")
def test_c17_a_job_is_gone_after_its_time_and_its_file_is_not() -> None:
    with PlayhtEmulator(pace=0.05, forgets_after=0) as emulator:
        vendor = emulated(emulator)
        working = vendor.start(SynthesisRequest(text=SENTENCE, voice=VOICE))
        assert isinstance(working, StillWorking)

        with pytest.raises(VendorJobExpired):
            vendor.check(working.vendor_job_id)

        followed = vendor.start(SynthesisRequest(text=SENTENCE, voice=VOICE, options={"delivery": "events"}))
        assert heard(followed).container == "wav"


@pytest.mark.parametrize("output_format", ["mp3", "wav", "ogg", "flac"])
def test_every_format_that_may_be_asked_for_is_heard(output_format: str) -> None:
    with PlayhtEmulator(pace=0.01) as emulator:
        options = {"delivery": "events", "output_format": output_format}
        request = SynthesisRequest(text=SENTENCE, voice=VOICE, speed=0.5, options=options)

        assert heard(emulated(emulator).start(request)).container == output_format


def test_a_lower_limit_than_documented_is_told_by_its_words(serve: Serve) -> None:
    words = "text: must be at most 1,500 characters for this voice engine"
    caught = refused(serve(answer(400, {"error_message": words, "error_id": "INVALID_REQUEST"})))

    assert isinstance(caught, VendorTextTooLong)
    assert caught.limit == 1500
