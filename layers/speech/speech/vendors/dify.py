"""Dify: text to audio through an app of its Service API. One POST, the audio is the answer. Not registered yet."""

from collections.abc import Mapping
from typing import Any

from speech.errors import (
    VendorError,
    VendorQuotaExhausted,
    VendorRejected,
    VendorThrottled,
    VendorUnauthorized,
    VendorUnavailable,
)
from speech.vendors import answers
from speech.vendors.base import AudioReady, Capabilities, Delivery, Option, Reply, SynthesisRequest, Vendor

TITLE = "Dify"

USER = "voicedrop"
"""Optional in current documents, required in older ones; a message is looked up together with its user."""

CODES: Mapping[str, type[VendorError]] = {
    "provider_quota_exceeded": VendorQuotaExhausted,
    "rate_limit_error": VendorQuotaExhausted,  # a 429, but it is the cloud plan's quota
    "too_many_requests": VendorThrottled,
    "completion_request_error": VendorUnavailable,  # covers lasting and passing faults: a few more tries
    "app_unavailable": VendorRejected,
    "provider_not_initialize": VendorRejected,
    "model_currently_not_support": VendorRejected,
    "invalid_param": VendorRejected,
    "unauthorized": VendorUnauthorized,
    "forbidden": VendorUnauthorized,
    "internal_server_error": VendorUnavailable,
    "unknown": VendorUnavailable,
}
"""What the body's `code` means; it is looked at before the status."""


class Dify(Vendor):
    """Answers at once, in chunks or not, in whatever format the app's provider makes."""

    name = "dify"
    key_names = ("DIFY_API_KEY",)
    capabilities = Capabilities(
        title=TITLE,
        delivery=(Delivery.IMMEDIATE,),
        character_limit=2000,
        voice_required=False,
        audio_formats=("mp3", "wav"),
        options=(
            Option(
                "user",
                "string",
                "The end user on whose behalf Dify speaks.",
                max_length=200,
                source="Service API, TextToAudioRequest",
            ),
            Option(
                "streaming",
                "boolean",
                "Accepted for old servers; current ones ignore it.",
                source="Service API, TextToAudioRequest",
            ),
        ),
        notes=(
            "The app decides on model, format and default voice; text to speech must be enabled and published there.",
            "Dify publishes no character limit; 2,000 is ours.",
        ),
    )

    def start(self, request: SynthesisRequest, *, callback_url: str | None = None) -> AudioReady:
        """Ask for speech; the answer is the file."""
        api_key = answers.key(self._keys, "DIFY_API_KEY", vendor=self.name, title=TITLE)
        body: dict[str, Any] = {"text": request.text, "user": USER}
        if request.voice:
            body["voice"] = request.voice
        body.update(request.options)
        reply = self._http.request("POST", "/text-to-audio", headers={"Authorization": f"Bearer {api_key}"}, json=body)
        if not reply.ok:
            raise self._refusal(reply, secrets=(request.text, api_key))
        return AudioReady(
            data=answers.audio(reply, vendor=self.name, title=TITLE),
            media_type=reply.headers.get("content-type"),
            request_id=answers.request_id(reply),
        )

    def _refusal(self, reply: Reply, *, secrets: tuple[str, ...]) -> VendorError:
        body = answers.parsed(reply.body)
        body = body if isinstance(body, Mapping) else {}
        code, message = (body[name] if isinstance(body.get(name), str) else "" for name in ("code", "message"))
        known = {reply.status: CODES[code]} if code in CODES else {}
        return answers.refusal(
            reply,
            vendor=self.name,
            title=TITLE,
            message=message,
            code=code,
            statuses={**answers.STATUSES, **known},
            secrets=secrets,
        )
