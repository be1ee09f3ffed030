"""Walks an MP3 file frame by frame to its last byte, and mends what can be mended without loss."""

from speech.audio import mpeg
from speech.audio.layout import (
    MOST_PADDING,
    Layout,
    after_end_tags,
    damaged,
    is_padding,
    leftover,
    several_files,
    truncated,
)
from speech.audio.recognise import AUDIO, recognise
from speech.errors import UnusableAudio

# Encoder delay and padding, 12 bits each, that a decoder may drop.
_MAX_GAPLESS = 2 * 4095


def read(data: bytes) -> Layout:
    """Check the structure of a whole MP3 file.

    A file cut exactly between two frames, and without a tag that counts them, looks whole: only its
    duration can give it away. So do two untagged files of the same kind in a row, which also play as one,
    and a flipped bit where no tag holds a checksum.
    """
    start = _after_tags(data)
    header = mpeg.header_at(data, start)
    if header is None:
        raise truncated("The file ends inside its ID3 tag.") if start >= len(data) else damaged("No frame was found.")
    starts, end = mpeg.walk(data, start, header)
    if end > len(data):
        raise truncated("The last frame is cut off.")
    tag = mpeg.tag_at(data, start, header)
    if (rest := after_end_tags(data, end)) < len(data):
        raise _broken_chain(data, rest, header)
    if len({data[pos + 3] >= 0xC0 for pos in starts}) > 1:
        raise several_files("Mono and stereo frames follow each other.")
    if (tag is None or tag.frames is None) and len(data) - end > MOST_PADDING and is_padding(data, end):
        raise truncated("Zeros follow the last frame, and nothing says that it should be the last.")
    if mpeg.has_second_tag(data, starts, header):
        raise several_files("A second header frame follows in the middle of the file.")
    count = len(starts)
    if tag:
        count -= 1
        _compare(tag, count, end - start)
    if not count:
        raise UnusableAudio("empty", "The file holds a header and no audio.")
    audio = starts[1:] if tag else starts
    _check(data, tag, audio, end, header)
    repairs: tuple[str, ...] = ("tags-removed",) if end - start < len(data) else ()
    if tag is None or tag.frames is None or not tag.gapless:
        repairs += ("length-added",)
        data = mpeg.info_frame(header, count, end - audio[0]) + data[audio[0] : end]
    elif repairs:
        data = data[start:end]  # libsndfile stumbles over padding and over a second ID3 tag
    frames, slack = count * header.samples, _MAX_GAPLESS + header.samples
    return Layout("mp3", header.sample_rate, header.channels, frames, data, slack, repairs)


def _check(data: bytes, tag: mpeg.Tag | None, audio: list[int], end: int, header: mpeg.Header) -> None:
    """Hold the audio against its checksum, or where there is none, each frame against those before it."""
    if tag and tag.frames is not None and not tag.intact:
        raise damaged("The header frame does not match its checksum.")
    if tag and tag.crc is not None:
        if mpeg.crc16(data[audio[0] : end]) != tag.crc:
            raise damaged("The frames do not match their checksum.")
    elif (number := mpeg.misplaced(data, audio, header)) is not None:
        raise damaged(f"Frame {number} does not follow from those before it.")


def _after_tags(data: bytes) -> int:
    pos = mpeg.tags_end(data)
    # Some taggers leave more zeros than the tag says.
    while pos < len(data) and data[pos] == 0 and pos:
        pos += 1
    return pos


def _compare(tag: mpeg.Tag, count: int, length: int) -> None:
    """Hold the frames found against the number the tag promises."""
    if tag.frames is None or tag.frames == count:
        return
    if tag.frames == count + 1 and (tag.bytes is None or tag.bytes == length):
        return  # some encoders count the tag's own frame
    if tag.frames > count:
        raise truncated(f"The header promises {tag.frames} frames; there are {count}.")
    raise several_files(f"The header promises {tag.frames} frames; there are {count}.")


def _broken_chain(data: bytes, pos: int, header: mpeg.Header) -> UnusableAudio:
    rest = data[pos : pos + 4]
    if len(rest) < 4 and rest.startswith(b"\xff"):
        return truncated("The last frame is cut off.")
    if recognise(data[pos:]) in AUDIO:
        return leftover(data, pos)
    at = data.find(b"\xff", pos + 1)
    while at != -1:
        if data[at + 1 : at + 2] and data[at + 1] | 1 == header.second_byte:
            starts, _ = mpeg.walk(data, at, header)
            if len(starts) > 2:
                return damaged("The chain of frames is broken in the middle.")
        at = data.find(b"\xff", at + 1)
    return leftover(data, pos)
