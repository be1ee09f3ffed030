"""Voice.ai: text to speech over HTTP. One POST, the whole file is the answer (docs/vendors/voiceai.md)."""

import re
import struct
from collections.abc import Mapping
from typing import Any

from speech.errors import VendorError, VendorQuotaExhausted, VendorThrottled
from speech.vendors import answers
from speech.vendors.base import AudioReady, Capabilities, Delivery, Option, Reply, SynthesisRequest, Vendor

TITLE = "Voice.ai"

LANGUAGES = ("en", "ca", "sv", "es", "fr", "de", "it", "pt", "pl", "ru", "nl")

# Voice.ai documents no 429 and no value of its `code`. Clients in the field report the concurrency limit as
# 400 or as 429, told apart from other 400s by this text alone; the credits text is the schema's own.
TEXTS: answers.Texts = (
    ("too many concurrent", VendorThrottled),
    ("insufficient credits", VendorQuotaExhausted),
)

AUDIO_FORMATS = (
    *("mp3", "wav", "pcm", "mp3_22050_32", "mp3_24000_48"),
    *(f"mp3_44100_{rate}" for rate in (32, 64, 96, 128, 192)),
    *(f"opus_48000_{rate}" for rate in (32, 64, 96, 128, 192)),
    *(f"pcm_{rate}" for rate in (8000, 16000, 22050, 24000, 32000, 44100, 48000)),
    *("wav_16000", "wav_22050", "wav_24000", "alaw_8000", "ulaw_8000"),
)


class VoiceAi(Vendor):
    """Answers at once with the whole file. WAV unless asked otherwise: PCM joins exactly."""

    name = "voiceai"
    key_names = ("VOICEAI_API_KEY",)
    capabilities = Capabilities(
        title=TITLE,
        delivery=(Delivery.IMMEDIATE,),
        character_limit=500,
        voice_required=False,
        audio_formats=("wav", "mp3"),
        options=(
            Option(
                "delivery",
                "string",
                "How the audio travels to us.",
                choices=("whole",),
                source="ours; not sent to Voice.ai",
            ),
            Option(
                "audio_format",
                "string",
                "Format that Voice.ai sends, WAV if left out. What you get is set by `format`.",
                choices=AUDIO_FORMATS,
                source="OpenAPI 1.5.0, speech request",
            ),
            Option(
                "temperature",
                "number",
                "How freely the voice varies; Voice.ai's default is 1.",
                minimum=0,
                maximum=2,
                source="OpenAPI 1.5.0, speech request",
            ),
            Option(
                "top_p",
                "number",
                "Nucleus sampling; Voice.ai's default is 0.8.",
                minimum=0,
                maximum=1,
                source="OpenAPI 1.5.0, speech request",
            ),
            Option(
                "model",
                "string",
                "A model by name; left out, Voice.ai picks one by language.",
                choices=(
                    "voiceai-tts-v1-latest",
                    "voiceai-tts-v1-2026-02-10",
                    "voiceai-tts-multilingual-v1-latest",
                    "voiceai-tts-multilingual-v1-2026-02-10",
                ),
                source="OpenAPI 1.5.0, speech request",
            ),
            Option(
                "language",
                "string",
                "Voice.ai's own language code; wins over the job's `language`.",
                choices=LANGUAGES,
                source="API page, Supported Languages",
            ),
            Option(
                "dictionary_id",
                "string",
                "A pronunciation dictionary of your Voice.ai account.",
                max_length=200,
                source="OpenAPI 1.5.0, speech request",
            ),
            Option(
                "dictionary_version",
                "integer",
                "Version of the dictionary, the latest if left out.",
                minimum=1,
                needs="dictionary_id",
                source="OpenAPI 1.5.0, speech request",
            ),
        ),
        languages=LANGUAGES,
        concurrency=3,
        notes=(
            "The free plan takes 500 characters a request, and a request within 500 fits every plan.",
            "3 requests at once is what the smallest paid plan allows.",
        ),
    )

    def start(self, request: SynthesisRequest, *, callback_url: str | None = None) -> AudioReady:
        """Ask for speech; the answer is the file."""
        api_key = answers.key(self._keys, "VOICEAI_API_KEY", vendor=self.name, title=TITLE)
        body: dict[str, Any] = {"text": request.text, "audio_format": "wav"}
        if request.voice:
            body["voice_id"] = request.voice
        if request.language:
            body["language"] = request.language.partition("-")[0].lower()  # BCP 47 inside, ISO 639-1 there
        body.update(request.options)
        body.pop("delivery", None)
        reply = self._http.request(
            "POST", "/api/v1/tts/speech", headers={"Authorization": f"Bearer {api_key}"}, json=body
        )
        if not reply.ok:
            raise self._refusal(reply, secrets=(request.text, api_key))
        data = answers.audio(reply, vendor=self.name, title=TITLE)
        return AudioReady(
            data=_in_a_container(data, body["audio_format"]),
            media_type=reply.headers.get("content-type"),
            request_id=answers.request_id(reply),
        )

    def _refusal(self, reply: Reply, *, secrets: tuple[str, ...]) -> VendorError:
        body = answers.parsed(reply.body)
        body = body if isinstance(body, Mapping) else {}
        said = [body[name] for name in ("error", "detail") if isinstance(body.get(name), str)]
        fields = _fields(body.get("detail"))
        return answers.refusal(
            reply,
            vendor=self.name,
            title=TITLE,
            message=". ".join(each.rstrip(". ") for each in said) or None,
            code=body.get("code") if isinstance(body.get("code"), str) else None,
            texts=TEXTS,
            secrets=secrets,
            hint=f"It names {', '.join(fields)}." if fields else "",
        )


def _fields(detail: Any) -> list[str]:
    """The fields that a 422 complains about, without its messages: they may quote the text."""
    found = []
    for each in detail if isinstance(detail, list) else ():
        path = each.get("loc") if isinstance(each, Mapping) else None
        if isinstance(path, list):
            name = ".".join(str(step) for step in path if step != "body")
            if re.fullmatch(r"[A-Za-z0-9_.]{1,60}", name, re.ASCII):
                found.append(f"`{name}`")
    return found[:5]


def _in_a_container(data: bytes, audio_format: str) -> bytes:
    """Raw samples with the header that says what they are; anything else as it came."""
    kind, _, rate = audio_format.partition("_")
    if kind not in ("pcm", "alaw", "ulaw") or data.startswith((b"RIFF", b"OggS", b"ID3", b"fLaC")):
        return data
    tag, width = {"pcm": (1, 2), "alaw": (6, 1), "ulaw": (7, 1)}[kind]
    hertz = int(rate or 32000)  # bare `pcm` is 32 kHz, 16-bit little-endian mono
    data = data[: len(data) - len(data) % width]
    form = struct.pack("<HHIIHH", tag, 1, hertz, hertz * width, width, width * 8)
    return (
        b"RIFF"
        + struct.pack("<I", 36 + len(data))
        + b"WAVEfmt "
        + struct.pack("<I", 16)
        + form
        + b"data"
        + struct.pack("<I", len(data))
        + data
    )
