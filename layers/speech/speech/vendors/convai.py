"""Convai: the standalone text-to-speech API. One POST, the audio file is the answer (docs/vendors/convai.md)."""

from collections.abc import Iterator, Mapping
from typing import Any

from speech.errors import UnsupportedOption, VendorError, VendorQuotaExhausted, VendorThrottled, VendorUnauthorized
from speech.vendors import answers
from speech.vendors.base import AudioReady, Capabilities, Delivery, Option, Reply, SynthesisRequest, Vendor, Voice

TITLE = "Convai"

# Convai gives no error codes; these are parts of the messages of its own backend, most telling first. Both
# limits come as 429: one is a throttle, the other the plan, which no waiting mends.
TEXTS: answers.Texts = (
    ("limit exceeded for current plan", VendorQuotaExhausted),
    ("usage limit exceeded", VendorQuotaExhausted),
    ("rate limit exceeded", VendorThrottled),
    ("missing an api key", VendorUnauthorized),
    ("missing a valid api key", VendorUnauthorized),
    ("invalid api key", VendorUnauthorized),
)


class Convai(Vendor):
    """Answers at once with the whole file. WAV unless asked otherwise: PCM joins exactly."""

    name = "convai"
    base_url = "https://api.convai.com"
    key_names = ("CONVAI_API_KEY",)
    capabilities = Capabilities(
        title=TITLE,
        delivery=(Delivery.IMMEDIATE,),
        character_limit=2000,
        voice_required=True,
        audio_formats=("wav", "mp3"),
        lists_voices=True,
        options=(
            Option(
                "encoding",
                "string",
                "Format that Convai sends; not every voice has MP3. What you get is set by `format`.",
                choices=("wav", "mp3"),
                source="API page, Request Body",
            ),
            Option(
                "filename",
                "filename",
                "Name that Convai gives its file; a plain name without a folder.",
                max_length=100,
                source="API page, Request Body",
            ),
        ),
        notes=(
            "Needs Convai's Enterprise plan.",
            "Convai publishes no character limit; 2,000 is ours.",
            "Realtime voices are refused by Convai.",
        ),
    )

    def start(self, request: SynthesisRequest, *, callback_url: str | None = None) -> AudioReady:
        """Ask for speech; the answer is the file."""
        if not request.voice:
            raise UnsupportedOption(f"{TITLE} needs a voice.")
        api_key = answers.key(self._keys, "CONVAI_API_KEY", vendor=self.name, title=TITLE)
        body: dict[str, Any] = {"transcript": request.text, "voice": request.voice, "encoding": "wav"}
        body.update(request.options)
        # With the slash: without it the server may redirect, and redirects are not followed.
        reply = self._http.request("POST", "/tts/", headers={"CONVAI-API-KEY": api_key}, json=body)
        if not reply.ok:
            raise self._refusal(reply, secrets=(request.text, api_key))
        return AudioReady(
            data=answers.audio(reply, vendor=self.name, title=TITLE),
            media_type=reply.headers.get("content-type"),
            request_id=answers.request_id(reply),
        )

    def probe(self) -> None:
        """Whether somebody answers: the voice list needs a plan of its own, so that its refusal proves nothing."""
        api_key = answers.key(self._keys, "CONVAI_API_KEY", vendor=self.name, title=TITLE)
        reply = self._http.request("GET", "/tts/get_available_voices", headers={"CONVAI-API-KEY": api_key})
        if answers.is_page(reply):
            raise answers.unreadable(reply, "a list of voices", vendor=self.name, title=TITLE)
        if not reply.ok and reply.status not in (401, 403):
            raise self._refusal(reply, secrets=(api_key,))

    def voices(self) -> list[Voice]:
        """The voices of the account, private ones too. Realtime voices are among them, and refused by `start`."""
        api_key = answers.key(self._keys, "CONVAI_API_KEY", vendor=self.name, title=TITLE)
        reply = self._http.request("GET", "/tts/get_available_voices", headers={"CONVAI-API-KEY": api_key})
        if not reply.ok:
            raise self._refusal(reply, secrets=(api_key,), needs="The voice list needs Convai's Professional plan.")
        sections = answers.parsed(reply.body)
        if not isinstance(sections, Mapping):
            raise answers.unreadable(reply, "a list of voices", vendor=self.name, title=TITLE)
        return [
            voice
            for section in sections.values()
            for name, facts in _named(section)
            if (
                voice := answers.voice(
                    facts.get("voice_value"),
                    name=name,
                    languages=facts["lang_codes"] if isinstance(facts.get("lang_codes"), list) else (),
                    gender=facts.get("gender"),
                    preview_url=facts.get("sample_link"),
                )
            )
        ]

    def _refusal(
        self,
        reply: Reply,
        *,
        secrets: tuple[str, ...],
        needs: str = "Text to speech needs Convai's Enterprise plan.",
    ) -> VendorError:
        message = _message(reply)
        refused = answers.refusal(
            reply,
            vendor=self.name,
            title=TITLE,
            message=message,
            texts=TEXTS,
            secrets=secrets,
            hint=needs if reply.status == 403 else "",
        )
        return answers.told_too_long(refused, message)


def _named(section: Any) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Name and facts of each voice of a section: an array of objects with a single key, which is the name."""
    for entry in section if isinstance(section, list) else [section]:
        for name, facts in entry.items() if isinstance(entry, Mapping) else ():
            if isinstance(facts, Mapping):
                yield name, facts


def _message(reply: Reply) -> str | None:
    """Convai's pages and its backend disagree about the envelope; some answers are bare text."""
    body = answers.parsed(reply.body)
    if isinstance(body, Mapping):
        for name in ("ERROR", "API_ERROR", "error"):
            if isinstance(body.get(name), str):
                return str(body[name])
        return None
    if isinstance(body, str):
        return body
    return reply.body[:1000].decode("utf-8", "replace")
