"""Opens audio for decoding from the first to the last sample, in bounded blocks."""

from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from speech.errors import UnusableAudio

if TYPE_CHECKING:
    import numpy
    from numpy.typing import NDArray

    Samples = NDArray[numpy.float32]

_BLOCK = 65_536


@contextmanager
def opened(source: bytes | Path) -> Iterator[Any]:
    """A soundfile.SoundFile to be read with `blocks`. What the decoder refuses is `damaged` audio."""
    import soundfile

    try:
        with soundfile.SoundFile(BytesIO(source) if isinstance(source, bytes) else source) as file:
            # soundfile seeks to where it already is after every read of a seekable file. In an MP3 that
            # throws away the bits that a frame borrows from those before it, and the sound is wrong from
            # there on; in a FLAC of unknown length it fails.
            file.seekable = lambda: False
            yield file
    except soundfile.SoundFileError as error:
        raise UnusableAudio("damaged", "The audio cannot be decoded.") from error


def blocks(file: Any) -> Iterator["Samples"]:
    """The rest of the file as blocks of (frames, channels) between -1 and 1. Each is valid until the next is read."""
    import numpy

    buffer = numpy.empty((_BLOCK, file.channels), numpy.float32)
    while len(block := file.read(out=buffer)):
        yield block
