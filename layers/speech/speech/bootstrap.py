"""The composition root: which adapter stands behind which port. Each part is built when first used."""

from collections.abc import Callable
from functools import cache, cached_property, partial
from typing import TYPE_CHECKING, Any, TypeVar, cast

from speech.settings import Settings

if TYPE_CHECKING:
    from speech.aws.clients import Clients
    from speech.aws.dynamo import DynamoPolicies
    from speech.jobs import Job
    from speech.ports import (
        Cache,
        Clock,
        Dispatcher,
        EventBus,
        InputStore,
        JobStore,
        Keys,
        Policies,
        ResultStore,
        SegmentStore,
        TextStore,
        WebhookSender,
    )
    from speech.usecases.accept_job import AcceptJob
    from speech.usecases.assemble_audio import AssembleAudioUseCase
    from speech.usecases.cancel_job import CancelJob
    from speech.usecases.change_narrator import ChangeNarrator
    from speech.usecases.check_api_key import CheckApiKey
    from speech.usecases.check_segment import CheckSegmentUseCase
    from speech.usecases.clean_up import CleanUp
    from speech.usecases.close_failed_job import CloseFailedJob
    from speech.usecases.deliver_event import DeliverEventUseCase
    from speech.usecases.erase_job import EraseJob
    from speech.usecases.finish_job import FinishJob
    from speech.usecases.ingest_message import IngestMessage
    from speech.usecases.ingest_upload import IngestUpload
    from speech.usecases.list_vendors import ListVendors
    from speech.usecases.list_voices import ListVoices
    from speech.usecases.post_job import PostJob
    from speech.usecases.read_job import ReadJob
    from speech.usecases.read_vendor import ReadVendor
    from speech.usecases.settle_segment import SettleSegment
    from speech.usecases.single_flight import SingleFlight
    from speech.usecases.start_segment import StartSegmentUseCase
    from speech.usecases.sweep import Sweep
    from speech.usecases.vendor_callback import VendorCallback
    from speech.usecases.vendor_gate import VendorGate
    from speech.vendors.base import Capabilities, Vendor
    from speech.vendors.http import VendorClient


QUESTION_SECONDS = 10.0
"""For a question to a vendor while a client of the API waits: asked twice, it still ends within its 29 s."""


Part = TypeVar("Part")


class _Late:
    """Stands for a port or a verb, which is made when something is first asked of it."""

    def __init__(self, make: Callable[[], object]) -> None:
        self._make = make

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._made, name)
        setattr(self, name, value)
        return value

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return cast("Any", self._made)(*args, **kwargs)

    @cached_property
    def _made(self) -> object:
        return self._make()


def _late(make: Callable[["Services"], Part]) -> "cached_property[Part]":
    """What not every event needs: its client, and what it imports, would be most of a cold start."""
    return cached_property(lambda services: cast("Part", _Late(partial(make, services))))


class Services:
    """Everything a function may ask for. Imports stand in the properties: a cold start pays for what it uses."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._http: dict[str, VendorClient] = {}

    # --- Ports -------------------------------------------------------------------------------

    @cached_property
    def _clients(self) -> "Clients":
        from speech.aws.clients import Clients

        return Clients()

    @cached_property
    def clock(self) -> "Clock":
        from speech.aws.clock import SystemClock

        return SystemClock()

    @cached_property
    def store(self) -> "JobStore":
        from speech.aws.dynamo import DynamoJobStore

        return DynamoJobStore(self._clients.dynamodb, self.settings.jobs_table, policies=self._dynamo_policies)

    @cached_property
    def cache(self) -> "Cache":
        from speech.aws.dynamo import DynamoCache

        return DynamoCache(self._clients.dynamodb, self.settings.jobs_table)

    @property
    def policies(self) -> "Policies":
        return self._dynamo_policies

    @cached_property
    def _dynamo_policies(self) -> "DynamoPolicies":
        from speech.aws.dynamo import DynamoPolicies

        return DynamoPolicies(self._clients.dynamodb, self.settings.jobs_table)

    @_late
    def texts(self) -> "TextStore":
        from speech.aws.s3 import S3TextStore

        return S3TextStore(self._clients.s3, self.settings.work_bucket)

    @_late
    def audio(self) -> "SegmentStore":
        from speech.aws.s3 import S3SegmentStore

        return S3SegmentStore(self._clients.s3, self.settings.work_bucket)

    @_late
    def inputs(self) -> "InputStore":
        from speech.aws.s3 import S3InputStore

        return S3InputStore(self._clients.s3)

    @_late
    def results(self) -> "ResultStore":
        from speech.aws.s3 import S3ResultStore

        return S3ResultStore(self._clients.s3, self.settings.audio_bucket)

    @_late
    def dispatcher(self) -> "Dispatcher":
        from speech.aws.sqs import SqsDispatcher

        return SqsDispatcher(self._clients.sqs, self.settings.queue_urls)

    @_late
    def keys(self) -> "Keys":
        from speech.aws.secrets import SecretsKeys

        return SecretsKeys(
            self._clients.secrets,
            vendor_secret=self.settings.vendor_secret_arn,
            signing_secret=self.settings.signing_secret_arn,
        )

    @_late
    def bus(self) -> "EventBus":
        from speech.aws.events import EventBridgeBus

        return EventBridgeBus(self._clients.events, self.settings.event_bus_name)

    @_late
    def webhooks(self) -> "WebhookSender":
        from speech.vendors.http import HttpWebhookSender

        return HttpWebhookSender(local=self.settings.local)

    def vendor(self, name: str, *, fresh_keys: bool = False, seconds: float | None = None) -> "Vendor":
        """The adapter of a vendor; its connections are kept from one invocation to the next.

        `seconds` is how long its calls may take together, if that is less than what work may take.
        """
        from speech.vendors import vendor_class

        adapter = vendor_class(name)
        if name not in self._http:
            from speech.vendors.http import VendorClient

            self._http[name] = VendorClient(
                name,
                self.settings.base_urls.get(name) or adapter.base_url,
                local=self.settings.local,
                deadline_seconds=self.settings.vendor_deadline_seconds,
            )
        # A check may need several calls; together they must fit into one lease.
        longest = self.settings.vendor_deadline_seconds
        http = self._http[name].within(min(seconds or longest, longest))
        return adapter(http, self.keys.vendor_keys(fresh=fresh_keys))

    # --- Verbs -------------------------------------------------------------------------------

    @cached_property
    def accept_job(self) -> "AcceptJob":
        from speech import vendors
        from speech.usecases.accept_job import AcceptJob

        return AcceptJob(
            self.store,
            self.texts,
            self.dispatcher,
            self.clock,
            self.settings,
            vendors,
            self.policies,
            self.inputs,
        )

    @cached_property
    def read_job(self) -> "ReadJob":
        from speech.usecases.read_job import ReadJob

        return ReadJob(self.store, self.results, self.clock)

    @cached_property
    def post_job(self) -> "PostJob":
        from speech.usecases.post_job import PostJob

        return PostJob(self.accept_job)

    @cached_property
    def cancel_job(self) -> "CancelJob":
        from speech.usecases.cancel_job import CancelJob

        return CancelJob(self.store, self._finish)

    @cached_property
    def erase_job(self) -> "EraseJob":
        from speech.usecases.erase_job import EraseJob

        return EraseJob(self.store, self.cancel_job, self._clean_up, self.clock, self.settings)

    @_late
    def _clean_up(self) -> "CleanUp":
        from speech.usecases.clean_up import CleanUp

        return CleanUp(self.store, self.texts, self.audio, self.results, self.clock)

    @cached_property
    def check_api_key(self) -> "CheckApiKey":
        from speech.usecases.check_api_key import CheckApiKey

        return CheckApiKey(self.store, self.keys, self.clock)

    @cached_property
    def list_vendors(self) -> "ListVendors":
        from speech import vendors
        from speech.usecases.list_vendors import ListVendors

        return ListVendors(vendors, self.settings, self.policies, self.clock)

    @cached_property
    def list_voices(self) -> "ListVoices":
        from speech import vendors
        from speech.usecases.list_voices import ListVoices

        return ListVoices(vendors, partial(self.vendor, seconds=QUESTION_SECONDS), self.cache, self.settings)

    @cached_property
    def read_vendor(self) -> "ReadVendor":
        from speech import vendors
        from speech.usecases.read_vendor import ReadVendor

        return ReadVendor(vendors, self.list_vendors, partial(self.vendor, seconds=QUESTION_SECONDS), self.store)

    @cached_property
    def ingest_upload(self) -> "IngestUpload":
        from speech.usecases.ingest_upload import IngestUpload

        return IngestUpload(self.inputs, self.store, self.accept_job, self.settings)

    @cached_property
    def ingest_message(self) -> "IngestMessage":
        from speech.usecases.ingest_message import IngestMessage

        return IngestMessage(self.accept_job)

    @cached_property
    def vendor_callback(self) -> "VendorCallback":
        from speech.usecases.vendor_callback import VendorCallback
        from speech.vendors.creatify import read_callback

        return VendorCallback(self.keys, self.dispatcher, self.clock, read_callback)

    @_late
    def _finish(self) -> "FinishJob":
        from speech.usecases.finish_job import FinishJob

        return FinishJob(self.store, self.dispatcher, self.clock, self.settings)

    @_late
    def _settle(self) -> "SettleSegment":
        from speech.usecases.settle_segment import SettleSegment

        return SettleSegment(
            self.store, self.audio, self.dispatcher, self.clock, self.settings, self._finish, self._change
        )

    @cached_property
    def _change(self) -> "ChangeNarrator":
        from speech.usecases.change_narrator import ChangeNarrator
        from speech.vendors import capabilities

        return ChangeNarrator(
            self.store,
            self.texts,
            self.dispatcher,
            self.clock,
            self.settings,
            self._finish,
            capabilities,
            self.policies,
        )

    @cached_property
    def start_segment(self) -> "StartSegmentUseCase":
        from speech.usecases.start_segment import StartSegmentUseCase

        return StartSegmentUseCase(
            self.store,
            self.texts,
            self.audio,
            self.keys,
            self.clock,
            self.settings,
            self.vendor,
            self._settle,
            self._gate,
            self._flight,
        )

    @cached_property
    def _flight(self) -> "SingleFlight":
        from speech.usecases.single_flight import SingleFlight

        return SingleFlight(self.store, self.audio, self.clock, self._settle)

    @cached_property
    def _gate(self) -> "VendorGate":
        from speech.usecases.vendor_gate import VendorGate

        ask = partial(self.vendor, seconds=QUESTION_SECONDS)
        return VendorGate(self.store, self.policies, self.clock, self.settings, ask, self._settle)

    @cached_property
    def check_segment(self) -> "CheckSegmentUseCase":
        from speech.usecases.check_segment import CheckSegmentUseCase

        return CheckSegmentUseCase(
            self.store, self.keys, self.clock, self.settings, self.vendor, self._settle, self._gate
        )

    @cached_property
    def assemble_audio(self) -> "AssembleAudioUseCase":
        from speech.usecases.assemble_audio import AssembleAudioUseCase

        return AssembleAudioUseCase(
            self.store, self.texts, self.audio, self.results, self.clock, self.settings, self._finish
        )

    @cached_property
    def deliver_event(self) -> "DeliverEventUseCase":
        from speech.usecases.deliver_event import DeliverEventUseCase

        return DeliverEventUseCase(
            self.store, self.results, self.bus, self.webhooks, self.keys, self.clock, self.settings
        )

    @cached_property
    def sweep(self) -> "Sweep":
        from speech.usecases.sweep import Sweep

        def resume(job: "Job") -> None:
            self.accept_job.resume(job)

        def capabilities(name: str) -> "Capabilities":
            from speech import vendors

            return vendors.capabilities(name)

        return Sweep(
            self.store,
            self.clock,
            self.settings,
            self._settle,
            self._finish,
            resume,
            capabilities,
            self._clean_up,
        )

    @cached_property
    def close_failed_job(self) -> "CloseFailedJob":
        from speech.usecases.close_failed_job import CloseFailedJob

        return CloseFailedJob(self.store, self._finish, self.ingest_upload.give_up, self.ingest_message.give_up)


@cache
def services() -> Services:
    """The services of this process, from its environment."""
    return Services(Settings.from_env())
