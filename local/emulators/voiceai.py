"""Voice.ai's text-to-speech API, as its documents describe it: whole, in chunks, and over a socket."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Final, Literal

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from local.emulators.base import Call, Emulator, Refusal, RefusedError, Route, Spoken, Switches
from local.emulators.voice import Encoding, Speech, with_placeholder_sizes, without_info_frame

Language = Literal["en", "ca", "sv", "es", "fr", "de", "it", "pt", "pl", "ru", "nl"]
Model = Literal[
    "voiceai-tts-v1-latest",
    "voiceai-tts-v1-2026-02-10",
    "voiceai-tts-multilingual-v1-latest",
    "voiceai-tts-multilingual-v1-2026-02-10",
]

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


class SpeechRequest(BaseModel):
    """The body that both HTTP routes share."""

    model_config = ConfigDict(extra="forbid", strict=True)

    text: Annotated[str, Field(min_length=1)]
    voice_id: str | None = None
    audio_format: str = "mp3"
    temperature: Annotated[float, Field(ge=0, le=2)] = 1.0
    top_p: Annotated[float, Field(ge=0, le=1)] = 0.8
    model: Model | None = None
    language: Language = "en"
    dictionary_id: str | None = None
    dictionary_version: Annotated[int, Field(ge=1)] | None = None

    @model_validator(mode="after")
    def _dictionary_version_needs_its_dictionary(self) -> "SpeechRequest":
        if self.dictionary_version is not None and self.dictionary_id is None:
            raise ValueError("dictionary_version requires dictionary_id")
        return self


class VoiceaiSwitches(Switches):
    """Where Voice.ai's documents leave a choice."""

    plan: Literal["free", "paid"] = "paid"  # 500 or 5,000 characters a conversion
    credits: float = 1_000_000.0  # what the account holds
    concurrency_status: Literal[400, 429] = 429  # clients have met both; no document declares either
    streamed_wav_sizes: Literal["placeholder", "real"] = "placeholder"
    closes_after_last: bool = True  # the socket, as current documents say; the older sample goes on


class VoiceaiEmulator(Emulator):
    """POST /api/v1/tts/speech answers with the audio, /speech/stream with the same in chunks."""

    name = "voiceai"
    switches: VoiceaiSwitches
    switches_type = VoiceaiSwitches
    secret_headers = frozenset({"Authorization"})
    text_field = "text"
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
        encoding = ENCODINGS[asked.audio_format]
        rewrite: Callable[[bytes], bytes] | None = None
        if encoding.container == "wav" and self.switches.streamed_wav_sizes == "placeholder":
            rewrite = with_placeholder_sizes
        elif encoding.container == "mp3":
            rewrite = without_info_frame  # written before the length is known
        return Spoken(await self._sold(call, asked), encoding, chunked=True, rewrite=rewrite)

    def _asked(self, call: Call) -> SpeechRequest:
        self._check_key(call)
        asked = self._valid(call)
        if self.switches.credits <= self.book.credits:
            raise RefusedError(self.refusal("quota"))
        if asked.voice_id is not None:
            self._voice(asked.voice_id)
        return asked

    def _valid(self, call: Call) -> SpeechRequest:
        if call.fields is None:
            problem = {"type": "json_invalid", "loc": ["body", 0], "msg": "JSON decode error"}
            raise _unprocessable([problem])
        try:
            asked = SpeechRequest.model_validate(call.fields)
        except ValidationError as error:
            raise _unprocessable(problems_in(error)) from error
        if asked.audio_format not in ENCODINGS:
            choices = ", ".join(f"'{name}'" for name in ENCODINGS)
            problem = {"type": "enum", "loc": ["body", "audio_format"], "msg": f"Input should be {choices}"}
            raise _unprocessable([problem])
        most = _CHARACTERS_PER_PLAN[self.switches.plan]
        if len(asked.text) > most:
            message = f"String should have at most {most} characters"
            raise _unprocessable([{"type": "string_too_long", "loc": ["body", "text"], "msg": message}])
        return asked

    def _voice(self, voice_id: str) -> VoiceaiVoice:
        for voice in VOICES:
            if voice.voice_id == voice_id and voice.ours and voice.status == "AVAILABLE":
                return voice
        raise RefusedError(self.refusal("voice-missing"))

    async def _sold(self, call: Call, asked: SpeechRequest) -> Speech:
        variant = DEFAULT_VARIANT if asked.voice_id is None else self._voice(asked.voice_id).variant
        speech = await self.speak(asked.text, language=asked.language, voice=variant)
        self.charge(
            call,
            asked.text,
            voice=asked.voice_id or "default",
            language=asked.language,
            seconds=speech.seconds,
            credits=round(speech.seconds * _CREDITS_PER_SECOND, 2),
        )
        return speech

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
