"""Writes an Ogg Opus file with libopus, and reads a finished one from end to end."""

import ctypes
from collections.abc import Callable, Iterator
from pathlib import Path
from struct import Struct
from typing import IO, TYPE_CHECKING, NamedTuple

from speech.audio import ogg
from speech.errors import ProcessingFailed

if TYPE_CHECKING:
    from numpy import int16
    from numpy.typing import NDArray

# libsndfile's libopus was built without what makes it fast: the same bits cost a fifth here. At this bitrate libopus
# leaves its speech model aside, and effort above 6 buys 1 dB for half as much time again.
_BITRATE, _EFFORT = 57_000, 5
_PACKETS_A_SECOND = 50
_PACKETS_A_PAGE = 40
"""A page has room for 255 pieces of 255 bytes; the largest packet needs six."""

_LARGEST_PACKET = 1_275
_HEAD = Struct("<8sBBHIhB")
_PAGE = Struct("<4sBBqIIIB")
_BEGINS, _ENDS = 2, 4
_PAGES_BETWEEN_PROGRESS = 300


class OpusFile:
    """Takes 16-bit mono samples, as soundfile.SoundFile does. Memory does not grow with what is written."""

    def __init__(self, path: Path, sample_rate: int) -> None:
        from opuslib_next import APPLICATION_AUDIO, Encoder
        from opuslib_next.api import c_int16_pointer, encoder

        self._call, self._pointer = encoder.libopus_encode, c_int16_pointer
        self._encoder = Encoder(sample_rate, 1, APPLICATION_AUDIO)
        self._encoder.bitrate, self._encoder.complexity = _BITRATE, _EFFORT
        self._out = (ctypes.c_char * _LARGEST_PACKET)()
        self._size = sample_rate // _PACKETS_A_SECOND
        self._scale = ogg.OPUS_CLOCK // sample_rate
        self._skip: int = self._encoder.lookahead
        self._samples = self._encoded = 0
        self._rest = b""
        self._packets: list[bytes] = []
        self._file = path.open("wb")
        self._number = 0
        self._page([_HEAD.pack(b"OpusHead", 1, 1, self._skip * self._scale, sample_rate, 0, 0)], 0, _BEGINS)
        vendor = b"libopus"
        self._page([b"OpusTags" + len(vendor).to_bytes(4, "little") + vendor + bytes(4)], 0)

    def write(self, samples: "NDArray[int16]") -> None:
        """Encode what is next."""
        self._samples += len(samples)
        data = self._rest + samples.tobytes()
        whole = len(data) // (2 * self._size) * 2 * self._size
        for at in range(0, whole, 2 * self._size):
            self._encode(data[at : at + 2 * self._size])
        self._rest = data[whole:]

    def close(self) -> None:
        """Write what the encoder still holds, and where the audio ends."""
        try:
            missing = self._samples + self._skip - self._encoded
            data = self._rest.ljust(-(-missing // self._size) * self._size * 2, b"\0")
            for at in range(0, len(data), 2 * self._size):
                self._encode(data[at : at + 2 * self._size])
            self._page(self._packets, (self._skip + self._samples) * self._scale, _ENDS)
        finally:
            self._file.close()

    def _encode(self, frame: bytes) -> None:
        # A page is written when the next packet is there: the last one has to say that it is the last.
        if len(self._packets) == _PACKETS_A_PAGE:
            self._page(self._packets, self._encoded * self._scale)
            self._packets = []
        pcm = ctypes.cast(ctypes.c_char_p(frame), self._pointer)
        size = self._call(self._encoder.encoder_state, pcm, self._size, self._out, _LARGEST_PACKET)
        if size <= 0:
            raise ProcessingFailed("The encoder refused its samples.")
        self._packets.append(self._out.raw[:size])
        self._encoded += self._size

    def _page(self, packets: list[bytes], position: int, flags: int = 0) -> None:
        """`position` is that of the last sample, in Opus's clock. The stream's serial number is 0, so that the same
        audio makes the same bytes.
        """
        lacing = b"".join(b"\xff" * (len(each) // 255) + bytes((len(each) % 255,)) for each in packets)
        page = bytearray(_PAGE.pack(b"OggS", 0, flags, position, 0, self._number, 0, len(lacing)))
        page += lacing + b"".join(packets)
        page[22:26] = ogg.checksum(bytes(page)).to_bytes(4, "little")
        self._file.write(page)
        self._number += 1


def verify_file(path: Path, *, frames: int, sample_rate: int, progress: Callable[[], None] | None = None) -> None:
    """Read a finished mono file from end to end, page by page, and decode each of its packets.

    Raises ProcessingFailed unless it holds exactly what it should.
    """
    from opuslib_next import Decoder
    from opuslib_next.api import decoder

    state, size = Decoder(sample_rate, 1), sample_rate // _PACKETS_A_SECOND
    out = (ctypes.c_int16 * size)()
    scale = ogg.OPUS_CLOCK // sample_rate
    skip = decoded = end = 0
    right = False
    with path.open("rb") as file:
        for number, page in enumerate(_pages(file)):
            if number == 0:
                magic, _, channels, skip, rate, _, _ = _HEAD.unpack(page.packets[0])
                right = (magic, channels, rate) == (b"OpusHead", 1, sample_rate)
            elif page.position > 0:  # what comes before is comments
                for packet in page.packets:
                    if decoder.libopus_decode(state.decoder_state, packet, len(packet), out, size, 0) != size:
                        raise ProcessingFailed("A packet of the joined audio cannot be decoded.")
                    decoded += size
                end = page.position
            if progress and number % _PAGES_BETWEEN_PROGRESS == 0:
                progress()
    found = (end - skip) // scale
    if not right or found != frames or not 0 <= decoded - end // scale < size:
        raise ProcessingFailed(f"The joined audio has {found} samples; there should be {frames}.")


class _Page(NamedTuple):
    position: int
    packets: list[bytes]


def _pages(file: IO[bytes]) -> Iterator[_Page]:
    flags = number = 0
    while head := file.read(_PAGE.size):
        if len(head) < _PAGE.size:
            raise ProcessingFailed("The joined audio ends inside a page.")
        magic, version, flags, position, serial, sequence, crc, pieces = _PAGE.unpack(head)
        lacing = file.read(pieces)
        body = file.read(sum(lacing))
        right = ogg.checksum(head[:22] + bytes(4) + head[26:] + lacing + body) == crc
        if not right or (magic, version, serial, sequence) != (b"OggS", 0, 0, number):
            raise ProcessingFailed(f"Page {number} of the joined audio is not as it was written.")
        packets, start, size = [], 0, 0
        for piece in lacing:
            size += piece
            if piece < 255:
                packets.append(body[start : start + size])
                start, size = start + size, 0
        yield _Page(position, packets)
        number += 1
    if not flags & _ENDS:
        raise ProcessingFailed("The joined audio has no last page.")
