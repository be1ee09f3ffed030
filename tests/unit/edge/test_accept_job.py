"""One job, whoever asks and however often; text first, row next, messages last (A8, A9, A19, B1 to B3)."""

import re
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from speech.errors import (
    EmptyText,
    IdempotencyKeyReused,
    InputGone,
    InvalidRequest,
    NotText,
    ProcessingFailed,
    StaleWrite,
    StoreUnavailable,
    TextTooLong,
    UnknownVendor,
    UnsupportedOption,
)
from speech.ids import derived_job_id, is_job_id, job_id_bytes, job_id_from_bytes, new_job_id, segment_key
from speech.jobs import Job, JobStatus, Source
from speech.messages import DeliverEvent, StartSegment
from speech.requests import JobRequest, Way
from speech.segments import Segment, SegmentStatus
from speech.usecases.accept_job import API, Accepted, Arrival
from tests.fakes import NOW, a_spec
from tests.support.edge import Edge

LEASE_MS = 120_000
ANONYMOUS = Arrival(kind=API, source=Source(type="api"))


def named(key: str = "order-1", digest: str = "d1") -> Arrival:
    return ANONYMOUS._replace(identity=(key,), request_id=key, digest=digest)


def a_request(**fields: Any) -> JobRequest:
    return JobRequest.parse({"text": "Hello there.", **fields}, Way.API)


def accept(edge: Edge, text: str = "Hello there.", arrival: Arrival = ANONYMOUS, **fields: Any) -> Accepted:
    return edge.accept_job(arrival, a_request(**fields), text)


def test_a_short_text_is_one_job_with_one_segment_on_its_way() -> None:
    edge = Edge()

    job = accept(edge).job

    [segment] = edge.store.segments("default", job.id)
    assert (job.status, job.characters, job.segments_total) == (JobStatus.SYNTHESIZING, 12, 1)
    assert job.deadline_at == NOW + 21_600_000
    assert (segment.status, segment.start, segment.end, segment.characters) == (SegmentStatus.PENDING, 0, 12, 12)
    assert segment.due_at == NOW + LEASE_MS
    assert edge.texts.texts["default", job.text_id] == b"Hello there."
    assert edge.dispatcher.on("voiceai") == [StartSegment("default", job.id, segment=0, vendor="voiceai")]
    assert edge.store.get("default", job.id) == job


def test_the_text_lies_in_its_store_before_there_is_a_row_that_speaks_of_it() -> None:
    """B1"""
    edge = Edge()
    edge.store.fail_next("create", StoreUnavailable("busy"))

    with pytest.raises(StoreUnavailable):
        accept(edge)

    assert len(edge.texts.texts) == 1
    assert edge.store.jobs() == []
    assert edge.dispatcher.sent == []


def test_a_text_that_could_not_be_stored_leaves_no_row() -> None:
    """B1"""
    edge = Edge()
    edge.texts.fail_next("put_text", StoreUnavailable("busy"))

    with pytest.raises(StoreUnavailable):
        accept(edge)

    assert edge.store.jobs() == []


def test_a_queue_that_is_down_is_no_reason_to_refuse_since_the_rows_come_due() -> None:
    """B2, E5"""
    edge = Edge()
    edge.dispatcher.failing = StoreUnavailable("The queue is busy.")

    job = accept(edge).job

    assert job.status is JobStatus.SYNTHESIZING
    edge.clock.advance(120)
    due = edge.store.due(edge.clock.now(), 10)
    assert ("segment", 0) in [(each.kind, each.segment) for each in due]


def test_a_long_text_is_cut_within_the_limit_and_the_rows_know_its_bytes() -> None:
    """A19"""
    edge = Edge()
    text = "Die Fähre legt ab. Schön war's! " * 100

    job = accept(edge, text, vendor="voiceai").job

    segments = list(edge.store.segments("default", job.id))
    stored = edge.texts.texts["default", job.text_id]
    pieces = [stored[each.start : each.end].decode() for each in segments]
    assert len(segments) == job.segments_total
    assert len(segments) > 5
    assert all(0 < len(piece) <= 500 for piece in pieces)
    assert [each.characters for each in segments] == [len(piece) for piece in pieces]
    assert re.sub(r"\s", "", "".join(pieces)) == re.sub(r"\s", "", text)
    assert job.spec is not None
    assert [each.audio_key for each in segments] == [segment_key("default", job.spec, piece) for piece in pieces]


def test_a_text_whose_audio_may_not_fit_its_format_makes_no_job_and_is_spoken_in_another() -> None:
    text = "The harbour master counts the boats at dusk. " * 13_000
    edge = Edge()

    with pytest.raises(TextTooLong, match="choose flac"):
        accept(edge, text, format="wav")

    assert not edge.texts.texts
    assert accept(edge, text, format="wav", preview={"seconds": 30}).created


def test_a_text_of_more_headings_than_a_job_can_send_and_join_is_refused_before_anything_is_written() -> None:
    edge = Edge()

    with pytest.raises(TextTooLong, match="cut into 10,001 segments") as refused:
        accept(edge, text="# a\n" * 10_001)

    assert [each.field for each in refused.value.errors] == ["text"]
    assert not edge.texts.texts
    assert not edge.dispatcher.on("voiceai")


def test_a_very_long_text_is_begun_only_when_every_row_is_there() -> None:
    """A19"""
    edge = Edge()

    job = accept(edge, "One sentence of many words, and then it ends here. " * 1_200).job

    assert job.segments_total is not None
    assert job.segments_total > 90
    assert len(list(edge.store.segments("default", job.id))) == job.segments_total
    assert len(edge.dispatcher.on("voiceai")) == job.segments_total
    assert job.status is JobStatus.SYNTHESIZING
    calls = [call for call in edge.store.calls if call in ("create", "add_segments", "save")]
    assert calls == ["create", "add_segments", "save"]


@pytest.mark.parametrize("dies_in", ["add_segments", "save"])
@pytest.mark.parametrize("after", [False, True])
def test_a_job_whose_accepting_was_cut_off_is_taken_up_again_from_its_text(dies_in: str, after: bool) -> None:
    """B2"""
    edge = Edge()
    text = "One sentence of many words, and then it ends here. " * 1_200
    edge.store.fail_next(dies_in, KeyboardInterrupt(), after=after)
    with pytest.raises(KeyboardInterrupt):
        accept(edge, text)

    [job] = edge.store.jobs()
    edge.clock.advance(120)
    edge.accept_job.resume(job)

    resumed = edge.only_job()
    assert resumed.status is JobStatus.SYNTHESIZING
    assert len(list(edge.store.segments("default", job.id))) == job.segments_total
    expected = 0 if job.status is JobStatus.SYNTHESIZING else job.segments_total
    assert len(edge.dispatcher.on("voiceai")) == expected


def _cut_off(edge: Edge) -> None:
    edge.store.fail_next("add_segments", StoreUnavailable("busy"))
    accept(edge, "One sentence of many words, and then it ends here. " * 1_200, arrival=named())


def test_taking_up_again_leaves_what_has_moved_as_it_is() -> None:
    edge = Edge()
    _cut_off(edge)
    job = edge.only_job()
    first = edge.store.segment("default", job.id, 0)
    assert first is not None
    edge.store.put(replace(first, status=SegmentStatus.STORED, rev=7))

    edge.accept_job.resume(job)

    moved = edge.store.segment("default", job.id, 0)
    assert moved is not None
    assert moved.rev == 7


def test_two_who_take_up_the_same_job_begin_it_once() -> None:
    edge = Edge()
    _cut_off(edge)
    job = edge.only_job()
    edge.accept_job.resume(job)

    with pytest.raises(StaleWrite):
        edge.accept_job.resume(job)


def test_a_job_whose_text_was_erased_or_is_cut_differently_cannot_be_taken_up() -> None:
    edge = Edge()
    _cut_off(edge)
    job = edge.only_job()

    with pytest.raises(ProcessingFailed):
        edge.accept_job.resume(replace(job, segments_total=5))
    edge.texts.texts.clear()
    with pytest.raises(InputGone):
        edge.accept_job.resume(job)


def test_the_same_request_again_finds_the_same_job_and_buys_nothing() -> None:
    """A8, A9, B3"""
    edge = Edge()
    first = accept(edge, arrival=named())
    edge.dispatcher.take()

    again = accept(edge, arrival=named())

    assert (first.created, again.created) == (True, False)
    assert again.job == first.job
    assert edge.dispatcher.sent == []
    assert edge.texts.calls == ["put_text"]


def test_another_request_under_the_same_key_is_refused_and_changes_nothing() -> None:
    """A8"""
    edge = Edge()
    job = accept(edge, arrival=named()).job

    with pytest.raises(IdempotencyKeyReused):
        accept(edge, "Something else.", arrival=named(digest="d2"))

    assert edge.only_job() == job
    assert edge.texts.texts["default", job.text_id] == b"Hello there."


def test_two_at_the_same_moment_make_one_job() -> None:
    """A12"""
    edge = Edge()
    winner = accept(edge, arrival=named()).job
    edge.dispatcher.take()

    class LateStore(type(edge.store)):  # type: ignore[misc]  # the loser looked before the winner wrote
        looked = False

        def get(self, tenant: str, job_id: str) -> Any:
            if not self.looked:
                self.looked = True
                return None
            return super().get(tenant, job_id)

    late = LateStore()
    late.put(winner)
    loser = replace(edge.accept_job, store=late)(named(), a_request(), "Hello there.")

    assert loser == Accepted(winner, created=False)
    assert edge.dispatcher.sent == []


def test_requests_without_identity_are_jobs_of_their_own() -> None:
    edge = Edge()

    ids = {accept(edge).job.id for _ in range(50)}

    assert len(ids) == 50
    assert all(re.fullmatch(r"job_[0-9A-HJKMNP-TV-Z]{26}", each) for each in ids)


def test_job_ids_sort_by_time() -> None:
    assert new_job_id(NOW) < new_job_id(NOW + 1) < new_job_id(NOW + 10**9)


@given(st.binary(min_size=16, max_size=16))
def test_a_job_id_is_sixteen_bytes_spelled_out(raw: bytes) -> None:
    assert job_id_bytes(job_id_from_bytes(raw)) == raw


@pytest.mark.parametrize("value", ["", "job_", "job_" + "I" * 26, "job_" + "Z" * 26, "x" * 30, "job_" + "0" * 27])
def test_what_is_no_job_id_is_known_for_it(value: str) -> None:
    assert not is_job_id(value)


def test_different_identities_are_different_jobs() -> None:
    """I8"""
    made = {
        derived_job_id(tenant, kind, *identity)
        for tenant in ("default", "acme")
        for kind in ("api", "upload", "message")
        for identity in (("a", "b"), ("ab",), ("a", "b", ""), ("ab", ""), ('a","b',))
    }

    assert len(made) == 30


def test_what_was_left_out_is_filled_in_from_the_stack() -> None:
    edge = Edge()

    spec = accept(edge).job.spec
    auto = accept(edge, vendor="auto").job.spec
    convai = accept(edge, vendor="convai").job.spec

    assert spec == a_spec(vendor="voiceai", voice=None, language=None, format="mp3", loudness=-16.0, trim_silence=True)
    assert auto == spec
    assert convai is not None
    assert convai.voice == "WUMale 1"


def test_a_voice_that_is_missing_and_has_no_default_is_asked_for() -> None:
    edge = Edge()
    no_defaults = replace(edge.accept_job, settings=replace(edge.settings, default_voices={}))

    with pytest.raises(InvalidRequest) as refused:
        no_defaults(ANONYMOUS, a_request(vendor="convai"), "Hello.")

    assert [each.field for each in refused.value.errors] == ["voice"]
    assert edge.store.calls == []


@pytest.mark.parametrize(
    ("fields", "error", "field"),
    [
        ({"vendor": "nobody"}, UnknownVendor, "vendor"),
        ({"vendor": "convai", "speed": 1.5}, UnsupportedOption, "speed"),
        ({"vendor_options": {"colour": "red"}}, UnsupportedOption, "vendor_options.colour"),
        ({"webhook_url": "http://example.com/"}, InvalidRequest, "webhook_url"),
    ],
)
def test_what_the_vendor_cannot_do_is_refused_before_anything_is_written(
    fields: dict[str, Any], error: type[Exception], field: str
) -> None:
    edge = Edge()

    with pytest.raises(error) as refused:
        accept(edge, **fields)

    assert isinstance(refused.value, InvalidRequest)
    assert [each.field for each in refused.value.errors] == [field]
    assert edge.store.calls == edge.texts.calls == edge.dispatcher.calls == []


@pytest.mark.parametrize("text", ["", " ", "\n\t \u00a0\u2003", "\ufeff", "...!?", "[pause:2s]\n\n...[pause:1s]"])
def test_a_text_without_anything_to_say_is_refused(text: str) -> None:
    """A6"""
    with pytest.raises(EmptyText) as refused:
        accept(Edge(), text)

    assert [each.field for each in refused.value.errors] == ["text"]


def test_directions_are_in_no_segment_and_no_bill() -> None:
    edge = Edge()

    job = accept(edge, "# One\n\nHello [pause:1.5s] there.\n").job

    spoken = [edge.texts.read_text("default", job.text_id, row.start, row.end).decode() for row in _rows(edge, job)]
    assert spoken == ["One", "Hello", "there."]
    assert [row.characters for row in _rows(edge, job)] == [3, 5, 6]
    assert job.characters == len("One\n\nHello  there.\n")


def _rows(edge: Edge, job: Job) -> list[Segment]:
    return list(edge.store.segments("default", job.id))


@pytest.mark.parametrize("mark", ["[pause:soon]", "[pause:31s]", "[pause:-1s]", "[Pause:2 min]", "[pause:1s"])
def test_a_pause_that_nobody_could_follow_is_refused_before_anything_is_bought(mark: str) -> None:
    edge = Edge()

    with pytest.raises(InvalidRequest, match="line 3") as refused:
        accept(edge, f"Hello [pause:1s].\n\nAnd {mark} there.")

    assert [each.field for each in refused.value.errors] == ["text"]
    assert mark in refused.value.detail or not mark.endswith("]")
    assert edge.store.calls == edge.texts.calls == edge.dispatcher.calls == []


def test_a_million_characters_are_taken_and_one_more_is_not() -> None:
    """A19"""
    edge = Edge()
    million = ("A sentence of forty characters or so...\n" * 25_000)[:1_000_000]
    million = million[:-1] + "."

    assert (
        accept(edge, million, vendor="creatify", voice="3fa85f64-5717-4562-b3fc-2c963f66afa6").job.characters == 10**6
    )
    with pytest.raises(TextTooLong, match=r"1,000,001"):
        accept(edge, million + "x")


def test_the_same_sound_has_the_same_key_and_every_other_its_own() -> None:
    spec = a_spec(vendor="voiceai", voice="v", speed=1.0, vendor_options={"a": 1, "b": 2})
    same = [
        spec,
        replace(spec, vendor_options={"b": 2, "a": 1}),
        replace(spec, vendor_options={"a": 1, "b": 2, "delivery": "stream"}),
        replace(spec, format="wav", sample_rate=8_000),
    ]
    others = [
        segment_key("default", replace(spec, voice="w"), "Hello."),
        segment_key("default", replace(spec, voice=None), "Hello."),
        segment_key("default", replace(spec, vendor="convai"), "Hello."),
        segment_key("default", replace(spec, language="de"), "Hello."),
        segment_key("default", replace(spec, speed=1.1), "Hello."),
        segment_key("default", replace(spec, vendor_options={"a": 1}), "Hello."),
        segment_key("default", spec, "Hello!"),
        segment_key("acme", spec, "Hello."),
    ]

    keys = {segment_key("default", each, "Hello.") for each in same}

    assert len(keys) == 1
    assert re.fullmatch(r"default/([0-9a-f]{2})/\1[0-9a-f]{62}", keys.copy().pop())
    assert len({*keys, *others}) == 9


def test_what_is_refused_with_nobody_listening_is_a_failed_job_that_tells_the_world() -> None:
    edge = Edge()
    arrival = Arrival(kind="message", source=Source(type="message"), identity=("m1",), request_id="m1")

    job = edge.accept_job.refuse(
        arrival, NotText("It is a picture."), a_request(metadata={"a": "b"}, webhook_url="https://example.com/")
    )

    assert job == edge.only_job()
    assert (job.status, job.request_id, job.metadata) == (JobStatus.FAILED, "m1", {"a": "b"})
    assert job.problem is not None
    assert (job.problem["code"], job.problem["job_id"]) == ("not-text", job.id)
    delivery = edge.store.delivery("default", job.id)
    assert delivery is not None
    assert (delivery.webhook, delivery.due_at) == ("https://example.com/", NOW + LEASE_MS)
    assert edge.dispatcher.on("deliveries") == [DeliverEvent("default", job.id)]


def test_what_is_refused_twice_is_told_once() -> None:
    edge = Edge()
    arrival = Arrival(kind="message", source=Source(type="message"), identity=("m1",))
    first = edge.accept_job.refuse(arrival, NotText("It is a picture."))

    again = edge.accept_job.refuse(arrival, EmptyText("It is empty."))

    assert again == first
    assert len(edge.dispatcher.on("deliveries")) == 1


def test_a_refusal_whose_message_is_lost_comes_due() -> None:
    edge = Edge()
    edge.dispatcher.failing = StoreUnavailable("busy")

    edge.accept_job.refuse(ANONYMOUS, NotText("It is a picture."))

    edge.clock.advance(120)
    assert [each.kind for each in edge.store.due(edge.clock.now(), 5)] == ["delivery"]


def test_a_refused_webhook_address_is_not_called_to_say_so() -> None:
    edge = Edge()

    job = edge.accept_job.refuse(ANONYMOUS, NotText("x"), a_request(webhook_url="http://10.0.0.1/"))

    delivery = edge.store.delivery("default", job.id)
    assert delivery is not None
    assert (delivery.webhook, job.webhook_url, job.spec) == (None, None, None)


@pytest.mark.parametrize("error", [StoreUnavailable("busy"), StaleWrite("the sweep was faster")])
@pytest.mark.parametrize("method", ["add_segments", "save"])
def test_b3_a_long_job_that_stumbles_after_its_row_is_accepted_all_the_same(method: str, error: Exception) -> None:
    edge = Edge()
    edge.store.fail_next(method, error)

    accepted = accept(edge, "One sentence is followed by another. " * 2_000)

    assert accepted.created
    stored = edge.store.get("default", accepted.job.id)
    assert stored is not None
    assert stored.status is JobStatus.ACCEPTED
    assert stored.due_at is not None


def test_i14_a_job_comes_due_at_its_deadline_at_the_latest() -> None:
    edge = Edge(settings=replace(Edge().settings, job_deadline_seconds=30))

    for text in ("Hello there.", "One sentence is followed by another. " * 2_000):
        job = accept(edge, text).job

        assert job.due_at == job.deadline_at


def test_what_is_put_between_segments_counts_where_a_file_may_become_too_long() -> None:
    """Known only after everything was bought, it would be too late."""
    plain = ("Words upon words upon words upon words. " * 250 + "\n\n") * 52
    headings = "# Chapter\n\n" * 600
    options: dict[str, Any] = {"format": "wav", "sample_rate": 48_000}

    assert accept(Edge(), plain, **options).job.status is JobStatus.SYNTHESIZING
    with pytest.raises(TextTooLong, match="choose flac"):
        accept(Edge(), plain + headings, **options)


def test_f7_a_text_that_comes_after_its_job_was_erased_does_not_stay() -> None:
    """A worker may stand still between its look for the job and its writing, for longer than everything else takes."""
    edge = Edge()
    arrival = ANONYMOUS._replace(kind="message", identity=("message-1",))
    job = accept(edge, arrival=arrival).job
    edge.store.put(replace(job, status=JobStatus.CANCELLED, erased_at=NOW))
    edge.texts.erase_texts(job.tenant, job.id)

    late = edge.accept_job(arrival, a_request(), "Hello there.", looked=True)

    cleanup = edge.store.cleanup(job.tenant, job.id)
    assert not late.created
    assert cleanup is not None
    assert (cleanup.erases, cleanup.due_at) == (True, NOW)
