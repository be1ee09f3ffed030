"""What queues, secrets and the event bus promise, in memory and in AWS; and how a batch of messages fails."""

import json
import logging
from collections.abc import Callable, Iterator, Mapping
from itertools import count
from typing import TYPE_CHECKING, Any

import pytest
from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord
from aws_lambda_powertools.utilities.typing import LambdaContext
from botocore.exceptions import ClientError, EndpointConnectionError

from speech.aws.batch import process_batch
from speech.aws.clients import Clients
from speech.aws.events import EventBridgeBus
from speech.aws.secrets import SecretsKeys
from speech.aws.sqs import SqsDispatcher
from speech.errors import StaleWrite, StoreUnavailable
from speech.messages import AssembleAudio, CheckSegment, DeliverEvent, Message, StartSegment
from speech.ports import Dispatcher, EventBus, Keys
from speech.settings import TENANT, BadSettings
from tests.fakes import JOB_ID, FakeClock, FakeDispatcher, FakeEventBus, FakeKeys
from tests.fakes.aws import create_queues, in_process_aws

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

_names = count()

QUEUES = ("voiceai", "checks", "assembly", "deliveries")


@pytest.fixture(scope="module")
def aws() -> Iterator[Clients]:
    with in_process_aws() as clients:
        yield clients


Listen = Callable[[Any, str, Any], None]


@pytest.fixture
def on_event() -> Iterator[Listen]:
    heard: list[tuple[Any, str, Any]] = []

    def listen(client: Any, event: str, handler: Any) -> None:
        client.meta.events.register_first(event, handler)
        heard.append((client, event, handler))

    yield listen
    for client, event, handler in heard:
        client.meta.events.unregister(event, handler)


# --- Queues ----------------------------------------------------------------------------------


@pytest.fixture
def queue_urls(aws: Clients) -> dict[str, str]:
    number = next(_names)
    urls = create_queues(aws.sqs, *(f"{name}-{number}" for name in QUEUES))
    return dict(zip(QUEUES, urls.values(), strict=True))


@pytest.fixture(params=["fake", "sqs"])
def dispatcher(request: pytest.FixtureRequest) -> Dispatcher:
    if request.param == "fake":
        return FakeDispatcher()
    return SqsDispatcher(request.getfixturevalue("aws").sqs, request.getfixturevalue("queue_urls"))


@pytest.fixture
def on_queue(dispatcher: Dispatcher, aws: Clients, queue_urls: Mapping[str, str]) -> Callable[[str], list[str]]:
    """The bodies that can be received from a queue now."""

    def read(queue: str) -> list[str]:
        if isinstance(dispatcher, FakeDispatcher):
            return [message.to_json() for message in dispatcher.on(queue)]
        bodies: list[str] = []
        while received := receive(aws.sqs, queue_urls[queue]):
            bodies += received
        return bodies

    return read


def receive(client: "SQSClient", url: str) -> list[str]:
    messages = client.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", [])
    return [message["Body"] for message in messages]


def starts(number: int) -> list[StartSegment]:
    return [StartSegment(TENANT, JOB_ID, index) for index in range(number)]


@pytest.mark.parametrize("number", [0, 1, 10, 11, 25])
def test_every_message_arrives_once_on_its_vendor_s_queue(
    dispatcher: Dispatcher, on_queue: Callable[[str], list[str]], number: int
) -> None:
    dispatcher.start("voiceai", starts(number))

    arrived = [StartSegment.from_json(body) for body in on_queue("voiceai")]

    assert sorted(arrived, key=lambda each: each.segment) == starts(number)


def test_every_kind_of_message_has_its_queue(dispatcher: Dispatcher, on_queue: Callable[[str], list[str]]) -> None:
    check = CheckSegment(TENANT, JOB_ID, 3, 1, hint="vj-1")

    dispatcher.check(check)
    dispatcher.assemble(AssembleAudio(TENANT, JOB_ID))
    dispatcher.deliver(DeliverEvent(TENANT, JOB_ID))

    assert on_queue("checks") == [check.to_json()]
    assert on_queue("assembly") == [AssembleAudio(TENANT, JOB_ID).to_json()]
    assert on_queue("deliveries") == [DeliverEvent(TENANT, JOB_ID).to_json()]


@pytest.mark.parametrize(
    ("delay", "seconds"), [(0, 0), (0.001, 1), (1.0, 1), (1.2, 2), (899.5, 900), (900, 900), (5_000, 900), (-3, 0)]
)
def test_a_delay_is_rounded_up_and_cut_to_what_a_queue_can_hold_back(
    aws: Clients, queue_urls: Mapping[str, str], on_event: Listen, delay: float, seconds: int
) -> None:
    asked: list[int] = []

    def note(params: dict[str, Any], **_: Any) -> None:
        body = json.loads(params["body"])
        asked.extend(entry["DelaySeconds"] for entry in body.get("Entries", [body]))

    on_event(aws.sqs, "before-call.sqs", note)
    dispatcher = SqsDispatcher(aws.sqs, queue_urls)

    dispatcher.start("voiceai", starts(2), delay=delay)
    dispatcher.check(CheckSegment(TENANT, JOB_ID, 0, 1), delay=delay)

    assert asked == [seconds] * 3


@pytest.mark.parametrize("number", [1, 12])
def test_t3_messages_to_a_vendor_are_in_the_group_of_their_job_and_the_queue_is_fair(
    aws: Clients, queue_urls: Mapping[str, str], on_event: Listen, number: int
) -> None:
    groups: list[str] = []

    def note(params: dict[str, Any], **_: Any) -> None:
        body = json.loads(params["body"])
        groups.extend(entry["MessageGroupId"] for entry in body.get("Entries", [body]))

    on_event(aws.sqs, "before-call.sqs", note)

    SqsDispatcher(aws.sqs, queue_urls).start("voiceai", starts(number))

    assert groups == [JOB_ID] * number


def test_e5_a_batch_that_is_partly_refused_is_not_taken_for_sent(
    aws: Clients, queue_urls: Mapping[str, str], on_event: Listen
) -> None:
    def refuse(parsed: dict[str, Any], **_: Any) -> None:
        parsed["Failed"] = [{"Id": "0", "Code": "InternalError", "SenderFault": False}]

    on_event(aws.sqs, "after-call.sqs.SendMessageBatch", refuse)

    with pytest.raises(StoreUnavailable, match="2 of 20 messages"):
        SqsDispatcher(aws.sqs, queue_urls).start("voiceai", starts(20))

    assert len(receive(aws.sqs, queue_urls["voiceai"])) == 10


def test_e1_a_queue_that_is_busy_is_unavailable(aws: Clients, queue_urls: Mapping[str, str], on_event: Listen) -> None:
    def throttle(**_: Any) -> None:
        raise ClientError({"Error": {"Code": "KmsThrottled"}}, "SendMessage")

    on_event(aws.sqs, "after-call.sqs.SendMessage", throttle)

    with pytest.raises(StoreUnavailable):
        SqsDispatcher(aws.sqs, queue_urls).assemble(AssembleAudio(TENANT, JOB_ID))


def test_a16_a_message_that_carries_more_than_ids_is_refused_at_sending(dispatcher: Dispatcher) -> None:
    with pytest.raises(ValueError, match="ids only"):
        dispatcher.check(CheckSegment(TENANT, JOB_ID, 0, 1, hint="x" * 9_000))


# --- Secrets ---------------------------------------------------------------------------------


class Secrets:
    """The vendor secret and the signing secret in moto, and how often they were read."""

    def __init__(self, clients: Clients, on_event: Listen, clock: FakeClock) -> None:
        number = next(_names)
        self.client = clients.secrets
        self.vendor = self.client.create_secret(Name=f"vendor-{number}", SecretString='{"A_KEY": "1"}')["ARN"]
        self.signing = self.client.create_secret(Name=f"signing-{number}", SecretString="s" * 64)["ARN"]
        self.reads = 0
        self.down: Exception | None = None
        self.clock = clock
        self.keys = SecretsKeys(self.client, vendor_secret=self.vendor, signing_secret=self.signing, clock=clock)
        on_event(self.client, "before-call.secretsmanager.GetSecretValue", self._on_read)

    def _on_read(self, **_: Any) -> None:
        self.reads += 1
        if self.down is not None:
            raise self.down

    def rotate(self, value: str) -> None:
        self.client.put_secret_value(SecretId=self.vendor, SecretString=value)

    def rotate_signing_key(self, value: str) -> None:
        self.client.put_secret_value(SecretId=self.signing, SecretString=value)


@pytest.fixture
def secrets(aws: Clients, on_event: Listen) -> Secrets:
    return Secrets(aws, on_event, FakeClock())


@pytest.mark.parametrize("kind", ["fake", "secretsmanager"])
def test_secrets_are_read(kind: str, request: pytest.FixtureRequest) -> None:
    keys: Keys = FakeKeys({"A_KEY": "1"}, b"s" * 64)
    if kind == "secretsmanager":
        keys = request.getfixturevalue("secrets").keys

    assert keys.vendor_keys() == {"A_KEY": "1"}
    assert keys.vendor_keys(fresh=True) == {"A_KEY": "1"}
    assert keys.signing_key() == b"s" * 64


@pytest.mark.parametrize("kind", ["fake", "secretsmanager"])
def test_e7_of_a_rotated_signing_key_the_one_before_is_known_too(kind: str, request: pytest.FixtureRequest) -> None:
    keys: Keys
    if kind == "fake":
        keys = fake = FakeKeys(signing=b"s" * 64)
        before = list(keys.signing_keys())
        fake.rotate(b"t" * 64)
    else:
        secrets: Secrets = request.getfixturevalue("secrets")
        keys = secrets.keys
        before = list(keys.signing_keys())
        secrets.rotate_signing_key("t" * 64)
        secrets.clock.advance(301)

    assert before == [b"s" * 64]
    assert keys.signing_key() == b"t" * 64
    assert list(keys.signing_keys()) == [b"t" * 64, b"s" * 64]


def test_e7_the_key_before_is_read_only_when_the_present_one_does_not_do_and_then_kept(secrets: Secrets) -> None:
    """A flood of what is not genuine must not become one of reads."""
    next(secrets.keys.signing_keys())
    present_only = secrets.reads
    for _ in range(50):
        list(secrets.keys.signing_keys())

    assert (present_only, secrets.reads) == (1, 2)


def test_e7_while_the_store_is_down_only_the_key_that_is_known_is_offered(secrets: Secrets) -> None:
    secrets.keys.signing_key()
    secrets.down = EndpointConnectionError(endpoint_url="secrets")

    assert list(secrets.keys.signing_keys()) == [b"s" * 64]


def test_a_secret_is_kept_for_five_minutes_and_no_longer(secrets: Secrets) -> None:
    """E10."""
    secrets.keys.vendor_keys()
    secrets.rotate('{"A_KEY": "2"}')

    secrets.clock.advance(299)
    kept = secrets.keys.vendor_keys()
    secrets.clock.advance(2)
    read_again = secrets.keys.vendor_keys()

    assert (kept, read_again) == ({"A_KEY": "1"}, {"A_KEY": "2"})
    assert secrets.reads == 2


def test_a_refused_key_is_read_past_the_cache_but_not_in_a_storm(secrets: Secrets) -> None:
    """C5."""
    secrets.keys.vendor_keys()
    secrets.rotate('{"A_KEY": "2"}')
    secrets.clock.advance(10)

    fresh = [secrets.keys.vendor_keys(fresh=True) for _ in range(50)]

    assert fresh == [{"A_KEY": "2"}] * 50
    assert secrets.reads == 2


def test_a_clock_that_jumps_back_does_not_make_a_secret_live_for_ever(secrets: Secrets) -> None:
    """E8."""
    secrets.keys.vendor_keys()
    secrets.rotate('{"A_KEY": "2"}')
    secrets.clock.advance(-86_400)

    assert secrets.keys.vendor_keys() == {"A_KEY": "2"}


@pytest.mark.parametrize(
    "down",
    [
        EndpointConnectionError(endpoint_url="secrets"),
        ClientError({"Error": {"Code": "AccessDeniedException"}}, "GetSecretValue"),
    ],
    ids=["unreachable", "denied"],
)
def test_e6_the_last_good_value_serves_for_a_while_when_the_store_is_down(secrets: Secrets, down: Exception) -> None:
    secrets.keys.vendor_keys()
    secrets.down = down

    secrets.clock.advance(3_000)
    served = [secrets.keys.vendor_keys() for _ in range(50)]
    reads = secrets.reads
    secrets.clock.advance(601)

    assert served == [{"A_KEY": "1"}] * 50
    assert reads == 2
    with pytest.raises((StoreUnavailable, ClientError)):
        secrets.keys.vendor_keys()


def test_e6_without_a_last_good_value_the_store_is_unavailable(secrets: Secrets) -> None:
    secrets.down = EndpointConnectionError(endpoint_url="secrets")

    with pytest.raises(StoreUnavailable):
        secrets.keys.signing_key()


def test_e6_a_secret_that_was_broken_by_hand_does_not_replace_the_last_good_one(secrets: Secrets) -> None:
    secrets.keys.vendor_keys()
    secrets.rotate("{not json")
    secrets.clock.advance(301)

    assert secrets.keys.vendor_keys() == {"A_KEY": "1"}


@pytest.mark.parametrize("value", ["secret-as-text", '["secret"]', '{"A_KEY": 7}', '{"A_KEY": '])
def test_a_secret_of_the_wrong_shape_is_named_and_not_quoted(secrets: Secrets, value: str) -> None:
    """I17."""
    secrets.rotate(value)

    with pytest.raises(BadSettings) as caught:
        secrets.keys.vendor_keys()

    assert "vendor secret" in str(caught.value)
    assert caught.value.__cause__ is None
    assert "A_KEY" not in str(caught.value)
    assert "secret-as-text" not in str(caught.value)


# --- Events ----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["fake", "eventbridge"])
def test_an_event_is_published(kind: str, aws: Clients, on_event: Listen) -> None:
    sent: list[dict[str, Any]] = []
    on_event(aws.events, "before-call.events.PutEvents", lambda params, **_: sent.append(json.loads(params["body"])))
    fake = FakeEventBus()
    bus: EventBus = fake if kind == "fake" else EventBridgeBus(aws.events, "default")

    bus.publish("Job completed", {"job_id": JOB_ID, "title": "é"})

    if kind == "fake":
        assert fake.published == [("Job completed", {"job_id": JOB_ID, "title": "é"})]
    else:
        (entry,) = sent[0]["Entries"]
        assert (entry["Source"], entry["DetailType"], entry["EventBusName"]) == (
            "voicedrop",
            "Job completed",
            "default",
        )
        assert json.loads(entry["Detail"]) == {"job_id": JOB_ID, "title": "é"}


def test_an_event_that_the_bus_refuses_is_not_taken_for_published(aws: Clients, on_event: Listen) -> None:
    def refuse(parsed: dict[str, Any], **_: Any) -> None:
        parsed["FailedEntryCount"] = 1

    on_event(aws.events, "after-call.events.PutEvents", refuse)

    with pytest.raises(StoreUnavailable):
        EventBridgeBus(aws.events, "default").publish("Job completed", {})


# --- Batches ---------------------------------------------------------------------------------


def a_batch(*messages: Message | str) -> dict[str, Any]:
    bodies = [each if isinstance(each, str) else each.to_json() for each in messages]
    return {
        "Records": [
            {
                "messageId": f"m{position}",
                "receiptHandle": "r",
                "body": body,
                "attributes": {"ApproximateReceiveCount": "1"},
                "messageAttributes": {},
                "eventSource": "aws:sqs",
                "eventSourceARN": "arn:aws:sqs:eu-central-1:123456789012:q",
                "awsRegion": "eu-central-1",
            }
            for position, body in enumerate(bodies)
        ]
    }


def test_a15_only_the_message_that_failed_is_reported() -> None:
    handled: list[str] = []

    def on_record(record: SQSRecord) -> None:
        if record.body == "poison":
            raise ValueError(record.body)
        handled.append(record.body)

    answer = process_batch(a_batch("one", "poison", "two"), on_record, LambdaContext())

    assert answer == {"batchItemFailures": [{"itemIdentifier": "m1"}]}
    assert handled == ["one", "two"]


@pytest.mark.parametrize("error", [StoreUnavailable("busy"), StaleWrite("late"), KeyError("bug")], ids=repr)
def test_a15_a_batch_of_which_everything_fails_is_reported_and_not_raised(error: Exception) -> None:
    def on_record(record: SQSRecord) -> None:
        raise error

    answer = process_batch(a_batch("one", "two"), on_record, LambdaContext())

    assert answer == {"batchItemFailures": [{"itemIdentifier": "m0"}, {"itemIdentifier": "m1"}]}


def test_a15_a_batch_that_succeeds_reports_nothing() -> None:
    answer = process_batch(a_batch("one"), lambda record: None, LambdaContext())

    assert answer == {"batchItemFailures": []}


def test_one_batch_does_not_remember_the_failures_of_another() -> None:
    def fail(record: SQSRecord) -> None:
        raise ValueError

    process_batch(a_batch("one"), fail, LambdaContext())

    assert process_batch(a_batch("two"), lambda record: None, LambdaContext()) == {"batchItemFailures": []}


def test_a_worker_that_is_killed_is_not_taken_for_a_message_that_failed() -> None:
    """B4: only exceptions are failures; the end of the process is the queue's own business."""

    def die(record: SQSRecord) -> None:
        raise SystemExit(1)

    with pytest.raises(SystemExit):
        process_batch(a_batch("one"), die, LambdaContext())


def test_a_failure_is_logged_without_the_message_and_without_a_bug_s_own_words(
    capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """T8, I17."""

    def on_record(record: SQSRecord) -> None:
        raise ValueError(f"cannot read {record.body}")

    with caplog.at_level(logging.DEBUG):
        process_batch(a_batch("canary text"), on_record, LambdaContext())

    out, err = capfd.readouterr()
    assert "canary" not in out + err + caplog.text
    assert "message failed" in caplog.messages
    assert "on_record" in str([vars(record).get("where") for record in caplog.records])
