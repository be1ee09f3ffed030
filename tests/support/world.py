"""The whole inside on fakes: every use case wired together, a scripted vendor, and queues a test can run dry."""

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import soundfile

from speech.errors import UnsupportedOperation
from speech.jobs import Job, JobStatus
from speech.messages import AssembleAudio, CheckSegment, DeliverEvent, StartSegment
from speech.segments import Segment, SegmentStatus
from speech.settings import TENANT, Settings
from speech.usecases.assemble_audio import AssembleAudioUseCase
from speech.usecases.cancel_job import CancelJob
from speech.usecases.change_narrator import ChangeNarrator
from speech.usecases.check_segment import CheckSegmentUseCase
from speech.usecases.clean_up import CleanUp
from speech.usecases.close_failed_job import CloseFailedJob
from speech.usecases.deliver_event import DeliverEventUseCase
from speech.usecases.erase_job import EraseJob
from speech.usecases.finish_job import FinishJob
from speech.usecases.settle_segment import SettleSegment
from speech.usecases.single_flight import SingleFlight
from speech.usecases.start_segment import StartSegmentUseCase
from speech.usecases.sweep import Sweep
from speech.usecases.vendor_gate import VendorGate
from speech.vendors.base import AudioReady, Capabilities, Delivery, StillWorking, SynthesisRequest, Vendor, VendorHttp
from tests.fakes import (
    FakeClock,
    FakeDispatcher,
    FakeEventBus,
    FakeJobStore,
    FakeKeys,
    FakePolicies,
    FakeResultStore,
    FakeSegmentStore,
    FakeTextStore,
    FakeWebhookSender,
    Sent,
    a_job,
    a_segment,
    a_spec,
)
from tests.support.manifests import CheckedResults

Answer = AudioReady | StillWorking | BaseException


def spoken(characters: int, *, rate: int = 16_000, level: float = 0.3) -> bytes:
    """A WAV as long as so many characters take to say, with something to hear in it."""
    frames = round(characters / 15 * rate)
    tone = level * np.sin(2 * np.pi * 220 * np.arange(frames) / rate)
    buffer = io.BytesIO()
    soundfile.write(buffer, tone, rate, format="WAV", subtype="PCM_16")
    return buffer.getvalue()


class ScriptedVendor(Vendor):
    """Answers what the test laid out, in order; speaks when nothing is laid out."""

    name = "scripted"
    capabilities = Capabilities(
        title="Scripted",
        delivery=(Delivery.IMMEDIATE,),
        character_limit=1000,
        voice_required=False,
        audio_formats=("wav",),
    )

    def __init__(self) -> None:
        self.starts: list[Answer] = []
        self.checks: list[Answer] = []
        self.reconciled: StillWorking | Exception | None = UnsupportedOperation("no list")
        self.requests: list[SynthesisRequest] = []
        self.callback_urls: list[str | None] = []
        self.checked: list[str] = []
        self.asked_for: list[Sequence[str]] = []

    def start(self, request: SynthesisRequest, *, callback_url: str | None = None) -> AudioReady | StillWorking:
        self.requests.append(request)
        self.callback_urls.append(callback_url)
        answer = self.starts.pop(0) if self.starts else AudioReady(spoken(len(request.text)), "audio/wav")
        return _given(answer)

    def check(self, vendor_job_id: str) -> AudioReady | StillWorking:
        self.checked.append(vendor_job_id)
        answer = self.checks.pop(0) if self.checks else AudioReady(spoken(len(self.requests[-1].text)), "audio/wav")
        return _given(answer)

    def reconcile(self, callback_urls: Sequence[str]) -> StillWorking | None:
        self.asked_for.append(callback_urls)
        if isinstance(self.reconciled, Exception):
            raise self.reconciled
        return self.reconciled


class CallbackVendor(ScriptedVendor):
    capabilities = Capabilities(
        title="Calls back",
        delivery=(Delivery.CALLBACK, Delivery.POLLED),
        character_limit=1000,
        voice_required=False,
        audio_formats=("wav",),
    )


def _given(answer: Answer) -> AudioReady | StillWorking:
    if isinstance(answer, BaseException):
        raise answer
    return answer


VendorMaker = Callable[[], Vendor]


@dataclass
class World:
    """`run` takes what is due from the queues until nothing is left that is due.

    `adapter` makes a real vendor in the scripted one's place; `others` are further ones, by their names.
    """

    vendor: ScriptedVendor = field(default_factory=ScriptedVendor)
    settings: Settings = field(
        default_factory=lambda: Settings(callback_base_url="https://speech.example", lease_seconds=120)
    )
    clock: FakeClock = field(default_factory=FakeClock)
    store: FakeJobStore = field(default_factory=FakeJobStore)
    texts: FakeTextStore = field(default_factory=FakeTextStore)
    audio: FakeSegmentStore = field(default_factory=FakeSegmentStore)
    results: FakeResultStore = field(default_factory=CheckedResults)
    dispatcher: FakeDispatcher = field(default_factory=FakeDispatcher)
    keys: FakeKeys = field(default_factory=FakeKeys)
    bus: FakeEventBus = field(default_factory=FakeEventBus)
    webhooks: FakeWebhookSender = field(default_factory=FakeWebhookSender)
    policies: FakePolicies = field(default_factory=FakePolicies)
    others: dict[str, ScriptedVendor] = field(default_factory=dict)
    adapter: VendorMaker | None = None
    resumed: list[Job] = field(default_factory=list)
    waiting: list[tuple[int, Sent]] = field(default_factory=list)
    fresh_keys: int = 0

    def __post_init__(self) -> None:
        common: dict[str, Any] = {"store": self.store, "clock": self.clock, "settings": self.settings}
        self.finish = FinishJob(dispatcher=self.dispatcher, **common)
        self.change = ChangeNarrator(
            texts=self.texts,
            dispatcher=self.dispatcher,
            finish=self.finish,
            capabilities=lambda name: self._vendor(name).capabilities,
            policies=self.policies,
            **common,
        )
        self.settle = SettleSegment(
            audio=self.audio, dispatcher=self.dispatcher, finish=self.finish, change=self.change, **common
        )
        self.gate = VendorGate(policies=self.policies, vendors=self._vendor, settle=self.settle, **common)
        self.start = StartSegmentUseCase(
            texts=self.texts,
            audio=self.audio,
            keys=self.keys,
            vendors=self._vendor,
            settle=self.settle,
            gate=self.gate,
            flight=SingleFlight(self.store, self.audio, self.clock, self.settle),
            **common,
        )
        self.check = CheckSegmentUseCase(
            keys=self.keys, vendors=self._vendor, settle=self.settle, gate=self.gate, **common
        )
        self.assemble = AssembleAudioUseCase(
            texts=self.texts, audio=self.audio, results=self.results, finish=self.finish, **common
        )
        self.deliver = DeliverEventUseCase(
            results=self.results, bus=self.bus, webhooks=self.webhooks, keys=self.keys, **common
        )
        self.clean_up = CleanUp(self.store, self.texts, self.audio, self.results, self.clock)
        self.sweep = Sweep(
            clean_up=self.clean_up,
            settle=self.settle,
            finish=self.finish,
            resume=self.resumed.append,
            capabilities=lambda name: self._vendor(name).capabilities,
            **common,
        )
        self.cancel = CancelJob(self.store, self.finish)
        self.erase = EraseJob(self.store, self.cancel, self.clean_up, self.clock, self.settings)
        self.refused: list[str] = []
        self.close = CloseFailedJob(
            store=self.store,
            finish=self.finish,
            refuse_upload=self.refused.append,
            refuse_message=lambda body, _: self.refused.append(body),
        )

    def _vendor(self, name: str, *, fresh_keys: bool = False) -> Vendor:
        self.fresh_keys += fresh_keys
        return self.adapter() if self.adapter else self.others.get(name, self.vendor)

    def a_synthesizing_job(self, *texts: str, **changes: Any) -> Job:
        """A job whose segments are pending and whose messages are on their queue."""
        texts = texts or ("The sun is up now.",)
        now = self.clock.now()
        facts: dict[str, Any] = {
            "status": JobStatus.SYNTHESIZING,
            "segments_total": len(texts),
            "characters": sum(map(len, texts)),
            "due_at": now + 60_000,
            "deadline_at": now + 3_600_000,
            "spec": a_spec(vendor="scripted"),
        }
        job = a_job(**(facts | changes))
        self.store.put(job)
        start = 0
        for index, text in enumerate(texts):
            end = start + len(text.encode())
            self.store.put(
                a_segment(
                    job_id=job.id,
                    index=index,
                    start=start,
                    end=end,
                    characters=len(text),
                    audio_key=f"key-{index}-{text}",
                    due_at=now + 120_000,
                )
            )
            self.dispatcher.start("scripted", [StartSegment(tenant=job.tenant, job_id=job.id, segment=index)])
            start = end
        self.texts.put_text(job.tenant, job.text_id, "".join(texts).encode())
        return job

    def job(self, job_id: str | None = None) -> Job:
        job = self.store.get(TENANT, job_id or self.store.jobs()[-1].id)
        assert job is not None
        return job

    def segment(self, index: int = 0) -> Segment:
        segment = self.store.segment(TENANT, self.store.jobs()[-1].id, index)
        assert segment is not None
        return segment

    def handle(self, sent: Sent) -> None:
        handlers: Mapping[type, Any] = {
            StartSegment: self.start,
            CheckSegment: self.check,
            AssembleAudio: self.assemble,
            DeliverEvent: self.deliver,
        }
        handlers[type(sent.message)](sent.message)

    def run(self, *, seconds: float = 0) -> None:
        """Handle every message, letting time pass for delayed ones, up to `seconds` from now."""
        end = self.clock.now() + round(seconds * 1000)
        waiting = self.waiting
        for _ in range(10_000):
            now = self.clock.now()
            waiting += [(now + round(sent.delay * 1000), sent) for sent in self.dispatcher.take()]
            waiting.sort(key=lambda each: each[0])
            if not waiting or waiting[0][0] > max(end, now):
                break
            at, sent = waiting.pop(0)
            self.clock.set(max(now, at))
            self.handle(sent)
        self.clock.set(max(end, self.clock.now()))

    def run_with_sweeps(self, *, seconds: float, every: float = 60) -> None:
        """As `run`, with the sweep coming by as it does in the cloud."""
        for _ in range(round(seconds / every)):
            self.run(seconds=every)
            self.sweep()
        self.run()


def is_settled(world: World) -> bool:
    return world.job().is_terminal and all(
        segment.status in (SegmentStatus.STORED, SegmentStatus.FAILED) or segment.due_at is None
        for segment in world.store.segments(TENANT, world.job().id)
    )


__all__ = ["CallbackVendor", "ScriptedVendor", "VendorHttp", "World", "is_settled", "spoken"]
