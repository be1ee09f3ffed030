"""PlayHT: API v2, a job that is polled or followed by its events (docs/vendors/playht.md). The company has closed."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from speech.egress import EgressRefused
from speech.errors import (
    UnsupportedOption,
    VendorAmbiguous,
    VendorError,
    VendorJobExpired,
    VendorJobFailed,
    VendorMisbehaved,
    VendorQuotaExhausted,
    VendorRejected,
    VendorUnavailable,
)
from speech.vendors import answers
from speech.vendors.base import (
    AudioReady,
    Capabilities,
    Delivery,
    Option,
    Reply,
    StillWorking,
    SynthesisRequest,
    Vendor,
    Voice,
)
from speech.vendors.events import Event, EventReader

TITLE = "PlayHT"
JOBS = "/api/v2/tts"
VOICES, CLONED_VOICES = "/api/v2/voices", "/api/v2/cloned-voices"
PAGE = "create page, Body Params"
LATER = "create page, later revision"

JSON, EVENTS = "application/json", "text/event-stream"

CHARACTERS = 2000
LONG_TEXT_ENGINE, LONG_TEXT = "Play3.0-mini", 20_000

ONLY_PLAYHT2 = ("voice_engine", ("PlayHT2.0", None))
"""The engine is PlayHT2.0 where none is named."""

COMPLETED = "completed"
FAILED = frozenset({"error", "failed"})
"""How a job's `status`, or an event, says that there will be no audio. The documents know `error` from the
webhook alone; whatever is not listed means still working, and the job's deadline ends it."""

NOT_JSON = frozenset({"ping"})
"""Events that only keep the connection open."""

# Which status and words a spent account has is in no document, and a 403 is a key that is refused as well.
TEXTS: answers.Texts = (
    ("not enough credit", VendorQuotaExhausted),
    ("not enough characters", VendorQuotaExhausted),
    ("insufficient credit", VendorQuotaExhausted),
    ("insufficient characters", VendorQuotaExhausted),
    ("out of credit", VendorQuotaExhausted),
    ("out of characters", VendorQuotaExhausted),
    ("quota exceeded", VendorQuotaExhausted),
    ("exceeded your quota", VendorQuotaExhausted),
)

_JOB_ID = re.compile(r"[A-Za-z0-9_-]{1,100}", re.ASCII)
_LOCATION = re.compile(r".*/tts/([A-Za-z0-9_-]{1,100})/?(?:[?#].*)?", re.ASCII)


class PlayHt(Vendor):
    """A job per segment. `Accept` is always explicit: the documents disagree about `*/*`."""

    name = "playht"
    base_url = "https://api.play.ht"
    key_names = ("PLAYHT_API_KEY", "PLAYHT_USER_ID")
    capabilities = Capabilities(
        title=TITLE,
        delivery=(Delivery.POLLED, Delivery.STREAMED),
        character_limit=CHARACTERS,
        other_limits=(("voice_engine", LONG_TEXT_ENGINE, LONG_TEXT),),
        voice_required=True,
        audio_formats=("wav", "flac", "mp3", "ogg"),
        lists_voices=True,
        options=(
            Option(
                "delivery",
                "string",
                "How we follow the job: `json` looks again and again, `events` listens to its events.",
                choices=("json", "events"),
                source="ours; sent as Accept and `format`",
            ),
            Option(
                "voice_engine",
                "string",
                "The engine that speaks, PlayHT2.0 if left out. It must be the voice's own.",
                choices=(
                    *("PlayHT1.0", "PlayHT2.0", "Play3.0-mini", "PlayDialog"),
                    *("PlayDialogMultilingual", "PlayDialogArabic", "PlayDialog-turbo"),
                ),
                nullable=True,
                source=PAGE,
            ),
            Option(
                "quality",
                "string",
                "Quality of the speech.",
                choices=("draft", "low", "medium", "high", "premium"),
                source=PAGE,
            ),
            Option(
                "output_format",
                "string",
                "Format that PlayHT sends; if left out WAV, FLAC for long texts. What you get is set by `format`.",
                choices=("mp3", "wav", "ogg", "flac"),
                source=PAGE,
            ),
            Option("sample_rate", "integer", "Hz that PlayHT sends.", minimum=8000, maximum=48000, source=PAGE),
            Option("seed", "integer", "The same seed gives the same audio.", minimum=0, nullable=True, source=PAGE),
            Option("temperature", "number", "How freely it varies.", minimum=0, maximum=2, nullable=True, source=PAGE),
            Option(
                "emotion",
                "string",
                "The emotion of the speech.",
                choices=tuple(
                    f"{who}_{what}"
                    for who in ("female", "male")
                    for what in ("happy", "sad", "angry", "fearful", "disgust", "surprised")
                ),
                nullable=True,
                only_with=ONLY_PLAYHT2,
                source=PAGE,
            ),
            Option(
                "voice_guidance",
                "number",
                "How unlike other voices it is.",
                minimum=1,
                maximum=6,
                nullable=True,
                only_with=ONLY_PLAYHT2,
                source=PAGE,
            ),
            Option(
                "style_guidance",
                "number",
                "How strong the emotion is.",
                minimum=1,
                maximum=30,
                nullable=True,
                only_with=ONLY_PLAYHT2,
                source=PAGE,
            ),
            Option(
                "text_guidance",
                "number",
                "How closely it keeps to the text.",
                minimum=1,
                maximum=2,
                nullable=True,
                source=LATER,
            ),
            Option(
                "language",
                "string",
                "The language's English name in lower case.",
                max_length=40,
                nullable=True,
                only_with=("voice_engine", (LONG_TEXT_ENGINE, "PlayDialogMultilingual")),
                source=LATER,
            ),
        ),
        speed=(0.1, 5.0),
        status="retired",
        notes=(
            "Reported closed since 31 December 2025; only a server that keeps to its contract can answer.",
            f"{LONG_TEXT:,} characters with {LONG_TEXT_ENGINE}.",
            "The voice is its id, an s3:// address.",
        ),
    )

    CHECK_AFTER_SECONDS = 2.0

    def start(self, request: SynthesisRequest, *, callback_url: str | None = None) -> AudioReady | StillWorking:
        """Create a job, and listen to its events where asked to. A success that names no job is ambiguous."""
        if not request.voice:
            raise UnsupportedOption(f"{TITLE} needs a voice.")
        # PCM joins exactly. Twenty minutes of it would not fit the client's cap; FLAC joins as exactly.
        exact = "wav" if len(request.text) <= CHARACTERS else "flac"
        body: dict[str, Any] = {"text": request.text, "voice": request.voice, "output_format": exact}
        if request.speed is not None:
            body["speed"] = request.speed
        body.update(request.options)
        if body.pop("delivery", None) == "events":
            return self._listen(body)
        headers = self._headers(JSON)
        reply = self._http.request("POST", JOBS, headers=headers, json=body)
        if not reply.ok:
            raise self._refusal(reply, VendorRejected, (request.text, *headers.values()))
        return self._working(self._created(reply), reply)

    def check(self, vendor_job_id: str) -> AudioReady | StillWorking:
        """Read the job and fetch its audio once there is an address. PlayHT forgets jobs after 48 hours."""
        if not _JOB_ID.fullmatch(vendor_job_id):
            raise VendorJobExpired(f"{TITLE} cannot have a job of that name.", vendor=self.name)
        headers = self._headers(JSON)
        reply = self._http.request("GET", f"{JOBS}/{vendor_job_id}", headers=headers)
        if reply.status in (404, 410):
            raise self._refusal(reply, VendorJobExpired, headers.values())
        job = answers.parsed(reply.body) if reply.ok else None
        if not isinstance(job, Mapping):
            raise self._refusal(reply, VendorUnavailable, headers.values())
        asked = job.get("input")
        text = asked.get("text") if isinstance(asked, Mapping) else None
        if job.get("status") in FAILED:
            raise self._failure(job, reply, text if isinstance(text, str) else None)
        output = job.get("output")
        address = output.get("url") if isinstance(output, Mapping) else None
        if not isinstance(address, str) or not address:
            return self._working(vendor_job_id, reply)
        return self._fetched(address, reply)

    def voices(self) -> list[Voice]:
        """The catalogue, then the account's clones."""
        headers = self._headers(JSON)
        found = []
        for path in (VOICES, CLONED_VOICES):
            reply = self._http.request("GET", path, headers=headers)
            if not reply.ok:
                raise self._refusal(reply, VendorRejected, headers.values())
            listed = answers.parsed(reply.body)
            if not isinstance(listed, list):
                raise answers.unreadable(reply, "a list of voices", vendor=self.name, title=TITLE)
            found += [
                answers.voice(
                    each.get("id"),
                    name=each.get("name"),
                    languages=[each.get("language_code")],
                    gender=each.get("gender"),
                    preview_url=each.get("sample"),
                )
                for each in listed
                if isinstance(each, Mapping)
            ]
        return [voice for voice in found if voice]

    def _listen(self, body: Mapping[str, Any]) -> AudioReady | StillWorking:
        """Follow the events to the end; where they end too early, the job is there to be asked."""
        headers = self._headers(EVENTS)
        progress = _Progress()
        reply = self._http.request(
            "POST", JOBS, headers=headers, json=body, params={"format": "event-stream"}, until=progress
        )
        if not reply.ok:
            raise self._refusal(reply, VendorRejected, (body["text"], *headers.values()))
        vendor_job_id = self._created(reply, progress.job_id)
        if progress.failure is not None:
            raise self._failure(progress.failure, reply, body["text"])
        if progress.address:
            try:
                return self._fetched(progress.address, reply)
            except VendorError:
                pass  # the job will say it again, and asking costs nothing
        return self._working(vendor_job_id, reply)

    def _created(self, reply: Reply, told: str | None = None) -> str:
        """The id of the job that a create made. Without one there may still be a job, and it may cost."""
        job = answers.parsed(reply.body)
        named = job.get("id") if isinstance(job, Mapping) else None
        places = (reply.headers.get(name, "") for name in ("location", "content-location"))
        located = (found[1] for place in places if (found := _LOCATION.fullmatch(place)))
        for vendor_job_id in (named, *located, told):
            if isinstance(vendor_job_id, str) and _JOB_ID.fullmatch(vendor_job_id):
                return vendor_job_id
        raise VendorAmbiguous(
            f"{TITLE} answered {reply.status} without the id of a job.",
            vendor=self.name,
            vendor_status=reply.status,
            request_id=answers.request_id(reply),
        )

    def _fetched(self, address: str, told: Reply) -> AudioReady:
        """The file at the public address of a result. Raises VendorError."""
        title = "PlayHT's file store"
        try:
            reply = self._http.fetch(address)
        except EgressRefused as error:
            raise VendorJobFailed(
                f"{TITLE} gave an address for its result that we do not open.", vendor=self.name
            ) from error
        if not reply.ok:
            statuses = {429: VendorUnavailable, 408: VendorUnavailable}
            raise answers.refusal(reply, vendor=self.name, title=title, statuses=statuses, default=VendorMisbehaved)
        return AudioReady(
            data=answers.audio(reply, vendor=self.name, title=title, is_file=True),
            media_type=reply.headers.get("content-type"),
            request_id=answers.request_id(told),
        )

    def _headers(self, accept: str) -> dict[str, str]:
        api_key = answers.key(self._keys, "PLAYHT_API_KEY", vendor=self.name, title=TITLE)
        return {
            "AUTHORIZATION": f"Bearer {api_key}",
            "X-USER-ID": answers.key(self._keys, "PLAYHT_USER_ID", vendor=self.name, title=TITLE),
            "Accept": accept,
        }

    def _working(self, vendor_job_id: str, reply: Reply) -> StillWorking:
        return StillWorking(
            vendor_job_id=vendor_job_id,
            check_after=self.CHECK_AFTER_SECONDS,
            request_id=answers.request_id(reply),
        )

    def _failure(self, told: Mapping[str, Any], reply: Reply, text: str | None) -> VendorError:
        """Why a job failed, when it says so; the words are repeated only where the text is known."""
        reason = _words(told) or ""
        credit = any(part in reason.casefold() for part, _ in TEXTS)
        said = answers.safe_message(reason, secrets=(text, *self._keys.values())) if text is not None else None
        kind = VendorQuotaExhausted if credit else VendorJobFailed
        return kind(
            f"{TITLE}'s job failed" + (f": {said}" if said else "."),
            vendor=self.name,
            vendor_status=reply.status,
            request_id=answers.request_id(reply),
        )

    def _refusal(self, reply: Reply, default: type[VendorError], secrets: Iterable[str]) -> VendorError:
        body = answers.parsed(reply.body)  # a 429 is a JSON string, a 5xx has other names than a 4xx
        code = body.get("error_id") if isinstance(body, Mapping) else None
        statuses = dict(answers.STATUSES)
        if default is VendorUnavailable:
            statuses.setdefault(reply.status, default)  # asking again costs nothing, giving up costs the job
        if default is VendorJobExpired:
            statuses[reply.status] = default  # it is the job that is gone, not the vendor
        refused = answers.refusal(
            reply,
            vendor=self.name,
            title=TITLE,
            message=_words(body),
            code=code if isinstance(code, str) else None,
            texts=TEXTS,
            statuses=statuses,
            default=default,
            secrets=secrets,
        )
        return answers.told_too_long(refused, _words(body))


class _Progress:
    """What the events of a job have told so far. Says when they need not tell more."""

    def __init__(self) -> None:
        self.job_id: str | None = None
        self.address: str | None = None
        self.failure: Mapping[str, Any] | None = None
        self._reader = EventReader()

    def __call__(self, piece: bytes) -> bool:
        return any(self._is_end(event) for event in self._reader.read(piece))

    def _is_end(self, event: Event) -> bool:
        told = None if event.name in NOT_JSON else answers.parsed(event.data.encode())
        told = told if isinstance(told, Mapping) else {}
        if isinstance(told.get("id"), str):
            self.job_id = self.job_id or told["id"]
        if event.name in FAILED:
            self.failure = told
        elif event.name == COMPLETED and isinstance(told.get("url"), str):
            self.address = told["url"]
        return event.name == COMPLETED or event.name in FAILED


def _words(body: Any) -> str | None:
    """What an answer says went wrong: a 4xx, a 5xx and a 429 each say it in another place."""
    if isinstance(body, str):
        return body
    if isinstance(body, Mapping):
        for name in ("error_message", "message", "error"):
            if isinstance(body.get(name), str):
                return str(body[name])
    return None
