"""Every role allows what its function needs and nothing else (T9).

The functions run on AWS in this process, each with the environment that the template gives it, through all the paths
that need a permission. What their calls need is compared with what the template grants, in both directions.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import count
from os.path import commonpath
from threading import Event
from typing import Any

import boto3
import pytest

from local.emulators import EMULATORS
from local.emulators.base import Emulator
from speech import jobs
from speech.apikeys import new_key
from speech.aws import s3
from speech.aws.clients import Clients
from speech.aws.clock import SystemClock
from speech.aws.dynamo import DynamoJobStore, DynamoPolicies
from speech.bootstrap import services
from speech.jobs import Job, JobStatus
from speech.messages import CheckSegment
from speech.policy import Lifecycle, Policy, Standing
from speech.prices import Price
from speech.segments import Attempt, Outcome, Segment, SegmentStatus
from speech.settings import TENANT
from speech.usecases import accept_job
from speech.vendors import VENDORS, keys_of
from tests.fakes.aws import create_bucket, create_queues, create_table, in_process_aws
from tests.support.edge import ROOT, Context, event, function
from tests.support.pictures import a_png
from tests.template.check import VARIANTS
from tests.template.permissions import (
    Permission,
    Watch,
    granted,
    needed_by_lambda,
    needed_for_own_key,
)
from tests.template.rules import Stack, logical_id
from tests.template.translated import decided, sam_template, translate

pytestmark = pytest.mark.filterwarnings("ignore:No application metrics:UserWarning")

FOLDERS = sorted(folder.parent.name for folder in (ROOT / "functions").glob("*/app.py"))
SIGNING_KEY = "s" * 48
CALLBACKS = "https://speech.example"
HOUR = 3_600
REAL_TIME = Event()
"""Never set: the emulators work in real time, while the clock of the stack leaps."""


def logical_name(folder: str) -> str:
    return "".join(part.capitalize() for part in folder.split("_")) + "Function"


@dataclass
class Cloud:
    """The stack of the template on AWS in this process; messages wait in `sent` until `run` hands them on."""

    stack: Stack
    clients: Clients
    emulators: Mapping[str, Emulator]
    watch: Watch
    names: Mapping[str, str]
    now: int
    sent: list[tuple[str, str, float]] = field(default_factory=list)
    meanwhile: Callable[[], object] | None = None
    """What happens, once, just before the next transaction: somebody else is faster."""
    key: str = ""
    numbers: Iterator[int] = field(default_factory=lambda: count(1))

    def __post_init__(self) -> None:
        self.store = DynamoJobStore(self.clients.dynamodb, self.names["JobsTable"])
        self.key, self.record = new_key(pepper=SIGNING_KEY.encode(), env="test", now=self.now)
        self.store.put_api_key(self.record)
        # PlayHT has closed; here, somebody speaks for it.
        in_service = Policy(lifecycle={"playht": Lifecycle(Standing.ACTIVE)})
        DynamoPolicies(self.clients.dynamodb, self.names["JobsTable"]).put(in_service)
        self.session = boto3.session.Session()
        self.watch.attach(self.session.events)
        self.session.events.register("before-parameter-build.sqs", self._keep)
        self.session.events.register_first("before-parameter-build.dynamodb.TransactWriteItems", self._interrupt)

    # --- the functions ---

    def environment(self, logical: str) -> dict[str, str]:
        """What the template tells a function, once AWS has resolved it."""
        return {
            name: str(self.names.get(logical_id(value), logical_id(value)))
            for name, value in self.stack.environment(logical).items()
        }

    def call(self, folder: str, sent: Mapping[str, Any]) -> Any:
        """Call a function that has just started: it knows nothing of earlier calls."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Clients, "_session", self.session)
            patch.setattr(SystemClock, "now", lambda _: self.now)
            patch.setattr(accept_job, "SEGMENTS_AT_CREATION", 2)
            for name, value in self.environment(logical_name(folder)).items():
                patch.setenv(name, value)
            services.cache_clear()
            self.watch.working = folder
            try:
                return function(folder).handler(dict(sent), Context())
            finally:
                services.cache_clear()

    def _keep(self, params: Mapping[str, Any], **_: Any) -> None:
        queue = params["QueueUrl"].rpartition("/")[2]
        for each in params.get("Entries", [params]):
            self.sent.append((queue, each["MessageBody"], each.get("DelaySeconds", 0)))

    def _interrupt(self, **_: Any) -> None:
        if (happens := self.meanwhile) is not None:
            self.meanwhile = None
            happens()

    def receive(self, queue: str, body: str) -> None:
        """Hand a message to the function that reads the queue."""
        (reader,) = self.stack.readers(queue)
        folder = next(each for each in FOLDERS if logical_name(each) == reader)
        (sample,) = event("start_segment")["Records"]
        self.call(folder, {"Records": [{**sample, "messageId": f"message-{next(self.numbers)}", "body": body}]})

    def run(self) -> None:
        """Hand on every message, and those that follow, letting the time pass that they wait for."""
        while self.sent:
            queue, body, delay = self.sent.pop(0)
            self.now += round(delay * 1000)
            if queue == "ChecksQueue":
                REAL_TIME.wait(0.1)
            self.receive(queue, body)

    def complete(self, job: Job) -> Job:
        """Run until the job has ended well; a busy machine's emulators may take a few sweeps."""
        for _ in range(20):
            self.run()
            if self.job(job.id).is_terminal:
                break
            self.now += 60_000
            self.call("sweep", event("schedule"))
        done = self.job(job.id)
        assert done.status is JobStatus.COMPLETED, done.problem
        return done

    def lose(self) -> None:
        """The messages that were sent are lost."""
        self.sent.clear()

    def sweep(self) -> None:
        """An hour later, the sweep comes by."""
        self.now += HOUR * 1000
        self.call("sweep", event("schedule"))

    @contextmanager
    def gone_before_it_is_looked_at(self, key: str) -> Iterator[None]:
        """A version under this key is there when it is listed, and not any more when it is asked for."""

        def take_away(params: Mapping[str, Any], **_: Any) -> None:
            if params["Key"] == key:
                self.clients.s3.delete_object(Bucket=params["Bucket"], Key=key, VersionId=params["VersionId"])

        self.session.events.register("before-parameter-build.s3.HeadObject", take_away)
        try:
            yield
        finally:
            self.session.events.unregister("before-parameter-build.s3.HeadObject", take_away)

    # --- the ways in ---

    def ask(self, name: str, path: str | None = None, **changes: Any) -> dict[str, Any]:
        """Send a sample request to the API, with a genuine key."""
        request = event(name)
        request["headers"]["authorization"] = f"Bearer {self.key}"
        request["headers"]["idempotency-key"] = f"order-{next(self.numbers)}"
        request["rawPath"] = request["requestContext"]["http"]["path"] = path or request["rawPath"]
        answer: dict[str, Any] = self.call("jobs_api", {**request, **changes})
        return answer

    def post(self, vendor: str, text: str = "", **options: Any) -> Job:
        """A job from the HTTP API, its messages sent."""
        body = {"vendor": vendor, "text": text or self.text(), "format": "wav", **options}
        answer = self.ask("api_post_job", body=json.dumps(body))
        assert answer["statusCode"] == 202, answer["body"]
        return self.job(json.loads(answer["body"])["id"])

    def drop(self, key: str, text: str | None, **options: str) -> str:
        """The message that tells of a drop; without text, of one that has gone."""
        version = None
        if text is not None:
            metadata = {f"voicedrop-{name}": value for name, value in options.items()}
            version = self.clients.s3.put_object(
                Bucket=self.names["TextsBucket"], Key=key, Body=text.encode(), Metadata=metadata
            )["VersionId"]
        body = json.loads(event("s3_put")["Records"][0]["body"])
        body["Records"][0]["s3"]["bucket"]["name"] = self.names["TextsBucket"]
        # Without a sequencer, of two drops within a second none is the newer one.
        drop = {"key": key, "sequencer": f"{next(self.numbers):016X}"}
        body["Records"][0]["s3"]["object"] = drop | ({"versionId": version} if version else {})
        return json.dumps(body)

    def text(self) -> str:
        return f"The harbour master counts {next(self.numbers)} boats home."

    # --- the rows ---

    def job(self, job_id: str) -> Job:
        job = self.store.get(TENANT, job_id)
        assert job is not None
        return job

    def dropped(self, key: str) -> Job:
        """The job of the newest version of a drop."""
        job_id = self.store.latest_upload(TENANT, self.names["TextsBucket"], key)
        assert job_id is not None
        return self.job(job_id)

    def segment(self, job: Job) -> Segment:
        segment = self.store.segment(TENANT, job.id, 0)
        assert segment is not None
        return segment

    def abandon(self, job: Job, *, calls: int = 1) -> Segment:
        """The caller of a job's segment has died, after so many calls, and its lease has ended."""
        segment = self.segment(job)
        attempts = tuple(
            Attempt(number=number, started_at=self.now, outcome=None if number == calls else Outcome.AMBIGUOUS)
            for number in range(1, calls + 1)
        )
        dead = replace(
            segment,
            rev=segment.rev + 1,
            status=SegmentStatus.CALLING,
            attempts=attempts,
            lease_until=self.now,
            due_at=self.now,
        )
        self.store.save_segment(dead)
        return dead

    def check(self, segment: Segment, hint: str | None = None) -> None:
        """A check of a segment, as a callback or the sweep sends it."""
        message = CheckSegment(
            tenant=TENANT, job_id=segment.job_id, segment=segment.index, attempt=segment.calls, hint=hint
        )
        self.receive("ChecksQueue", message.to_json())

    def prices(self) -> None:
        """The operator sets prices."""
        policies = DynamoPolicies(self.clients.dynamodb, self.names["JobsTable"])
        policies.put(Policy(prices={vendor: Price(per_character=0.001) for vendor in VENDORS}))

    def forget(self) -> None:
        """Nothing is left to do: no message, and no row but that of the API key."""
        self.lose()
        self.clients.dynamodb.delete_table(TableName=self.names["JobsTable"])
        create_table(self.clients.dynamodb, self.names["JobsTable"])
        self.store.put_api_key(self.record)

    def remove(self, bucket: str, prefix: str) -> None:
        """Whatever lies under a prefix of a bucket is gone."""
        pages = self.clients.s3.get_paginator("list_objects_v2").paginate(Bucket=self.names[bucket], Prefix=prefix)
        for key in [each["Key"] for page in pages for each in page.get("Contents", ())]:
            self.clients.s3.delete_object(Bucket=self.names[bucket], Key=key)


# ---------------------------------------------------------------- what happens


def jobs_of_every_vendor_from_every_way_in(cloud: Cloud) -> None:
    for vendor in VENDORS:
        job = cloud.complete(cloud.post(vendor))
        assert cloud.ask("api_get_job", f"/v1/jobs/{job.id}")["statusCode"] == 200
        request = {"vendor": vendor, "text": cloud.text(), "request_id": f"order-{next(cloud.numbers)}"}
        cloud.receive("RequestsQueue", json.dumps(request))
        cloud.receive("UploadsQueue", cloud.drop(f"{vendor}.txt", cloud.text(), vendor=vendor))
    cloud.run()
    dropped = cloud.dropped("voiceai.txt")
    assert cloud.ask("api_get_job", f"/v1/jobs/{dropped.id}")["statusCode"] == 200


def what_cannot_become_a_job(cloud: Cloud) -> None:
    cloud.receive("RequestsQueue", json.dumps({"vendor": "nobody", "text": cloud.text()}))
    cloud.receive("UploadsQueue", cloud.drop("gone.txt", None))
    cloud.receive("UploadsQueue", cloud.drop("empty.txt", ""))
    cloud.run()


def covers_that_are_there_and_not(cloud: Cloud) -> None:
    cloud.clients.s3.put_object(Bucket=cloud.names["AudioBucket"], Key="cover.png", Body=a_png())
    cloud.complete(cloud.post("voiceai", cover="cover.png"))
    for key in ("cover.png", "missing.png"):
        request = {"vendor": "voiceai", "text": cloud.text(), "cover": key}
        assert cloud.ask("api_post_job", body=json.dumps(request))["statusCode"] == (202 if key == "cover.png" else 422)
        cloud.receive("RequestsQueue", json.dumps(request))
        cloud.receive("UploadsQueue", cloud.drop(f"{key}.txt", cloud.text(), vendor="voiceai", cover=key))
    cloud.run()


def the_lists_of_voices(cloud: Cloud) -> None:
    answer = cloud.ask("api_list_vendors", "/v1/voices", rawQueryString="vendor=voiceai")
    assert answer["statusCode"] == 200, answer["body"]
    assert cloud.ask("api_list_vendors", "/v1/vendors/creatify")["statusCode"] == 200


def a_result_from_before_there_were_versions(cloud: Cloud) -> None:
    cloud.receive("UploadsQueue", cloud.drop("older.txt", cloud.text(), vendor="voiceai"))
    for job in (cloud.dropped("older.txt"), cloud.post("voiceai")):
        done = cloud.complete(job)
        assert done.result is not None
        cloud.store.save(replace(done, rev=done.rev + 1, result=replace(done.result, versions={})))
        assert cloud.ask("api_get_job", f"/v1/jobs/{done.id}")["statusCode"] == 200


def a_long_text(cloud: Cloud) -> None:
    done = cloud.complete(cloud.post("voiceai", " ".join(cloud.text() for _ in range(30))))
    assert (done.segments_total or 0) > 2


def the_same_text_again(cloud: Cloud) -> None:
    text = cloud.text()
    for _ in range(2):
        cloud.complete(cloud.post("voiceai", text))


def vendors_that_fail_once(cloud: Cloud) -> None:
    for vendor in VENDORS:
        cloud.emulators[vendor].faults.play("throttled", times=1)
        cloud.post(vendor)
        cloud.run()


def vendors_that_refuse_for_good(cloud: Cloud) -> None:
    for vendor in VENDORS:
        cloud.emulators[vendor].faults.play("rejected", times=1)
        cloud.post(vendor, webhook_url="https://127.0.0.1:9/told")
        cloud.run()
    cloud.emulators["voiceai"].faults.play("rejected", times=1)
    cloud.receive("UploadsQueue", cloud.drop("refused.txt", cloud.text(), vendor="voiceai"))
    cloud.run()
    cloud.emulators["creatify"].faults.play("job-failed", times=1)
    cloud.post("creatify")
    cloud.run()


def a_job_that_ends_while_its_segment_fails(cloud: Cloud) -> None:
    def end(job: Job) -> Callable[[], object]:
        return lambda: cloud.store.save(jobs.postpone(job, due_at=cloud.now + HOUR))

    cloud.emulators["voiceai"].faults.play("rejected", times=1)
    cloud.meanwhile = None
    job = cloud.post("voiceai")
    cloud.meanwhile = end(job)
    cloud.run()
    cloud.emulators["creatify"].faults.play("job-failed", times=1)
    job = cloud.post("creatify")
    cloud.meanwhile = end(job)
    cloud.run()


def a_callback(cloud: Cloud) -> None:
    cloud.post("creatify")
    queue, body, _ = cloud.sent.pop()
    cloud.receive(queue, body)
    made = list(cloud.emulators["creatify"].jobs.values())[-1]  # type: ignore[attr-defined]  # Creatify's alone
    token = made.webhook_url.rpartition("/")[2]
    called = {**event("creatify_callback"), "rawPath": f"/callbacks/creatify/{token}"}
    answer = cloud.call(
        "vendor_callback",
        {
            **called,
            "pathParameters": {"token": token},
            "body": json.dumps({"id": made.id, "status": "done"}),
        },
    )
    assert answer["statusCode"] == 204
    cloud.run()


def callers_that_died(cloud: Cloud) -> None:
    for vendor in VENDORS:
        job = cloud.post(vendor)
        cloud.check(cloud.abandon(job))
        cloud.abandon(cloud.post(vendor))
    cloud.check(cloud.abandon(cloud.post("playht"), calls=4))
    cloud.abandon(cloud.post("voiceai"), calls=4)
    cloud.lose()
    cloud.sweep()


def a_vendor_that_takes_its_time(cloud: Cloud) -> None:
    cloud.emulators["creatify"].switches.hold = True  # type: ignore[attr-defined]  # Creatify's alone
    cloud.post("creatify")
    for _ in range(2):
        cloud.receive(*cloud.sent.pop()[:2])
    cloud.emulators["creatify"].switches.hold = False  # type: ignore[attr-defined]  # as above


def audio_that_somebody_else_stored_meanwhile(cloud: Cloud) -> None:
    """The vendor works on a segment, and another job with the same text is faster."""
    text = cloud.text()
    cloud.post("creatify", text)
    start = cloud.sent.pop()
    cloud.receive(*start[:2])
    (check,) = cloud.sent
    cloud.lose()
    cloud.complete(cloud.post("creatify", text))
    cloud.receive(*check[:2])
    cloud.run()


def messages_that_are_lost(cloud: Cloud) -> None:
    for vendor in VENDORS:
        cloud.post(vendor)
        cloud.lose()  # the start
    cloud.sweep()
    cloud.run()
    cloud.post("creatify")
    cloud.receive(*cloud.sent.pop()[:2])
    cloud.lose()  # the check
    cloud.sweep()
    cloud.run()
    for steps in (1, 2):
        cloud.post("voiceai")
        for _ in range(steps):
            cloud.receive(*cloud.sent.pop()[:2])
        cloud.lose()  # the assembly, and then the delivery
        cloud.sweep()
        cloud.run()


def an_acceptance_that_was_cut_off(cloud: Cloud) -> None:
    for text_is_there in (True, False):
        job = cloud.post("voiceai", " ".join(cloud.text() for _ in range(30)))
        cloud.lose()
        cloud.store.save(replace(job, rev=job.rev + 1, status=JobStatus.ACCEPTED, due_at=cloud.now))
        if not text_is_there:
            cloud.remove("WorkBucket", "texts/")
        cloud.sweep()
        cloud.lose()


def stored_things_that_are_gone(cloud: Cloud) -> None:
    cloud.post("voiceai")
    cloud.receive(*cloud.sent.pop()[:2])
    cloud.remove("WorkBucket", "segments/")
    cloud.run()
    cloud.post("voiceai")
    cloud.remove("WorkBucket", "texts/")
    cloud.run()


def jobs_with_a_budget(cloud: Cloud) -> None:
    cloud.prices()
    cloud.receive("RequestsQueue", json.dumps({"vendor": "voiceai", "text": cloud.text(), "max_cost": 1}))
    cloud.receive("UploadsQueue", cloud.drop("budget.txt", cloud.text(), vendor="voiceai", **{"max-cost": "1"}))
    cloud.complete(cloud.post("voiceai", max_cost=1))


def narrators_who_give_up(cloud: Cloud) -> None:
    cloud.prices()
    for vendor, fault, other in (
        ("voiceai", "rejected", "convai"),
        ("creatify", "job-failed", "dify"),
        ("dify", "rejected", "playht"),
        ("convai", "rejected", "creatify"),
        ("playht", "rejected", "voiceai"),
    ):
        cloud.emulators[vendor].faults.play(fault, times=1)
        done = cloud.complete(cloud.post(vendor, max_cost=50, fallback=[other]))
        assert done.spec is not None
        assert done.spec.vendor == other


def jobs_that_are_cancelled(cloud: Cloud) -> None:
    job = cloud.post("voiceai")
    assert cloud.ask("api_post_job", f"/v1/jobs/{job.id}/cancel", body="")["statusCode"] == 200
    cloud.run()


def audio_that_is_gone_and_costs_anew(cloud: Cloud) -> None:
    """For a job with a budget, what was stored and is there no longer is reserved again."""
    job = cloud.post("voiceai")
    cloud.receive(*cloud.sent.pop()[:2])
    stored = cloud.segment(job)
    cloud.store.save_segment(replace(stored, rev=stored.rev + 1, reserved=0.01))
    here = cloud.job(job.id)
    cloud.store.save(replace(here, rev=here.rev + 1, max_cost=5.0))
    cloud.remove("WorkBucket", "segments/")
    cloud.run()


def jobs_that_are_erased(cloud: Cloud) -> None:
    cloud.receive("UploadsQueue", cloud.drop("erased.txt", cloud.text()))
    cloud.run()
    done = cloud.complete(cloud.post("voiceai"))
    waiting = cloud.post("voiceai", " ".join(cloud.text() for _ in range(30)))
    dropped = cloud.store.latest_upload(TENANT, cloud.names["TextsBucket"], "erased.txt")
    for job_id in (done.id, waiting.id, dropped):
        assert cloud.ask("api_delete_job", f"/v1/jobs/{job_id}", body="")["statusCode"] == 204
    cloud.clients.s3.put_object(
        Bucket=cloud.names["AudioBucket"], Key="erased.txt.mp3", Metadata={"job-id": str(dropped)}
    )
    cloud.sweep()
    assert not cloud.clients.s3.list_object_versions(Bucket=cloud.names["AudioBucket"], Prefix="erased").get("Versions")


def what_comes_back_after_an_erasure(cloud: Cloud) -> None:
    """Put there by who was still at work; and what somebody else takes away at the same moment."""
    job = cloud.complete(cloud.post("voiceai"))
    key = f"jobs/{job.id}.wav"
    with cloud.gone_before_it_is_looked_at(key):
        assert cloud.ask("api_delete_job", f"/v1/jobs/{job.id}", body="")["statusCode"] == 204
    cloud.clients.s3.put_object(Bucket=cloud.names["WorkBucket"], Key=f"texts/{TENANT}/{job.id}-late.txt", Body=b"late")
    for late in (key, f"jobs/{job.id}.vtt"):
        cloud.clients.s3.put_object(Bucket=cloud.names["AudioBucket"], Key=late, Metadata={"job-id": job.id})
    with cloud.gone_before_it_is_looked_at(key):
        cloud.sweep()


def a_file_that_is_dropped_again(cloud: Cloud) -> None:
    for _ in range(2):
        cloud.receive("UploadsQueue", cloud.drop("again.txt", cloud.text()))
        cloud.run()
        job = cloud.dropped("again.txt")
        assert job.status is JobStatus.COMPLETED
        assert job.result is not None
        assert job.result.key == "again.txt"
        cloud.remove("AudioBucket", "again.txt.srt")


def results_that_are_sent_in_parts(cloud: Cloud) -> None:
    """One goes well; at the end of another, something else lies in its place."""
    key = "large.txt.mp3"
    interruptions = iter((None, b"somebody else's"))

    def interrupt(params: Mapping[str, Any], **_: Any) -> None:
        if body := next(interruptions, None):
            cloud.clients.s3.put_object(Bucket=params["Bucket"], Key=key, Body=body)

    cloud.session.events.register("before-parameter-build.s3.CompleteMultipartUpload", interrupt)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(s3, "ONE_PUT_BYTES", 0)
        for _ in range(2):
            cloud.receive("UploadsQueue", cloud.drop("large.txt", cloud.text()))
            cloud.run()
            assert cloud.dropped("large.txt").status is JobStatus.COMPLETED
    cloud.session.events.unregister("before-parameter-build.s3.CompleteMultipartUpload", interrupt)


def a_job_that_ends_while_it_is_published(cloud: Cloud) -> None:
    job = cloud.post("voiceai")
    for _ in range(2):
        cloud.receive(*cloud.sent.pop(0)[:2])
        if cloud.job(job.id).status is JobStatus.ASSEMBLING:
            cloud.meanwhile = lambda: cloud.ask("api_cancel_job", f"/v1/jobs/{job.id}/cancel", body="")
    cloud.run()
    cloud.sweep()


def dead_letters(cloud: Cloud) -> None:
    cloud.post("voiceai")
    _, body, _ = cloud.sent.pop()
    cloud.receive("DeadLetterQueue", body)
    cloud.receive("DeadLetterQueue", cloud.drop("dead.txt", cloud.text()))
    cloud.receive("DeadLetterQueue", cloud.drop("dead and gone.txt", None))
    cloud.receive("DeadLetterQueue", json.dumps({"text": cloud.text()}))
    cloud.run()


PATHS: tuple[Callable[[Cloud], None], ...] = (
    jobs_of_every_vendor_from_every_way_in,
    what_cannot_become_a_job,
    covers_that_are_there_and_not,
    the_lists_of_voices,
    a_result_from_before_there_were_versions,
    a_long_text,
    the_same_text_again,
    vendors_that_fail_once,
    vendors_that_refuse_for_good,
    a_job_that_ends_while_its_segment_fails,
    a_callback,
    callers_that_died,
    a_vendor_that_takes_its_time,
    audio_that_somebody_else_stored_meanwhile,
    messages_that_are_lost,
    an_acceptance_that_was_cut_off,
    stored_things_that_are_gone,
    audio_that_is_gone_and_costs_anew,
    jobs_with_a_budget,
    narrators_who_give_up,
    jobs_that_are_cancelled,
    jobs_that_are_erased,
    what_comes_back_after_an_erasure,
    a_file_that_is_dropped_again,
    results_that_are_sent_in_parts,
    a_job_that_ends_while_it_is_published,
    dead_letters,
)


# ---------------------------------------------------------------- what was needed, and what is granted


@pytest.fixture(scope="module")
def needed() -> Iterator[Mapping[str, set[Permission]]]:
    """What each function has needed on all the paths."""
    with ExitStack() as running:
        clients = running.enter_context(in_process_aws())
        emulators = {name: running.enter_context(emulator(**emulator.in_tests)) for name, emulator in EMULATORS.items()}
        voices = (f"{name}={each.default_voice}" for name, each in emulators.items() if each.default_voice)
        parameters = {
            "Local": "true",
            "CallbackBaseUrl": CALLBACKS,
            "DefaultVoices": ", ".join(voices),
            **{f"{name.capitalize()}BaseUrl": each.url for name, each in emulators.items()},
        }
        stack = Stack(decided(translate(sam_template()), parameters))
        names = {"JobsTable": create_table(clients.dynamodb, "JobsTable"), "EventBus": "EventBus"}
        for bucket in stack.of("AWS::S3::Bucket"):
            versioned = "VersioningConfiguration" in stack.of("AWS::S3::Bucket")[bucket]
            names[bucket] = create_bucket(clients.s3, bucket.lower(), versioned=versioned)
        names |= create_queues(clients.sqs, *stack.of("AWS::SQS::Queue"))
        clients.events.create_event_bus(Name="EventBus")
        keys = {key: "vk_right" for vendor in VENDORS for key in keys_of(vendor)}
        for name, value in (("VendorSecret", json.dumps(keys)), ("SigningSecret", SIGNING_KEY)):
            names[name] = clients.secrets.create_secret(Name=name, SecretString=value)["ARN"]
        logical = {name: name for name in names} | {name: each for each, name in names.items()}
        watch = Watch(logical)
        cloud = Cloud(stack, clients, emulators, watch, names, now=SystemClock().now())
        for path in PATHS:
            path(cloud)
            cloud.forget()
        yield watch.needed


@cache
def stack_of(variant: str) -> Stack:
    return Stack(decided(translate(sam_template()), VARIANTS[variant]))


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("folder", FOLDERS)
def test_t9_a_function_needs_nothing_that_its_role_does_not_allow(
    needed: Mapping[str, set[Permission]], folder: str, variant: str
) -> None:
    stack = stack_of(variant)
    allowed = granted(stack, logical_name(folder))

    wanted = everything(needed[folder], stack, folder, variant)

    assert [str(each) for each in sorted(wanted) if not any(grant.covers(each) for grant in allowed)] == []


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("folder", FOLDERS)
def test_t9_a_role_allows_nothing_that_its_function_does_not_need(
    needed: Mapping[str, set[Permission]], folder: str, variant: str
) -> None:
    stack = stack_of(variant)
    allowed = granted(stack, logical_name(folder))

    wanted = everything(needed[folder], stack, folder, variant)

    assert [str(grant) for grant in sorted(allowed) if not any(grant.covers(each) for each in wanted)] == []


@pytest.mark.parametrize("folder", FOLDERS)
def test_t9_a_role_opens_no_more_of_a_bucket_than_its_function_uses(
    needed: Mapping[str, set[Permission]], folder: str
) -> None:
    for grant in granted(stack_of("by the defaults"), logical_name(folder)):
        used = [each.inside for each in needed[folder] if grant.covers(each) and "*" in grant.inside]
        folder_of_all = commonpath([inside.rpartition("/")[0] for inside in used or [""]]).partition("/")[0]

        assert grant.inside.startswith(folder_of_all), f"{grant} need only be on {folder_of_all}/*"


def everything(needed: set[Permission], stack: Stack, folder: str, variant: str) -> set[Permission]:
    """What a function needs, and what Lambda does in its name, under the keys of the variant."""
    whole = needed | needed_by_lambda(stack, logical_name(folder))
    return whole | (needed_for_own_key(whole) if "KmsKeyArn" in VARIANTS[variant] else set())
