"""Creatify: text to speech as a job that is polled, with a webhook that hurries us (docs/vendors/creatify.md)."""

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import parse_qs

from speech.egress import EgressRefused
from speech.errors import (
    InvalidRequest,
    PayloadTooLarge,
    UnsupportedOperation,
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
    Callback,
    Capabilities,
    Delivery,
    Reply,
    StillWorking,
    SynthesisRequest,
    Vendor,
    Voice,
)

TITLE = "Creatify"
JOBS = "/api/text_to_speech/"  # with the slash: Django redirects a POST without it, and the body is lost

MAX_WEBHOOK_URL = 200
MAX_CALLBACK = 64 * 1024

WORKING, DONE, FAILED = "working", "done", "failed"
STATUSES: Mapping[str, str] = {
    "pending": WORKING,
    "in_queue": WORKING,
    "running": WORKING,
    "done": DONE,
    "failed": FAILED,
}
"""What the job's status means. One that is not here means still working: the deadline ends it."""

# Which status a lack of credits has is not documented, only that creation or processing says so.
TEXTS: answers.Texts = (
    ("insufficient credit", VendorQuotaExhausted),
    ("not enough credit", VendorQuotaExhausted),
)

_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


class Creatify(Vendor):
    """A job per segment. The webhook is unsigned and may repeat, so all it does is make us look."""

    name = "creatify"
    base_url = "https://api.creatify.ai"
    key_names = ("CREATIFY_API_ID", "CREATIFY_API_KEY")
    voice_kind = "uuid"
    capabilities = Capabilities(
        title=TITLE,
        delivery=(Delivery.CALLBACK, Delivery.POLLED),
        character_limit=8000,
        voice_required=False,
        audio_formats=("mp3",),
        lists_voices=True,
        reports_credits=True,
        notes=(
            "The voice is the id of an accent from Creatify's voice list.",
            "Creatify chooses the format it sends and does not say which; what you get is set by `format`.",
            "1 credit for every 30 seconds of audio.",
        ),
    )

    CHECK_AFTER_SECONDS = 5.0

    def start(self, request: SynthesisRequest, *, callback_url: str | None = None) -> StillWorking:
        """Create a job. Any success that names no job is ambiguous: there may be one that costs."""
        body: dict[str, Any] = {"script": request.text}
        if request.voice:
            body["accent"] = request.voice
        if callback_url is not None:
            if len(callback_url) > MAX_WEBHOOK_URL:
                raise UnsupportedOption(
                    f"{TITLE} takes callback addresses of at most {MAX_WEBHOOK_URL} characters; "
                    "shorten CALLBACK_BASE_URL."
                )
            body["webhook_url"] = callback_url
        body.update(request.options)
        headers = self._credentials()
        reply = self._http.request("POST", JOBS, headers=headers, json=body)
        if reply.status >= 500:
            raise self._refusal(reply, VendorAmbiguous, secrets=(request.text, *headers.values()))
        if not reply.ok:
            raise self._refusal(reply, VendorRejected, secrets=(request.text, *headers.values()))
        vendor_job_id = _job_id(answers.parsed(reply.body))
        if vendor_job_id is None:
            raise VendorAmbiguous(
                f"{TITLE} answered {reply.status} without the id of a job.",
                vendor=self.name,
                vendor_status=reply.status,
                request_id=answers.request_id(reply),
            )
        return self._working(vendor_job_id, reply)

    def check(self, vendor_job_id: str) -> AudioReady | StillWorking:
        """Read the job, which is free, and fetch its audio once it is done."""
        job, reply = self._read(vendor_job_id)
        first = self._outcome(vendor_job_id, job, reply)
        if isinstance(first, StillWorking):
            return first
        audio = self._fetch(first)
        if not isinstance(audio, bytes):
            # Result addresses expire, after how long is not documented: the job may know a fresh one.
            job, reply = self._read(vendor_job_id)
            again = self._outcome(vendor_job_id, job, reply)
            if isinstance(again, StillWorking):
                return again
            audio = self._fetch(again)
        if not isinstance(audio, bytes):
            raise audio
        return AudioReady(
            data=audio,
            request_id=answers.request_id(reply),
            credits=_credits(job.get("credits_used")),
        )

    def read_callback(self, callback: Callback) -> str:
        """The job a webhook names; nothing else in it is believed."""
        return read_callback(callback)

    def reconcile(self, callback_urls: Sequence[str]) -> StillWorking | None:
        """Find the job that a lost create made, by the webhook address that only that create carried."""
        if not callback_urls:
            raise UnsupportedOperation(f"{TITLE} jobs are found by their callback address, and there was none.")
        headers = self._credentials()
        reply = self._http.request("GET", JOBS, headers=headers, params={"ordering": "-created_at"})
        if reply.status in (404, 405):
            raise UnsupportedOperation(f"{TITLE} lists no jobs here.")
        if not reply.ok:
            raise self._refusal(reply, VendorUnavailable, secrets=headers.values())
        body = answers.parsed(reply.body)
        listed = body.get("results") if isinstance(body, Mapping) else body
        if not isinstance(listed, list):
            raise VendorUnavailable(f"{TITLE} answered with a list that cannot be read.", vendor=self.name)
        jobs = [each for each in listed if isinstance(each, Mapping)]
        for job in jobs:
            vendor_job_id = _job_id(job)
            if vendor_job_id is not None and job.get("webhook_url") in callback_urls:
                return self._working(vendor_job_id, reply, job.get("status"))
        if jobs and not any("webhook_url" in job for job in jobs):
            raise UnsupportedOperation(f"{TITLE} lists jobs without their callback address.")
        return None

    def probe(self) -> None:
        """What the account has left; if that is nothing, no job can be made."""
        if self.credits_left() <= 0:
            raise VendorQuotaExhausted(f"{TITLE} says that no credits are left.", vendor=self.name)

    def voices(self) -> list[Voice]:
        """Each voice in each of its accents: an accent is what a request asks for."""
        listed, reply = self._asked_freely("/api/voices/")
        if not isinstance(listed, list):
            raise answers.unreadable(reply, "a list of voices", vendor=self.name, title=TITLE)
        return [
            voice
            for each in listed
            if isinstance(each, Mapping)
            for accent in (each["accents"] if isinstance(each.get("accents"), list) else ())
            if isinstance(accent, Mapping)
            if (
                voice := answers.voice(
                    accent.get("id"),
                    name=_with_accent(each.get("name"), accent.get("accent_name")),
                    gender=each.get("gender"),
                    preview_url=accent.get("preview_url"),
                )
            )
        ]

    def credits_left(self) -> float:
        """The account's remaining credits; a fraction is possible."""
        said, reply = self._asked_freely("/api/remaining_credits/")
        left = _credits(said.get("remaining_credits")) if isinstance(said, Mapping) else None
        if left is None:
            raise answers.unreadable(reply, "a number of credits", vendor=self.name, title=TITLE)
        return left

    def _asked_freely(self, path: str) -> tuple[Any, Reply]:
        """A question about the account, and its answer as JSON."""
        headers = self._credentials()
        reply = self._http.request("GET", path, headers=headers)
        if not reply.ok:
            raise self._refusal(reply, VendorRejected, secrets=headers.values())
        return answers.parsed(reply.body), reply

    def _credentials(self) -> dict[str, str]:
        return {
            "X-API-ID": answers.key(self._keys, "CREATIFY_API_ID", vendor=self.name, title=TITLE),
            "X-API-KEY": answers.key(self._keys, "CREATIFY_API_KEY", vendor=self.name, title=TITLE),
        }

    def _read(self, vendor_job_id: str) -> tuple[Mapping[str, Any], Reply]:
        if not _UUID.fullmatch(vendor_job_id):
            raise VendorJobExpired(f"{TITLE} cannot have a job of that name.", vendor=self.name)
        headers = self._credentials()
        reply = self._http.request("GET", f"{JOBS}{vendor_job_id}/", headers=headers)
        if reply.status in (404, 410):
            raise self._refusal(reply, VendorJobExpired, secrets=headers.values())
        if not reply.ok:
            raise self._refusal(reply, VendorUnavailable, secrets=headers.values())
        job = answers.parsed(reply.body)
        if not isinstance(job, Mapping):
            raise VendorUnavailable(
                f"{TITLE} described its job in a way that cannot be read.",
                vendor=self.name,
                vendor_status=reply.status,
                request_id=answers.request_id(reply),
            )
        return job, reply

    def _outcome(self, vendor_job_id: str, job: Mapping[str, Any], reply: Reply) -> StillWorking | str:
        """Still working, or the address of the result. Raises when the job failed."""
        status = job.get("status")
        meaning = STATUSES.get(status, WORKING) if isinstance(status, str) else WORKING
        if meaning == FAILED:
            raise self._failure(job, reply)
        # The resource says `output`, the webhook and most other job types `video_output`.
        address = job.get("output") or job.get("video_output")
        if meaning == WORKING or not isinstance(address, str):
            return self._working(vendor_job_id, reply, status)
        return address

    def _fetch(self, address: str) -> bytes | VendorError:
        """The audio, or why there is none at this address. Raises when the address may work later."""
        try:
            reply = self._http.fetch(address)
        except EgressRefused:
            # Buying again from somebody who sends us there would be no better.
            return VendorJobFailed(f"{TITLE} gave an address for its result that we do not open.", vendor=self.name)
        if reply.status >= 500 or reply.status == 429:
            raise answers.refusal(
                reply, vendor=self.name, title="Creatify's file store", statuses={429: VendorUnavailable}
            )
        if not reply.ok:
            return self._misbehaved(reply, "no file at the result's address")
        try:
            return answers.audio(reply, vendor=self.name, title="Creatify's file store", is_file=True)
        except VendorMisbehaved as error:
            return error

    def _failure(self, job: Mapping[str, Any], reply: Reply) -> VendorError:
        reason = job.get("failed_reason")
        reason = reason if isinstance(reason, str) else ""
        script = job.get("script")
        secrets = (script, *self._keys.values()) if isinstance(script, str) else ()
        said = answers.safe_message(reason, secrets=secrets) if secrets else None
        credit = any(part in reason.casefold() for part, _ in TEXTS)
        kind = VendorQuotaExhausted if credit else VendorJobFailed
        return kind(
            f"{TITLE}'s job failed" + (f": {said}" if said else "."),
            vendor=self.name,
            vendor_status=reply.status,
            request_id=answers.request_id(reply),
            # Whether failed jobs are given back is not documented; what the job says it used, it used.
            credits=_credits(job.get("credits_used")),
        )

    def _working(self, vendor_job_id: str, reply: Reply, status: object = None) -> StillWorking:
        known = isinstance(status, str) and re.fullmatch(r"[a-z_]{1,32}", status)
        return StillWorking(
            vendor_job_id=vendor_job_id,
            check_after=self.CHECK_AFTER_SECONDS,
            request_id=answers.request_id(reply),
            status=str(status) if known else None,
        )

    def _misbehaved(self, reply: Reply, what: str) -> VendorMisbehaved:
        return VendorMisbehaved(
            f"{TITLE} answered {reply.status} with {what}.", vendor=self.name, vendor_status=reply.status
        )

    def _refusal(self, reply: Reply, default: type[VendorError], *, secrets: Any) -> VendorError:
        """`default` is what an answer means that no table knows.

        Ambiguous: a 5xx after a create may hide a job that was made. Unavailable: whatever a free question
        is answered with, asking again later costs nothing, while giving up costs the job.
        """
        statuses = dict(answers.STATUSES)
        if default in (VendorAmbiguous, VendorUnavailable):
            statuses.setdefault(reply.status, default)
        if default is VendorJobExpired:
            statuses[reply.status] = default  # it is the job that is gone, not the vendor
        body = answers.parsed(reply.body)
        message, fields = _message(body)
        refused = answers.refusal(
            reply,
            vendor=self.name,
            title=TITLE,
            message=message,
            texts=TEXTS,
            statuses=statuses,
            default=default,
            secrets=secrets,
            hint=f"It names {', '.join(fields)}." if fields else "",
        )
        about_script = body.get("script") if isinstance(body, Mapping) else None
        return answers.told_too_long(refused, str(about_script) if about_script else None)


def read_callback(callback: Callback) -> str:
    """The job a webhook names, without an adapter and so without keys.

    Sent as JSON, going by the sample; form fields are read as well. Raises PayloadTooLarge and
    InvalidRequest.
    """
    if len(callback.body) > MAX_CALLBACK:
        raise PayloadTooLarge("The callback is too large.")
    body = answers.parsed(callback.body)
    if not isinstance(body, Mapping):
        try:
            form = parse_qs(callback.body.decode("utf-8"), max_num_fields=100)
        except ValueError:
            form = {}
        body = {name: values[0] for name, values in form.items()}
    vendor_job_id = _job_id(body)
    if vendor_job_id is None:
        raise InvalidRequest("The callback names no job.")
    return vendor_job_id


def _message(body: Any) -> tuple[str | None, list[str]]:
    """What a Django REST answer says, and the fields it complains about."""
    if isinstance(body, str):
        return body, []
    if isinstance(body, list):
        return " ".join(each for each in body if isinstance(each, str)) or None, []
    if not isinstance(body, Mapping):
        return None, []
    for name in ("detail", "error", "message"):
        if isinstance(body.get(name), str):
            return str(body[name]), []
    lines = [line for each in body.values() if isinstance(each, list) for line in each if isinstance(line, str)]
    fields = [
        f"`{name}`" for name, each in body.items() if isinstance(each, list) and re.fullmatch(r"[a-z_]{1,40}", name)
    ]
    return " ".join(lines) or None, fields[:5]


def _job_id(job: Any) -> str | None:
    """The job's id when it is the uuid it should be; it becomes part of an address."""
    value = job.get("id") if isinstance(job, Mapping) else None
    if not isinstance(value, str) or not _UUID.fullmatch(value.lower()):
        return None
    return value.lower()


def _with_accent(name: Any, accent: Any) -> str | None:
    words = [each for each in (name, accent) if isinstance(each, str) and each.strip()]
    return f"{words[0]} ({words[1]})" if len(words) == 2 else next(iter(words), None)


def _credits(value: Any) -> float | None:
    """Credits as a number. Django may write a decimal as a string; unknown is None, never 0."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) and number >= 0 else None
