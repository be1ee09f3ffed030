"""What texts, segment audio, dropped inputs and published results promise, in memory and in S3."""

from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import pytest
from botocore.exceptions import ClientError, IncompleteReadError, ReadTimeoutError

from speech.aws import s3
from speech.aws.clients import Clients
from speech.aws.s3 import S3InputStore, S3ResultStore, S3SegmentStore, S3TextStore, attachment, read_header
from speech.errors import InputGone, ObjectChanged, StoreUnavailable, UnusableAudio
from speech.ports import InputStore, Over, ResultStore, SegmentStore, TextStore
from speech.settings import TENANT
from tests.fakes import (
    JOB_ID,
    FakeInputStore,
    FakeResultStore,
    FakeSegmentStore,
    FakeTextStore,
    some_audio,
)
from tests.fakes.aws import create_bucket, in_process_aws

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_buckets = count()

KEY = "ab" * 32


@pytest.fixture(scope="module")
def aws() -> Iterator[Clients]:
    with in_process_aws() as clients:
        yield clients


@pytest.fixture
def client(aws: Clients) -> "S3Client":
    return aws.s3


@pytest.fixture
def bucket(client: "S3Client") -> str:
    return create_bucket(client, f"bucket-{next(_buckets)}", versioned=True)


@pytest.fixture
def on_event(client: "S3Client") -> Iterator[Callable[[str, Any], None]]:
    heard: list[tuple[str, Any]] = []

    def listen(event: str, handler: Any) -> None:
        client.meta.events.register_first(event, handler)
        heard.append((event, handler))

    yield listen
    for event, handler in heard:
        client.meta.events.unregister(event, handler)


BOTH = pytest.mark.parametrize("kind", ["fake", "s3"])


# --- Texts -----------------------------------------------------------------------------------


@pytest.fixture
def texts(kind: str, request: pytest.FixtureRequest) -> TextStore:
    if kind == "fake":
        return FakeTextStore()
    return S3TextStore(request.getfixturevalue("client"), request.getfixturevalue("bucket"))


@BOTH
def test_a_piece_of_a_text_is_read_by_its_bytes(texts: TextStore) -> None:
    text = "Grüße an alle 👋.".encode()
    texts.put_text(TENANT, JOB_ID, text)

    assert texts.read_text(TENANT, JOB_ID, 0, len(text)) == text
    assert texts.read_text(TENANT, JOB_ID, 7, 10) == text[7:10]
    assert texts.read_text(TENANT, JOB_ID, 7, 7) == b""


@BOTH
def test_a_text_that_was_erased_is_gone(texts: TextStore) -> None:
    """A3, A14."""
    texts.put_text(TENANT, JOB_ID, b"text")

    with pytest.raises(InputGone):
        texts.read_text("other", JOB_ID, 0, 4)


@BOTH
def test_a_text_may_be_written_again(texts: TextStore) -> None:
    """B1: whoever died before the row was written writes the text again."""
    texts.put_text(TENANT, JOB_ID, b"text")

    texts.put_text(TENANT, JOB_ID, b"text")

    assert texts.read_text(TENANT, JOB_ID, 0, 4) == b"text"


@BOTH
def test_every_text_of_an_erased_job_goes_and_no_other(texts: TextStore) -> None:
    """F7: also of a request that lost the race for the job's identity."""
    other = "job_0000000000000000000000000A"
    for tenant, text_id in ((TENANT, f"{JOB_ID}-aa"), (TENANT, f"{JOB_ID}-bb"), (TENANT, other), ("acme", JOB_ID)):
        texts.put_text(tenant, text_id, b"text")

    texts.erase_texts(TENANT, JOB_ID)
    texts.erase_texts(TENANT, JOB_ID)

    for text_id in (f"{JOB_ID}-aa", f"{JOB_ID}-bb"):
        with pytest.raises(InputGone):
            texts.read_text(TENANT, text_id, 0, 4)
    assert texts.read_text(TENANT, other, 0, 4) == b"text"
    assert texts.read_text("acme", JOB_ID, 0, 4) == b"text"


# --- Audio of segments -----------------------------------------------------------------------


@pytest.fixture
def audio(kind: str, request: pytest.FixtureRequest) -> SegmentStore:
    if kind == "fake":
        return FakeSegmentStore()
    return S3SegmentStore(request.getfixturevalue("client"), request.getfixturevalue("bucket"))


@BOTH
def test_audio_is_found_with_all_that_is_known_of_it(audio: SegmentStore) -> None:
    """B8."""
    facts = some_audio(container="ogg", sample_rate=48_000, channels=2, frames=123_456, bytes=4)

    stored = audio.put_audio(KEY, b"OggS", facts)

    assert stored == facts
    assert audio.find_audio(KEY) == facts
    assert audio.read_audio(KEY) == b"OggS"


@BOTH
def test_audio_that_is_not_there_is_not_found(audio: SegmentStore) -> None:
    assert audio.find_audio(KEY) is None
    with pytest.raises(UnusableAudio) as caught:
        audio.read_audio(KEY)
    assert caught.value.reason == "gone"


@BOTH
def test_the_first_take_stays_and_the_second_worker_is_told_of_it(audio: SegmentStore) -> None:
    """F8, I3: a row must describe the bytes that lie under its key, not those that were thrown away."""
    first, second = some_audio(bytes=5, frames=100), some_audio(bytes=6, frames=200, sha256="cd" * 32)
    audio.put_audio(KEY, b"first", first)

    stored = audio.put_audio(KEY, b"second", second)

    assert stored == first
    assert audio.find_audio(KEY) == first
    assert audio.read_audio(KEY) == b"first"


def test_an_object_that_is_not_ours_is_not_found_and_is_replaced(client: "S3Client", bucket: str) -> None:
    audio = S3SegmentStore(client, bucket)
    client.put_object(Bucket=bucket, Key=f"segments/{KEY}", Body=b"stranger", Metadata={"frames": "many"})

    found = audio.find_audio(KEY)
    audio.put_audio(KEY, b"audio", some_audio(bytes=5))

    assert found is None
    assert audio.find_audio(KEY) == some_audio(bytes=5)


def test_audio_about_to_expire_is_bought_again_rather_than_lost_before_assembly(
    client: "S3Client", bucket: str, on_event: Callable[[str, Any], None]
) -> None:
    audio = S3SegmentStore(client, bucket)
    audio.put_audio(KEY, b"old", some_audio(bytes=3))
    expiry = ["Fri, 20 Nov 2020 00:00:00 GMT"]

    def expiring(parsed: dict[str, Any], **_: Any) -> None:
        parsed["Expiration"] = f'expiry-date="{expiry[0]}", rule-id="expire"'

    on_event("after-call.s3.HeadObject", expiring)
    soon = audio.find_audio(KEY)
    audio.put_audio(KEY, b"new", some_audio(bytes=3))
    expiry[0] = "Fri, 20 Nov 2099 00:00:00 GMT"

    assert soon is None
    assert audio.find_audio(KEY) == some_audio(bytes=3)
    assert audio.read_audio(KEY) == b"new"


# --- Inputs ----------------------------------------------------------------------------------

Drop = Callable[[str, bytes, dict[str, str]], str | None]


@pytest.fixture
def inputs(kind: str, request: pytest.FixtureRequest) -> InputStore:
    if kind == "fake":
        return FakeInputStore()
    return S3InputStore(request.getfixturevalue("client"))


@pytest.fixture
def drop(inputs: InputStore, bucket: str, client: "S3Client") -> Drop:
    """Place an object as a publisher would; returns its version."""

    def place(key: str, data: bytes, metadata: dict[str, str]) -> str | None:
        if isinstance(inputs, FakeInputStore):
            return inputs.drop(bucket, key, data, metadata=metadata).version_id
        return client.put_object(Bucket=bucket, Key=key, Body=data, Metadata=metadata)["VersionId"]

    return place


@BOTH
@pytest.mark.parametrize(
    "key", ["a b/ü+%2F.txt", "../up.txt", "k" * 1024, "日本" * 170], ids=["odd", "up", "1024", "cjk"]
)
def test_a_dropped_file_is_described_and_read_under_any_key(
    inputs: InputStore, drop: Drop, bucket: str, key: str
) -> None:
    """A4."""
    version = drop(key, b"hello", {"voicedrop-voice": "alice", "other": "x"})

    described = inputs.describe(bucket, key, version)

    assert described is not None
    assert (described.key, described.version_id, described.size) == (key, version, 5)
    assert described.metadata == {"voicedrop-voice": "alice", "other": "x"}
    assert described.last_modified > 1_600_000_000_000
    assert inputs.read(bucket, key, version, 100) == b"hello"


@BOTH
def test_a_read_is_bounded(inputs: InputStore, drop: Drop, bucket: str) -> None:
    """A6."""
    drop("a.txt", b"0123456789", {})

    assert inputs.read(bucket, "a.txt", None, 4) == b"0123"


@BOTH
def test_an_empty_file_is_empty_and_not_gone(inputs: InputStore, drop: Drop, bucket: str) -> None:
    """A6."""
    version = drop("a.txt", b"", {})

    described = inputs.describe(bucket, "a.txt", version)

    assert described is not None
    assert described.size == 0
    assert inputs.read(bucket, "a.txt", version, 100) == b""


@BOTH
def test_each_version_is_read_as_itself(inputs: InputStore, drop: Drop, bucket: str) -> None:
    """A2."""
    first, second = drop("a.txt", b"one", {}), drop("a.txt", b"two", {})

    assert inputs.read(bucket, "a.txt", first, 9) == b"one"
    assert inputs.read(bucket, "a.txt", second, 9) == b"two"
    assert inputs.read(bucket, "a.txt", None, 9) == b"two"


@BOTH
def test_what_was_deleted_before_it_was_read_is_gone(inputs: InputStore, bucket: str) -> None:
    """A3."""
    assert inputs.describe(bucket, "never.txt", None) is None
    assert inputs.read(bucket, "never.txt", None, 9) is None


def test_a_delete_marker_and_a_deleted_version_are_gone(client: "S3Client", bucket: str) -> None:
    """A3."""
    inputs = S3InputStore(client)
    version = client.put_object(Bucket=bucket, Key="a.txt", Body=b"x")["VersionId"]
    marker = client.delete_object(Bucket=bucket, Key="a.txt")["VersionId"]
    client.delete_object(Bucket=bucket, Key="a.txt", VersionId=version)

    for each in (None, marker, version):
        assert inputs.describe(bucket, "a.txt", each) is None
        assert inputs.read(bucket, "a.txt", each, 9) is None


def test_a_bucket_we_may_not_read_is_not_an_empty_one(
    client: "S3Client", bucket: str, on_event: Callable[[str, Any], None]
) -> None:
    def forbid(**_: Any) -> None:
        raise ClientError({"Error": {"Code": "403"}, "ResponseMetadata": {"HTTPStatusCode": 403}}, "HeadObject")  # type: ignore[typeddict-item]  # all that is looked at

    on_event("before-call.s3.HeadObject", forbid)

    with pytest.raises(ClientError, match="403"):
        S3InputStore(client).describe(bucket, "a.txt", None)


WORDS_THAT_ARE_NONE = (
    "=?no-such-charset?B?AAAA?=",
    "=?undefined?Q?a?=",
    "=?idna?Q?xn--a=FF?=",
    "=?zlib?B?eJw=?=",
    "=?unicode_escape?Q?=5cud800?=",
    "=?\xe9?Q?a?=",
    "=?utf-8?B?a?=",
)


@pytest.mark.parametrize(
    ("header", "meant"),
    [
        ("plain", "plain"),
        ("=?UTF-8?B?w4PChE3Dg8KEWsODwpXDg8KRIFMz?=", "ÄMÄZÕÑ S3"),
        ("=?UTF-8?B?R3LDvMOfZSDwn5GL?=", "Grüße 👋"),
        ("=?UTF-8?Q?Gr=C3=BC=C3=9Fe?=", "Grüße"),
        ("GrÃ¼Ã\x9fe", "Grüße"),
        ("caf\xe9", "café"),
        ('{"a": "=?"}', '{"a": "=?"}'),
        *((word, word) for word in WORDS_THAT_ARE_NONE),
    ],
)
def test_metadata_is_read_as_its_sender_meant_it(header: str, meant: str) -> None:
    assert read_header(header) == meant


@BOTH
def test_erased_audio_is_gone(audio: SegmentStore) -> None:
    """F7."""
    for key in ("a", "b"):
        audio.put_audio(key, b"RIFF", some_audio(bytes=4))

    audio.erase_audio(["a", "never there"])
    audio.erase_audio([])

    assert audio.find_audio("a") is None
    with pytest.raises(UnusableAudio):
        audio.read_audio("a")
    assert audio.read_audio("b") == b"RIFF"


def test_audio_that_could_not_be_erased_is_not_taken_for_erased(
    client: "S3Client", bucket: str, on_event: Callable[[str, Any], None]
) -> None:
    """E1, E5."""

    def refuse(parsed: dict[str, Any], **_: Any) -> None:
        parsed["Errors"] = [{"Key": "segments/a", "Code": "InternalError"}]

    on_event("after-call.s3.DeleteObjects", refuse)

    with pytest.raises(StoreUnavailable):
        S3SegmentStore(client, bucket).erase_audio(["a"])


# --- Results ---------------------------------------------------------------------------------


@pytest.fixture
def results(kind: str, request: pytest.FixtureRequest) -> ResultStore:
    if kind == "fake":
        return FakeResultStore()
    return S3ResultStore(request.getfixturevalue("client"), request.getfixturevalue("bucket"))


@BOTH
def test_results_have_versions(results: ResultStore, tmp_path: Path) -> None:
    file = tmp_path / "audio"
    file.write_bytes(b"ID3")

    first = results.put_file("a.txt.mp3", file, content_type="audio/mpeg", metadata={})
    second = results.put_bytes("a.txt.mp3", b"ID3 again", content_type="audio/mpeg", metadata={})

    assert first
    assert second
    assert first != second


@BOTH
def test_a_result_that_is_not_there_may_be_deleted(results: ResultStore) -> None:
    results.delete("a.txt.error.md")
    results.put_bytes("a.txt.error.md", b"why", content_type="text/markdown", metadata={})

    results.delete("a.txt.error.md")


@BOTH
def test_a_link_names_its_key_and_its_version(results: ResultStore) -> None:
    link = results.link("a b/ü.txt.mp3", version_id="v7", filename="ü.mp3")

    assert "/a%20b/%C3%BC.txt.mp3?" in link
    assert parse_qs(urlsplit(link).query)["versionId"] == ["v7"]
    assert "versionId" not in results.link("a.mp3", version_id=None, filename="a.mp3")


@BOTH
def test_f8_a_result_is_put_only_where_nothing_lies_or_over_what_was_seen(results: ResultStore, tmp_path: Path) -> None:
    file = tmp_path / "audio"
    file.write_bytes(b"ID3 one")
    facts: dict[str, Any] = {"content_type": "audio/mpeg", "metadata": {}}

    assert results.tag("a.mp3") is None
    results.put_file("a.mp3", file, **facts, over=Over(None))
    seen = results.tag("a.mp3")
    with pytest.raises(ObjectChanged):
        results.put_file("a.mp3", file, **facts, over=Over(None))
    results.put_bytes("a.mp3", b"two", **facts, over=Over(seen))
    with pytest.raises(ObjectChanged):
        results.put_bytes("a.mp3", b"three", **facts, over=Over(seen))
    results.delete("a.mp3")
    with pytest.raises(ObjectChanged):
        results.put_bytes("a.mp3", b"four", **facts, over=Over(seen))


PART = 5 * 2**20
"""S3 takes no smaller one, but as the last."""


@pytest.fixture
def large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that is sent in three parts."""
    monkeypatch.setattr(s3, "ONE_PUT_BYTES", PART)
    monkeypatch.setattr(s3, "PART_BYTES", PART)
    path = tmp_path / "large"
    path.write_bytes(b"one" + bytes(2 * PART) + b"three")
    return path


@BOTH
def test_f8_a_large_result_too_is_put_only_where_nothing_lies_or_over_what_was_seen(
    results: ResultStore, large: Path
) -> None:
    facts: dict[str, Any] = {"content_type": "audio/mpeg", "metadata": {}}
    steps: list[str] = []

    first = results.put_file("a.mp3", large, **facts, over=Over(None), progress=lambda: steps.append("kept"))
    seen = results.tag("a.mp3")
    with pytest.raises(ObjectChanged):
        results.put_file("a.mp3", large, **facts, over=Over(None))
    large.write_bytes(b"two" + bytes(2 * PART))
    second = results.put_file("a.mp3", large, **facts, over=Over(seen))
    with pytest.raises(ObjectChanged):
        results.put_file("a.mp3", large, **facts, over=Over(seen))
    results.delete("a.mp3")
    with pytest.raises(ObjectChanged):
        results.put_file("a.mp3", large, **facts, over=Over(seen))

    assert steps
    assert None not in (first, second)
    assert first != second


def test_a_large_result_is_what_the_file_is_with_its_type_and_metadata(
    client: "S3Client", bucket: str, large: Path, on_event: Callable[[str, Any], None]
) -> None:
    asked: list[str] = []
    on_event("before-call.s3", lambda model, **_: asked.append(model.name))

    version = S3ResultStore(client, bucket).put_file(
        "a.mp3", large, content_type="audio/mpeg", metadata={"job-id": JOB_ID, "title": "Grüße"}
    )

    assert asked == ["CreateMultipartUpload", *["UploadPart"] * 3, "CompleteMultipartUpload"]
    there = client.get_object(Bucket=bucket, Key="a.mp3", VersionId=version or "")
    described = S3InputStore(client).describe(bucket, "a.mp3", version)
    assert (there["ContentType"], there["Body"].read()) == ("audio/mpeg", large.read_bytes())
    assert described is not None
    assert described.metadata == {"job-id": JOB_ID, "title": "Grüße"}


@pytest.mark.parametrize("call", ["UploadPart", "CompleteMultipartUpload"])
def test_b7_a_large_file_that_is_cut_off_is_not_there_and_leaves_nothing(
    client: "S3Client", bucket: str, large: Path, on_event: Callable[[str, Any], None], call: str
) -> None:
    def cut_off(**_: Any) -> None:
        raise ReadTimeoutError(endpoint_url="s3")

    on_event(f"before-send.s3.{call}", cut_off)

    with pytest.raises(StoreUnavailable):
        S3ResultStore(client, bucket).put_file("a.mp3", large, content_type="audio/mpeg", metadata={})

    assert S3InputStore(client).describe(bucket, "a.mp3", None) is None
    assert client.list_multipart_uploads(Bucket=bucket).get("Uploads", []) == []


def test_b7_a_worker_that_dies_among_the_parts_shows_nothing_and_the_next_one_is_not_disturbed(
    client: "S3Client", bucket: str, large: Path, on_event: Callable[[str, Any], None]
) -> None:
    results = S3ResultStore(client, bucket)

    def die() -> None:
        raise KeyboardInterrupt

    on_event("before-call.s3.AbortMultipartUpload", lambda **_: die())
    with pytest.raises(KeyboardInterrupt):
        results.put_file("a.mp3", large, content_type="audio/mpeg", metadata={}, over=Over(None), progress=die)

    assert results.tag("a.mp3") is None
    assert len(client.list_multipart_uploads(Bucket=bucket)["Uploads"]) == 1  # which the bucket's lifecycle aborts

    results.put_file("a.mp3", large, content_type="audio/mpeg", metadata={}, over=Over(None))

    assert results.tag("a.mp3") is not None


def test_an_upload_that_somebody_ended_is_made_again_by_whoever_tries_again(
    client: "S3Client", bucket: str, large: Path
) -> None:
    def end_it() -> None:
        for upload in client.list_multipart_uploads(Bucket=bucket)["Uploads"]:
            client.abort_multipart_upload(Bucket=bucket, Key="a.mp3", UploadId=upload["UploadId"])

    calls = iter([lambda: None, lambda: None, end_it])

    with pytest.raises(StoreUnavailable):
        S3ResultStore(client, bucket).put_file(
            "a.mp3", large, content_type="audio/mpeg", metadata={}, progress=lambda: next(calls)()
        )


@BOTH
def test_f7_of_a_result_exactly_the_versions_of_the_erased_job_go(results: ResultStore) -> None:
    """T20."""
    for job_id, data in ((JOB_ID, b"1"), ("other", b"2"), (JOB_ID, b"3")):
        results.put_bytes("a/ü b.mp3", data, content_type="audio/mpeg", metadata={"job-id": job_id})
    results.put_bytes("a/ü b.mp3.old", b"4", content_type="audio/mpeg", metadata={"job-id": JOB_ID})
    two = results.tag("a/ü b.mp3")

    results.erase("a/ü b.mp3", JOB_ID)
    before = results.tag("a/ü b.mp3")
    results.erase("a/ü b.mp3", JOB_ID)
    results.erase("a/ü b.mp3", "other")

    assert before not in (None, two)
    assert results.tag("a/ü b.mp3") is None
    assert results.tag("a/ü b.mp3.old") is not None


def test_f7_results_of_many_versions_are_erased_page_by_page(
    client: "S3Client", bucket: str, on_event: Callable[[str, Any], None]
) -> None:
    results = S3ResultStore(client, bucket)
    for _ in range(5):
        results.put_bytes("a.mp3", b"1", content_type="audio/mpeg", metadata={"job-id": JOB_ID})
    results.put_bytes("a.mp3x", b"1", content_type="audio/mpeg", metadata={"job-id": JOB_ID})

    def two_at_a_time(params: dict[str, Any], **_: Any) -> None:
        params["query_string"]["max-keys"] = "2"

    on_event("before-call.s3.ListObjectVersions", two_at_a_time)
    results.erase("a.mp3", JOB_ID)

    left = client.list_object_versions(Bucket=bucket)["Versions"]
    assert [each["Key"] for each in left] == ["a.mp3x"]


def test_f8_two_that_publish_at_the_same_moment_are_told_apart_from_a_store_that_is_down(
    client: "S3Client", bucket: str, on_event: Callable[[str, Any], None]
) -> None:
    def conflict(**_: Any) -> None:
        raise ClientError(
            {"Error": {"Code": "ConditionalRequestConflict"}, "ResponseMetadata": {"HTTPStatusCode": 409}},  # type: ignore[typeddict-item]  # all that is looked at
            "PutObject",
        )

    on_event("after-call.s3.PutObject", conflict)
    results = S3ResultStore(client, bucket)

    with pytest.raises(ObjectChanged):
        results.put_bytes("a.mp3", b"1", content_type="audio/mpeg", metadata={}, over=Over(None))
    with pytest.raises(StoreUnavailable):
        results.put_bytes("a.mp3", b"1", content_type="audio/mpeg", metadata={})


def test_a_result_is_published_with_its_type_and_metadata(client: "S3Client", bucket: str, tmp_path: Path) -> None:
    file = tmp_path / "audio"
    file.write_bytes(b"x" * 3_000_000)

    S3ResultStore(client, bucket).put_file(
        "a.txt.mp3", file, content_type="audio/mpeg", metadata={"job-id": JOB_ID, "title": "Grüße 👋\n"}
    )

    head = client.head_object(Bucket=bucket, Key="a.txt.mp3")
    described = S3InputStore(client).describe(bucket, "a.txt.mp3", None)
    assert (head["ContentType"], head["ContentLength"]) == ("audio/mpeg", 3_000_000)
    assert described is not None
    assert described.metadata == {"job-id": JOB_ID, "title": "Grüße 👋\n"}


def test_b7_a_small_file_is_one_upload_that_is_there_whole_or_not_at_all(
    client: "S3Client", bucket: str, tmp_path: Path, on_event: Callable[[str, Any], None]
) -> None:
    file = tmp_path / "audio"
    file.write_bytes(b"x" * 9_000_000)  # boto3's own uploads would send this in parts
    asked: list[str] = []
    on_event("before-call.s3", lambda model, **_: asked.append(model.name))

    def cut_off(**_: Any) -> None:
        raise ReadTimeoutError(endpoint_url="s3")

    on_event("before-send.s3.PutObject", cut_off)
    store = S3ResultStore(client, bucket)

    with pytest.raises(StoreUnavailable):
        store.put_file("a.mp3", file, content_type="audio/mpeg", metadata={})

    assert asked == ["PutObject"]
    assert S3InputStore(client).describe(bucket, "a.mp3", None) is None
    assert client.list_multipart_uploads(Bucket=bucket).get("Uploads", []) == []


def test_a_link_is_short_lived_signed_and_downloads(client: "S3Client", bucket: str) -> None:
    """F9, T12."""
    link = S3ResultStore(client, bucket).link("a.mp3", version_id="v1", filename="Grüße.mp3")

    query = {name: value for name, (value,) in parse_qs(urlsplit(link).query).items()}
    assert int(query["X-Amz-Expires"]) <= 900
    assert query["X-Amz-Algorithm"] == "AWS4-HMAC-SHA256"
    assert query["response-content-disposition"].startswith("attachment;")
    assert "AWSAccessKeyId" not in query


@pytest.mark.parametrize(
    ("filename", "header"),
    [
        ("a.mp3", "attachment; filename=\"a.mp3\"; filename*=UTF-8''a.mp3"),
        ("ü 1.mp3", "attachment; filename=\"_ 1.mp3\"; filename*=UTF-8''%C3%BC%201.mp3"),
        (
            'a"\r\nX: 1/../b\\.mp3',
            "attachment; filename=\"a___X: 1_.._b_.mp3\"; filename*=UTF-8''a___X%3A%201_.._b_.mp3",
        ),
        ("", "attachment; filename=\"audio\"; filename*=UTF-8''audio"),
        ("..", "attachment; filename=\"audio\"; filename*=UTF-8''audio"),
        ("x" * 1000 + ".mp3", f"attachment; filename=\"{'x' * 146}.mp3\"; filename*=UTF-8''{'x' * 146}.mp3"),
    ],
    ids=["plain", "unicode", "hostile", "empty", "dots", "long"],
)
def test_a_filename_cannot_break_out_of_its_header(filename: str, header: str) -> None:
    """T13."""
    assert attachment(filename) == header


# --- A store that is down --------------------------------------------------------------------


@pytest.mark.parametrize(
    "error", [ReadTimeoutError(endpoint_url="s3"), IncompleteReadError(actual_bytes=1, expected_bytes=2)]
)
def test_e1_a_read_that_breaks_off_is_unavailable(
    client: "S3Client", bucket: str, on_event: Callable[[str, Any], None], error: Exception
) -> None:
    texts = S3TextStore(client, bucket)
    texts.put_text(TENANT, JOB_ID, b"text")

    class Broken:
        def read(self) -> bytes:
            raise error

    def breaks(parsed: dict[str, Any], **_: Any) -> None:
        parsed["Body"] = Broken()

    on_event("after-call.s3.GetObject", breaks)

    with pytest.raises(StoreUnavailable):
        texts.read_text(TENANT, JOB_ID, 0, 4)


def test_e1_two_writers_of_one_object_at_the_same_moment_are_told_to_try_again(
    client: "S3Client", bucket: str, on_event: Callable[[str, Any], None]
) -> None:
    def conflict(**_: Any) -> None:
        raise ClientError(
            {"Error": {"Code": "ConditionalRequestConflict"}, "ResponseMetadata": {"HTTPStatusCode": 409}},  # type: ignore[typeddict-item]  # all that is looked at
            "PutObject",
        )

    on_event("after-call.s3.PutObject", conflict)

    with pytest.raises(StoreUnavailable):
        S3SegmentStore(client, bucket).put_audio(KEY, b"audio", some_audio(bytes=5))
