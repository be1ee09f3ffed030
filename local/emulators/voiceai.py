"""Voice.ai's text-to-speech API, as its documents describe it: whole, in chunks, and over a socket."""

import json
from base64 import b64encode
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Final, Literal, Self

from aiohttp import WSCloseCode, WSMessage, WSMsgType, web
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from local.emulators.base import Call, Emulator, Refusal, RefusedError, Route, Spoken, Switches
from local.emulators.book import Received
from local.emulators.voice import Encoding, Speech, with_placeholder_sizes, without_info_frame

Language = Literal["en", "ca", "sv", "es", "fr", "de", "it", "pt", "pl", "ru", "nl"]
Model = Literal[
    "voiceai-tts-v1-latest",
    "voiceai-tts-v1-2026-02-10",
    "voiceai-tts-multilingual-v1-latest",
    "voiceai-tts-multilingual-v1-2026-02-10",
]
LiteModel = Literal["voiceai-tts-lite-v1-latest", "voiceai-tts-lite-v1-2026-04-15"]

SOCKET_HEADERS: Final = frozenset(
    {"Upgrade", *(f"Sec-WebSocket-{name}" for name in ("Key", "Version", "Extensions", "Protocol"))}
)
_PIECE: Final = 12 * 1024

ENCODINGS: Final[dict[str, Encoding]] = {
    "mp3": Encoding("mp3", 32000, 64),
    "wav": Encoding("wav", 32000),
    "pcm": Encoding("pcm", 32000),
    "mp3_22050_32": Encoding("mp3", 22050, 32),
    "mp3_24000_48": Encoding("mp3", 24000, 48),
    **{f"mp3_44100_{rate}": Encoding("mp3", 44100, rate) for rate in (32, 64, 96, 128, 192)},
    **{f"opus_48000_{rate}": Encoding("opus", 48000, rate) for rate in (32, 64, 96, 128, 192)},
    **{f"pcm_{rate}": Encoding("pcm", rate) for rate in (8000, 16000, 22050, 24000, 32000, 44100, 48000)},
    **{f"wav_{rate}": Encoding("wav", rate) for rate in (16000, 22050, 24000)},
    "alaw_8000": Encoding("alaw", 8000),
    "ulaw_8000": Encoding("ulaw", 8000),
}


@dataclass(frozen=True)
class VoiceaiVoice:
    """One voice of the catalogue."""

    voice_id: str
    name: str
    variant: str
    visibility: Literal["PUBLIC", "PRIVATE"] = "PUBLIC"
    status: Literal["AVAILABLE", "PENDING", "PROCESSING", "FAILED"] = "AVAILABLE"
    ours: bool = True  # a private voice of somebody else is as good as none


DEFAULT_VARIANT: Final = "f2"
VOICES: Final = (
    VoiceaiVoice("5a0e3f84-1c52-4d0b-9c53-0e6b7f0d1a01", "Oliver", "m3"),
    VoiceaiVoice("5a0e3f84-1c52-4d0b-9c53-0e6b7f0d1a02", "Smooth Calm Voice", "linda"),
    VoiceaiVoice("5a0e3f84-1c52-4d0b-9c53-0e6b7f0d1a03", "My own voice", "edward", visibility="PRIVATE"),
    VoiceaiVoice("5a0e3f84-1c52-4d0b-9c53-0e6b7f0d1a04", "Still being cloned", "adam", status="PROCESSING"),
    VoiceaiVoice("5a0e3f84-1c52-4d0b-9c53-0e6b7f0d1a05", "Somebody else's", "max", visibility="PRIVATE", ours=False),
)

_CHARACTERS_PER_PLAN: Final = {"free": 500, "paid": 5000}
_CREDITS_PER_SECOND: Final = 1000 / 60  # "15k credits = 15 minutes"


class Options(BaseModel):
    """What every request may hold beside its text and its model."""

    model_config = ConfigDict(extra="forbid", strict=True)

    voice_id: str | None = None
    audio_format: str = "mp3"
    temperature: Annotated[float, Field(ge=0, le=2)] = 1.0
    top_p: Annotated[float, Field(ge=0, le=1)] = 0.8
    language: Language = "en"
    dictionary_id: str | None = None
    dictionary_version: Annotated[int, Field(ge=1)] | None = None

    @model_validator(mode="after")
    def _dictionary_version_needs_its_dictionary(self) -> Self:
        if self.dictionary_version is not None and self.dictionary_id is None:
            raise ValueError("dictionary_version requires dictionary_id")
        return self


class SpeechRequest(Options):
    """The body that both HTTP routes share."""

    text: Annotated[str, Field(min_length=1)]
    model: Model | None = None


class FirstMessage(Options):
    """What opens a generation on the socket; public clients send it without a text, and are served."""

    text: str = ""
    model: Model | LiteModel | None = None  # the lite models are missing from the HTTP schema
    delivery_mode: Literal["raw", "paced"] = "raw"
    flush: bool = False


class LaterMessage(BaseModel):
    """What may follow it."""

    model_config = ConfigDict(extra="forbid", strict=True)

    text: str = ""
    flush: bool = False


class VoiceaiSwitches(Switches):
    """Where Voice.ai's documents leave a choice."""

    plan: Literal["free", "paid"] = "paid"  # 500 or 5,000 characters a conversion
    credits: float = 10_000_000.0  # what the account holds: speech of several books
    concurrency_status: Literal[400, 429] = 429  # clients have met both; no document declares either
    streamed_wav_sizes: Literal["placeholder", "real"] = "placeholder"
    closes_after_last: bool = False  # the sample speaks again on its socket; later documents close it


class VoiceaiEmulator(Emulator):
    """POST /api/v1/tts/speech answers with the audio, /speech/stream with the same in chunks."""

    name = "voiceai"
    switches: VoiceaiSwitches
    switches_type = VoiceaiSwitches
    secret_headers = frozenset({"Authorization"})
    text_field = "text"
    handled_faults: ClassVar = {
        "socket-cut": "socket",  # the connection ends in the middle of the audio
        "socket-close": "socket",  # closed with `close_code` and `reason` before any audio
        "socket-error": "socket",  # a frame with an error, as the multi-context socket has them
        "socket-without-last": "socket",  # closed in good order, but nothing said that this was all
        "socket-last-with-audio": "socket",  # the last audio and the end in one message
        "socket-bad-base64": "socket",
    }
    refusals: ClassVar = {
        "unauthorized": Refusal(401, {"error": "Invalid API key", "detail": None, "code": "UNAUTHORIZED"}),
        "quota": Refusal(
            402,
            {"error": "Insufficient credits to generate speech", "detail": None, "code": "INSUFFICIENT_CREDITS"},
        ),
        "voice-missing": Refusal(404, {"error": "Voice not found", "detail": None, "code": "VOICE_NOT_FOUND"}),
        "rejected": Refusal(
            422,
            {"detail": [{"loc": ["body", "text"], "msg": "The text cannot be spoken", "type": "value_error"}]},
        ),
        "throttled": Refusal(429, {"error": "Too many concurrent TTS generations", "detail": None, "code": None}),
        "server-error": Refusal(500, {"error": "Failed to generate speech", "detail": None, "code": None}),
        "unavailable": Refusal(503, {"error": "Service temporarily unavailable", "detail": None, "code": None}),
    }

    def routes(self) -> Iterable[Route]:
        """The documented routes for speech and for reading voices."""
        fields = frozenset(SpeechRequest.model_fields)
        return [
            Route("POST", "/api/v1/tts/speech", self._whole, fields=fields, creates=True, gives_audio=True),
            Route("POST", "/api/v1/tts/speech/stream", self._stream, fields=fields, creates=True, gives_audio=True),
            Route("GET", "/api/v1/tts/stream", self._socket, headers=SOCKET_HEADERS, creates=True, socket=True),
            Route("GET", "/api/v1/tts/voices", self._voices_list),
            Route("GET", "/api/v1/tts/voice/{voice_id}", self._one_voice),
        ]

    def no_such_route(self, request: web.Request, status: int) -> web.Response:
        """FastAPI's own words."""
        return web.json_response({"detail": "Not Found" if status == 404 else "Method Not Allowed"}, status=status)

    def refusal(self, name: str, **words: Any) -> web.Response:
        """A refusal; the one for too many generations at once has two known statuses."""
        refusal = super().refusal(name, **words)
        if name == "throttled":
            refusal.set_status(self.switches.concurrency_status)
        return refusal

    def _check_key(self, call: Call) -> None:
        scheme, _, key = call.request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not key.strip():
            body = {"error": "Missing API key", "detail": None, "code": "UNAUTHORIZED"}
            raise RefusedError(self.refusal("unauthorized", body=body))
        if not self.key_is_right(key.strip()):
            raise RefusedError(self.refusal("unauthorized"))

    async def _whole(self, call: Call) -> web.StreamResponse | Spoken:
        asked = self._asked(call)
        return Spoken(await self._sold(call, asked), ENCODINGS[asked.audio_format])

    async def _stream(self, call: Call) -> web.StreamResponse | Spoken:
        asked = self._asked(call)
        return self._streamed(await self._sold(call, asked), asked.audio_format)

    def _streamed(self, speech: Speech, audio_format: str) -> Spoken:
        """Audio whose first bytes went out before its length was known."""
        encoding = ENCODINGS[audio_format]
        rewrite: Callable[[bytes], bytes] | None = None
        if encoding.container == "wav" and self.switches.streamed_wav_sizes == "placeholder":
            rewrite = with_placeholder_sizes
        elif encoding.container == "mp3":
            rewrite = without_info_frame
        return Spoken(speech, encoding, chunked=True, rewrite=rewrite)

    def _asked(self, call: Call) -> SpeechRequest:
        self._check_key(call)
        asked = self._valid(call)
        self._check_limits(asked)
        return asked

    def _check_limits(self, asked: SpeechRequest | FirstMessage) -> None:
        if asked.audio_format not in ENCODINGS:
            choices = ", ".join(f"'{name}'" for name in ENCODINGS)
            problem = {"type": "enum", "loc": ["body", "audio_format"], "msg": f"Input should be {choices}"}
            raise _unprocessable([problem])
        most = _CHARACTERS_PER_PLAN[self.switches.plan]
        if len(asked.text) > most:
            message = f"String should have at most {most} characters"
            raise _unprocessable([{"type": "string_too_long", "loc": ["body", "text"], "msg": message}])
        if self.switches.credits <= self.book.credits:
            raise RefusedError(self.refusal("quota"))
        if asked.voice_id is not None:
            self._voice(asked.voice_id)

    def _valid(self, call: Call) -> SpeechRequest:
        if call.fields is None:
            problem = {"type": "json_invalid", "loc": ["body", 0], "msg": "JSON decode error"}
            raise _unprocessable([problem])
        try:
            return SpeechRequest.model_validate(call.fields)
        except ValidationError as error:
            raise _unprocessable(problems_in(error)) from error

    def _voice(self, voice_id: str) -> VoiceaiVoice:
        for voice in VOICES:
            if voice.voice_id == voice_id and voice.ours and voice.status == "AVAILABLE":
                return voice
        raise RefusedError(self.refusal("voice-missing"))

    async def _sold(self, call: Call, asked: SpeechRequest | FirstMessage) -> Speech:
        variant = DEFAULT_VARIANT if asked.voice_id is None else self._voice(asked.voice_id).variant
        speech = await self.speak(asked.text, language=asked.language, voice=variant)
        self.charge(
            call,
            asked.text,
            voice=asked.voice_id or "default",
            language=asked.language,
            model=asked.model or _model_for(asked.language),
            seconds=speech.seconds,
            credits=round(speech.seconds * _CREDITS_PER_SECOND, 2),
        )
        return speech

    async def _socket(self, call: Call) -> web.StreamResponse | Spoken:
        """One generation after the other; whatever goes wrong is told by the code it closes with."""
        socket = web.WebSocketResponse()
        await socket.prepare(call.request)
        try:
            self._check_key(call)
            await self._converse(call, socket)
        except RefusedError as refusal:
            code = WSCloseCode.INVALID_TEXT if refusal.response.status == 422 else WSCloseCode.POLICY_VIOLATION
            await socket.close(code=code, message=b"Invalid message" if code == 1007 else b"Invalid API key")
        except _ClosedError as closed:
            await socket.close(code=closed.code, message=closed.reason.encode())
        return socket

    async def _converse(self, call: Call, socket: web.WebSocketResponse) -> None:
        first: FirstMessage | None = None
        buffered = ""
        async for message in socket:
            fields = self._socket_fields(call, message)
            try:
                told = FirstMessage.model_validate(fields) if first is None else LaterMessage.model_validate(fields)
            except ValidationError as error:
                raise _unprocessable(problems_in(error)) from error
            first = told if isinstance(told, FirstMessage) else first
            buffered += told.text
            if first is None or not told.flush:
                continue
            await self._generate(call, socket, first.model_copy(update={"text": buffered, "flush": False}))
            buffered = ""
            ends_unsaid = call.fault is not None and call.fault.fault == "socket-without-last"
            if self.switches.closes_after_last or ends_unsaid:
                raise _ClosedError(WSCloseCode.OK, "")

    def _socket_fields(self, call: Call, message: WSMessage) -> Any:
        if message.type is not WSMsgType.TEXT:
            raise _ClosedError(WSCloseCode.UNSUPPORTED_DATA, "Only text messages are accepted")
        try:
            fields = json.loads(message.data)
        except ValueError as error:
            raise _ClosedError(WSCloseCode.INVALID_TEXT, "Malformed message") from error
        self.journal.record(Received(method="WS", path=call.request.path, query={}, headers={}, body=fields))
        return fields

    async def _generate(self, call: Call, socket: web.WebSocketResponse, asked: FirstMessage) -> None:
        if not asked.text:
            raise _ClosedError(WSCloseCode.POLICY_VIOLATION, "There is no text")
        try:
            self._check_limits(asked)
        except RefusedError as refusal:
            body = json.loads(refusal.response.text or "{}")
            reason = body.get("error") or body["detail"][0]["msg"]
            raise _ClosedError(WSCloseCode.POLICY_VIOLATION, reason[:100]) from refusal
        spoken = self._streamed(await self._sold(call, asked), asked.audio_format)
        audio = (await self.answer_with(spoken)).body
        fault = call.fault.fault if call.fault is not None else None
        if fault == "socket-cut" and call.request.transport is not None:
            await socket.send_json({"audio": b64encode(audio[: len(audio) // 2]).decode()})
            call.request.transport.close()
            return
        if fault == "socket-close" and call.fault is not None:
            raise _ClosedError(call.fault.close_code, call.fault.reason or "")
        pieces = [audio[start : start + _PIECE] for start in range(0, len(audio), _PIECE)]
        for piece in pieces[:-1] if fault == "socket-last-with-audio" else pieces:
            encoded = b64encode(piece).decode()
            await socket.send_json({"audio": f"{encoded[:-1]}*" if fault == "socket-bad-base64" else encoded})
        if fault == "socket-error":
            await socket.send_json({"error": call.fault.reason if call.fault is not None else "Failed"})
        elif fault == "socket-last-with-audio":
            await socket.send_json({"audio": b64encode(pieces[-1]).decode(), "is_last": True})
        elif fault != "socket-without-last":
            await socket.send_json({"is_last": True})

    async def _voices_list(self, call: Call) -> web.StreamResponse | Spoken:
        self._check_key(call)
        return web.json_response([_as_json(voice) for voice in VOICES if voice.ours])

    async def _one_voice(self, call: Call) -> web.StreamResponse | Spoken:
        self._check_key(call)
        wanted = call.request.match_info["voice_id"]
        for voice in VOICES:
            if voice.voice_id == wanted and voice.ours:
                return web.json_response(_as_json(voice))
        raise RefusedError(self.refusal("voice-missing"))


class _ClosedError(Exception):
    """The socket is to be closed with this code."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(code)
        self.code = code
        self.reason = reason


def _model_for(language: str) -> str:
    """What the vendor takes where none is named: English has a model of its own."""
    return "voiceai-tts-v1-latest" if language == "en" else "voiceai-tts-multilingual-v1-latest"


def problems_in(error: ValidationError) -> list[dict[str, Any]]:
    """The `detail` of an HTTPValidationError."""
    found = error.errors(include_url=False, include_context=False, include_input=False)
    return [{"loc": ["body", *problem["loc"]], "msg": problem["msg"], "type": problem["type"]} for problem in found]


def _unprocessable(problems: list[dict[str, Any]]) -> RefusedError:
    return RefusedError(web.json_response({"detail": problems}, status=422))


def _as_json(voice: VoiceaiVoice) -> dict[str, str]:
    return {
        "voice_id": voice.voice_id,
        "status": voice.status,
        "name": voice.name,
        "voice_visibility": voice.visibility,
    }
