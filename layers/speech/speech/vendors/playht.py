"""PlayHT: API v2, a job that is polled, as compatible servers still speak it. Not registered yet."""

import re
from collections.abc import Mapping
from typing import Any

from speech.egress import EgressRefused
from speech.errors import (
    UnsupportedOption,
    VendorAmbiguous,
    VendorError,
    VendorJobExpired,
    VendorJobFailed,
    VendorMisbehaved,
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
)

TITLE = "PlayHT"
JOBS = "/api/v2/tts"
SOURCE = "Generate Audio From Text, Body Params"

FAILED = frozenset({"failed", "error"})
"""Statuses that end a job without audio; none or any other one means still working."""

_JOB_ID = re.compile(r"[A-Za-z0-9_-]{1,100}", re.ASCII)


class PlayHt(Vendor):
    """A job per segment, polled as JSON: `Accept` is always explicit, since the documents disagree about `*/*`."""

    name = "playht"
    key_names = ("PLAYHT_API_KEY", "PLAYHT_USER_ID")
    capabilities = Capabilities(
        title=TITLE,
        delivery=(Delivery.POLLED,),
        character_limit=2000,
        voice_required=True,
        audio_formats=("wav", "mp3", "ogg", "flac"),
        options=(
            Option(
                "delivery", "string", "How we follow the job.", choices=("json",), source="ours; not sent to PlayHT"
            ),
            Option(
                "quality",
                "string",
                "Quality of the speech.",
                choices=("draft", "low", "medium", "high", "premium"),
                source=SOURCE,
            ),
            Option(
                "output_format",
                "string",
                "Format that PlayHT sends, WAV if left out. What you get is set by `format`.",
                choices=("mp3", "wav", "ogg", "flac"),
                source=SOURCE,
            ),
            Option("speed", "number", "How fast it speaks.", minimum=0.1, maximum=5, source=SOURCE),
            Option("sample_rate", "number", "Hz that PlayHT sends.", minimum=8000, maximum=48000, source=SOURCE),
            Option("seed", "integer", "The same seed gives the same audio.", minimum=0, nullable=True, source=SOURCE),
            Option("temperature", "number", "Variance.", minimum=0, maximum=2, nullable=True, source=SOURCE),
            Option(
                "voice_engine",
                "string",
                "The engine that speaks.",
                choices=("PlayHT1.0", "PlayHT2.0", "Play3.0-mini", "PlayDialog"),
                nullable=True,
                source=SOURCE,
            ),
            Option(
                "emotion",
                "string",
                "Only with PlayHT2.0.",
                choices=tuple(
                    f"{who}_{what}"
                    for who in ("female", "male")
                    for what in ("happy", "sad", "angry", "fearful", "disgust", "surprised")
                ),
                nullable=True,
                source=SOURCE,
            ),
            Option(
                "voice_guidance", "number", "Only with PlayHT2.0.", minimum=1, maximum=6, nullable=True, source=SOURCE
            ),
            Option(
                "style_guidance", "number", "Only with PlayHT2.0.", minimum=1, maximum=30, nullable=True, source=SOURCE
            ),
        ),
        speed=(0.1, 5.0),
        status="closed",
        notes=("PlayHT closed on 31 December 2025; only a compatible server can answer.",),
    )

    CHECK_AFTER_SECONDS = 2.0

    def start(self, request: SynthesisRequest, *, callback_url: str | None = None) -> StillWorking:
        """Create a job. A success that names none is ambiguous: there may be one that costs."""
        if not request.voice:
            raise UnsupportedOption(f"{TITLE} needs a voice.")
        headers = self._headers()
        body: dict[str, Any] = {"text": request.text, "voice": request.voice, "output_format": "wav"}
        if request.speed is not None:
            body["speed"] = request.speed
        body.update(request.options)
        body.pop("delivery", None)
        reply = self._http.request("POST", JOBS, headers=headers, json=body)
        if not reply.ok:
            raise self._refusal(reply, VendorRejected, (request.text, *headers.values()))
        job = answers.parsed(reply.body)
        named = job.get("id") if isinstance(job, Mapping) else None
        vendor_job_id = named or reply.headers.get("location", "").partition("?")[0].rpartition("/")[2]
        if not isinstance(vendor_job_id, str) or not _JOB_ID.fullmatch(vendor_job_id):
            raise VendorAmbiguous(
                f"{TITLE} answered {reply.status} without the id of a job.",
                vendor=self.name,
                vendor_status=reply.status,
                request_id=answers.request_id(reply),
            )
        return self._working(vendor_job_id, reply)

    def check(self, vendor_job_id: str) -> AudioReady | StillWorking:
        """Read the job and fetch its audio once there is an address. PlayHT forgets jobs after 48 hours."""
        if not _JOB_ID.fullmatch(vendor_job_id):
            raise VendorJobExpired(f"{TITLE} cannot have a job of that name.", vendor=self.name)
        headers = self._headers()
        reply = self._http.request("GET", f"{JOBS}/{vendor_job_id}", headers=headers)
        if reply.status in (404, 410):
            raise self._refusal(reply, VendorJobExpired, headers.values())
        job = answers.parsed(reply.body) if reply.ok else None
        if not isinstance(job, Mapping):
            raise self._refusal(reply, VendorUnavailable, headers.values())
        if job.get("status") in FAILED:
            raise VendorJobFailed(f"{TITLE}'s job failed.", vendor=self.name, request_id=answers.request_id(reply))
        output = job.get("output")
        address = output.get("url") if isinstance(output, Mapping) else None
        if not isinstance(address, str) or not address:
            return self._working(vendor_job_id, reply)
        return self._fetched(address)

    def _fetched(self, address: str) -> AudioReady:
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
            data=answers.audio(reply, vendor=self.name, title=title), media_type=reply.headers.get("content-type")
        )

    def _headers(self) -> dict[str, str]:
        api_key = answers.key(self._keys, "PLAYHT_API_KEY", vendor=self.name, title=TITLE)
        return {
            "AUTHORIZATION": f"Bearer {api_key}",
            "X-USER-ID": answers.key(self._keys, "PLAYHT_USER_ID", vendor=self.name, title=TITLE),
            "Accept": "application/json",
        }

    def _working(self, vendor_job_id: str, reply: Reply) -> StillWorking:
        return StillWorking(
            vendor_job_id=vendor_job_id,
            check_after=self.CHECK_AFTER_SECONDS,
            request_id=answers.request_id(reply),
        )

    def _refusal(self, reply: Reply, default: type[VendorError], secrets: Any) -> VendorError:
        body = answers.parsed(reply.body)  # a 429 is a JSON string, a 5xx has other names than a 4xx
        said = body if isinstance(body, str) else None
        code = None
        if isinstance(body, Mapping):
            words = [body[each] for each in ("error_message", "message", "error") if isinstance(body.get(each), str)]
            said = words[0] if words else None
            code = body.get("error_id") if isinstance(body.get("error_id"), str) else None
        statuses = dict(answers.STATUSES)
        if default is VendorUnavailable:
            statuses.setdefault(reply.status, default)  # asking again costs nothing, giving up costs the job
        return answers.refusal(
            reply,
            vendor=self.name,
            title=TITLE,
            message=said,
            code=code,
            statuses=statuses,
            default=default,
            secrets=secrets,
        )
