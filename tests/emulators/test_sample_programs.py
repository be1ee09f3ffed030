"""What the vendors' own sample programs do, done with the libraries they use: only address and key are ours."""

import asyncio
import io
import json
from base64 import b64decode
from typing import Any

import pytest
import requests
import soundfile
import websockets

from local.emulators.convai import ConvaiEmulator
from local.emulators.voiceai import VoiceaiEmulator

KEY = "sample-key"
SPEECH = "/api/v1/tts/speech"


def seconds_of(audio: bytes) -> float:
    return float(soundfile.info(io.BytesIO(audio)).duration)


@pytest.mark.proves("convai: sample program", "convai: header CONVAI-API-KEY", "convai: status 200")
def test_convais_program_gets_a_wav(convai: ConvaiEmulator) -> None:
    transcript = "A quiet morning by the sea, and somebody who reads aloud to nobody at all."
    payload = json.dumps({"transcript": transcript, "voice": convai.default_voice, "encoding": "wav"})
    headers = {"CONVAI-API-KEY": KEY, "Content-Type": "application/json"}

    answer = requests.request("POST", f"{convai.url}/tts/", headers=headers, data=payload, timeout=30)

    assert answer.status_code == 200
    assert answer.content.startswith(b"RIFF")
    assert 3 < seconds_of(answer.content) < 8
    assert len(convai.book.of(transcript)) == 1
    assert convai.journal.undocumented == []


@pytest.mark.proves("convai: sample program", "convai: status other")
def test_convais_program_prints_what_was_wrong(convai: ConvaiEmulator) -> None:
    payload = json.dumps({"transcript": "Hello.", "voice": "nobody", "encoding": "wav"})

    answer = requests.request(
        "POST",
        f"{convai.url}/tts/",
        headers={"CONVAI-API-KEY": KEY, "Content-Type": "application/json"},
        data=payload,
        timeout=30,
    )

    assert answer.status_code == 400
    assert "voice" in answer.text


def asked(emulator: VoiceaiEmulator, path: str, text: str, **more: Any) -> requests.Response:
    return requests.post(
        f"{emulator.url}{path}",
        headers={"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"},
        json={"text": text, "model": "voiceai-tts-v1-latest", "language": "en"},
        timeout=30,
        **more,
    )


@pytest.mark.proves("voiceai: sample programs")
def test_voice_ais_program_gets_an_mp3_in_one_piece(voiceai: VoiceaiEmulator) -> None:
    answer = asked(voiceai, SPEECH, "This is a test, in the voice that speaks if nobody asks for one.")

    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "audio/mpeg")
    assert soundfile.info(io.BytesIO(answer.content)).format == "MP3"
    assert 2 < seconds_of(answer.content) < 7
    assert voiceai.book.entries[0].voice == "default"
    assert voiceai.journal.undocumented == []


@pytest.mark.proves("voiceai: sample programs")
def test_voice_ais_program_writes_a_stream_byte_by_byte(voiceai: VoiceaiEmulator) -> None:
    answer = asked(voiceai, f"{SPEECH}/stream", "This comes in chunks.", stream=True)

    file = io.BytesIO()
    for chunk in answer.iter_content():
        if chunk:
            file.write(chunk)

    assert answer.headers["Transfer-Encoding"] == "chunked"
    assert 0.5 < seconds_of(file.getvalue()) < 4
    assert voiceai.journal.undocumented == []


@pytest.mark.proves("voiceai: sample programs", "voiceai: message field is_last")
def test_voice_ais_program_speaks_twice_on_one_socket(voiceai: VoiceaiEmulator) -> None:
    texts = ("How can I help you today?", "I can help you with that.")

    async def conversation() -> list[bytes]:
        spoken = []
        url = f"{voiceai.url.replace('http', 'ws', 1)}/api/v1/tts/stream"
        async with websockets.connect(url, additional_headers={"Authorization": f"Bearer {KEY}"}) as socket:
            for number, text in enumerate(texts):
                await socket.send(json.dumps({"text": text, "flush": True} | ({} if number else {"language": "en"})))
                audio = b""
                while True:
                    message = json.loads(await socket.recv())
                    if message.get("audio"):
                        audio += b64decode(message["audio"])
                    elif message.get("is_last"):
                        break
                spoken.append(audio)
        return spoken

    spoken = asyncio.run(asyncio.wait_for(conversation(), 30))

    assert all(1 < seconds_of(audio) < 5 for audio in spoken)
    assert [len(voiceai.book.of(text)) for text in texts] == [1, 1]
    assert voiceai.journal.undocumented == []
