"""Voice.ai's WebSocket, spoken to as the documents say."""

import asyncio
import binascii
import json
from base64 import b64decode
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import pytest

from local.emulators.voiceai import VOICES, VoiceaiEmulator

TEXT = "Hello! How can I help you today?"
HELLO = {"text": TEXT, "language": "en", "flush": True}


@dataclass
class Conversation:
    """What the server sent, and how it ended."""

    messages: list[dict[str, Any]] = field(default_factory=list)
    close_code: int | None = None

    @property
    def audio(self) -> bytes:
        return b"".join(b64decode(message["audio"]) for message in self.messages if "audio" in message)

    @property
    def ended(self) -> bool:
        return any(message.get("is_last") for message in self.messages)


def converse(emulator: VoiceaiEmulator, *sent: Any, key: str = "vk_key") -> Conversation:
    """Send messages (bytes as binary, strings as they are, objects as JSON) and read until the server closes."""
    emulator.switches.closes_after_last = True

    async def talk() -> Conversation:
        heard = Conversation()
        url = f"{emulator.url}/api/v1/tts/stream".replace("http", "ws", 1)
        async with (
            aiohttp.ClientSession() as session,
            session.ws_connect(url, headers={"Authorization": f"Bearer {key}"}) as socket,
        ):
            for message in sent:
                if isinstance(message, bytes):
                    await socket.send_bytes(message)
                else:
                    await socket.send_str(message if isinstance(message, str) else json.dumps(message))
            async for answer in socket:
                heard.messages.append(json.loads(answer.data))
            heard.close_code = socket.close_code
        return heard

    return asyncio.run(asyncio.wait_for(talk(), 30))


def test_later_documents_have_audio_then_the_end_then_a_close(
    voiceai: VoiceaiEmulator, decoded: Callable[[bytes], tuple[Any, int]]
) -> None:
    heard = converse(voiceai, HELLO)

    assert heard.messages[-1] == {"is_last": True}
    assert all(set(message) == {"audio"} for message in heard.messages[:-1])
    assert heard.close_code == 1000
    assert len(decoded(heard.audio)[0]) > 32000
    assert len(voiceai.book.of(TEXT)) == 1
    assert voiceai.journal.undocumented == []


def test_text_is_kept_until_it_is_flushed(voiceai: VoiceaiEmulator) -> None:
    first = {"voice_id": VOICES[0].voice_id, "audio_format": "pcm_16000", "delivery_mode": "paced"}

    heard = converse(voiceai, first, {"text": "One, "}, {"text": "two."}, {"text": " Three.", "flush": True})

    [purchase] = voiceai.book.of("One, two. Three.")
    assert len(heard.audio) / 2 / 16000 == pytest.approx(purchase.seconds, abs=0.01)


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        (b"\x00", 1003),
        ("{", 1007),
        ("[]", 1007),
        ({"text": 7}, 1007),
        ({"text": "Hello.", "language": "xx"}, 1007),
        ({"text": "Hello.", "speed": 2}, 1007),
        ({"text": "a" * 5001, "flush": True}, 1008),
        ({"text": "Hello.", "voice_id": "nobody", "flush": True}, 1008),
        ({"text": "Hello.", "audio_format": "aac", "flush": True}, 1008),
        ({"text": "", "flush": True}, 1008),
    ],
)
def test_what_is_wrong_is_told_by_the_code_alone(voiceai: VoiceaiEmulator, sent: Any, code: int) -> None:
    heard = converse(voiceai, sent)

    assert (heard.messages, heard.close_code) == ([], code)
    assert len(voiceai.book) == 0


def test_a_later_message_may_hold_only_text_and_flush(voiceai: VoiceaiEmulator) -> None:
    heard = converse(voiceai, {"text": "One. "}, {"text": "Two.", "language": "sv", "flush": True})

    assert heard.close_code == 1007


def test_a_wrong_key_and_an_empty_account_are_a_matter_of_policy(voiceai: VoiceaiEmulator) -> None:
    wrong = converse(voiceai, HELLO, key="wrong-key")
    voiceai.switches.credits = 0
    broke = converse(voiceai, HELLO)

    assert (wrong.close_code, broke.close_code) == (1008, 1008)


def test_the_socket_stays_open_for_another_text_as_the_sample_has_it(voiceai: VoiceaiEmulator) -> None:
    async def talk() -> int:
        ends = 0
        url = f"{voiceai.url}/api/v1/tts/stream".replace("http", "ws", 1)
        async with (
            aiohttp.ClientSession() as session,
            session.ws_connect(url, headers={"Authorization": "Bearer k"}) as socket,
        ):
            for message in (HELLO, {"text": "I can help you with that.", "flush": True}):
                await socket.send_json(message)
                while not (await socket.receive_json()).get("is_last"):
                    pass
                ends += 1
        return ends

    assert asyncio.run(asyncio.wait_for(talk(), 30)) == 2
    assert len(voiceai.book) == 2


def test_the_end_can_come_with_the_last_audio(voiceai: VoiceaiEmulator) -> None:
    whole = converse(voiceai, HELLO).audio
    voiceai.faults.play("socket-last-with-audio")

    heard = converse(voiceai, HELLO)

    assert set(heard.messages[-1]) == {"audio", "is_last"}
    assert heard.audio == whole


def test_the_end_can_be_missing_in_several_ways(voiceai: VoiceaiEmulator) -> None:
    for fault in ("socket-without-last", "socket-error", "socket-cut"):
        voiceai.faults.play(fault)

    unsaid, failed, cut = (converse(voiceai, HELLO) for _ in range(3))

    assert (unsaid.ended, unsaid.close_code) == (False, 1000)
    assert not failed.ended
    assert "error" in failed.messages[-1]
    assert (cut.ended, cut.close_code) == (False, 1006)
    assert [purchase.fault for purchase in voiceai.book.entries] == [
        "socket-without-last",
        "socket-error",
        "socket-cut",
    ]


def test_audio_can_be_unreadable_and_any_code_can_close(voiceai: VoiceaiEmulator) -> None:
    voiceai.faults.play("socket-bad-base64")
    voiceai.faults.play("socket-close", close_code=1008, reason="Too many concurrent TTS generations")

    unreadable, closed = converse(voiceai, HELLO), converse(voiceai, HELLO)

    with pytest.raises(binascii.Error):
        b64decode(unreadable.messages[0]["audio"], validate=True)
    assert (closed.messages, closed.close_code) == ([], 1008)


def test_the_handshake_can_be_refused(voiceai: VoiceaiEmulator) -> None:
    voiceai.faults.play("status", status=503, route="GET /api/v1/tts/stream")

    with pytest.raises(aiohttp.WSServerHandshakeError) as refusal:
        converse(voiceai, HELLO)

    assert refusal.value.status == 503
