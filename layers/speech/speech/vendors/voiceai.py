"""Voice.ai: text to speech as a whole file, in chunks, or over a WebSocket (docs/vendors/voiceai.md)."""

import base64
import binascii
import json
import re
import struct
from collections.abc import Iterable, Mapping
from typing import Any

from speech.errors import (
    VendorAmbiguous,
    VendorError,
    VendorMisbehaved,
    VendorQuotaExhausted,
    VendorRejected,
    VendorThrottled,
    VendorUnauthorized,
    VendorUnavailable,
)
from speech.vendors import answers
from speech.vendors.base import (
    AudioReady,
    Capabilities,
    Conversation,
    Delivery,
    Option,
    Reply,
    SocketClosed,
    SynthesisRequest,
    Vendor,
    Voice,
)

TITLE = "Voice.ai"

LANGUAGES = ("en", "ca", "sv", "es", "fr", "de", "it", "pt", "pl", "ru", "nl")

# Voice.ai documents no 429 and no value of its `code`. Clients in the field report the concurrency limit as
# 400 or as 429, told apart from other 400s by this text alone; the credits text is the schema's own.
TEXTS: answers.Texts = (
    ("too many concurrent", VendorThrottled),
    ("insufficient credits", VendorQuotaExhausted),
)

# The socket has close codes instead of statuses. 1008 is for keys, credits, lengths and parameters alike; only
# its reason tells them apart, and no document lists the reasons.
REASONS: answers.Texts = (
    ("concurren", VendorThrottled),
    ("too many requests", VendorThrottled),
    ("rate limit", VendorThrottled),
    ("credit", VendorQuotaExhausted),
    ("quota", VendorQuotaExhausted),
    ("api key", VendorUnauthorized),
    ("authenti", VendorUnauthorized),
    ("authoriz", VendorUnauthorized),
)
CLOSE_CODES: Mapping[int, type[VendorError]] = {
    1001: VendorUnavailable,  # going away
    1003: VendorRejected,  # wrong type of message
    1007: VendorRejected,  # malformed, or failing validation
    1008: VendorRejected,
    1009: VendorRejected,  # too big
    1011: VendorUnavailable,  # the server's fault
    1012: VendorUnavailable,  # restarting
    1013: VendorUnavailable,  # later
    1014: VendorUnavailable,  # its gateway's fault
}
"""What a close code means where its reason says nothing better; any other one breaks the contract."""

READY = "AVAILABLE"
"""The status of a voice whose cloning is done."""

TOO_LONG = "string_too_long"
"""How the library behind the schema says it; no document says how a text that is too long is refused."""

WHOLE, STREAM, WEBSOCKET = "whole", "stream", "websocket"
PATHS = {WHOLE: "/api/v1/tts/speech", STREAM: "/api/v1/tts/speech/stream", WEBSOCKET: "/api/v1/tts/stream"}

AUDIO_FORMATS = (
    *("mp3", "wav", "pcm", "mp3_22050_32", "mp3_24000_48"),
    *(f"mp3_44100_{rate}" for rate in (32, 64, 96, 128, 192)),
    *(f"opus_48000_{rate}" for rate in (32, 64, 96, 128, 192)),
    *(f"pcm_{rate}" for rate in (8000, 16000, 22050, 24000, 32000, 44100, 48000)),
    *("wav_16000", "wav_22050", "wav_24000", "alaw_8000", "ulaw_8000"),
)


class VoiceAi(Vendor):
    """Answers at once, in one of three ways. WAV unless asked otherwise: PCM joins exactly."""

    name = "voiceai"
    base_url = "https://dev.voice.ai"
    key_names = ("VOICEAI_API_KEY",)
    capabilities = Capabilities(
        title=TITLE,
        delivery=(Delivery.IMMEDIATE, Delivery.STREAMED),
        character_limit=500,
        voice_required=False,
        audio_formats=("wav", "mp3"),
        lists_voices=True,
        options=(
            Option(
                "delivery",
                "string",
                "How the audio travels to us: in one piece (if left out), in chunks, or over a WebSocket.",
                choices=(WHOLE, STREAM, WEBSOCKET),
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
        """Ask for speech; the answer is the audio, whichever way it comes."""
        api_key = answers.key(self._keys, "VOICEAI_API_KEY", vendor=self.name, title=TITLE)
        headers = {"Authorization": f"Bearer {api_key}"}
        secrets = (request.text, api_key)
        body: dict[str, Any] = {"text": request.text, "audio_format": "wav"}
        if request.voice:
            body["voice_id"] = request.voice
        if request.language:
            body["language"] = request.language.partition("-")[0].lower()  # BCP 47 inside, ISO 639-1 there
        body.update(request.options)
        delivery = body.pop("delivery", WHOLE)
        if delivery == WEBSOCKET:
            reply = self._conversed(body, headers, secrets)
        else:
            reply = self._http.request("POST", PATHS[delivery], headers=headers, json=body)
            if not reply.ok:
                raise self._refusal(reply, secrets=secrets)
        data = answers.audio(reply, vendor=self.name, title=TITLE)
        if delivery == STREAM and not _says_where_it_ends(reply):
            raise VendorMisbehaved(f"{TITLE} sent a stream that does not say where it ends.", vendor=self.name)
        return AudioReady(
            data=_in_a_container(data, body["audio_format"]),
            media_type=reply.headers.get("content-type"),
            request_id=answers.request_id(reply),
        )

    def voices(self) -> list[Voice]:
        """The voices of the account that are ready, private ones too. Each speaks every language."""
        api_key = answers.key(self._keys, "VOICEAI_API_KEY", vendor=self.name, title=TITLE)
        reply = self._http.request("GET", "/api/v1/tts/voices", headers={"Authorization": f"Bearer {api_key}"})
        if not reply.ok:
            raise self._refusal(reply, secrets=(api_key,))
        listed = answers.parsed(reply.body)
        if not isinstance(listed, list):
            raise answers.unreadable(reply, "a list of voices", vendor=self.name, title=TITLE)
        return [
            voice
            for each in listed
            if isinstance(each, Mapping) and each.get("status", READY) == READY
            if (voice := answers.voice(each.get("voice_id"), name=each.get("name"), languages=LANGUAGES))
        ]

    def _conversed(self, body: Mapping[str, Any], headers: Mapping[str, str], secrets: tuple[str, ...]) -> Reply:
        """The audio of a text that is spoken over the socket, as the answer to its upgrade."""
        first = {**body, "flush": True}
        later = {"text": body["text"], "flush": True}  # any other field is an error there
        settled = json.dumps({name: value for name, value in body.items() if name != "text"}, sort_keys=True)
        while True:
            with self._http.converse(PATHS[WEBSOCKET], headers=headers, keep=settled) as socket:
                if socket.handshake.status != 101:
                    raise self._refusal(socket.handshake, secrets=secrets)
                socket.say(later if socket.continued else first)
                audio = bytearray()
                try:
                    while not self._heard(socket.hear(), audio, secrets):
                        pass
                except SocketClosed as closed:
                    if socket.continued and not audio and CLOSE_CODES.get(closed.code) is not VendorUnavailable:
                        # It took one text and no more, as its newer documents say: once more, on a new socket.
                        continue
                    raise self._closed(closed, audio, secrets) from closed
                return Reply(socket.handshake.status, _without_type(socket), bytes(audio))

    def _heard(self, message: bytes, audio: bytearray, secrets: Iterable[str]) -> bool:
        """Take the audio out of a message, which may be the last one at the same time: then this is true."""
        said = answers.parsed(message)
        if not isinstance(said, Mapping):
            raise VendorMisbehaved(f"{TITLE} sent a message that cannot be read.", vendor=self.name)
        error = said.get("error")
        if error:
            # No document has it here, but the socket for several contexts reports its errors so.
            raise self._complaint(error, "reported an error", VendorMisbehaved, secrets)
        piece = said.get("audio")
        if piece is not None:
            try:
                audio += base64.b64decode(piece, validate=True)
            except (binascii.Error, ValueError, TypeError) as broken:
                raise VendorMisbehaved(f"{TITLE} sent audio that cannot be read.", vendor=self.name) from broken
        return said.get("is_last") is True

    def _closed(self, closed: SocketClosed, audio: bytearray, secrets: Iterable[str]) -> VendorError:
        """What it means that the socket was closed before the last message."""
        kind = CLOSE_CODES.get(closed.code, VendorMisbehaved)
        if kind is VendorUnavailable and audio:
            kind = VendorAmbiguous  # it had spoken, and may have billed
        return self._complaint(closed.reason, f"closed its socket with {closed.code}", kind, secrets, code=closed.code)

    def _complaint(
        self, words: Any, what: str, default: type[VendorError], secrets: Iterable[str], *, code: int | None = None
    ) -> VendorError:
        said = words if isinstance(words, str) else ""
        spoken = said.casefold()
        kind = next((kind for part, kind in REASONS if part in spoken), default)
        repeated = answers.safe_message(said, secrets=secrets)
        refused = kind(
            f"{TITLE} {what}" + (f": {repeated}" if repeated else "."),
            vendor=self.name,
            vendor_code=None if code is None else str(code),
        )
        return answers.told_too_long(refused, said)

    def _refusal(self, reply: Reply, *, secrets: tuple[str, ...]) -> VendorError:
        body = answers.parsed(reply.body)
        body = body if isinstance(body, Mapping) else {}
        said = [body[name] for name in ("error", "detail") if isinstance(body.get(name), str)]
        fields = _fields(body.get("detail"))
        refused = answers.refusal(
            reply,
            vendor=self.name,
            title=TITLE,
            message=". ".join(each.rstrip(". ") for each in said) or None,
            code=body.get("code") if isinstance(body.get("code"), str) else None,
            texts=TEXTS,
            secrets=secrets,
            hint=f"It names {', '.join(fields)}." if fields else "",
        )
        return answers.told_too_long(refused, " ".join([*said, *_complaints_about_the_text(body.get("detail"))]))


def _complaints_about_the_text(detail: Any) -> list[str]:
    """What a 422 says about `text`: never shown, but it may be about the length."""
    about = [
        each
        for each in (detail if isinstance(detail, list) else ())
        if isinstance(each, Mapping) and isinstance(each.get("loc"), list) and "text" in each["loc"]
    ]
    return [str(each.get("msg")) for each in about] + ["too long" for each in about if each.get("type") == TOO_LONG]


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


def _says_where_it_ends(reply: Reply) -> bool:
    """Whether an answer in pieces is known to be whole.

    One that simply ends with its connection is not, unless its file says how long it is. A stream's WAV does
    not: its sizes were written before they were known.
    """
    if "content-length" in reply.headers or "chunked" in reply.headers.get("transfer-encoding", "").lower():
        return True
    return reply.body.startswith(b"RIFF") and struct.unpack_from("<I", reply.body, 4)[0] == len(reply.body) - 8


def _without_type(socket: Conversation) -> Mapping[str, str]:
    """The headers of the upgrade: they describe no audio, but may name the exchange."""
    return {name: value for name, value in socket.handshake.headers.items() if not name.startswith("content-")}


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
