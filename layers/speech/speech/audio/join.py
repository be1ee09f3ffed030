"""Joins the audio of segments into one file: decoded, brought to one sample rate, encoded once."""

import hashlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from speech.audio import mp3, opus, tagging
from speech.audio.decode import blocks, opened
from speech.audio.lame import Mp3File
from speech.audio.pauses import Pause, PauseFinder
from speech.audio.recognise import recognise
from speech.audio.tags import Chapter, Tags
from speech.errors import ProcessingFailed, UnusableAudio

if TYPE_CHECKING:
    from speech.audio.decode import Samples


@dataclass(frozen=True, slots=True)
class Format:
    """An audio format we make. `rates` are the sample rates it can carry, in order; empty means any."""

    content_type: str
    rates: tuple[int, ...] = ()


FORMATS = {
    "mp3": Format("audio/mpeg", (8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000)),
    "wav": Format("audio/wav"),
    "flac": Format("audio/flac"),
    "ogg": Format("audio/ogg", (8_000, 12_000, 16_000, 24_000, 48_000)),
}
"""`ogg` holds Opus. WAV and FLAC are 16 bit."""

MAX_WAV_BYTES = 2**32 - 1
"""The sizes in a WAV header have 32 bits."""

# libsndfile's name for each that it writes; MP3 it only reads.
_ENCODINGS: dict[str, dict[str, Any]] = {
    "mp3": {"format": "MP3", "subtype": "MPEG_LAYER_III"},
    "wav": {"format": "WAV", "subtype": "PCM_16"},
    "flac": {"format": "FLAC", "subtype": "PCM_16"},
}

_BLOCKS_BETWEEN_PROGRESS = 100


@dataclass(frozen=True, slots=True)
class JoinedAudio:
    """A finished file. `spans` holds each part's (start, end) in frames; the last end is `frames`.

    `pauses` holds each part's, in seconds of the file.
    """

    format: str
    sample_rate: int
    frames: int
    seconds: float
    bytes: int
    sha256: str
    spans: list[tuple[int, int]]
    pauses: list[list[Pause]] = field(default_factory=list)
    chapters: list[Chapter] = field(default_factory=list)


def output_rate(format: str, wanted: int) -> int:
    """The nearest sample rate at or above `wanted` that the format can carry, or else its highest."""
    rates = FORMATS[format].rates
    return next((rate for rate in rates if rate >= wanted), rates[-1]) if rates else wanted


def join(
    parts: Iterable[bytes],
    *,
    format: str,
    sample_rate: int | None,
    path: Path,
    tags: Tags | None = None,
    progress: Callable[[], None] | None = None,
) -> JoinedAudio:
    """Write the parts, one after another without a gap, to `path` as one mono file; the same parts make the same bytes.

    Without a `sample_rate` the first part's is taken; either is raised to what the format can carry.
    A part that ends n frames into a row of parts of one rate ends n·out/in frames, rounded half up,
    into the row's output: every edge is exact to half a frame however long the text, and audio that was cut
    inside a sound continues through the joint. 16-bit mono at the output rate passes unchanged. `tags` and their
    chapters are written into the file and change no sample.

    Memory does not grow with the length. `progress` is called after each part, and every few minutes of audio
    while the finished file is checked. `path` is removed on failure;
    OSError says that it could not be written.
    """
    with ExitStack() as undo:
        undo.callback(path.unlink, missing_ok=True)
        with closing(_Output(path, format, sample_rate, tags)) as output:
            for part in parts:
                output.add(part)
                if progress:
                    progress()
            output.finish()
        frames, rate = output.frames, output.rate
        chapters = tags.chapters(output.spans) if tags else []
        with _writing():
            tagging.write(path, format, tags, chapters, rate)
        verify_file(path, format=format, frames=frames, sample_rate=rate, progress=progress)
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        undo.pop_all()
    size = path.stat().st_size
    return JoinedAudio(format, rate, frames, frames / rate, size, digest, output.spans, output.pauses, chapters)


def verify_file(
    path: Path, *, format: str, frames: int, sample_rate: int, progress: Callable[[], None] | None = None
) -> None:
    """Decode a finished file from end to end; raise unless it holds exactly what it should."""
    if format == "ogg":
        opus.verify_file(path, frames=frames, sample_rate=sample_rate, progress=progress)
        return
    found = 0
    with opened(path) as file:
        right = (file.samplerate, file.channels, file.subtype) == (sample_rate, 1, _ENCODINGS[format]["subtype"])
        promised = file.frames
        for number, block in enumerate(blocks(file), start=1):
            found += len(block)
            if progress and number % _BLOCKS_BETWEEN_PROGRESS == 0:
                progress()
    if not right or not found == promised == frames:
        raise ProcessingFailed(f"The joined audio has {found} samples; there should be {frames}.")


class _Output:
    """The file being written, and the row of parts of one sample rate that is being resampled into it."""

    def __init__(self, path: Path, format: str, wanted: int | None, tags: Tags | None = None) -> None:
        self._path = path
        self._tags = tags
        self._format = format
        self._wanted = wanted
        self._file: Any = None
        self.rate = 0
        self.frames = 0
        self.spans: list[tuple[int, int]] = []
        self.pauses: list[list[Pause]] = []
        self._room = 0
        self._row_rate = 0
        self._row_frames = 0
        self._row_start = 0
        self._resampler: Any = None

    def add(self, part: bytes) -> None:
        """Decode one part to the end of the file."""
        # libsndfile only guesses the length of an MP3 without a tag, and stops there: never let it.
        with opened(mp3.read(part).data if recognise(part) == "mp3" else part) as source:
            if self._file is None:
                self._open(source.samplerate)
            if source.samplerate != self._row_rate:
                self._begin_row(source.samplerate)
            start, before = self._edge(), self._row_frames
            finder = PauseFinder(source.samplerate)
            for block in blocks(source):
                self._row_frames += len(block)
                mono = block[:, 0] if source.channels == 1 else block.mean(axis=1)
                finder.add(mono)
                self._write(self._resampler.resample_chunk(mono) if self._resampler else mono)
            whole = self._row_frames - before == source.frames
        if not whole:
            raise UnusableAudio("truncated", f"Part {len(self.spans)} ends before its time.")
        self.spans.append((start, self._edge()))
        begin = start / self.rate
        self.pauses.append([(begin + a, begin + b) for a, b in finder.pauses()])

    def finish(self) -> None:
        """Write what the resampler still holds."""
        if self._file is None:
            raise UnusableAudio("empty", "There are no parts to join.")
        self._end_row()

    def close(self) -> None:
        """Close the file; only then is its header true."""
        if self._file is not None:
            with _writing():
                self._file.close()

    def _open(self, first_rate: int) -> None:
        import soundfile

        self.rate = output_rate(self._format, self._wanted or first_rate)
        self._room = tagging.room(self._format, self._tags)
        with _writing():
            if self._format == "mp3":
                self._file = Mp3File(self._path, self.rate, room=self._room)
            elif self._format == "ogg":
                self._file = opus.OpusFile(self._path, self.rate)
            else:
                self._file = soundfile.SoundFile(self._path, "w", self.rate, 1, **_ENCODINGS[self._format])
            if self._format == "flac" and self._tags:
                self._file.comment = "-" * self._room

    def _begin_row(self, rate: int) -> None:
        import soxr

        self._end_row()
        self._row_rate, self._row_frames, self._row_start = rate, 0, self.frames
        if rate != self.rate:
            self._resampler = soxr.ResampleStream(rate, self.rate, 1, dtype="float32", quality="HQ")

    def _end_row(self) -> None:
        """Empty the resampler, and give the row exactly the length that it should have."""
        import numpy

        if self._resampler:
            rest = self._resampler.resample_chunk(numpy.zeros(0, numpy.float32), last=True)
            self._resampler = None
            missing = self._edge() - self.frames
            self._write(numpy.pad(rest[:missing], (0, max(missing - len(rest), 0))))

    def _edge(self) -> int:
        """The frame of the output at which what was added so far ends."""
        if not self._row_rate:
            return 0
        return self._row_start + (2 * self._row_frames * self.rate + self._row_rate) // (2 * self._row_rate)

    def _write(self, samples: "Samples") -> None:
        """Round to 16 bits, which changes nothing that was 16 bits before, and encode."""
        import numpy

        self.frames += len(samples)
        if self._format == "wav" and 2 * self.frames + 44 + self._room > MAX_WAV_BYTES:
            raise ProcessingFailed("The audio is too long for a WAV file; mp3, ogg and flac can hold it.")
        scaled = numpy.rint(samples * numpy.float32(32_768))
        with _writing():
            self._file.write(numpy.clip(scaled, -32_768, 32_767).astype(numpy.int16))


@contextmanager
def _writing() -> Iterator[None]:
    """A full disk is our trouble and passes; it must not look like a fault of the part that was being read."""
    import soundfile

    try:
        yield
    except (OSError, soundfile.SoundFileError, AssertionError) as error:  # soundfile asserts that all was written
        raise OSError("The joined audio cannot be written.") from error
