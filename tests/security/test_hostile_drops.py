"""Hostile files, keys, metadata and options in the texts bucket: each is a job that ends, and stays as it was."""

from collections import Counter
from io import StringIO
from random import Random

import pytest

from speech.jobs import JobStatus
from speech.settings import TENANT
from tests.fakes.aws import TEXTS_BUCKET
from tests.security.conftest import A_WORLD, ONE_IN, Costs, all_ends_well, worlds
from tests.support import hostile
from tests.support.cloud import Cloud, a_cloud, a_put, a_record

SEED = "drops"
ALL_DROPS = 5_000
ALL_NOTIFICATIONS = 1_000


def play(cloud: Cloud, number: int, drop: hostile.Drop) -> JobStatus:
    """Drop a file and let S3 tell of it; returns the state of its job."""
    cloud.calls.clear()
    key = f"{number}/{drop.key}"
    if drop.options_file is not None:
        cloud.drop(f"{number}/voicedrop.json", drop.options_file)
    version = cloud.drop(key, drop.data, metadata=drop.metadata)

    answer = cloud.call("ingest_upload", {"Records": [a_record(a_put(key, version), f"message-{number}")]})

    assert answer == {"batchItemFailures": []}
    kept = cloud.clients.s3.get_object(Bucket=TEXTS_BUCKET, Key=key, VersionId=version)
    assert kept["Body"].read() == drop.data
    job_id = cloud.services.store.latest_upload(TENANT, TEXTS_BUCKET, key)
    assert job_id is not None
    job = cloud.services.store.get(TENANT, job_id)
    assert job is not None
    assert job.source.key == key
    if job.status is JobStatus.FAILED:
        assert job.problem is not None
        assert job.problem["detail"]
    return job.status


@pytest.mark.parametrize("world", worlds(ALL_DROPS))
def test_a4_a6_t14_whatever_is_dropped_is_one_job_that_ends(
    world: int, costs: Costs, played: Counter[str], log: StringIO
) -> None:
    outcomes: Counter[JobStatus] = Counter()
    first = world * A_WORLD
    with a_cloud() as cloud:
        for number in range(first, first + A_WORLD):
            kind, drop = hostile.made(hostile.DROPS, SEED, number)
            if drop.key.rsplit("/", 1)[-1] in ("voicedrop.json", "lexicon.csv"):
                continue
            with costs.of(f"{kind} {number}", seconds=5):
                outcomes[play(cloud, number, drop)] += 1
        cloud.give_vendors_a_voice()
        all_ends_well(cloud, log, complaint="message failed")

    played.update({f"{status} job": number for status, number in outcomes.items()})


def test_a5_a11_what_is_no_notification_of_s3_is_acknowledged(cloud: Cloud, costs: Costs, played: Counter[str]) -> None:
    for number in range(0, ALL_NOTIFICATIONS, ONE_IN):
        body = hostile.a_notification_of_nothing(Random(f"{SEED}/{number}"))

        with costs.of(str(number), seconds=3):
            answer = cloud.call("ingest_upload", {"Records": [a_record(body, f"message-{number}")]})

        assert answer == {"batchItemFailures": []}, number

        played["acknowledged"] += 1

    # A well-formed notification of a file that is not there is a failed job, and nothing else is any.
    assert cloud.states() <= {"failed"}


@pytest.mark.parametrize("number", range(6))
def test_a6_a_file_as_large_as_a_text_may_be_is_read_within_bounds(cloud: Cloud, costs: Costs, number: int) -> None:
    drop = hostile.Drop("large", "a.txt", hostile._large(Random(number)))

    with costs.of(f"large {number}", seconds=15, megabytes=400):
        play(cloud, number, drop)
