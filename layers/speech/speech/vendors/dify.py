"""Dify: text to audio through an app of its Service API. One POST, the audio is the answer (docs/vendors/dify.md)."""

import time
from collections.abc import Mapping
from typing import Any

from speech.errors import (
    VendorError,
    VendorQuotaExhausted,
    VendorRejected,
    VendorTextTooLong,
    VendorThrottled,
    VendorUnauthorized,
    VendorUnavailable,
)
from speech.vendors import answers
from speech.vendors.base import AudioReady, Capabilities, Delivery, Option, Reply, SynthesisRequest, Vendor

TITLE = "Dify"
PAGE = "Service API, TextToAudioRequest"

USER = "voicedrop"
"""Optional in current documents, required in older ones; a message is looked up together with its user."""

VOICE_SECONDS = 300.0
"""How long the app's default voice is believed: as long as keys are."""

CODES: Mapping[str, type[VendorError]] = {
    # Somebody has to pay; the second is a 429, but it is the cloud plan's quota.
    "provider_quota_exceeded": VendorQuotaExhausted,
    "rate_limit_error": VendorQuotaExhausted,
    # The app or its workspace is not set up for speech: no call mends that.
    "app_unavailable": VendorRejected,
    "agent_not_published": VendorRejected,
    "provider_not_initialize": VendorRejected,
    "invalid_param": VendorRejected,
    # The configured model cannot do it.
    "model_currently_not_support": VendorRejected,
    # May pass; the first one covers lasting faults of the provider too, so that a few more tries are all it gets.
    "completion_request_error": VendorUnavailable,
    "internal_server_error": VendorUnavailable,
    "unknown": VendorUnavailable,
    "too_many_requests": VendorThrottled,
    "unauthorized": VendorUnauthorized,
    "forbidden": VendorUnauthorized,
}
"""What the body's `code` means; it is looked at before the status."""

HINTS: Mapping[str, str] = {
    "invalid_param": "Text to speech must be enabled and published in the app, with a default model in its workspace.",
    "provider_quota_exceeded": "The account of the app's model provider is used up.",
    "rate_limit_error": "The quota of the Dify plan is used up.",
}


class Dify(Vendor):
    """Answers at once, in chunks or not, in whatever format the app's provider makes."""

    name = "dify"
    base_url = "https://api.dify.ai/v1"
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
                f"The end user on whose behalf Dify speaks, `{USER}` if left out.",
                max_length=200,
                source=PAGE,
            ),
            Option(
                "streaming",
                "boolean",
                "Asks for an answer in chunks; current servers accept and ignore it.",
                source=PAGE,
            ),
            Option(
                "message_id",
                "uuid",
                "A message of the app, whose answer is spoken in place of the text, which may be left out.",
                allowed_by="dify_message_ids",
                source=PAGE,
            ),
        ),
        notes=(
            "The app decides on model, format and default voice; text to speech must be enabled and published there.",
            "Dify publishes no character limit; 2,000 is ours.",
            "`message_id` is refused unless the operator of the stack allows it.",
        ),
    )

    def start(self, request: SynthesisRequest, *, callback_url: str | None = None) -> AudioReady:
        """Ask for speech; the answer is the file."""
        api_key = answers.key(self._keys, "DIFY_API_KEY", vendor=self.name, title=TITLE)
        headers = {"Authorization": f"Bearer {api_key}"}
        body: dict[str, Any] = {"user": USER, **request.options}
        if "message_id" not in body:
            body["text"] = request.text
        voice = request.voice or self._default_voice(headers)
        if voice:
            body["voice"] = voice
        reply = self._http.request("POST", "/text-to-audio", headers=headers, json=body)
        if not reply.ok:
            raise self._refusal(reply, secrets=(request.text, api_key))
        if "message_id" in body and reply.body.strip() == b"null":
            raise VendorRejected(
                f"{TITLE} knows no such message of this user, or it has no answer.",
                vendor=self.name,
                vendor_status=reply.status,
                request_id=answers.request_id(reply),
            )
        return AudioReady(
            data=answers.audio(reply, vendor=self.name, title=TITLE),
            media_type=reply.headers.get("content-type"),
            request_id=answers.request_id(reply),
        )

    def probe(self) -> None:
        """The app's parameters, with its key."""
        api_key = answers.key(self._keys, "DIFY_API_KEY", vendor=self.name, title=TITLE)
        reply = self._http.request("GET", "/parameters", headers={"Authorization": f"Bearer {api_key}"})
        if not reply.ok:
            raise self._refusal(reply, secrets=(api_key,))
        if not isinstance(answers.parsed(reply.body), Mapping):
            raise answers.unreadable(reply, "parameters", vendor=self.name, title=TITLE)

    def _default_voice(self, headers: Mapping[str, str]) -> str | None:
        """The app's own voice, as its parameters name it. Where they do not, Dify finds one by itself."""
        key = headers["Authorization"]
        read_at, voice = self._http.memory.get(key, (0.0, None))
        # The wall clock: a frozen environment does not notice how old its memory is.
        if abs(time.time() - read_at) < VOICE_SECONDS:
            return str(voice) if voice else None
        try:
            reply = self._http.request("GET", "/parameters", headers=headers)
            found = answers.parsed(reply.body) if reply.ok else None
        except VendorError:
            found = None  # nothing was bought, and the call that buys will say what is wrong
        for name in ("text_to_speech", "voice"):
            found = found.get(name) if isinstance(found, Mapping) else None
        voice = found if isinstance(found, str) and found.strip() else None
        self._http.memory[key] = (time.time(), voice)
        return voice

    def _refusal(self, reply: Reply, *, secrets: tuple[str, ...]) -> VendorError:
        body = answers.parsed(reply.body)
        body = body if isinstance(body, Mapping) else {}
        code, message = (body[name] if isinstance(body.get(name), str) else "" for name in ("code", "message"))
        known = {reply.status: CODES[code]} if code in CODES else {}
        refused = answers.refusal(
            reply,
            vendor=self.name,
            title=TITLE,
            message=message,
            code=code,
            statuses={**answers.STATUSES, 413: VendorTextTooLong, **known},
            secrets=secrets,
            hint=HINTS.get(code, ""),
        )
        return answers.told_too_long(refused, message)
