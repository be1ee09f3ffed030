"""What the structure of an audio file says before anything is decoded, and the bounds it must keep."""

import json
from dataclasses import dataclass

from speech.audio.recognise import AUDIO, recognise
from speech.errors import UnusableAudio

MAX_CHANNELS = 8
MOST_PADDING = 16
"""How many zeros may follow where nothing else says that the audio was whole: more may be its lost end."""

_TAIL = 4_096
MIN_SAMPLE_RATE, MAX_SAMPLE_RATE = 4_000, 192_000


@dataclass(frozen=True, slots=True)
class Layout:
    """A file walked to its last byte. `data` is what to decode and keep: the input, or the input mended.

    `frames` is the number of samples per channel that decoding should give at `sample_rate`, give or
    take `slack`. `repairs` names what was mended, in kebab-case.
    """

    codec: str
    sample_rate: int
    channels: int
    frames: int
    data: bytes
    slack: int = 0
    repairs: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not 1 <= self.channels <= MAX_CHANNELS or not MIN_SAMPLE_RATE <= self.sample_rate <= MAX_SAMPLE_RATE:
            raise damaged(f"The header claims {self.channels} channels at {self.sample_rate} Hz.")


def truncated(detail: str) -> UnusableAudio:
    return UnusableAudio("truncated", detail)


def damaged(detail: str) -> UnusableAudio:
    return UnusableAudio("damaged", detail)


def several_files(detail: str) -> UnusableAudio:
    return UnusableAudio("several-files", detail)


def is_padding(data: bytes, start: int) -> bool:
    """Zero bytes after the audio carry nothing and are dropped."""
    return not data[start:].strip(b"\0")


def after_end_tags(data: bytes, pos: int) -> int:
    """Where the ID3v1 and APE tags, and the zeros, that may follow the audio end."""
    while pos < len(data):
        if data.startswith(b"APETAGEX", pos) and len(data) >= pos + 32:
            # The size counts the items and the footer; the header's flag says which of the two this is.
            size = int.from_bytes(data[pos + 12 : pos + 16], "little")
            is_header = data[pos + 23] & 0x20
            pos += 32 + (size if is_header else 0)
        elif data.startswith(b"TAG", pos) and len(data) - pos >= 128:
            pos += 128
        elif is_padding(data, pos):
            return len(data)
        else:
            break
    return min(pos, len(data))


def leftover(data: bytes, start: int) -> UnusableAudio:
    """What to say about bytes that follow the audio."""
    kind = recognise(data[start:])
    if kind in AUDIO:
        return several_files(f"A second file ({kind}) follows the first.")
    return UnusableAudio("trailing-bytes", f"{len(data) - start} bytes that are not audio ({kind}) follow the audio.")


def ends_in_text(data: bytes) -> bool:
    """Whether a JSON object or an HTML page lies at the end: a vendor's error in the middle of its stream."""
    tail = data[-_TAIL:].rstrip()
    if tail.lower().endswith(b"</html>"):
        return True
    if not tail.endswith(b"}"):
        return False
    at = tail.find(b"{")
    while at != -1 and at < len(tail) - 6:
        if tail[at + 1 : at + 2] in (b'"', b"\n", b"\r", b" "):
            try:
                json.loads(tail[at:])
            except (ValueError, RecursionError):
                pass
            else:
                return True
        at = tail.find(b"{", at + 1)
    return False
