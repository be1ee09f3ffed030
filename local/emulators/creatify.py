"""Creatify's text-to-speech API, as its documents describe it: a job that is polled, and a webhook."""

import asyncio
import math
import time
import uuid
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any, ClassVar, Final, Literal
from urllib.parse import urlsplit

import aiohttp
from aiohttp import web

from local.emulators.base import WRONG_KEY, Call, Emulator, Refusal, RefusedError, Route, Spoken, Switches
from local.emulators.book import Purchase
from local.emulators.voice import Encoding, Speech, encode

SCRIPT_CHARACTERS: Final = 8000
WEBHOOK_CHARACTERS: Final = 200
MOST_IDS: Final = 100
SECONDS_PER_CREDIT: Final = 30
RESULT: Final = Encoding("mp3", 22050, 64)  # the documents do not name a format; the voices' previews are MP3
_WALK: Final = ("pending", "in_queue", "running", "done")
_WEBHOOK_ATTEMPTS: Final = 3


@dataclass(frozen=True)
class Accent:
    """A voice in one accent: what a request asks for."""

    id: str
    voice: str
    gender: Literal["male", "female"]
    accent_name: str
    language: str
    variant: str


def _accent(
    number: int, voice: str, gender: Literal["male", "female"], name: str, language: str, variant: str
) -> Accent:
    return Accent(f"3f1a7c20-8b64-4e0d-a5c1-{number:012x}", voice, gender, name, language, variant)


ACCENTS: Final = (
    _accent(1, "Ava", "female", "English (US)", "en", "f2"),
    _accent(2, "Ava", "female", "Spanish", "es", "f2"),
    _accent(3, "Ava", "female", "Catalan", "ca", "f2"),
    _accent(4, "Bruno", "male", "English (UK)", "en", "m3"),
    _accent(5, "Bruno", "male", "Italian", "it", "m3"),
    _accent(6, "Bruno", "male", "Portuguese", "pt", "m3"),
    _accent(7, "Ebba", "female", "Swedish", "sv", "Annie"),
    _accent(8, "Ebba", "female", "German", "de", "Annie"),
    _accent(9, "Ebba", "female", "Dutch", "nl", "Annie"),
    _accent(10, "Piotr", "male", "Polish", "pl", "edward"),
    _accent(11, "Piotr", "male", "Russian", "ru", "edward"),
    _accent(12, "Piotr", "male", "French", "fr", "edward"),
)
_ACCENTS_BY_ID: Final = {accent.id: accent for accent in ACCENTS}


class CreatifySwitches(Switches):
    """Where Creatify's documents contradict each other or say nothing."""

    pace: float = 0.5  # seconds from creation to the end
    hold: bool = False  # jobs move only when they are told to
    api_id: str | None = None  # the only id that is accepted; None: any but an obviously wrong one
    credits: float = 1_000_000.0
    credits_error: Literal["create", "job"] = "create"  # "job creation or processing returns an error"
    refunds_failed: bool = True
    empties: Literal["empty", "null"] = "empty"  # `output` and `failed_reason` before there is any
    slashless: Literal["redirect", "error"] = "redirect"
    webhooks: Literal["final", "every", "duplicated", "reordered", "early", "forged", "never"] = "final"
    webhook_body: Literal["json", "form"] = "json"
    webhook_field: Literal["video_output", "output"] = "video_output"
    webhook_seconds: float = 5.0  # how long it waits for the receiver
    results: Literal["serve", "forbidden", "stale", "expire", "redirect", "html"] = "serve"
    result_seconds: float = 1.0  # how long an address lives when results expire


@dataclass
class Job:
    """One text-to-speech job and where it stands."""

    id: str
    script: str
    accent: str | None
    webhook_url: str | None
    created_at: datetime
    updated_at: datetime
    status: str = "pending"
    failed_reason: str = ""
    seconds: float = 0.0
    file: bytes = b""  # kept; the samples are not, they are ten times as large
    credits_used: float = 0
    ending: str = "done"  # or the name of the fault that decides its end
    reason: str | None = None
    addresses: int = 0  # how many result addresses were given out
    purchase: Purchase | None = None

    @property
    def leaves_out(self) -> str | None:
        """What the answer to its creation does not tell."""
        return "id" if self.ending == "job-without-id" else None

    @property
    def finished(self) -> bool:
        """Whether it stands where a job ends."""
        return self.status in ("done", "failed")


@dataclass
class Webhook:
    """One webhook as it was sent."""

    job_id: str
    url: str
    body: dict[str, Any]
    genuine: bool
    statuses: list[int | None] = field(default_factory=list)  # the receiver's answers; None: there was none
    at: float = field(default_factory=time.time)


class CreatifyEmulator(Emulator):
    """POST /api/text_to_speech/ answers with a job that walks from pending to done or failed."""

    name = "creatify"
    switches: CreatifySwitches
    switches_type = CreatifySwitches
    secret_headers = frozenset({"X-API-ID", "X-API-KEY"})
    text_field = "script"
    in_tests: ClassVar = {"pace": 0.02, "webhooks": "never"}
    handled_faults: ClassVar = {
        "job-failed": "create",  # `reason`
        "job-stuck": "create",  # stays running for ever
        "job-unknown-status": "create",  # `reason` is the status
        "job-without-address": "create",  # done, and no output
        "job-without-id": "create",  # the 201 holds no id
        "job-forgotten": "create",  # 404 for whoever asks
    }
    refusals: ClassVar = {
        "unauthorized": Refusal(401, {"detail": "Invalid API credentials."}),
        "forbidden": Refusal(403, {"detail": "You do not have permission to perform this action."}),
        "throttled": Refusal(
            429, {"detail": "Request was throttled. Expected available in 5 seconds."}, {"Retry-After": "5"}
        ),
        "quota": Refusal(402, {"detail": "Insufficient credits."}),
        "rejected": Refusal(400, {"script": ["This text cannot be spoken."]}),
        "not-found": Refusal(404, {"detail": "Not found."}),
        "server-error": Refusal(500, {"detail": "A server error occurred."}),
        "unavailable": Refusal(503, {"detail": "Service temporarily unavailable, try again later."}),
    }

    def __init__(self, *, port: int = 0, **switches: Any) -> None:
        super().__init__(port=port, **switches)
        self.jobs: dict[str, Job] = {}
        self.webhooks: list[Webhook] = []
        self._client: aiohttp.ClientSession

    def routes(self) -> Iterable[Route]:
        """The documented routes, and the paginated list that a client uses."""
        fields = frozenset({"script", "accent", "webhook_url"})
        pages = frozenset({"page", "page_size"})
        documented = [
            Route("POST", "/api/text_to_speech/", self._create, fields=fields, creates=True),
            Route("GET", "/api/text_to_speech/", self._list, query=frozenset({"ids", "ordering"})),
            Route("GET", "/api/text_to_speech/paginated/", self._paginated, query=pages),
            Route("GET", "/api/text_to_speech/{id}/", self._get),
            Route("GET", "/api/voices/", self._voices_list),
            Route("GET", "/api/voices/paginated/", self._voices_paginated, query=pages),
            Route("GET", "/api/remaining_credits/", self._remaining_credits),
        ]
        slashless = [Route(r.method, r.path.rstrip("/"), self._without_slash, query=r.query) for r in documented]
        results = Route("GET", "/results/{file}", self._result, query=frozenset({"issue", "until"}), gives_audio=True)
        return [*documented, *slashless, results]

    def control_routes(self) -> Iterable[web.RouteDef]:
        """What the emulator sent, and the clock of held jobs."""
        return [
            web.get("/_emulator/webhooks", self._sent),
            web.post("/_emulator/advance", self._advance_over_http),
        ]

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Jobs walk and webhooks are sent while the server runs."""
        async with aiohttp.ClientSession(headers={"User-Agent": "creatify-webhook"}) as self._client:
            yield

    def no_such_route(self, request: web.Request, status: int) -> web.Response:
        """Django REST Framework's own words."""
        if status == 405:
            return web.json_response({"detail": f'Method "{request.method}" not allowed.'}, status=405)
        return self.refusal("not-found")

    def text_behind(self, request: web.Request) -> str | None:
        """The script of the job that an address names."""
        job_id = request.match_info.get("id") or request.match_info.get("file", "").removesuffix(".mp3")
        job = self.jobs.get(job_id)
        return job.script if job is not None else None

    # -- create ------------------------------------------------------------------------------------------------

    async def _create(self, call: Call) -> web.StreamResponse | Spoken:
        self._check_keys(call)
        job = self._valid_job(call)
        if call.fault is not None and call.fault.fault in self.handled_faults:
            job.ending, job.reason = call.fault.fault, call.fault.reason
        broke = self.book.credits >= self.switches.credits
        if broke and self.switches.credits_error == "create":
            raise RefusedError(self.refusal("quota"))
        if broke:
            job.ending, job.reason = "job-failed", "Insufficient credits."
        language = _accent_of(job).language
        job.purchase = self.charge(call, job.script, voice=job.accent or "default", language=language, id=job.id)
        self.jobs[job.id] = job
        created = {name: value for name, value in self._as_json(job).items() if name != job.leaves_out}
        if self.switches.webhooks == "early":
            await self._walk(job, pace=0.0)
        elif not self.switches.hold:
            self.begin(self._walk(job, pace=self.switches.pace))
        return web.json_response(created, status=201)

    def _check_keys(self, call: Call) -> None:
        api_id, api_key = call.request.headers.get("X-API-ID"), call.request.headers.get("X-API-KEY")
        if not api_id or not api_key:
            body = {"detail": "Authentication credentials were not provided."}
            raise RefusedError(self.refusal("unauthorized", body=body))
        only_id = self.switches.api_id
        id_is_right = api_id == only_id if only_id is not None else api_id != WRONG_KEY
        if not id_is_right or not self.key_is_right(api_key):
            raise RefusedError(self.refusal("unauthorized"))

    def _valid_job(self, call: Call) -> Job:
        fields = self._body(call)
        faults: dict[str, list[str]] = {}
        script = _script(fields, faults)
        accent = _accent_id(fields, faults)
        webhook_url = _webhook_url(fields, faults)
        if faults:
            raise RefusedError(web.json_response(faults, status=400))
        now = datetime.now(UTC)
        return Job(str(uuid.uuid4()), script, accent, webhook_url, created_at=now, updated_at=now)

    def _body(self, call: Call) -> dict[str, Any]:
        media_type = call.request.content_type
        if media_type not in ("application/json", "application/x-www-form-urlencoded", "multipart/form-data"):
            detail = {"detail": f'Unsupported media type "{media_type}" in request.'}
            raise RefusedError(web.json_response(detail, status=415))
        if call.fields is None:
            raise RefusedError(web.json_response({"detail": "JSON parse error"}, status=400))
        if not isinstance(call.fields, dict):
            faults = {"non_field_errors": ["Invalid data. Expected a dictionary."]}
            raise RefusedError(web.json_response(faults, status=400))
        return call.fields

    # -- a job's life ------------------------------------------------------------------------------------------

    async def _walk(self, job: Job, *, pace: float) -> None:
        moves = True
        while moves:
            await asyncio.sleep(pace / (len(_WALK) - 1))
            moves = await self._step(job)
        await self._announce_end(job)

    async def _step(self, job: Job) -> bool:
        """Move a job on by one state; False when it moves no more."""
        if job.finished or job.status not in _WALK:
            return False
        following = _WALK[_WALK.index(job.status) + 1]
        if following == "done":
            if job.ending == "job-stuck":
                return False
            await self._finish(job)
            return False
        self._set(job, following)
        if self.switches.webhooks == "every":
            await self._send(job)
        return True

    async def _finish(self, job: Job) -> None:
        if job.ending == "job-failed":
            job.failed_reason = job.reason or "Failed to generate the audio."
            if self.switches.refunds_failed:
                self._set(job, "failed")
                return
        speech = await self._spoken(job)
        job.file = await self.in_voice_thread(lambda: encode(speech, RESULT))
        job.seconds = speech.seconds
        job.credits_used = max(1, math.ceil(job.seconds / SECONDS_PER_CREDIT))
        if job.purchase is not None:
            job.purchase.seconds, job.purchase.credits = job.seconds, job.credits_used
        if job.ending == "job-failed":
            self._set(job, "failed")
        elif job.ending == "job-unknown-status":
            self._set(job, job.reason or "reviewing")
        else:
            self._set(job, "done")

    async def _spoken(self, job: Job) -> Speech:
        accent = _accent_of(job)
        return await self.speak(job.script, language=accent.language, voice=accent.variant)

    @staticmethod
    def _set(job: Job, status: str) -> None:
        job.status, job.updated_at = status, datetime.now(UTC)

    async def _announce_end(self, job: Job) -> None:
        mode = self.switches.webhooks
        if mode == "never" or not job.finished:
            return
        if mode == "forged":
            await self._send_forgeries(job)
        await self._send(job)
        if mode == "duplicated":
            await asyncio.gather(self._send(job), self._send(job))
        if mode == "reordered":
            for status in ("running", "in_queue", "pending"):
                await self._send(job, status=status)

    def advance(self) -> None:
        """Move every held job on by one state; returns when the webhooks of the move are out."""
        asyncio.run_coroutine_threadsafe(self._advance(), self.loop).result()

    async def _advance(self) -> None:
        for job in list(self.jobs.values()):
            was_finished = job.finished
            if not await self._step(job) and not was_finished:
                await self._announce_end(job)

    async def _advance_over_http(self, _request: web.Request) -> web.Response:
        await self._advance()
        return web.json_response({job.id: job.status for job in self.jobs.values()})

    # -- webhooks ----------------------------------------------------------------------------------------------

    async def _send(self, job: Job, *, status: str | None = None) -> None:
        if job.webhook_url is None:
            return
        told = status if status is not None else job.status
        address = self._address(job) if told == "done" else ""
        body = {
            "id": job.id,
            "status": told,
            "failed_reason": job.failed_reason if told == "failed" else "",
            self.switches.webhook_field: address,
        }
        await self._post(Webhook(job.id, job.webhook_url, body, genuine=True))

    async def _send_forgeries(self, job: Job) -> None:
        """What somebody would send who has got hold of the callback address."""
        if job.webhook_url is None:
            return
        lies: list[dict[str, Any]] = [
            {"id": job.id, "status": "failed", "failed_reason": "Forged.", "video_output": ""},
            {"id": str(uuid.uuid4()), "status": "done", "failed_reason": "", "video_output": f"{self.url}/elsewhere"},
            {"id": job.id, "status": "done", "failed_reason": "", "video_output": "http://169.254.169.254/latest/"},
            {"id": {"$ne": None}, "status": ["done"], "failed_reason": 0, "video_output": None},
        ]
        for lie in lies:
            await self._post(Webhook(job.id, job.webhook_url, lie, genuine=False))

    async def _post(self, webhook: Webhook) -> None:
        self.webhooks.append(webhook)
        timeout = aiohttp.ClientTimeout(total=self.switches.webhook_seconds)
        form = self.switches.webhook_body == "form" and webhook.genuine
        payload: dict[str, Any] = {"data": webhook.body} if form else {"json": webhook.body}
        for attempt in range(_WEBHOOK_ATTEMPTS):
            if attempt > 0:
                await asyncio.sleep(0.1 * 2**attempt)
            try:
                async with self._client.post(
                    webhook.url, timeout=timeout, allow_redirects=False, **payload
                ) as response:
                    webhook.statuses.append(response.status)
                    if response.status < 500:
                        return
            except (aiohttp.ClientError, TimeoutError):
                webhook.statuses.append(None)

    async def _sent(self, _request: web.Request) -> web.Response:
        return web.json_response([asdict(webhook) for webhook in self.webhooks])

    # -- reading -----------------------------------------------------------------------------------------------

    def _as_json(self, job: Job) -> dict[str, Any]:
        nothing = "" if self.switches.empties == "empty" else None
        return {
            "id": job.id,
            "script": job.script,
            "accent": job.accent,
            "webhook_url": job.webhook_url,
            "output": self._address(job) or nothing,
            "media_job": None,
            "credits_used": job.credits_used,
            "duration": math.ceil(job.seconds),
            "is_hidden": False,
            "status": job.status,
            "failed_reason": job.failed_reason or nothing,
            "created_at": _instant(job.created_at),
            "updated_at": _instant(job.updated_at),
        }

    def _address(self, job: Job) -> str:
        """A fresh address of the result."""
        if job.status != "done" or job.ending == "job-without-address":
            return ""
        address = f"{self.url}/results/{job.id}.mp3"
        job.addresses += 1
        if self.switches.results == "stale":
            return f"{address}?issue={job.addresses}"
        if self.switches.results == "expire":
            return f"{address}?until={time.time() + self.switches.result_seconds:.3f}"
        return address

    async def _get(self, call: Call) -> web.StreamResponse | Spoken:
        self._check_keys(call)
        job = self.jobs.get(call.request.match_info["id"])
        if job is None or job.ending == "job-forgotten":
            raise RefusedError(self.refusal("not-found"))
        return web.json_response(self._as_json(job))

    async def _list(self, call: Call) -> web.StreamResponse | Spoken:
        self._check_keys(call)
        jobs = self._newest_first()
        wanted = call.request.query.get("ids")
        if wanted is not None:
            ids = [part.strip() for part in wanted.split(",") if part.strip()]
            if len(ids) > MOST_IDS:
                raise RefusedError(web.json_response({"ids": [f"At most {MOST_IDS} ids are allowed."]}, status=400))
            if not all(_is_uuid(job_id) for job_id in ids):
                raise RefusedError(web.json_response({"ids": ["Enter a list of valid UUIDs."]}, status=400))
            jobs = [job for job in jobs if job.id in ids]
        ordering = call.request.query.get("ordering", "-created_at")
        if ordering.lstrip("-") in ("created_at", "updated_at"):
            jobs.sort(key=lambda job: getattr(job, ordering.lstrip("-")), reverse=ordering.startswith("-"))
        return web.json_response([self._as_json(job) for job in jobs])

    async def _paginated(self, call: Call) -> web.StreamResponse | Spoken:
        self._check_keys(call)
        return self._page(call, [self._as_json(job) for job in self._newest_first()])

    def _newest_first(self) -> list[Job]:
        return [job for job in reversed(self.jobs.values()) if job.ending != "job-forgotten"]

    def _page(self, call: Call, everything: list[dict[str, Any]]) -> web.Response:
        query = call.request.query
        try:
            page, size = int(query.get("page", "1")), int(query.get("page_size", "10"))
        except ValueError:
            page, size = 0, 10
        pages = max(1, math.ceil(len(everything) / size)) if size > 0 else 0
        if not 1 <= page <= pages:
            raise RefusedError(web.json_response({"detail": "Invalid page."}, status=404))
        here = f"{self.url}{call.request.path}?page_size={size}&page="
        return web.json_response(
            {
                "count": len(everything),
                "next": f"{here}{page + 1}" if page < pages else None,
                "previous": f"{here}{page - 1}" if page > 1 else None,
                "results": everything[(page - 1) * size : page * size],
            }
        )

    async def _voices_list(self, call: Call) -> web.StreamResponse | Spoken:
        self._check_keys(call)
        return web.json_response(_voices())

    async def _voices_paginated(self, call: Call) -> web.StreamResponse | Spoken:
        self._check_keys(call)
        return self._page(call, _voices())

    async def _remaining_credits(self, call: Call) -> web.StreamResponse | Spoken:
        self._check_keys(call)
        return web.json_response({"remaining_credits": max(0.0, self.switches.credits - self.book.credits)})

    async def _without_slash(self, call: Call) -> web.StreamResponse | Spoken:
        if self.switches.slashless == "error":
            raise RefusedError(self.refusal("server-error"))
        query = f"?{call.request.query_string}" if call.request.query_string else ""
        return web.Response(status=301, headers={"Location": f"{call.request.path}/{query}"})

    # -- results -----------------------------------------------------------------------------------------------

    async def _result(self, call: Call) -> web.StreamResponse | Spoken:
        job = self.jobs.get(call.request.match_info["file"].removesuffix(".mp3"))
        if job is None or not job.file:
            raise RefusedError(web.Response(status=404, text=_xml("NoSuchKey"), content_type="application/xml"))
        how, query = self.switches.results, call.request.query
        expired = how == "expire" and float(query.get("until", "0")) < time.time()
        if how == "forbidden" or expired or (how == "stale" and query.get("issue") == "1"):
            raise RefusedError(web.Response(status=403, text=_xml("AccessDenied"), content_type="application/xml"))
        if how == "redirect":
            return web.Response(status=302, headers={"Location": f"{self.url}/elsewhere"})
        if how == "html":
            return web.Response(text="<!DOCTYPE html><title>Sign in</title>", content_type="text/html")
        if call.fault is None:
            return Spoken(None, RESULT, file=job.file)
        if job.purchase is not None:
            job.purchase.fault = call.fault.fault  # what was bought does not arrive as it should
        return Spoken(await self._spoken(job), RESULT, file=job.file)


def _script(fields: dict[str, Any], faults: dict[str, list[str]]) -> str:
    if "script" not in fields:
        faults["script"] = ["This field is required."]
    elif fields["script"] is None:
        faults["script"] = ["This field may not be null."]
    elif not isinstance(fields["script"], str):
        faults["script"] = ["Not a valid string."]
    elif not fields["script"].strip():
        faults["script"] = ["This field may not be blank."]
    elif len(fields["script"].strip()) > SCRIPT_CHARACTERS:
        faults["script"] = [f"Ensure this field has no more than {SCRIPT_CHARACTERS} characters."]
    else:
        return str(fields["script"])
    return ""


def _accent_id(fields: dict[str, Any], faults: dict[str, list[str]]) -> str | None:
    accent = fields.get("accent")
    if accent is None or accent == "":
        return None
    if not isinstance(accent, str) or not _is_uuid(accent):
        faults["accent"] = [f"“{accent}” is not a valid UUID."]
        return None
    if str(uuid.UUID(accent)) not in _ACCENTS_BY_ID:
        faults["accent"] = [f'Invalid pk "{accent}" - object does not exist.']
        return None
    return str(uuid.UUID(accent))


def _webhook_url(fields: dict[str, Any], faults: dict[str, list[str]]) -> str | None:
    url = fields.get("webhook_url")
    if url is None or url == "":
        return None
    if not isinstance(url, str):
        faults["webhook_url"] = ["Not a valid string."]
    elif len(url) > WEBHOOK_CHARACTERS:
        faults["webhook_url"] = [f"Ensure this field has no more than {WEBHOOK_CHARACTERS} characters."]
    elif urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).hostname or " " in url:
        faults["webhook_url"] = ["Enter a valid URL."]
    else:
        return url
    return None


def _is_uuid(text: str) -> bool:
    try:
        uuid.UUID(text)
    except ValueError:
        return False
    return True


def _accent_of(job: Job) -> Accent:
    return _ACCENTS_BY_ID[job.accent] if job.accent is not None else ACCENTS[0]


def _voices() -> list[dict[str, Any]]:
    voices: dict[str, dict[str, Any]] = {}
    for accent in ACCENTS:
        voice = voices.setdefault(accent.voice, {"name": accent.voice, "gender": accent.gender, "accents": []})
        preview = f"https://previews.example.com/{accent.id}.mp3"
        voice["accents"].append({"id": accent.id, "accent_name": accent.accent_name, "preview_url": preview})
    return list(voices.values())


def _instant(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")


def _xml(code: str) -> str:
    return f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{code}</Code></Error>'
