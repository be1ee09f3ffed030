"""Writes an M4B, AAC with chapters in MP4, by the FFmpeg in PyAV, which stands in a layer of its own."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from speech.audio.tags import MAKER, Chapter, Tags, three_letters
from speech.errors import ProcessingFailed

if TYPE_CHECKING:
    from numpy import int16
    from numpy.typing import NDArray

BIT_RATE = 64_000
FRAME = 1_024
"""What AAC codes at once, and what it puts in front of the first sample."""

_UTF8, _JPEG, _PNG, _NUMBER = 1, 13, 14, 21
_AUDIOBOOK = b"\x02"
_BLOCK = 2**22
_LONGEST_TITLE = 255
_PACKETS_BETWEEN_PROGRESS = 10_000


class M4bFile:
    """Takes 16-bit mono samples, as soundfile.SoundFile does. What grows with them is 4 bytes for a packet."""

    def __init__(self, path: Path, sample_rate: int, tags: Tags | None) -> None:
        av = ffmpeg()
        # Times in samples, where milliseconds are usual: an edge is as exact as in the other formats.
        options = {"movie_timescale": str(sample_rate), "fflags": "+bitexact", "brand": "M4B "}
        self._frame = av.AudioFrame
        self._container = av.open(str(path), "w", format="ipod", options=options)
        # The fast coder takes a fifth of the time of the other.
        self._stream = self._container.add_stream("aac", rate=sample_rate, layout="mono", options={"aac_coder": "fast"})
        self._stream.bit_rate = BIT_RATE
        if language := three_letters(tags.language if tags else None):
            self._stream.metadata["language"] = language
        self._rate = sample_rate
        self._samples = 0

    def write(self, samples: "NDArray[int16]") -> None:
        """Encode what is next."""
        with _writing():
            for at in range(0, len(samples), _BLOCK):
                frame = self._frame.from_ndarray(samples[None, at : at + _BLOCK], format="s16", layout="mono")
                frame.sample_rate, frame.time_base = self._rate, Fraction(1, self._rate)
                frame.pts = self._samples
                self._samples += frame.samples
                self._container.mux(self._stream.encode(frame))

    def finish(self, chapters: Sequence[Chapter]) -> None:
        """Encode what is still held, and say where the chapters are."""
        with _writing():
            self._container.mux(self._stream.encode(None))
        # FFmpeg writes them twice: as the track of texts that Apple reads, and as the list of Nero's that others do.
        self._container.set_chapters(
            [
                {
                    "id": number,
                    "start": chapter.start,
                    "end": chapter.end,
                    "time_base": Fraction(1, self._rate),
                    "metadata": {"title": _short(chapter.title)},
                }
                for number, chapter in enumerate(chapters)
            ]
        )

    def close(self) -> None:
        """Write the index, behind the audio."""
        with _writing():
            self._container.close()


@contextmanager
def _writing() -> Iterator[None]:
    """What FFmpeg cannot write, as Python says it."""
    try:
        yield
    except ffmpeg().FFmpegError as error:
        raise OSError("The M4B cannot be written.") from error


def _short(title: str) -> str:
    """As much of a title as Nero's list can hold: FFmpeg would cut it inside a character."""
    encoded = title.encode()
    return title if len(encoded) <= _LONGEST_TITLE else encoded[:_LONGEST_TITLE].decode(errors="ignore")


def ffmpeg() -> Any:
    """PyAV. Raises ProcessingFailed on a stack without the media layer."""
    try:
        import av
    except ModuleNotFoundError as error:
        raise ProcessingFailed("This stack makes no m4b: it was deployed without its media layer.") from error
    return av


def verify(path: Path, *, frames: int, sample_rate: int, progress: Callable[[], None] | None = None) -> None:
    """Decode a finished file from end to end; raise unless it holds exactly what it should."""
    av = ffmpeg()
    found = 0
    try:
        with av.open(str(path)) as container:
            stream = container.streams.audio[0]
            right = (stream.rate, stream.channels, stream.codec_context.name) == (sample_rate, 1, "aac")
            promised = stream.duration
            for number, packet in enumerate(container.demux(stream), start=1):
                found += sum(frame.samples for frame in packet.decode())
                if progress and number % _PACKETS_BETWEEN_PROGRESS == 0:
                    progress()
    except av.FFmpegError as error:
        raise ProcessingFailed("The joined audio cannot be read.") from error
    # A decoder gives the last frame whole, and the length in the file says how much of it to play.
    if not right or promised != frames or not 0 <= found - frames < FRAME:
        raise ProcessingFailed(f"The joined audio has {found} samples; there should be {frames}.")


# --- What FFmpeg leaves to be done -----------------------------------------------------------


def settle(path: Path, tags: Tags | None) -> None:
    """Write the tags into the index, and move it in front of the audio, so that playing can begin at once.

    The audio is moved within the file, not copied to another one.
    """
    with path.open("r+b") as file:
        boxes = dict(_boxes_of(file))
        audio = boxes[b"ftyp"][1]
        at, end = boxes[b"moov"]
        file.seek(at)
        index = file.read(end - at)
        if tags:
            index = _tagged(index, tags)
        moved = _moved(index, len(index))
        _make_room(file, audio, at, len(moved))
        file.seek(audio)
        file.write(moved)
        file.truncate(at + len(moved))


def _boxes_of(file: IO[bytes]) -> Iterator[tuple[bytes, tuple[int, int]]]:
    """The name of each box of a file, and from where to where it goes."""
    at, end = 0, file.seek(0, 2)
    while at < end:
        file.seek(at)
        head = file.read(16)
        size = int.from_bytes(head[:4])
        after = at + (int.from_bytes(head[8:]) if size == 1 else size)
        if after <= at:
            raise ProcessingFailed("The joined audio is no MP4.")
        yield head[4:8], (at, after)
        at = after


def _make_room(file: IO[bytes], start: int, end: int, room: int) -> None:
    """Move what lies from `start` to `end` back by `room` bytes, the last of it first."""
    while end > start:
        begin = max(start, end - _BLOCK)
        file.seek(begin)
        block = file.read(end - begin)
        file.seek(begin + room)
        file.write(block)
        end = begin


_HOLD_BOXES = (b"moov", b"trak", b"mdia", b"minf", b"stbl")


def _moved(box: bytes, by: int) -> bytes:
    """A box in which the offsets of all audio are higher by so much."""
    name, body = box[4:8], box[8:]
    if name in _HOLD_BOXES:
        return _box(name, b"".join(_moved(each, by) for each in _children(body)))
    if name in (b"stco", b"co64"):
        width = 4 if name == b"stco" else 8
        offsets = (int.from_bytes(body[at : at + width]) + by for at in range(8, len(body), width))
        return _box(name, body[:8] + b"".join(each.to_bytes(width) for each in offsets))
    return box


def _children(body: bytes) -> Iterator[bytes]:
    at = 0
    while at < len(body):
        size = int.from_bytes(body[at : at + 4])
        if size < 8:
            raise ProcessingFailed("The joined audio is no MP4.")
        yield body[at : at + size]
        at += size


def _tagged(index: bytes, tags: Tags) -> bytes:
    """The index with these tags beside the chapters."""
    children = list(_children(index[8:]))
    user = next((each for each in children if each[4:8] == b"udta"), b"")
    kept = [each for each in _children(user[8:]) if each[4:8] != b"meta"]
    others = [each for each in children if each is not user]
    return _box(b"moov", b"".join(others) + _box(b"udta", b"".join(kept) + _metadata(tags)))


def _metadata(tags: Tags) -> bytes:
    texts = [
        (b"\xa9nam", tags.title),
        (b"\xa9alb", tags.title),
        (b"\xa9ART", tags.author),
        (b"aART", tags.author),
        (b"\xa9day", tags.date),
        (b"\xa9cmt", tags.comment),
        (b"\xa9gen", "Audiobook"),
        (b"\xa9too", MAKER),
    ]
    items = [_box(name, _data(_UTF8, value.encode())) for name, value in texts if value]
    items.append(_box(b"stik", _data(_NUMBER, _AUDIOBOOK)))
    if cover := tags.cover:
        items.append(_box(b"covr", _data(_PNG if cover.mime == "image/png" else _JPEG, cover.data)))
    owner, name = bytes(4) + b"com.apple.iTunes", bytes(4) + b"AI_GENERATED"
    items.append(_box(b"----", _box(b"mean", owner) + _box(b"name", name) + _data(_UTF8, b"true")))
    handler = _box(b"hdlr", bytes(8) + b"mdirappl" + bytes(9))
    return _box(b"meta", bytes(4) + handler + _box(b"ilst", b"".join(items)))


def _data(kind: int, value: bytes) -> bytes:
    return _box(b"data", kind.to_bytes(4) + bytes(4) + value)


def _box(name: bytes, body: bytes) -> bytes:
    return (8 + len(body)).to_bytes(4) + name + body
