"""The outbox of a finished job: error pages, events and customer webhooks."""

import base64
import contextlib
import hashlib
import hmac
import json
from dataclasses import replace

import pytest

from speech.egress import EgressRefused
from speech.errors import NotText, StoreUnavailable, VendorRejected, VendorUnavailable
from speech.jobs import Cost, JobStatus, Source
from speech.messages import DeliverEvent
from speech.usecases.deliver_event import error_page, signing_secret
from tests.support.world import World

SENTENCE = "The sun is up and the birds are singing."
DROP = Source("upload", "texts", "a/b.txt", "v1")


def test_a_failed_drop_gets_a_page_in_plain_words() -> None:
    world = World()
    job = world.a_synthesizing_job(SENTENCE, source=DROP)
    world.finish.fail_with(job, NotText("The file looks like a PDF."))

    world.run()

    page = world.results.objects["a/b.txt.error.md"].data.decode()
    assert "looks like a PDF" in page
    assert "What it cost" in page
    assert "plain text" in page
    assert job.id in page


def test_a_refusal_of_the_vendor_is_not_said_to_pass_by_waiting() -> None:
    world = World()
    job = world.a_synthesizing_job(SENTENCE, source=DROP)
    world.finish.fail_with(job, VendorRejected("Convai answered 400: Invalid voice.", vendor="convai"))

    world.run()

    page = world.results.objects["a/b.txt.error.md"].data.decode()
    assert "Change what the vendor objects to" in page
    assert "later" not in page


def test_a_call_that_cost_nothing_is_not_said_to_have_spoken() -> None:
    job = World().a_synthesizing_job(SENTENCE, source=DROP)

    page = error_page(replace(job, cost=Cost(vendor_calls=1, amount=0.0)))

    assert "nothing was charged" in page
    assert "0.000000" not in page


def test_a_later_success_removes_the_page() -> None:
    world = World()
    world.results.put_bytes("a/b.txt.error.md", b"old", content_type="text/markdown", metadata={})
    world.a_synthesizing_job(SENTENCE, source=DROP)

    world.run()

    assert "a/b.txt.error.md" not in world.results.objects
    assert "a/b.txt.mp3" in world.results.objects


def test_an_overtaken_failure_says_nothing_about_the_newer_version() -> None:
    world = World()
    job = world.a_synthesizing_job(SENTENCE, source=DROP)
    world.store.advance_upload(job.tenant, "texts", "a/b.txt", order="2", job_id="job_of_the_newer_version")
    world.finish.fail_with(job, NotText("x"))

    world.run()

    assert not world.results.objects


def test_an_event_carries_ids_and_facts_but_no_text_and_no_links() -> None:
    world = World()
    world.a_synthesizing_job(SENTENCE)

    world.run()

    [(kind, detail)] = world.bus.published
    assert kind == "Job Completed"
    assert detail["status"] == "completed"
    assert SENTENCE not in json.dumps(detail)
    assert "http" not in json.dumps(detail["audio"])


def test_b13_a_delivery_that_died_is_made_again_by_the_sweep() -> None:
    world = World()
    world.a_synthesizing_job(SENTENCE)
    world.dispatcher.fail_next("deliver", StoreUnavailable("lost"))
    with contextlib.suppress(StoreUnavailable):
        world.run()

    world.run_with_sweeps(seconds=300)

    assert world.job().status is JobStatus.COMPLETED
    assert len(world.bus.published) == 1
    delivery = world.store.delivery(world.job().tenant, world.job().id)
    assert delivery is not None
    assert delivery.due_at is None


def test_g1_g2_a_webhook_is_signed_and_repeated_with_the_same_id_until_it_is_taken() -> None:
    world = World()
    world.webhooks.answers = [500, 503]
    world.a_synthesizing_job(SENTENCE, webhook_url="https://customer.example/hook")

    world.run_with_sweeps(seconds=900)

    assert len(world.webhooks.sent) == 3
    assert len({sent.headers["webhook-id"] for sent in world.webhooks.sent}) == 1
    last = world.webhooks.sent[-1]
    secret = signing_secret(world.keys.signing, "default")
    signed = f"{last.headers['webhook-id']}.{last.headers['webhook-timestamp']}.".encode() + last.body
    expected = base64.b64encode(hmac.new(secret, signed, hashlib.sha256).digest()).decode()
    assert last.headers["webhook-signature"] == f"v1,{expected}"
    assert json.loads(last.body)["type"] == "job.completed"


def test_g1_a_webhook_that_is_gone_is_not_called_again() -> None:
    world = World()
    world.webhooks.answers = [410]
    world.a_synthesizing_job(SENTENCE, webhook_url="https://customer.example/hook")

    world.run_with_sweeps(seconds=900)

    delivery = world.store.delivery(world.job().tenant, world.job().id)
    assert delivery is not None
    assert delivery.outcome == "refused"
    assert len(world.webhooks.sent) == 1


def test_i21_a_webhook_that_never_answers_ends_recorded_as_exhausted() -> None:
    world = World()
    world.webhooks.fail_next("send", VendorUnavailable("no route", vendor="webhook"), times=50)
    world.a_synthesizing_job(SENTENCE, webhook_url="https://customer.example/hook")
    world.run()

    for _ in range(12):
        world.clock.advance(90_000)
        world.sweep()
        world.run()

    delivery = world.store.delivery(world.job().tenant, world.job().id)
    assert delivery is not None
    assert delivery.outcome == "exhausted"
    assert delivery.due_at is None


def test_a_repeated_delivery_message_tells_nobody_twice() -> None:
    world = World()
    job = world.a_synthesizing_job(SENTENCE, webhook_url="https://customer.example/hook")
    world.run()

    world.deliver(DeliverEvent(job.tenant, job.id))

    assert len(world.bus.published) == 1
    assert len(world.webhooks.sent) == 1


def test_g3_after_the_key_was_replaced_a_webhook_is_signed_under_both() -> None:
    world = World()
    before = world.keys.signing
    world.keys.rotate(b"another key" * 3)
    world.a_synthesizing_job(SENTENCE, webhook_url="https://customer.example/hook")

    world.run()

    [sent] = world.webhooks.sent
    signed = f"{sent.headers['webhook-id']}.{sent.headers['webhook-timestamp']}.".encode() + sent.body
    expected = [
        "v1," + base64.b64encode(hmac.digest(signing_secret(key, "default"), signed, "sha256")).decode()
        for key in (world.keys.signing, before)
    ]
    assert sent.headers["webhook-signature"].split(" ") == expected


@pytest.mark.parametrize("status", [301, 302, 307, 308, 400, 404, 429, 500, 503])
def test_g1_whatever_is_no_success_is_tried_again_on_a_schedule_under_the_same_name(status: int) -> None:
    world = World()
    world.webhooks.answers = [status]
    world.a_synthesizing_job(SENTENCE, webhook_url="https://customer.example/hook")

    world.run()
    first = world.clock.now()
    world.run_with_sweeps(seconds=600)

    assert world.clock.now() > first
    assert len(world.webhooks.sent) == 2
    assert len({sent.headers["webhook-id"] for sent in world.webhooks.sent}) == 1


def test_g1_s1_an_address_that_leads_inside_is_refused_once_and_for_all() -> None:
    world = World()
    world.webhooks.fail_next("send", EgressRefused("The address does not lead to the public internet."))
    world.a_synthesizing_job(SENTENCE, webhook_url="https://inside.customer.example/hook")

    world.run_with_sweeps(seconds=900)

    delivery = world.store.delivery(world.job().tenant, world.job().id)
    assert delivery is not None
    assert (delivery.outcome, delivery.due_at) == ("refused", None)
    assert world.webhooks.sent == []
