"""What bytes are, told from the bytes."""

import pytest

from speech.audio.recognise import recognise
from tests.unit.audio import sounds

SOUND = sounds.speech(1.0)


@pytest.mark.parametrize(
    ("container", "data"),
    [
        ("wav", sounds.wav(SOUND)),
        ("wav", sounds.wav(SOUND, format="WAVEX")),
        ("mp3", sounds.mp3(SOUND)),
        ("mp3", sounds.untagged(sounds.mp3(SOUND))),
        ("mp3", sounds.id3() + sounds.mp3(SOUND)),
        ("flac", sounds.flac(SOUND)),
        ("flac", sounds.id3() + sounds.flac(SOUND)),
        ("ogg", sounds.opus(SOUND)),
        ("ogg", sounds.vorbis(SOUND)),
    ],
)
def test_what_we_read_is_recognised(container: str, data: bytes) -> None:
    assert recognise(data) == container


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("empty", b""),
        ("empty", b" \r\n\t"),
        ("json", b'{"error": "quota"}'),
        ("json", b"{}"),
        ("json", b'\n\n  [{"a": 1}]'),
        ("json", b"[]"),
        ("json", b"\xef\xbb\xbf" + b'{"error": 1}'),
        ("json", b"\xff\xfe" + '{"error": 1}'.encode("utf-16-le")),
        ("json", b'{"status": "ok"}\n' + sounds.mp3(SOUND)),
        ("html", b"<!DOCTYPE html><html><body>502 Bad Gateway</body></html>"),
        ("html", b"<HTML><head></head></HTML>"),
        ("html", b"\r\n<center><h1>504</h1></center>"),
        ("xml", b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>'),
        ("text", b"upstream connect error or disconnect/reset before headers"),
        ("text", b"SUQzBAAAAAAAI1RTU0UAAAAPAAADTGF2ZjU4Ljc2LjEwMAAA" * 40),
        ("text", "Fehler: Kontingent überschritten. ".encode() * 60),
        ("text", b"\xff\xfe" + "not audio".encode("utf-16-le")),
        ("mp4", b"\0\0\0\x20ftypM4A \0\0\0\0"),
        ("webm", b"\x1a\x45\xdf\xa3\x9f\x42\x86\x81"),
        ("aac", (b"\xff\xf1\x50\x80\x02\x1f\xfc" + b"\x21" * 9) * 3),
        ("aiff", sounds.encode(SOUND, 24_000, "AIFF", "PCM_16")),
        ("au", sounds.encode(SOUND, 24_000, "AU", "PCM_16")),
        ("caf", sounds.encode(SOUND, 24_000, "CAF", "PCM_16")),
        ("rf64", sounds.encode(SOUND, 24_000, "RF64", "PCM_16")),
        ("w64", sounds.encode(SOUND, 24_000, "W64", "PCM_16")),
        ("amr", b"#!AMR\n\x0c"),
        ("gzip", b"\x1f\x8b\x08\0\0\0\0\0"),
        ("zip", b"PK\x03\x04\x14\0"),
        ("pdf", b"%PDF-1.7"),
        ("image", b"\x89PNG\r\n\x1a\n"),
        ("image", b"\xff\xd8\xff\xe0\0\x10JFIF"),
        ("image", b"RIFF\x24\0\0\0WEBPVP8 "),
        (None, bytes(2_000)),
        (None, b"\xff\xfb"),
        (None, b"\xff\xfb\x90\x00" + bytes(2_000)),
        (None, bytes(range(256)) * 8),
    ],
)
def test_everything_else_has_its_name_or_none(name: str | None, data: bytes) -> None:
    assert recognise(data) == name
