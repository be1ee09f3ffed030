"""Writes an MP3 with LAME, and in front of its frames the tag that makes their length exact."""

from pathlib import Path
from typing import TYPE_CHECKING

from speech.audio import mpeg

if TYPE_CHECKING:
    from numpy import int16
    from numpy.typing import NDArray

# For speech at 22 to 24 kHz about 55 kb/s; variable bitrate costs less CPU than constant. Effort 7 shapes no noise,
# which is half of the work: one step more of VBR quality buys that back at the same size (docs/decisions/0002).
# libsndfile takes three times as long for the same: the LAME in its wheel was built without what makes it fast.
_VBR, _VBR_QUALITY, _EFFORT = 4, 4.0, 7
_VERSION = b"LAME3.100"
_DELAY = 576
"""What LAME puts in front of the first sample."""

_SEEK_POINTS = 400

_COUNTED_AT_ONCE = 2**18
"""Bytes of a checksum: of a few at a time it takes three times as long."""


class Mp3File:
    """Takes 16-bit mono samples, as soundfile.SoundFile does. Memory does not grow with what is written.

    `room` is how many bytes stay free in front of it all, for an ID3 tag that is written later.
    """

    def __init__(self, path: Path, sample_rate: int, room: int = 0) -> None:
        import lameenc

        self._encoder = lameenc.Encoder()
        self._encoder.silence()
        self._encoder.set_channels(1)
        self._encoder.set_in_sample_rate(sample_rate)
        self._encoder.set_out_sample_rate(sample_rate)
        self._encoder.set_vbr(_VBR)
        self._encoder.set_vbr_quality(_VBR_QUALITY)
        self._encoder.set_quality(_EFFORT)
        self._header = mpeg.mono_header(sample_rate)
        self._tag = mpeg.smallest_frame(self._header, 4 + self._header.side + 156)
        self._file = path.open("wb")
        self._room = room
        self._file.write(bytes(room + len(self._tag)))
        self._samples = self._frames = self._bytes = self._crc = 0
        self._rest = b""
        self._uncounted = bytearray()
        self._seek: list[int] = []
        self._step = 1

    def write(self, samples: "NDArray[int16]") -> None:
        """Encode what is next."""
        self._samples += len(samples)
        self._take(self._encoder.encode(samples.tobytes()))

    def close(self) -> None:
        """Write what LAME still holds, then the tag."""
        try:
            self._take(self._encoder.flush())
            self._count()
            self._file.seek(self._room)
            self._file.write(self._full_tag())
        finally:
            self._file.close()

    def _take(self, encoded: bytes | bytearray) -> None:
        """Keep whole frames; what is begun waits for its end."""
        data = self._rest + encoded
        starts, end = mpeg.walk(data, 0, self._header)
        if end > len(data):
            end = starts.pop()
        for start in starts:
            if self._frames % self._step == 0:
                self._seek.append(self._bytes + start)
                if len(self._seek) > _SEEK_POINTS:
                    del self._seek[1::2]
                    self._step *= 2
            self._frames += 1
        self._file.write(data[:end])
        self._uncounted += data[:end]
        if len(self._uncounted) > _COUNTED_AT_ONCE:
            self._count()
        self._bytes += end
        self._rest = data[end:]

    def _count(self) -> None:
        """Take what was written into the checksum."""
        self._crc = mpeg.crc16(bytes(self._uncounted), self._crc)
        self._uncounted.clear()

    def _full_tag(self) -> bytes:
        size = len(self._tag)
        length = self._bytes + size
        padding = self._frames * self._header.samples - self._samples - _DELAY
        per_point = self._frames / (100 * self._step)
        points = (self._seek[min(round(part * per_point), len(self._seek) - 1)] for part in range(100))
        contents = bytes((size + point) * 255 // length for point in points)
        tag = self._tag[: 4 + self._header.side]
        tag += b"Xing\0\0\0\x0f" + self._frames.to_bytes(4) + length.to_bytes(4) + contents
        tag += (100 - 10 * int(_VBR_QUALITY) - _EFFORT).to_bytes(4)
        tag += _VERSION + bytes((_VBR,)) + bytes(11) + (_DELAY << 12 | padding).to_bytes(3) + bytes(4)
        tag += length.to_bytes(4) + self._crc.to_bytes(2)
        return (tag + mpeg.crc16(tag).to_bytes(2)).ljust(size, b"\0")
