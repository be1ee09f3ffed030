"""PlayHT's API v2, as its documents and clients describe it: a job with a stream of events, or to be polled."""

import asyncio
import json
import time
import uuid
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, ClassVar, Final, Literal

import aiohttp
from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from local.emulators.base import Call, Emulator, Refusal, RefusedError, Route, Spoken, Switches
from local.emulators.book import Purchase
from local.emulators.voice import Encoding, Speech, encode, without_info_frame

Engine = Literal[
    "PlayHT1.0",
    "PlayHT2.0",
    "PlayHT2.0-turbo",
    "Play3.0-mini",
    "PlayDialog",
    "PlayDialogMultilingual",
    "PlayDialogArabic",
    "PlayDialog-turbo",
]
Emotion = Literal[
    "female_happy",
    "female_sad",
    "female_angry",
    "female_fearful",
    "female_disgust",
    "female_surprised",
    "male_happy",
    "male_sad",
    "male_angry",
    "male_fearful",
    "male_disgust",
    "male_surprised",
]
_LONG_TEXT_ENGINE: Final = "Play3.0-mini"
_LANGUAGE_CODES: Final = {
    "english": "en",
    "catalan": "ca",
    "swedish": "sv",
    "spanish": "es",
    "french": "fr",
    "german": "de",
    "italian": "it",
    "portuguese": "pt",
    "polish": "pl",
    "russian": "ru",
    "dutch": "nl",
}
_STAGES: Final = (("queued", 0.0), ("active", 0.01), ("preload", 0.1), ("generate", 0.5), ("postprocessing", 0.99))


@dataclass(frozen=True)
class PlayhtVoice:
    """One voice of the catalogue."""

    id: str
    name: str
    gender: Literal["male", "female"]
    language: str
    language_code: str
    variant: str


def _voice(name: str, gender: Literal["male", "female"], language: str, code: str, variant: str) -> PlayhtVoice:
    number = uuid.uuid5(uuid.NAMESPACE_URL, name)
    address = f"s3://voice-cloning-zero-shot/{number}/{name.lower()}/manifest.json"
    return PlayhtVoice(address, name, gender, language, code, variant)


VOICES: Final = (
    PlayhtVoice(
        "s3://voice-cloning-zero-shot/d9ff78ba-d016-47f6-b0ef-dd630f59414e/female-cs/manifest.json",
        "Female CS",
        "female",
        "English (US)",
        "en-US",
        "f2",
    ),
    _voice("Angelo", "male", "English (US)", "en-US", "m3"),
    _voice("Laia", "female", "Catalan", "ca-ES", "f5"),
    _voice("Ebba", "female", "Swedish", "sv-SE", "Annie"),
    _voice("Alonso", "male", "Spanish", "es-ES", "Mario"),
    _voice("Celeste", "female", "French", "fr-FR", "steph"),
    _voice("Jonas", "male", "German", "de-DE", "m7"),
    _voice("Chiara", "female", "Italian", "it-IT", "linda"),
    _voice("Rui", "male", "Portuguese", "pt-PT", "edward"),
    _voice("Zofia", "female", "Polish", "pl-PL", "belinda"),
    _voice("Lev", "male", "Russian", "ru-RU", "adam"),
    _voice("Sanne", "female", "Dutch", "nl-NL", "f2"),
)


class Body(BaseModel):
    """What both ways of synthesis may be asked for."""

    model_config = ConfigDict(extra="ignore", strict=True)

    text: Annotated[str, Field(min_length=1)]
    voice: str
    quality: Literal["draft", "low", "medium", "high", "premium"] = "medium"
    output_format: Literal["mp3", "ogg", "wav", "flac", "mulaw"] = "mp3"
    speed: Annotated[float, Field(ge=0.1, le=5)] = 1.0
    sample_rate: Annotated[int, Field(ge=8000, le=48000)] = 24000
    seed: Annotated[int, Field(ge=0)] | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    voice_engine: Engine | None = "PlayHT2.0"
    emotion: Emotion | None = None
    voice_guidance: Annotated[float, Field(ge=1, le=6)] | None = None
    style_guidance: Annotated[float, Field(ge=1, le=30)] | None = None
    text_guidance: Annotated[float, Field(ge=1, le=2)] | None = None
    language: str | None = None


class PlayhtSwitches(Switches):
    """Where PlayHT's documents and clients contradict each other or say nothing."""

    pace: float = 0.5  # seconds from creation to the end
    events_status: Literal[200, 201] = 201  # the documents say 201, the vendor's own kit accepted only 200
    any_accept: Literal["events", "json"] = "events"  # what `Accept: */*`, or none, means
    pings: bool = False
    line_end: Literal["lf", "crlf"] = "lf"
    comments: bool = False
    joined: bool = False  # several events in one write
    split: bool = False  # every event over two writes, a character of several bytes too
    tells_status: bool = False  # job data with a `status`
    failure: Literal["event", "silence", "data"] = "event"  # how a failed job is told on the stream
    forgets_after: float = 48 * 3600.0  # seconds until a job is gone; its file stays
    webhook_url: str | None = None  # registered in the dashboard, for the whole account
    webhook_times: int = 1


@dataclass
class Job:
    """One text-to-speech job."""

    id: str
    asked: Body
    created: datetime
    seconds: float = 0.0
    file: bytes = b""  # kept; the samples are not
    ending: str = "done"
    reason: str | None = None
    failed: bool = False
    events: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    news: asyncio.Event = field(default_factory=asyncio.Event)
    purchase: Purchase | None = None

    @property
    def ended(self) -> bool:
        """Whether no more events will come."""
        return self.failed or self.done

    @property
    def done(self) -> bool:
        """Whether there is audio."""
        return self.file != b""

    def tell(self, event: str, data: dict[str, Any]) -> None:
        """Add an event and wake whoever listens."""
        self.events.append((event, data))
        self.news.set()
        self.news = asyncio.Event()


class PlayhtEmulator(Emulator):
    """POST /api/v2/tts answers with a job, or with the events of its progress."""

    name = "playht"
    switches: PlayhtSwitches
    switches_type = PlayhtSwitches
    secret_headers = frozenset({"Authorization", "X-USER-ID"})
    text_field = "text"
    default_voice = VOICES[0].id
    # How a job tells that it failed is in no document; whoever polls can hear of it only so.
    in_tests: ClassVar = {"pace": 0.02, "failure": "data"}
    handled_faults: ClassVar = {
        "job-failed": "create",
        "job-stuck": "create",
        "job-unknown-status": "create",  # stuck, with a `status` that no document has; `reason` is the status
        "job-without-address": "create",
        "job-forgotten": "create",
        "events-cut": "create",  # the stream ends before the job does; the job goes on
    }
    refusals: ClassVar = {
        "unauthorized": Refusal(401, {"error_message": "Invalid credentials.", "error_id": "UNAUTHORIZED"}),
        "forbidden": Refusal(403, {"error_message": "Not allowed on this plan.", "error_id": "FORBIDDEN"}),
        "quota": Refusal(403, {"error_message": "Not enough characters left.", "error_id": "OUT_OF_CREDITS"}),
        "rejected": Refusal(400, {"error_message": "This text cannot be spoken.", "error_id": "INVALID_TEXT"}),
        "not-found": Refusal(404, {"error_message": "Job not found.", "error_id": "NOT_FOUND"}),
        "not-acceptable": Refusal(406, {"error_message": "The job is not an MP3.", "error_id": "NOT_ACCEPTABLE"}),
        "throttled": Refusal(
            429,
            '"Rate limit exceeded. Please try again within a minute."',
            {"Content-Type": "application/json"},
        ),
        "server-error": Refusal(500, {"message": "Internal server error", "error": "Internal Server Error"}),
        "unavailable": Refusal(503, {"message": "Service unavailable", "error": "Service Unavailable"}),
    }

    def __init__(self, *, port: int = 0, **switches: Any) -> None:
        super().__init__(port=port, **switches)
        self.jobs: dict[str, Job] = {}

    def routes(self) -> Iterable[Route]:
        """The documented routes for speech and voices, and the public result files."""
        fields = frozenset(Body.model_fields)
        form = frozenset({"format"})
        return [
            Route("POST", "/api/v2/tts", self._create, fields=fields, query=form, creates=True),
            Route("GET", "/api/v2/tts/{id}", self._get, query=form),
            Route("POST", "/api/v2/tts/stream", self._stream, fields=fields, creates=True, gives_audio=True),
            Route("GET", "/api/v2/tts/stream/{id}", self._streamed_job, gives_audio=True),
            Route("GET", "/api/v2/voices", self._voices_list),
            Route("GET", "/api/v2/cloned-voices", self._cloned_voices),
            Route("GET", "/pigeon/{file}", self._result, gives_audio=True),
        ]

    def no_such_route(self, request: web.Request, status: int) -> web.Response:
        """An address it does not have."""
        words = "Not Found" if status == 404 else "Method Not Allowed"
        return web.json_response({"message": f"Cannot {request.method} {request.path}", "error": words}, status=status)

    def text_behind(self, request: web.Request) -> str | None:
        """The text of the job that an address names."""
        job_id = request.match_info.get("id") or request.match_info.get("file", "").split("_")[0]
        job = self.jobs.get(job_id)
        return job.asked.text if job is not None else None

    def _check_keys(self, call: Call) -> None:
        key = call.request.headers.get("Authorization", "").removeprefix("Bearer ").strip()
        if not key or not call.request.headers.get("X-USER-ID") or not self.key_is_right(key):
            raise RefusedError(self.refusal("unauthorized"))

    def _refuse(self, message: str) -> RefusedError:
        return RefusedError(self.refusal("rejected", body={"error_message": message, "error_id": "INVALID_REQUEST"}))

    def _asked(self, call: Call) -> Body:
        self._check_keys(call)
        try:
            asked = Body.model_validate(call.fields)
        except ValidationError as error:
            problem = error.errors()[0]
            name = ".".join(str(part) for part in problem["loc"])
            raise self._refuse(f"{name}: {problem['msg']}") from error
        most = 20_000 if asked.voice_engine == _LONG_TEXT_ENGINE else 2_000
        if len(asked.text) > most:
            raise self._refuse(f"text: must be at most {most} characters for this voice engine")
        only_older = (asked.emotion, asked.voice_guidance, asked.style_guidance)
        if asked.voice_engine not in (None, "PlayHT2.0") and any(value is not None for value in only_older):
            raise self._refuse("emotion, voice_guidance and style_guidance are only supported by PlayHT2.0")
        if asked.voice not in {voice.id for voice in VOICES}:
            raise self._refuse("voice: not found")
        return asked

    # -- jobs --------------------------------------------------------------------------------------------------

    async def _create(self, call: Call) -> web.StreamResponse | Spoken:
        asked = self._asked(call)
        if asked.voice_engine == "PlayHT2.0-turbo":
            raise self._refuse("voice_engine: PlayHT2.0-turbo is only supported by the stream endpoint")
        job = Job(uuid.uuid4().hex[:20], asked, datetime.now(UTC))
        if call.fault is not None and call.fault.fault in self.handled_faults:
            job.ending, job.reason = call.fault.fault, call.fault.reason
        job.purchase = self._bill(call, asked, job.id)
        self.jobs[job.id] = job
        self.begin(self._work(job))
        location = f"/api/v2/tts/{job.id}"
        is_lost = call.fault is not None and call.fault.fault == "lost"  # then there is nothing to stream
        if self._wants(call) != "events" or is_lost:
            return web.json_response(self._as_json(job), status=201, headers={"Location": location})
        headers = {"Location": location, "Content-Location": f"{location}?format=event-stream"}
        return await self._tell(call, job, status=self.switches.events_status, headers=headers)

    def _bill(self, call: Call, asked: Body, id: str) -> Purchase:
        # The unit of price is the character.
        language = _language_of(asked)
        return self.charge(call, asked.text, id=id, voice=asked.voice, language=language, credits=len(asked.text))

    async def _work(self, job: Job) -> None:
        for stage, progress in _STAGES:
            data: dict[str, Any] = {"id": job.id, "progress": progress, "stage": stage}
            if stage in ("preload", "generate", "postprocessing"):
                data["stage_progress"] = progress
            job.tell("generating", data)
            await asyncio.sleep(self.switches.pace / len(_STAGES))
            if stage == "generate" and job.ending in ("job-stuck", "job-unknown-status", "job-failed"):
                await self._fail(job)
                return
        await self._finish(job)

    async def _fail(self, job: Job) -> None:
        if job.ending != "job-failed":
            return
        job.failed = True
        if self.switches.failure == "event":
            job.tell("error", {"id": job.id, "message": "Failed to generate the audio."})
        else:
            job.news.set()
        await self._webhook({"version": "2", "id": job.id, "status": "error", "progress": 1})

    async def _finish(self, job: Job) -> None:
        speech = await self._spoken(job.asked)
        file = await self.in_voice_thread(lambda: encode(speech, _encoding(job.asked)))
        job.seconds, job.file = speech.seconds, file
        if job.purchase is not None:
            job.purchase.seconds = speech.seconds
        output = self._output(job)
        job.tell("completed", {"id": job.id, "progress": 1, "stage": "complete", **output})
        await self._webhook({"version": "2", "id": job.id, "status": "complete", "progress": 1, **output})

    async def _spoken(self, asked: Body) -> Speech:
        voice = next(voice for voice in VOICES if voice.id == asked.voice)
        language = _language_of(asked)
        return await self.in_voice_thread(
            lambda: self.speaker.speak(asked.text, language=language, voice_name=voice.variant, rate=asked.speed)
        )

    def _output(self, job: Job) -> dict[str, Any]:
        if not job.done or job.ending == "job-without-address":
            return {}
        url = f"{self.url}/pigeon/{job.id}_0.{job.asked.output_format}"
        return {"url": url, "duration": round(job.seconds, 4), "size": len(job.file)}

    async def _webhook(self, body: dict[str, Any]) -> None:
        if self.switches.webhook_url is None:
            return
        timeout = aiohttp.ClientTimeout(total=5)
        async with aiohttp.ClientSession(timeout=timeout, headers={"Authorization": "Bearer account"}) as client:
            for _ in range(self.switches.webhook_times):
                with suppress(aiohttp.ClientError, TimeoutError):
                    await client.post(self.switches.webhook_url, json=body)

    # -- what is asked for -------------------------------------------------------------------------------------

    def _wants(self, call: Call) -> Literal["events", "json", "audio"]:
        form = call.request.query.get("format")
        accept = call.request.headers.get("Accept", "*/*")
        for representation, name, query in _REPRESENTATIONS:
            if form == query or (form is None and name in accept):
                return representation
        return self.switches.any_accept if call.request.method == "POST" else "json"

    async def _get(self, call: Call) -> web.StreamResponse | Spoken:
        self._check_keys(call)
        job = self._job(call.request.match_info["id"])
        wants = self._wants(call)
        if wants == "events":
            return await self._tell(call, job, status=200, headers={})
        if wants == "json":
            return web.json_response(self._as_json(job))
        if job.asked.output_format != "mp3":
            raise RefusedError(self.refusal("not-acceptable"))
        if not job.done:
            raise RefusedError(self.refusal("not-found"))
        return await self._file(call, job)

    def _job(self, id: str) -> Job:
        job = self.jobs.get(id)
        if job is None or job.ending == "job-forgotten":
            raise RefusedError(self.refusal("not-found"))
        if datetime.now(UTC) - job.created > timedelta(seconds=self.switches.forgets_after):
            raise RefusedError(self.refusal("not-found"))
        return job

    def _as_json(self, job: Job) -> dict[str, Any]:
        output = self._output(job)
        links = [
            ("self", "GET", "application/json", "Fetches this job's data."),
            ("self", "GET", "text/event-stream", "Streams this job's progress."),
            ("related", "GET", "audio/mpeg", "Fetches this job's audio."),
        ]
        data: dict[str, Any] = {
            "id": job.id,
            "created": job.created.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "input": job.asked.model_dump(),
            "output": output or None,
            "_links": [
                {
                    "href": f"{self.url}/api/v2/tts/{job.id}",
                    "method": method,
                    "contentType": content_type,
                    "rel": rel,
                    "description": description,
                }
                for rel, method, content_type, description in links
            ],
        }
        if self.switches.tells_status or (job.failed and self.switches.failure == "data"):
            data["status"] = "failed" if job.failed else "complete" if job.done else "generating"
        if job.ending == "job-unknown-status":
            data["status"] = job.reason or "reviewing"
        return data

    async def _tell(self, call: Call, job: Job, *, status: int, headers: dict[str, str]) -> web.StreamResponse:
        """The events of a job, from its first to its last."""
        response = web.StreamResponse(status=status, headers={"Content-Type": "text/event-stream", **headers})
        await response.prepare(call.request)
        told, pinged = 0, time.monotonic()
        while not self.stopping.is_set() and call.request.transport is not None:
            news, ended = job.news, job.ended
            fresh = job.events[told:]
            told += len(fresh)
            if job.ending == "events-cut" and told > 2 and call.request.transport is not None:
                call.request.transport.close()
                return response
            await self._write(response, fresh)
            if ended:
                break
            if self.switches.pings and time.monotonic() - pinged > 0.05:
                await response.write(b"event: ping\ndata: pong\n\n")
                pinged = time.monotonic()
            with suppress(TimeoutError):
                await asyncio.wait_for(news.wait(), 0.05)
        with suppress(ConnectionError):
            await response.write_eof()
        return response

    async def _write(self, response: web.StreamResponse, events: list[tuple[str, dict[str, Any]]]) -> None:
        end = "\r\n" if self.switches.line_end == "crlf" else "\n"
        comment = f": still here{end}" if self.switches.comments else ""
        blocks = [
            f"{comment}event: {name}{end}data: {json.dumps(data, ensure_ascii=False)}{end}{end}".encode()
            for name, data in events
        ]
        if self.switches.joined:
            blocks = [b"".join(blocks)] if blocks else []
        for block in blocks:
            pieces = [block[: len(block) // 2], block[len(block) // 2 :]] if self.switches.split else [block]
            for piece in pieces:
                await response.write(piece)
                await asyncio.sleep(0.002 if self.switches.split else 0)

    # -- audio -------------------------------------------------------------------------------------------------

    async def _stream(self, call: Call) -> web.StreamResponse | Spoken:
        asked = self._asked(call)
        if asked.voice_engine == "PlayHT1.0" and asked.output_format not in ("mp3", "mulaw"):
            raise self._refuse("output_format: PlayHT1.0 supports only mp3 and mulaw")
        speech = await self._spoken(asked)
        purchase = self._bill(call, asked, uuid.uuid4().hex)
        purchase.seconds = speech.seconds
        if "application/json" in call.request.headers.get("Accept", ""):
            job = Job(purchase.id, asked, datetime.now(UTC))
            self.jobs[job.id] = job
            link = {
                "href": f"{self.url}/api/v2/tts/stream/{job.id}",
                "method": "GET",
                "contentType": _encoding(asked).content_type,
                "rel": "related",
                "description": "Fetches the audio.",
            }
            return web.json_response(link, status=201)
        return self._untagged(asked, speech)

    async def _streamed_job(self, call: Call) -> web.StreamResponse | Spoken:
        self._check_keys(call)
        job = self._job(call.request.match_info["id"])
        return self._untagged(job.asked, await self._spoken(job.asked))

    def _untagged(self, asked: Body, speech: Speech) -> Spoken:
        encoding = _encoding(asked)
        return Spoken(
            speech, encoding, chunked=True, rewrite=without_info_frame if encoding.container == "mp3" else None
        )

    async def _result(self, call: Call) -> web.StreamResponse | Spoken:
        """The public file: no key, and there long after the job is forgotten."""
        job = self.jobs.get(call.request.match_info["file"].split("_")[0])
        if job is None or not job.done:
            raise RefusedError(web.Response(status=403, text="<Error><Code>AccessDenied</Code></Error>"))
        return await self._file(call, job)

    async def _file(self, call: Call, job: Job) -> Spoken:
        speech = await self._spoken(job.asked) if call.fault is not None else None
        return Spoken(speech, _encoding(job.asked), file=job.file)

    async def _voices_list(self, call: Call) -> web.StreamResponse | Spoken:
        self._check_keys(call)
        return web.json_response([_as_json(voice) for voice in VOICES])

    async def _cloned_voices(self, call: Call) -> web.StreamResponse | Spoken:
        self._check_keys(call)
        return web.json_response([])


_REPRESENTATIONS: Final[tuple[tuple[Literal["events", "json", "audio"], str, str], ...]] = (
    ("events", "text/event-stream", "event-stream"),
    ("audio", "audio/mpeg", "audio-mpeg"),
    ("json", "application/json", "json"),
)


def _language_of(asked: Body) -> str:
    if asked.language is not None:
        return _LANGUAGE_CODES.get(asked.language, "en")
    return next(voice.language_code for voice in VOICES if voice.id == asked.voice).split("-")[0]


def _encoding(asked: Body) -> Encoding:
    container = "ulaw" if asked.output_format == "mulaw" else asked.output_format
    rate = asked.sample_rate
    if container == "mp3":
        # MP3 knows nine sample rates; the next one up is the honest neighbour.
        rate = next(known for known in (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000) if known >= rate)
        return Encoding("mp3", rate, 64 if rate >= 16000 else 24)
    return Encoding(container, rate)


def _as_json(voice: PlayhtVoice) -> dict[str, Any]:
    return {
        "id": voice.id,
        "name": voice.name,
        "sample": None,
        "accent": None,
        "age": None,
        "gender": voice.gender,
        "language": voice.language,
        "language_code": voice.language_code,
        "loudness": None,
        "style": None,
        "tempo": None,
        "texture": None,
        "is_cloned": False,
        "voice_engine": "PlayHT2.0",
    }
