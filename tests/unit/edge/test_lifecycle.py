"""Who is in service: what a new job is told, on every way in, and what the list of vendors says."""

import json
from typing import Any

import pytest

from speech.errors import VendorRetired
from speech.health import Health
from speech.jobs import JobStatus
from speech.policy import Lifecycle, Policy, Standing
from speech.settings import Settings
from speech.usecases.accept_job import Accepted
from tests.fakes import NOW
from tests.support.edge import Edge

RETIRED = Lifecycle(Standing.RETIRED, note="The contract has ended.")


def posted(there: Edge, **fields: Any) -> Accepted:
    return there.post_job("default", {"text": "Good morning.", **fields}, None)


def edge(policy: Policy | None = None, **settings: Any) -> Edge:
    there = Edge(settings=Settings(**settings))
    there.policies.put(policy or Policy())
    return there


def test_c20_a_new_job_for_a_retired_vendor_is_refused_saying_what_to_do() -> None:
    there = edge(Policy(lifecycle={"dify": RETIRED}))

    with pytest.raises(VendorRetired) as caught:
        posted(there, vendor="dify")

    assert (caught.value.status, caught.value.code, caught.value.vendor) == (422, "vendor-retired", "dify")
    assert caught.value.detail == (
        "The vendor dify is retired. The contract has ended. Choose another: GET /v1/vendors lists who is in service."
    )
    assert there.store.jobs() == []
    assert there.texts.texts == {}


@pytest.mark.parametrize(
    ("key", "request_"),
    [
        ("playht/engine=PlayHT1.0", {"voice": "s3://a", "vendor_options": {"voice_engine": "PlayHT1.0"}}),
        ("playht/voice=s3://a", {"voice": "s3://a"}),
    ],
)
def test_c20_an_engine_or_a_voice_is_refused_alone(key: str, request_: dict[str, Any]) -> None:
    there = edge(Policy(lifecycle={key: RETIRED}), base_urls={"playht": "https://speech.example"})

    with pytest.raises(VendorRetired):
        posted(there, vendor="playht", **request_)

    assert posted(there, vendor="playht", voice="s3://b").created


def test_c20_playht_has_closed_and_so_is_refused_where_no_server_of_ones_own_speaks_for_it() -> None:
    with pytest.raises(VendorRetired, match="since 2025-12-31"):
        posted(edge(), vendor="playht", voice="s3://a")

    assert posted(edge(base_urls={"playht": "https://speech.example"}), vendor="playht", voice="s3://a").created


def test_c20_what_retires_later_is_still_taken_and_a_message_too_late_is_a_failed_job() -> None:
    there = edge(Policy(lifecycle={"voiceai": Lifecycle(Standing.RETIRING, "2026-11-21")}))
    message = json.dumps({"text": "Good morning.", "vendor": "voiceai"})

    there.ingest_message(message, "first")
    there.clock.advance(86_400)
    there.ingest_message(message, "second")

    in_time, too_late = there.store.jobs()
    assert in_time.status is JobStatus.SYNTHESIZING
    assert (too_late.status, (too_late.problem or {})["code"]) == (JobStatus.FAILED, "vendor-retired")


def test_the_list_of_vendors_says_how_each_stands() -> None:
    there = edge(
        Policy(
            lifecycle={
                "convai": Lifecycle(Standing.RETIRING, "2027-03-01", "The contract ends."),
                "voiceai/voice=v": RETIRED,
            }
        )
    )

    listed = {each["name"]: each["standing"] for each in there.list_vendors()["vendors"]}

    assert listed["convai"] == {
        "state": "retiring",
        "date": "2027-03-01",
        "note": "The contract ends.",
        "parts": [],
    }
    assert listed["playht"]["state"] == "retired"
    assert listed["dify"]["state"] == "active"
    assert listed["voiceai"]["state"] == "active"
    assert listed["voiceai"]["parts"] == [
        {"part": "voice=v", "state": "retired", "date": None, "note": "The contract has ended."}
    ]


def test_c23_of_one_vendor_it_is_told_whether_it_is_called_at_present() -> None:
    there = edge()
    assert there.read_vendor("dify")["health"] == {
        "state": "in",
        "reason": None,
        "since": None,
        "next_trial_at": None,
        "closed_until": None,
    }

    out = Health("dify", rev=1, open_since=NOW, reason="vendor-unauthorized", retry_at=NOW + 15_000)
    there.store.save_health(out)

    assert there.read_vendor("dify")["health"] == {
        "state": "out",
        "reason": "vendor-unauthorized",
        "since": "2026-11-20T09:00:00.123Z",
        "next_trial_at": "2026-11-20T09:00:15.123Z",
        "closed_until": None,
    }
