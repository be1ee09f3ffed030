"""Dify's service API for text to speech, as its documents and its open server code describe it."""

from collections.abc import Callable, Iterable
from typing import Any, ClassVar, Final, Literal

from aiohttp import web
from pydantic import Field

from local.emulators.base import Call, Emulator, Refusal, RefusedError, Route, Spoken, Switches
from local.emulators.voice import Encoding, Speech, VoiceError, encode, spoken_language, without_info_frame

VOICES: Final = {"alloy": "f2", "echo": "m3", "fable": "edward", "onyx": "m7", "nova": "linda", "shimmer": "Annie"}
MESSAGE: Final = "6f8ca7a8-1c5a-4b1e-9d5c-0d7f3a2b1c4e"
_ENCODINGS: Final = {"mp3": Encoding("mp3", 24000, 64), "wav": Encoding("wav", 24000)}


def _error(status: int, code: str, message: str, **headers: str) -> Refusal:
    return Refusal(status, {"code": code, "message": message, "status": status}, headers)


class DifySwitches(Switches):
    """What the operator configured, and how old the server is."""

    enabled: bool = True
    voice: str | None = "alloy"  # the app's own; None: no voice at all
    language: str = "en-US"
    audio_format: Literal["mp3", "wav"] = "mp3"  # what the configured model makes
    streams: bool = True  # the provider decides; the request's `streaming` has no effect
    content_type: Literal["old", "new"] = "new"  # old: every answer says audio/mpeg
    wav_parts: int = Field(default=1, ge=1)  # complete WAV files in a row, as older servers answered
    messages: dict[str, str] = Field(default_factory=dict)  # answers of the app, by message id
    mode: Literal["completion", "chat", "agent-chat", "advanced-chat", "workflow", "agent"] = "completion"


class DifyEmulator(Emulator):
    """POST /text-to-audio answers with audio; everything is served with and without /v1."""

    name = "dify"
    switches: DifySwitches
    switches_type = DifySwitches
    secret_headers = frozenset({"Authorization"})
    text_field = "text"
    in_tests: ClassVar = {"messages": {MESSAGE: "This is an answer of the app."}}
    examples: ClassVar = {"message_id": MESSAGE}
    refusals: ClassVar = {
        "unauthorized": _error(
            401, "unauthorized", "Access token is invalid", **{"WWW-Authenticate": 'Bearer realm="api"'}
        ),
        "forbidden": _error(403, "forbidden", "The app's API service has been disabled."),
        "rejected": _error(400, "invalid_param", "TTS is not enabled"),
        "quota": _error(
            400,
            "provider_quota_exceeded",
            "Your quota for Dify Hosted OpenAI has been exhausted. Please go to Settings -> Model Provider to complete "
            "your own provider credentials.",
        ),
        "app-unavailable": _error(400, "app_unavailable", "App unavailable, please check your app configurations."),
        "not-initialized": _error(
            400,
            "provider_not_initialize",
            "No valid model provider credentials found. Please go to Settings -> Model Provider to complete your "
            "provider credentials.",
        ),
        "model-not-supported": _error(
            400, "model_currently_not_support", "Dify Hosted OpenAI trial currently not support the GPT-4 model."
        ),
        "request-error": _error(400, "completion_request_error", "Completion request failed."),
        "throttled": _error(429, "too_many_requests", "Too many requests. Please try again later."),
        "plan-quota": _error(429, "rate_limit_error", "You have reached the limit of your plan."),
        "server-error": _error(500, "internal_server_error", "Internal server error."),
        "unknown-error": _error(500, "unknown", "Internal Server Error"),
    }

    def routes(self) -> Iterable[Route]:
        """The documented routes, at the root and under the /v1 of the cloud service."""
        fields = frozenset({"text", "message_id", "user", "voice", "streaming"})
        for base in ("", "/v1"):
            yield Route("POST", f"{base}/text-to-audio", self._speak, fields=fields, creates=True, gives_audio=True)
            yield Route("GET", f"{base}/parameters", self._parameters, query=frozenset({"user"}))
            yield Route("GET", f"{base}/info", self._info, query=frozenset({"user"}))

    def no_such_route(self, request: web.Request, status: int) -> web.Response:
        """The server's own words."""
        code, message = ("not_found", "Not Found") if status == 404 else ("method_not_allowed", "Method Not Allowed")
        return web.json_response({"code": code, "message": message, "status": status}, status=status)

    def _check_key(self, call: Call) -> None:
        header = call.request.headers.get("Authorization", "")
        scheme, _, key = header.partition(" ")
        if not key.strip():
            self._unauthorized("Authorization header must be provided and start with 'Bearer'")
        if scheme.lower() != "bearer":
            self._unauthorized("Authorization scheme must be 'Bearer'")
        if not self.key_is_right(key.strip()):
            raise RefusedError(self.refusal("unauthorized"))

    def _unauthorized(self, message: str) -> None:
        body = {"code": "unauthorized", "message": message, "status": 401}
        raise RefusedError(self.refusal("unauthorized", body=body))

    def _invalid(self, message: str) -> RefusedError:
        body = {"code": "invalid_param", "message": message, "status": 400}
        return RefusedError(self.refusal("rejected", body=body))

    async def _speak(self, call: Call) -> web.StreamResponse | Spoken:
        self._check_key(call)
        fields = self._fields(call)
        text = self._text(fields)
        if text is None:
            return web.Response(body=b"null\n", content_type="application/json")
        if not self.switches.enabled:
            raise self._invalid("TTS is not enabled")
        voice = fields.get("voice") or self.switches.voice
        if voice is None:
            raise self._invalid("Sorry, no voice available.")
        if voice not in VOICES:
            raise RefusedError(self.refusal("request-error"))
        language = self._language()
        speech = await self.speak(text.strip(), language=language, voice=VOICES[voice])
        self.charge(call, text.strip(), voice=voice, language=language, seconds=speech.seconds)
        return await self._answer(speech)

    def _fields(self, call: Call) -> dict[str, Any]:
        if not isinstance(call.fields, dict):
            body = {"code": "bad_request", "message": "Failed to decode JSON object", "status": 400}
            raise RefusedError(self.refusal("rejected", body=body))
        for name in ("text", "message_id", "user", "voice"):
            if not isinstance(call.fields.get(name, ""), str | None):
                raise self._invalid(f"{name}: Input should be a valid string")
        if not isinstance(call.fields.get("streaming", False), bool | None):
            raise self._invalid("streaming: Input should be a valid boolean")
        return call.fields

    def _text(self, fields: dict[str, Any]) -> str | None:
        """What to speak; None where the server finds no message and answers with nothing."""
        if fields.get("message_id"):
            return self.switches.messages.get(fields["message_id"]) or None
        if not (fields.get("text") or "").strip():
            raise self._invalid("Text is required")
        return str(fields["text"])

    def _language(self) -> str:
        try:
            return spoken_language(self.switches.language)
        except VoiceError:
            return "en"

    async def _answer(self, speech: Speech) -> Spoken:
        encoding = _ENCODINGS[self.switches.audio_format]
        file: bytes | None = None
        if encoding.container == "wav" and self.switches.wav_parts > 1:
            file = await self.in_voice_thread(lambda: _in_parts(speech, encoding, self.switches.wav_parts))
        rewrite: Callable[[bytes], bytes] | None = None
        if self.switches.streams and encoding.container == "mp3":
            rewrite = without_info_frame
        headers = {"Content-Type": "audio/mpeg"} if self.switches.content_type == "old" else {}
        return Spoken(speech, encoding, headers, chunked=self.switches.streams, rewrite=rewrite, file=file)

    async def _parameters(self, call: Call) -> web.StreamResponse | Spoken:
        self._check_key(call)
        return web.json_response(
            {
                "text_to_speech": {
                    "enabled": self.switches.enabled,
                    "voice": self.switches.voice,
                    "language": self.switches.language,
                    "autoPlay": "disabled",
                }
            }
        )

    async def _info(self, call: Call) -> web.StreamResponse | Spoken:
        self._check_key(call)
        return web.json_response(
            {
                "name": "Reader",
                "description": "Reads texts aloud.",
                "tags": [],
                "mode": self.switches.mode,
                "author_name": "Dify",
            }
        )


def _in_parts(speech: Speech, encoding: Encoding, parts: int) -> bytes:
    size = -(-len(speech.pcm) // parts)
    cuts = (speech.pcm[start : start + size] for start in range(0, len(speech.pcm), size))
    return b"".join(encode(Speech(cut, speech.sample_rate), encoding) for cut in cuts)
