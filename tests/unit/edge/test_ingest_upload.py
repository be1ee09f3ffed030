"""Drops: every file one job, options from where they are looked for, bad files failed in plain words (A1 to A7)."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from speech.errors import StoreUnavailable
from speech.intake import uploads_in
from speech.jobs import Job, JobStatus
from speech.ports import InputObject
from speech.results import result_base
from speech.usecases.ingest_upload import MAX_INPUT_BYTES
from tests.support.edge import BUCKET, Edge, a_notification, event, s3_encoded

HOSTILE_KEYS = [
    "a b.txt",
    "a+b.txt",
    "a%2Fb.txt",
    "100%.txt",
    "%zz.txt",
    "in/ü日本🙂.txt",
    "../../etc/passwd",
    "a/../b/./c.txt",
    "//a//b.txt",
    "/leading.txt",
    "a\tb\n.txt",
    "quote\"'<&>.txt",
    "con.txt.",
    "x" * 1_020 + ".txt",
    "é" * 510 + ".txt",
    "f/" * 500 + "deep.txt",
    "no-extension",
    "voicedrop.json.txt",
    "my-lexicon.csv",
]


def spoken(edge: Edge, job: Job) -> str:
    """The text of a job as it will be spoken."""
    return edge.texts.texts["default", job.text_id].decode()


def problem(job: Job) -> dict[str, Any]:
    """Why a job failed."""
    assert job.status is JobStatus.FAILED
    assert job.problem is not None
    return job.problem


def test_a_dropped_file_is_a_job_that_knows_where_it_came_from(edge: Edge) -> None:
    job = edge.drop("a/b.txt", "Hello there.")

    assert job.status is JobStatus.SYNTHESIZING
    assert (job.source.type, job.source.bucket, job.source.key, job.source.version_id) == (
        "upload",
        BUCKET,
        "a/b.txt",
        "v1",
    )
    assert spoken(edge, job) == "Hello there."
    assert job.request_id is None
    assert edge.store.latest_upload("default", BUCKET, "a/b.txt") == job.id


@pytest.mark.parametrize("key", HOSTILE_KEYS, ids=range(len(HOSTILE_KEYS)))
def test_any_key_is_one_opaque_name(edge: Edge, key: str) -> None:
    """A4"""
    job = edge.drop(key, "Hello there.")

    assert job.source.key == key
    assert job.status is JobStatus.SYNTHESIZING
    base = result_base(job)
    assert base == key or (base.startswith("long/") and len(key.encode()) > 1_000)
    assert len(f"{base}.manifest.json".encode()) <= 1_024


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=200).filter(lambda key: key[-1] != "/"))
@settings(max_examples=200)
def test_a_key_survives_its_way_through_a_notification(key: str) -> None:
    """A4"""
    [upload] = uploads_in(a_notification(s3_encoded(key)))

    assert upload.key == key


def test_the_sample_event_of_a_drop_is_read_right(edge: Edge) -> None:
    """A4"""
    body = event("s3_put")["Records"][0]["body"]

    [upload] = uploads_in(body)

    assert (upload.bucket, upload.key) == (BUCKET, "in/a b+ü.txt")
    assert upload.version_id == "096fKKXTRTtl3on89fVO.nfljtsv6qko"
    assert upload.sequencer == "0055AED6DCD90281E5"


@pytest.mark.parametrize("name", ["s3_test", "s3_delete", "s3_eventbridge", "s3_sns"])
def test_what_is_no_drop_is_acknowledged_and_makes_no_job(edge: Edge, name: str) -> None:
    """A5"""
    answer = edge.call("ingest_upload", event(name))

    assert answer == {"batchItemFailures": []}
    assert edge.store.calls == edge.inputs.calls == []


BROKEN: list[object] = [
    None,
    {},
    {"bucket": {"name": 5}, "object": {"key": 5}},
    {"bucket": {"name": BUCKET}, "object": {"key": ""}},
    {"bucket": [], "object": []},
    *(
        {"bucket": {"name": BUCKET}, "object": {"key": "a.txt", **wrong}}
        for wrong in (
            {"key": "x" * 1_025},
            {"key": "%C3%BC" * 513},
            {"key": "\ud800"},
            {"sequencer": "zz"},
            {"sequencer": "F" * 65},
            {"versionId": 5},
            {"versionId": "\ud800"},
            {"versionId": "v" * 1_025},
        )
    ),
]


@pytest.mark.parametrize(
    "body",
    ["", "x", "null", "[]", "5", "{}", '{"Records": null}', '{"Records": [null, 5, {}]}', "[" * 100_000, "\ud800"]
    + [
        json.dumps({"Records": [{"eventSource": "aws:s3", "eventName": "ObjectCreated:Put", "s3": each}]})
        for each in BROKEN
    ],
)
def test_nonsense_on_the_queue_is_acknowledged_and_makes_no_job(edge: Edge, body: str) -> None:
    """A5, A11"""
    edge.ingest_upload(body)

    assert edge.store.jobs() == []


def test_files_that_say_how_to_speak_and_folders_are_no_inputs(edge: Edge) -> None:
    for key in ("voicedrop.json", "a/voicedrop.json", "lexicon.csv", "a/b/lexicon.csv", "a/", "a/b c/"):
        edge.inputs.drop(BUCKET, key, b"{}")
        edge.ingest_upload(a_notification(s3_encoded(key)))

    assert edge.store.calls == edge.inputs.calls == []


def test_a_file_of_another_bucket_is_none_of_ours(edge: Edge) -> None:
    """A7"""
    edge.ingest_upload(a_notification("a.txt").replace(BUCKET, "voicedrop-audio"))

    assert edge.store.calls == edge.inputs.calls == []


@pytest.mark.parametrize("times", [2, 5])
def test_the_same_notification_again_is_the_same_job(edge: Edge, times: int) -> None:
    """A1"""
    edge.inputs.drop(BUCKET, "a.txt", b"Hello there.")

    for _ in range(times):
        edge.ingest_upload(a_notification("a.txt"))

    assert edge.store.jobs() == [edge.only_job()]
    assert len(edge.dispatcher.sent) == 1
    assert edge.inputs.calls.count("describe") == 1


def test_every_version_of_a_file_is_a_job_and_the_newest_is_remembered_in_any_order(edge: Edge) -> None:
    """A2"""
    for text in ("One.", "Two.", "Three."):
        edge.inputs.drop(BUCKET, "a.txt", text.encode())
    told = [("v3", "0055AED6DCD9028201"), ("v1", "0055AED6DCD90281E"), ("v2", "0055AED6DCD90281E5")]

    for version, sequencer in told:
        edge.ingest_upload(a_notification("a.txt", versionId=version, sequencer=sequencer))

    latest = edge.store.latest_upload("default", BUCKET, "a.txt")
    newest = next(job for job in edge.store.jobs() if job.source.version_id == "v3")
    assert len(edge.store.jobs()) == 3
    assert latest == newest.id
    assert spoken(edge, newest) == "Three."


def test_a_shorter_sequencer_is_compared_as_if_it_went_on_with_zeros(edge: Edge) -> None:
    """A2"""
    for _ in range(2):
        edge.inputs.drop(BUCKET, "a.txt", b"Hello there.")

    edge.ingest_upload(a_notification("a.txt", versionId="v1", sequencer="00AB"))
    edge.ingest_upload(a_notification("a.txt", versionId="v2", sequencer="00AB01"))

    newest = next(job for job in edge.store.jobs() if job.source.version_id == "v2")
    assert edge.store.latest_upload("default", BUCKET, "a.txt") == newest.id


def test_without_version_and_sequencer_the_object_itself_is_asked(edge: Edge) -> None:
    """A2"""
    bare = a_notification("a.txt", versionId=None, sequencer=None)
    edge.inputs.drop(BUCKET, "a.txt", b"One.", last_modified=1_000)
    edge.ingest_upload(bare)
    edge.ingest_upload(bare)
    edge.inputs.drop(BUCKET, "a.txt", b"Two.", last_modified=2_000)
    edge.ingest_upload(bare)

    first, second = edge.store.jobs()
    assert (first.source.version_id, second.source.version_id) == ("v1", "v2")
    assert edge.store.latest_upload("default", BUCKET, "a.txt") == second.id


def test_in_a_bucket_without_versions_every_write_is_a_job(edge: Edge) -> None:
    """A1"""

    class Unversioned(type(edge.inputs)):  # type: ignore[misc]  # S3 says "null" where there are no versions
        def describe(self, bucket: str, key: str, version_id: str | None) -> InputObject | None:
            return InputObject(bucket=bucket, key=key, version_id="null", size=6, last_modified=1_000)

        def read(self, bucket: str, key: str, version_id: str | None, limit: int) -> bytes | None:
            return b"Hello." if key == "a.txt" else None

    from dataclasses import replace

    ingest = replace(edge.ingest_upload, inputs=Unversioned())
    for sequencer in ("01", "01", "02"):
        ingest(a_notification("a.txt", versionId=None, sequencer=sequencer))

    assert len(edge.store.jobs()) == 2


def test_a_crash_between_the_job_and_the_note_of_the_newest_is_made_good_by_the_next_delivery(edge: Edge) -> None:
    edge.inputs.drop(BUCKET, "a.txt", b"Hello there.")
    edge.store.fail_next("advance_upload", StoreUnavailable("busy"))
    with pytest.raises(StoreUnavailable):
        edge.ingest_upload(a_notification("a.txt"))

    edge.ingest_upload(a_notification("a.txt"))

    assert edge.store.latest_upload("default", BUCKET, "a.txt") == edge.only_job().id


def test_a_file_that_is_gone_is_a_failed_job_and_no_retry_storm(edge: Edge) -> None:
    """A3"""
    edge.inputs.drop(BUCKET, "a.txt", b"Hello there.")
    edge.inputs.remove(BUCKET, "a.txt")

    edge.ingest_upload(a_notification("a.txt"))
    edge.ingest_upload(a_notification("a.txt"))

    assert problem(edge.only_job())["code"] == "input-gone"
    assert edge.dispatcher.on("voiceai") == []
    assert len(edge.dispatcher.on("deliveries")) == 1


def test_a_file_that_goes_between_two_looks_is_gone(edge: Edge) -> None:
    """A3"""

    class Vanishing(type(edge.inputs)):  # type: ignore[misc]  # deleted after it was described
        def read(self, bucket: str, key: str, version_id: str | None, limit: int) -> bytes | None:
            return None

    from dataclasses import replace

    inputs = Vanishing()
    inputs.drop(BUCKET, "a.txt", b"Hello there.")
    replace(edge.ingest_upload, inputs=inputs)(a_notification("a.txt"))

    assert problem(edge.only_job())["code"] == "input-gone"


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "empty-text"),
        (b" \n\t ", "empty-text"),
        (b"\xef\xbb\xbf", "empty-text"),
        (b"---\nvoicedrop:\n  format: wav\n---\n", "empty-text"),
        (b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + bytes(100), "not-text"),
        (b"%PDF-1.7\n", "not-text"),
        (bytes(1_000), "not-text"),
        (b"hello\x00\xd8\x00\xdc", "not-text"),
        (b"x" * (MAX_INPUT_BYTES + 1), "text-too-long"),
        (b"One. " * 200_001, "text-too-long"),
    ],
    ids=range(10),
)
def test_a_bad_file_is_a_failed_job_that_will_be_told_of(edge: Edge, data: bytes, code: str) -> None:
    """A6"""
    job = edge.drop("a.txt", data)

    assert problem(job)["code"] == code
    assert problem(job)["job_id"] == job.id
    assert len(problem(job)["detail"]) > 20
    assert job.source.key == "a.txt"
    assert len(edge.dispatcher.on("deliveries")) == 1
    assert edge.dispatcher.on("voiceai") == []
    assert edge.store.latest_upload("default", BUCKET, "a.txt") == job.id


def test_a_huge_file_is_refused_by_its_size_and_never_read(edge: Edge) -> None:
    """A6"""
    edge.drop("a.txt", b"x" * (MAX_INPUT_BYTES + 1))

    assert "read" not in edge.inputs.calls


@pytest.mark.parametrize(
    "data", ["Schöne Grüße.".encode(), "\ufeffSchöne Grüße.".encode(), "Schöne Grüße.".encode("utf-16")]
)
def test_a_text_is_read_in_the_encoding_it_was_saved_in(edge: Edge, data: bytes) -> None:
    """A6"""
    assert spoken(edge, edge.drop("a.txt", data)) == "Schöne Grüße."


# --- Options ---------------------------------------------------------------------------------


def format_of(job: Job) -> str | None:
    return job.spec.format if job.spec else None


def test_options_come_from_four_places_and_later_ones_win(edge: Edge) -> None:
    text = "Hello there."
    front = "---\nvoicedrop:\n  format: wav\n---\n"

    formats = [format_of(edge.drop("a/1.txt", text))]
    edge.inputs.drop(BUCKET, "a/voicedrop.json", b'{"format": "flac", "metadata": {"from": "file"}}')
    formats.append(format_of(edge.drop("a/2.txt", text)))
    formats.append(format_of(edge.drop("a/3.txt", text, metadata={"voicedrop-format": "ogg"})))
    last = edge.drop("a/4.txt", front + text, metadata={"voicedrop-format": "ogg"})
    formats.append(format_of(last))

    assert formats == ["mp3", "flac", "ogg", "wav"]
    assert last.metadata == {"from": "file"}
    assert spoken(edge, last).strip() == text


def test_only_the_nearest_options_file_counts(edge: Edge) -> None:
    edge.inputs.drop(BUCKET, "voicedrop.json", b'{"format": "wav", "metadata": {"level": "root"}}')
    edge.inputs.drop(BUCKET, "a/b/voicedrop.json", b'{"metadata": {"level": "b"}}')

    deep = edge.drop("a/b/c/x.txt", "Hello there.")
    shallow = edge.drop("a/x.txt", "Hello there.")

    assert (deep.metadata, format_of(deep)) == ({"level": "b"}, "mp3")
    assert (shallow.metadata, format_of(shallow)) == ({"level": "root"}, "wav")


def test_a_newer_options_file_holds_for_the_next_drop(edge: Edge) -> None:
    edge.inputs.drop(BUCKET, "voicedrop.json", b'{"format": "wav"}')
    edge.drop("1.txt", "Hello there.")
    edge.inputs.drop(BUCKET, "voicedrop.json", b'{"format": "ogg"}')

    assert format_of(edge.drop("2.txt", "Hello there.")) == "ogg"


def test_folders_named_with_dots_are_folders_like_any_other(edge: Edge) -> None:
    """A4"""
    edge.inputs.drop(BUCKET, "secret/voicedrop.json", b'{"format": "wav"}')

    assert format_of(edge.drop("a/../secret/x.txt", "Hello there.")) == "mp3"
    assert format_of(edge.drop("secret/x.txt", "Hello there.")) == "wav"


def test_a_key_of_five_hundred_folders_costs_a_bounded_number_of_looks(edge: Edge) -> None:
    """A4"""
    edge.drop("f/" * 500 + "x.txt", "Hello there.")

    assert edge.inputs.calls.count("read") < 70  # two names in each of 32 folders, and the file


def test_object_metadata_names_options_with_hyphens_and_holds_json_where_it_is_no_string(edge: Edge) -> None:
    job = edge.drop(
        "a.txt",
        "Hello there.",
        metadata={
            "voicedrop-sample-rate": "22050",
            "voicedrop-vendor": "voiceai",
            "voicedrop-voice": "123",
            "voicedrop-metadata": '{"artikel": "Größe"}',
            "voicedrop-vendor-options": "{}",
            "author": "somebody",
            "sample-rate": "not ours",
        },
    )

    assert job.spec is not None
    assert (job.spec.sample_rate, job.spec.voice, job.metadata) == (22_050, "123", {"artikel": "Größe"})


@pytest.mark.parametrize(
    ("place", "data", "metadata", "field"),
    [
        ("voicedrop.json", b'{"format": "aac"}', {}, "voicedrop.json: format"),
        ("voicedrop.json", b'{"colour": "red"}', {}, "voicedrop.json: colour"),
        ("voicedrop.json", b'{"text": "x"}', {}, "voicedrop.json: text"),
        ("voicedrop.json", b'{"request_id": "x"}', {}, "voicedrop.json: request_id"),
        ("voicedrop.json", b'{"sample_rate": "8000"}', {}, "voicedrop.json: sample_rate"),
        ("voicedrop.json", b"{format: wav}", {}, "voicedrop.json"),
        ("voicedrop.json", b"[]", {}, "voicedrop.json"),
        ("voicedrop.json", b"", {}, "voicedrop.json"),
        ("voicedrop.json", b"\xff", {}, "voicedrop.json"),
        ("voicedrop.json", b" " * 70_000, {}, "voicedrop.json"),
        ("x", b"", {"voicedrop-format": "aac"}, "x-amz-meta-voicedrop-format"),
        ("x", b"", {"voicedrop-sample-rate": "fast"}, "x-amz-meta-voicedrop-sample-rate"),
        ("x", b"", {"voicedrop-sample-rate": '"8000"'}, "x-amz-meta-voicedrop-sample-rate"),
        ("x", b"", {"voicedrop-metadata": "a=b"}, "x-amz-meta-voicedrop-metadata"),
        ("x", b"", {"voicedrop-colour": "red"}, "x-amz-meta-voicedrop-colour"),
        ("x", b"", {"voicedrop-text": "x"}, "x-amz-meta-voicedrop-text"),
    ],
)
def test_a_wrong_option_fails_the_job_and_names_the_place_and_the_option(
    edge: Edge, place: str, data: bytes, metadata: dict[str, str], field: str
) -> None:
    edge.inputs.drop(BUCKET, place, data)

    job = edge.drop("a/b.txt", "Hello there.", metadata=metadata)

    assert [each["field"] for each in problem(job)["errors"]] == [field]
    assert field in problem(job)["detail"]
    assert problem(job)["status"] == 422


def test_a_wrong_option_in_front_matter_is_named_where_it_stands(edge: Edge) -> None:
    job = edge.drop("b.txt", "---\nvoicedrop:\n  sample_rate: high\n---\nHello there.")

    assert [each["field"] for each in problem(job)["errors"]] == ["front matter: voicedrop.sample_rate"]


def test_everything_that_is_wrong_is_said_at_once(edge: Edge) -> None:
    edge.inputs.drop(BUCKET, "voicedrop.json", b'{"format": "aac", "speed": "fast"}')

    job = edge.drop("b.txt", "---\nvoicedrop:\n  colour: red\n---\nHello.", metadata={"voicedrop-language": "en_US"})

    assert {each["field"] for each in problem(job)["errors"]} == {
        "voicedrop.json: format",
        "voicedrop.json: speed",
        "x-amz-meta-voicedrop-language",
        "front matter: voicedrop.colour",
    }


@pytest.mark.parametrize("option", ["vendor", "speed"])
def test_what_the_vendor_cannot_do_fails_the_job_and_names_the_option(edge: Edge, option: str) -> None:
    value = {"vendor": "nobody", "speed": 1.5}[option]
    edge.inputs.drop(BUCKET, "voicedrop.json", json.dumps({"vendor": "convai", option: value}).encode())

    job = edge.drop("b.txt", "Hello there.")

    assert [each["field"] for each in problem(job)["errors"]] == [option]


# --- The function ----------------------------------------------------------------------------


def test_only_the_message_that_could_not_be_handled_goes_back(edge: Edge) -> None:
    """A15"""
    batch = event("s3_put")
    batch["Records"] += [event("s3_multipart")["Records"][0] | {"messageId": "second"}]
    edge.inputs.drop(BUCKET, "books/chapter-1.txt", b"Hello there.")
    edge.store.fail_next("get", StoreUnavailable("busy"))

    answer = edge.call("ingest_upload", batch)

    assert answer == {"batchItemFailures": [{"itemIdentifier": batch["Records"][0]["messageId"]}]}
    assert edge.only_job().source.key == "books/chapter-1.txt"


def test_a_drop_that_failed_every_time_ends_as_a_failed_job(edge: Edge) -> None:
    edge.ingest_upload.give_up(a_notification("a.txt"))
    edge.ingest_upload.give_up(a_notification("a.txt"))

    assert problem(edge.only_job())["code"] == "processing-failed"
    assert edge.store.latest_upload("default", BUCKET, "a.txt") == edge.only_job().id


def test_a_drop_that_is_a_job_already_is_left_alone_when_its_message_dies(edge: Edge) -> None:
    """A13"""
    job = edge.drop("a.txt", "Hello there.")

    edge.ingest_upload.give_up(a_notification("a.txt"))

    assert edge.store.jobs() == [job]


def test_a2_a_file_is_known_to_be_the_newest_before_its_job_can_end(edge: Edge) -> None:
    edge.drop("a.txt", "The first version.")
    edge.store.fail_next("advance_upload", StoreUnavailable("busy"))

    with pytest.raises(StoreUnavailable):
        edge.drop("a.txt", "The second version.")

    assert len(edge.store.jobs()) == 1, "no job before its file is known; the message comes again"
