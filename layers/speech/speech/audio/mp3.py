"""Walks an MP3 file frame by frame to its last byte, and mends what can be mended without loss."""

from speech.audio import mpeg
from speech.audio.layout import Layout, damaged, is_padding, leftover, several_files, truncated
from speech.audio.recognise import AUDIO, recognise
from speech.errors import UnusableAudio

# Encoder delay and padding, 12 bits each, that a decoder may drop.
_MAX_GAPLESS = 2 * 4095


def read(data: bytes) -> Layout:
    """Check the structure of a whole MP3 file.

    A file cut exactly between two frames, and without a tag that counts them, looks whole: only its
    duration can give it away. So do two untagged files of the same kind in a row, which also play as one.
    """
    start = _after_tags(data)
    header = mpeg.header_at(data, start)
    if header is None:
        raise truncated("The file ends inside its ID3 tag.") if start >= len(data) else damaged("No frame was found.")
    starts, end = mpeg.walk(data, start, header)
    if end > len(data):
        raise truncated("The last frame is cut off.")
    if (rest := _after_end_tags(data, end)) < len(data):
        raise _broken_chain(data, rest, header)
    if len({data[pos + 3] >= 0xC0 for pos in starts}) > 1:
        raise several_files("Mono and stereo frames follow each other.")
    if mpeg.has_second_tag(data, starts, header):
        raise several_files("A second header frame follows in the middle of the file.")
    tag = mpeg.tag_at(data, start, header)
    count = len(starts)
    if tag:
        count -= 1
        _compare(tag, count, end - start)
    if not count:
        raise UnusableAudio("empty", "The file holds a header and no audio.")
    if tag is None or tag.frames is None or not tag.gapless:
        first = starts[1] if tag else start
        data = mpeg.info_frame(header, count, end - first) + data[first:end]
    elif end - start < len(data):
        data = data[start:end]  # libsndfile stumbles over padding and over a second ID3 tag
    frames = count * header.samples
    return Layout("mp3", header.sample_rate, header.channels, frames, data, slack=_MAX_GAPLESS + header.samples)


def _after_tags(data: bytes) -> int:
    pos = 0
    while size := mpeg.id3_size(data, pos):
        pos += size
    # Some taggers leave more zeros than the tag says.
    while pos < len(data) and data[pos] == 0 and pos:
        pos += 1
    return pos


def _after_end_tags(data: bytes, pos: int) -> int:
    """Where the ID3v1 and APE tags and the zeros that may follow the last frame end."""
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
