"""Convai's standalone text-to-speech API, as its documents and its own clients describe it."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar, Final, Literal

from aiohttp import web

from local.emulators.base import Call, Emulator, Refusal, RefusedError, Route, Spoken, Switches
from local.emulators.voice import Encoding


@dataclass(frozen=True)
class ConvaiVoice:
    """One voice of the catalogue."""

    section: str
    display_name: str
    voice_value: str
    language_codes: tuple[str, ...]
    gender: Literal["MALE", "FEMALE"]
    variant: str
    mp3: bool = True
    realtime: bool = False


VOICES: Final = (
    ConvaiVoice(
        "Open AI voices",
        "Fable",
        "fable_OpenAi_c4d30a32-bcaf-4048-b7b0-0f2bb293205a",
        ("en-US", "en-GB"),
        "MALE",
        "m3",
    ),
    ConvaiVoice(
        "Open AI voices",
        "Alloy",
        "alloy_OpenAi_0f6e2b1c-5d0a-4a53-9d7e-0f8a2c1b6e54",
        ("en-US", "en-GB"),
        "FEMALE",
        "f2",
    ),
    ConvaiVoice("Elevenlabs Voices", "Elli", "Elli-en", ("en-US",), "FEMALE", "f5"),
    ConvaiVoice("Convai Voices", "Warm Male 3", "WUMale 3", ("en-US",), "MALE", "m7", mp3=False),
    ConvaiVoice("Convai Voices", "Live Aria", "Aria-Realtime", ("en-US",), "FEMALE", "linda", realtime=True),
    ConvaiVoice("Azure Voices", "Joana", "JoanaNeural-ca", ("ca-ES",), "FEMALE", "belinda"),
    ConvaiVoice("Azure Voices", "Sofie", "SofieNeural-sv", ("sv-SE",), "FEMALE", "Annie"),
    ConvaiVoice("Azure Voices", "Alvaro", "AlvaroNeural-es", ("es-ES",), "MALE", "Mario"),
    ConvaiVoice("Azure Voices", "Denise", "DeniseNeural-fr", ("fr-FR",), "FEMALE", "steph"),
    ConvaiVoice("Azure Voices", "Katja", "KatjaNeural-de", ("de-DE",), "FEMALE", "linda"),
    ConvaiVoice("GCP Voices", "Elsa", "ElsaNeural-it", ("it-IT",), "FEMALE", "f2"),
    ConvaiVoice("GCP Voices", "Raquel", "RaquelNeural-pt", ("pt-PT", "pt-BR"), "FEMALE", "f5"),
    ConvaiVoice("GCP Voices", "Marek", "MarekNeural-pl", ("pl-PL",), "MALE", "adam"),
    ConvaiVoice("GCP Voices", "Dmitry", "DmitryNeural-ru", ("ru-RU",), "MALE", "max"),
    ConvaiVoice("GCP Voices", "Maarten", "MaartenNeural-nl", ("nl-NL",), "MALE", "edward"),
)

_LANGUAGE_NAMES: Final = {
    "en-US": "English (US)",
    "en-GB": "English (UK)",
    "ca-ES": "Catalan",
    "sv-SE": "Swedish",
    "es-ES": "Spanish",
    "fr-FR": "French",
    "de-DE": "German",
    "it-IT": "Italian",
    "pt-PT": "Portuguese",
    "pt-BR": "Portuguese (Brazil)",
    "pl-PL": "Polish",
    "ru-RU": "Russian",
    "nl-NL": "Dutch",
}

_WAV_RATE: Final = 22050
_ENCODINGS: Final = {"wav": Encoding("wav", _WAV_RATE), "mp3": Encoding("mp3", 24000, 64)}


class ConvaiSwitches(Switches):
    """Where Convai's documents contradict each other or say nothing."""

    slashless: Literal["redirect", "serve"] = "redirect"  # POST /tts: Flask's 308, or the same answer
    missing_key_status: Literal[400, 401] = 401  # on the synthesis route; the voice list documents 400
    error_body: Literal["ERROR", "API_ERROR", "error", "text", "html"] = "ERROR"
    plan: Literal["enterprise", "professional", "free"] = "enterprise"
    mp3_refusal: Literal["error", "wav"] = "error"  # for a voice without MP3
    case_sensitive_encoding: bool = False
    max_characters: int | None = None  # no limit is published


class ConvaiEmulator(Emulator):
    """POST /tts/ answers with the audio file."""

    name = "convai"
    switches: ConvaiSwitches
    switches_type = ConvaiSwitches
    secret_headers = frozenset({"CONVAI-API-KEY", "CONVAI-API_KEY"})  # the documents spell it both ways
    text_field = "transcript"
    default_voice = VOICES[0].voice_value
    refusals: ClassVar = {
        "unauthorized": Refusal(401, {"ERROR": "The request contains an invalid API key."}),
        "forbidden": Refusal(403, {"ERROR": "This API is available only on the Enterprise Plan."}),
        "throttled": Refusal(429, {"ERROR": "API rate limit exceeded. Please try again later."}),
        "quota": Refusal(429, {"ERROR": "API usage limit exceeded for current plan."}),
        "rejected": Refusal(400, {"ERROR": "The request could not be processed."}),
        "server-error": Refusal(500, {"ERROR": "Internal server error.", "Reference ID": "7f3a1c9e-5d24"}),
        "unavailable": Refusal(503, {"ERROR": "Service unavailable."}),
    }

    def routes(self) -> Iterable[Route]:
        """The documented routes, and the one without a slash that the vendor's own client uses."""
        fields = frozenset({"transcript", "voice", "filename", "encoding"})
        return [
            Route("POST", "/tts/", self._tts, fields=fields, creates=True, gives_audio=True),
            Route("POST", "/tts", self._tts_without_slash, fields=fields, creates=True, gives_audio=True),
            Route("GET", "/tts/get_available_voices", self._voices_list),
            Route("GET", "/tts/get_available_languages", self._languages_list),
            Route("GET", "/health", self._health),
        ]

    def no_such_route(self, request: web.Request, status: int) -> web.Response:
        """Flask's own words."""
        words = "Not Found" if status == 404 else "Method Not Allowed"
        page = f"<!doctype html>\n<html lang=en>\n<title>{status} {words}</title>\n<h1>{words}</h1>\n"
        return web.Response(status=status, text=page, content_type="text/html")

    def refusal(self, name: str, **words: Any) -> web.Response:
        """A refusal in the error body that is switched on."""
        refusal = super().refusal(name, **words)
        if words.get("body") is not None or self.switches.error_body == "ERROR":
            return refusal
        return self._refused(refusal.status, json.loads(refusal.text or "{}")["ERROR"])

    def _refused(self, status: int, message: str) -> web.Response:
        style = self.switches.error_body
        if style == "text":
            return web.Response(status=status, text=message)
        if style == "html":
            return web.Response(status=status, text=f"<html><body>{message}</body></html>", content_type="text/html")
        return web.json_response({style: message}, status=status)

    def _refuse(self, status: int, message: str) -> RefusedError:
        return RefusedError(self._refused(status, message))

    def _check_key(self, call: Call, *, missing_status: int) -> None:
        headers = call.request.headers
        key = headers.get("CONVAI-API-KEY") or headers.get("CONVAI-API_KEY")
        if not key:
            raise self._refuse(missing_status, "The request is missing an API key.")
        if not self.key_is_right(key):
            raise RefusedError(self.refusal("unauthorized"))

    async def _tts_without_slash(self, call: Call) -> web.StreamResponse | Spoken:
        if self.switches.slashless == "redirect":
            return web.Response(status=308, headers={"Location": f"{self.url}/tts/"})
        return await self._tts(call)

    async def _tts(self, call: Call) -> web.StreamResponse | Spoken:
        self._check_key(call, missing_status=self.switches.missing_key_status)
        if self.switches.plan != "enterprise":
            raise RefusedError(self.refusal("forbidden"))
        fields = self._valid_fields(call)
        text: str = fields["transcript"]
        voice = self._voice(fields["voice"])
        encoding = self._encoding(fields.get("encoding"), voice)
        speech = await self.speak(text, language=voice.language_codes[0], voice=voice.variant)
        # The price is a plan's, not a request's: no credits.
        self.charge(call, text, voice=voice.voice_value, language=voice.language_codes[0], seconds=speech.seconds)
        headers = {}
        if fields.get("filename"):
            headers["Content-Disposition"] = f'attachment; filename="audio.{encoding.container}"'
        return Spoken(speech, encoding, headers)

    def _valid_fields(self, call: Call) -> dict[str, Any]:
        if call.request.content_type != "application/json":
            raise self._refuse(400, "Content-Type must be application/json.")
        if not isinstance(call.fields, dict):
            raise self._refuse(400, "The request body is not valid JSON.")
        for name in ("transcript", "voice"):
            if name not in call.fields:
                raise self._refuse(400, f"{name}: Field required")
            if not isinstance(call.fields[name], str) or not call.fields[name].strip():
                raise self._refuse(400, f"{name}: Input should be a non-empty string")
        for name in ("filename", "encoding"):
            if not isinstance(call.fields.get(name, ""), str):
                raise self._refuse(400, f"{name}: Input should be a valid string")
        most = self.switches.max_characters
        if most is not None and len(call.fields["transcript"]) > most:
            raise self._refuse(400, f"transcript: String should have at most {most} characters")
        return call.fields

    def _voice(self, voice_value: str) -> ConvaiVoice:
        for voice in VOICES:
            if voice.voice_value == voice_value:
                if voice.realtime:
                    raise self._refuse(400, "Realtime voices are not supported.")
                return voice
        raise self._refuse(400, "Invalid voice.")

    def _encoding(self, asked: str | None, voice: ConvaiVoice) -> Encoding:
        name = asked if asked is not None else "wav"
        encoding = _ENCODINGS.get(name if self.switches.case_sensitive_encoding else name.lower())
        if encoding is None:
            raise self._refuse(400, "encoding: Input should be 'wav' or 'mp3'")
        if encoding.container == "mp3" and not voice.mp3:
            if self.switches.mp3_refusal == "wav":
                return _ENCODINGS["wav"]
            raise self._refuse(400, "MP3 is not supported by this voice.")
        return encoding

    async def _voices_list(self, call: Call) -> web.StreamResponse | Spoken:
        self._check_key(call, missing_status=400)
        if self.switches.plan == "free":
            raise RefusedError(self.refusal("forbidden"))
        sections: dict[str, list[dict[str, Any]]] = {}
        for voice in VOICES:
            facts = {
                "voice_value": voice.voice_value,
                "lang_codes": list(voice.language_codes),
                "gender": voice.gender,
                "sample_link": f"{self.url}/samples/{voice.display_name.replace(' ', '-')}.wav",
                "deployment_env": ["PRODUCTION", "DEVELOPMENT"],
            }
            sections.setdefault(voice.section, []).append({voice.display_name: facts})
        return web.json_response(sections)

    async def _languages_list(self, call: Call) -> web.StreamResponse | Spoken:
        self._check_key(call, missing_status=400)
        return web.json_response(
            [{code: {"lang_code": code, "lang_name": name}} for code, name in _LANGUAGE_NAMES.items()]
        )

    async def _health(self, _call: Call) -> web.StreamResponse | Spoken:
        return web.json_response({"status": "ok"})
