"""Sounds made of numbers, and files made of sounds: the corpus of the audio tests."""

import io
import struct
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray

from speech.audio import mpeg

Samples = NDArray[np.float64]

CHARACTERS_PER_SECOND = 15


def speech(seconds: float = 4.0, rate: int = 24_000, channels: int = 1, seed: int = 0) -> Samples:
    """Something with the loudness of speech over time: harmonics and hiss in syllables, with pauses."""
    rng = np.random.default_rng(seed)
    t = np.arange(round(seconds * rate)) / rate
    voice = sum(np.sin(2 * np.pi * 140 * k * t + k) / k for k in range(1, 8))
    syllables = np.clip(np.sin(2 * np.pi * 2.1 * t + seed), 0, 1) ** 0.5
    sound = 0.15 * syllables * (voice + 0.3 * rng.standard_normal(len(t)))
    return sound if channels == 1 else np.stack([sound * (1 - 0.3 * c) for c in range(channels)], axis=1)


def tone(frames: int, rate: int, frequency: float = 440.0, start: int = 0) -> Samples:
    return 0.5 * np.sin(2 * np.pi * frequency * (np.arange(frames) + start) / rate)


def encode(samples: NDArray[Any], rate: int, format: str, subtype: str | None = None, **settings: Any) -> bytes:
    """A file as libsndfile writes it."""
    file = io.BytesIO()
    channels = 1 if samples.ndim == 1 else samples.shape[1]
    with soundfile.SoundFile(file, "w", rate, channels, subtype, format=format, **settings) as out:
        for at in range(0, len(samples), 65_536):  # the Vorbis encoder overflows its stack when given minutes at once
            out.write(samples[at : at + 65_536])
    return file.getvalue()


def wav(samples: Samples, rate: int = 24_000, subtype: str = "PCM_16", format: str = "WAV") -> bytes:
    return encode(samples, rate, format, subtype)


def mp3(samples: Samples, rate: int = 24_000, mode: str = "VARIABLE", level: float = 0.5) -> bytes:
    return encode(samples, rate, "MP3", "MPEG_LAYER_III", bitrate_mode=mode, compression_level=level)


def flac(samples: Samples, rate: int = 24_000, subtype: str = "PCM_16") -> bytes:
    return encode(samples, rate, "FLAC", subtype)


def opus(samples: Samples, rate: int = 24_000) -> bytes:
    return encode(samples, rate, "OGG", "OPUS")


def vorbis(samples: Samples, rate: int = 24_000) -> bytes:
    return encode(samples, rate, "OGG", "VORBIS")


def decode(data: bytes) -> NDArray[np.int16]:
    """What libsndfile hears, in one read."""
    samples: NDArray[np.int16] = soundfile.read(io.BytesIO(data), dtype="int16")[0]
    return samples


def untagged(data: bytes) -> bytes:
    """An MP3 without its first frame, which holds the Xing tag: what a streaming encoder sends."""
    header = mpeg.header_at(data, 0)
    assert header is not None
    assert mpeg.tag_at(data, 0, header) is not None
    return data[header.sizes[data[2]] :]


def frame_starts(data: bytes) -> list[int]:
    header = mpeg.header_at(data, 0)
    assert header is not None
    return mpeg.walk(data, 0, header)[0]


def with_sizes(data: bytes, riff: int | None = None, samples: int | None = None) -> bytes:
    """A WAV with other sizes in its header."""
    at = data.index(b"data", 12) + 4
    out = bytearray(data)
    if riff is not None:
        out[4:8] = struct.pack("<I", riff)
    if samples is not None:
        out[at : at + 4] = struct.pack("<I", samples)
    return bytes(out)


def wav_with(chunk: bytes, samples: bytes, *, after: bytes = b"", before: bytes = b"") -> bytes:
    """A WAV from its parts: `chunk` is the content of `fmt `, `before` and `after` whole chunks."""
    body = b"WAVE" + before + b"fmt " + struct.pack("<I", len(chunk)) + chunk
    body += b"data" + struct.pack("<I", len(samples)) + samples + b"\0" * (len(samples) & 1) + after
    return b"RIFF" + struct.pack("<I", len(body)) + body


def format_chunk(tag: int = 1, channels: int = 1, rate: int = 24_000, bits: int = 16) -> bytes:
    frame = channels * bits // 8
    return struct.pack("<HHIIHH", tag, channels, rate, rate * frame & 0xFFFF_FFFF, frame & 0xFFFF, bits)


def id3(size: int = 300) -> bytes:
    """An ID3v2.3 tag with a text frame of that many bytes."""
    frame = b"TXXX" + struct.pack(">I", size) + b"\0\0" + b"x" * size
    length = len(frame)
    return b"ID3\x03\0\0" + bytes(length >> shift & 0x7F for shift in (21, 14, 7, 0)) + frame


def id3v1() -> bytes:
    return b"TAG" + b"title".ljust(125, b"\0")


def ape() -> bytes:
    item = struct.pack("<II", 3, 0) + b"Title\0abc"

    def part(flags: int) -> bytes:
        return b"APETAGEX" + struct.pack("<IIII", 2000, len(item) + 32, 1, flags) + bytes(8)

    return part(0xA000_0000) + item + part(0x8000_0000)
