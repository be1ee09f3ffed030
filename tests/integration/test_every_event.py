"""The functions themselves, wired as they are deployed, on the very events in `events/` and on AWS in this process."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import pytest

from local.emulators import EMULATORS
from speech.bootstrap import services
from speech.ports import Cleanup
from tests.fakes.aws import AUDIO_BUCKET, TABLE, WORK_BUCKET
from tests.support.cloud import Cloud, a_cloud
from tests.support.edge import ROOT, event

pytestmark = pytest.mark.filterwarnings("ignore:No application metrics:UserWarning")

RECEIVERS: Mapping[str, tuple[str, ...]] = {
    "ingest_upload": ("s3_put", "s3_multipart", "s3_test", "s3_delete", "s3_eventbridge", "s3_sns"),
    "ingest_message": ("request_message",),
    "jobs_api": (
        "api_post_job",
        "api_get_job",
        "api_cancel_job",
        "api_delete_job",
        "api_list_jobs",
        "api_list_vendors",
        "api_unknown_address",
    ),
    "vendor_callback": ("creatify_callback",),
    "start_segment": ("start_segment",),
    "check_segment": ("check_segment",),
    "assemble_audio": ("assemble_audio",),
    "deliver_event": ("deliver_event",),
    "close_failed_job": ("dead_letter",),
    "sweep": ("schedule",),
}
WAY = (("start_segment", "voiceai"), ("assemble_audio", "assembly"), ("deliver_event", "deliveries"))
"""Which function takes from which queue, in the order of a job's life."""
API = ("jobs_api", "vendor_callback")


@pytest.fixture
def cloud() -> Iterator[Cloud]:
    """Everything that the template makes, empty, and Voice.ai's emulator."""
    with EMULATORS["voiceai"]() as voiceai, a_cloud(VOICEAI_BASE_URL=voiceai.url, LOCAL="true") as made:
        yield made


def with_a_key(cloud: Cloud, sent: dict[str, Any]) -> dict[str, Any]:
    """A sample request with a genuine API key."""
    return {**sent, "headers": {**sent["headers"], "authorization": f"Bearer {cloud.an_api_key()}"}}


def followed(cloud: Cloud) -> list[Any]:
    """Let each function on a job's way take what lies on its queue; returns what they answer."""
    return [cloud.call(folder, {"Records": cloud.take(queue)}) for folder, queue in WAY]


def test_every_sample_event_has_its_function() -> None:
    files = {path.stem for path in (ROOT / "events").glob("*.json")}
    folders = {path.parent.name for path in (ROOT / "functions").glob("*/app.py")}

    assert {name for names in RECEIVERS.values() for name in names} == files
    assert set(RECEIVERS) == folders


@pytest.mark.parametrize(
    ("folder", "name"), [(folder, name) for folder, names in RECEIVERS.items() for name in names if folder not in API]
)
def test_every_sample_event_is_taken_and_none_comes_back(cloud: Cloud, folder: str, name: str) -> None:
    """A5, A14: also what is about a job or a file that nobody knows."""
    answer = cloud.call(folder, event(name))

    assert answer == (None if folder == "sweep" else {"batchItemFailures": []})


@pytest.mark.parametrize("name", RECEIVERS["jobs_api"])
def test_every_sample_request_is_answered(cloud: Cloud, name: str) -> None:
    answer = cloud.call("jobs_api", with_a_key(cloud, event(name)))

    expected = {
        "api_post_job": 202,
        "api_get_job": 404,
        "api_cancel_job": 404,
        "api_delete_job": 404,
        "api_unknown_address": 404,
    }.get(name, 200)
    assert answer["statusCode"] == expected
    assert json.loads(answer["body"])


def test_a_sample_callback_is_not_ours_and_is_told_so(cloud: Cloud) -> None:
    """D5."""
    answer = cloud.call("vendor_callback", event("creatify_callback"))

    assert answer["statusCode"] == 404
    assert cloud.take("checks") == []


def test_a_request_goes_all_the_way_through_the_functions(cloud: Cloud) -> None:
    posted = cloud.call("jobs_api", with_a_key(cloud, event("api_post_job")))

    answers = followed(cloud)

    asked = {**event("api_get_job"), "rawPath": posted["headers"]["Location"]}
    asked["requestContext"]["http"]["path"] = asked["rawPath"]
    job = json.loads(cloud.call("jobs_api", with_a_key(cloud, asked))["body"])
    assert answers == [{"batchItemFailures": []}] * 3
    assert job["status"] == "completed"
    audio = cloud.clients.s3.head_object(Bucket=AUDIO_BUCKET, Key=f"jobs/{job['id']}.{job['format']}")
    assert audio["ContentLength"] == job["audio"]["bytes"]


def test_f7_an_erased_job_leaves_the_buckets_and_the_table_empty_but_for_its_tombstone(cloud: Cloud) -> None:
    sent = event("api_post_job")
    sent["body"] = json.dumps({"text": "The canary sings.", "metadata": {"who": "canary"}})
    posted = cloud.call("jobs_api", with_a_key(cloud, sent))
    followed(cloud)
    gone = {**event("api_delete_job"), "rawPath": posted["headers"]["Location"]}
    gone["requestContext"]["http"]["path"] = gone["rawPath"]

    answer = cloud.call("jobs_api", with_a_key(cloud, gone))
    asked = {**gone, "requestContext": {**gone["requestContext"], "http": {**gone["requestContext"]["http"]}}}
    asked["requestContext"]["http"]["method"] = "GET"
    looked = cloud.call("jobs_api", with_a_key(cloud, asked))

    assert (answer["statusCode"], looked["statusCode"]) == (204, 404)
    s3 = cloud.clients.s3
    assert [s3.list_objects_v2(Bucket=bucket).get("Contents") for bucket in (AUDIO_BUCKET, WORK_BUCKET)] == [None, None]
    assert not s3.list_object_versions(Bucket=AUDIO_BUCKET).get("Versions")
    job_id = json.loads(posted["body"])["id"]
    store = services().store
    store.save_cleanup(a_cleanup_due_now(store.cleanup("default", job_id)))
    cloud.call("sweep", event("schedule"))
    rows = cloud.clients.dynamodb.scan(TableName=TABLE)["Items"]
    assert {row["sk"]["S"] for row in rows} == {"job", "progress", "delivery", "key"}
    assert "canary" not in json.dumps(rows)


def a_cleanup_due_now(cleanup: Cleanup | None) -> Cleanup:
    assert cleanup is not None
    return replace(cleanup, rev=cleanup.rev + 1, due_at=1, until=1)


def test_of_a_batch_only_what_failed_comes_back(cloud: Cloud) -> None:
    """A15."""
    cloud.call("jobs_api", with_a_key(cloud, event("api_post_job")))
    (right,) = cloud.take("voiceai")
    wrong = {**right, "messageId": "wrong", "body": "no message of ours"}

    answer = cloud.call("start_segment", {"Records": [wrong, right]})

    assert answer == {"batchItemFailures": [{"itemIdentifier": "wrong"}]}
    assert len(cloud.take("assembly")) == 1


def test_a_dead_letter_ends_its_job(cloud: Cloud) -> None:
    """I15."""
    posted = cloud.call("jobs_api", with_a_key(cloud, event("api_post_job")))
    records = cloud.take("voiceai")

    answer = cloud.call("close_failed_job", {"Records": records})

    job = services().store.get("default", json.loads(posted["body"])["id"])
    assert answer == {"batchItemFailures": []}
    assert job is not None
    assert (job.status.value, (job.problem or {})["code"]) == ("failed", "processing-failed")
