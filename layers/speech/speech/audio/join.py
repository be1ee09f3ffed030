"""Joins the audio of segments into one file: decoded, brought to one sample rate, encoded once."""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from speech.audio import tagging
from speech.audio.decode import blocks, opened
from speech.audio.levelling import Level, levelled
from speech.audio.limiter import Limiter
from speech.audio.part import Part
from speech.audio.pauses import Pause
from speech.audio.seams import Joint, Seam
from speech.audio.tags import Chapter, Tags
from speech.errors import ProcessingFailed, UnusableAudio

if TYPE_CHECKING:
    from speech.audio.decode import Samples


class Format(NamedTuple):
    """An audio format we make. `rates` are the sample rates it can carry, in order; empty means any."""

    content_type: str
    rates: tuple[int, ...] = ()


_MPEG_RATES = (8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000)

FORMATS = {
    "mp3": Format("audio/mpeg", _MPEG_RATES),
    "wav": Format("audio/wav"),
    "flac": Format("audio/flac"),
    "ogg": Format("audio/ogg", (8_000, 12_000, 16_000, 24_000, 48_000)),
    "m4b": Format("audio/mp4", _MPEG_RATES),
}
"""`ogg` holds Opus. WAV and FLAC are 16 bit. `m4b` needs the media layer."""

MAX_WAV_BYTES = 2**32 - 1
"""The sizes in a WAV header have 32 bits."""

# libsndfile's name for each that it writes; MP3 it only reads.
_ENCODINGS: dict[str, dict[str, Any]] = {
    "mp3": {"format": "MP3", "subtype": "MPEG_LAYER_III"},
    "wav": {"format": "WAV", "subtype": "PCM_16"},
    "flac": {"format": "FLAC", "subtype": "PCM_16"},
}

_BLOCKS_BETWEEN_PROGRESS = 100


class Gap(NamedTuple):
    """Silence that we put in, in frames of the file, and the kind of seam it is for."""

    start: int
    end: int
    kind: str


class Treated(NamedTuple):
    """What was done to a part: seconds of silence taken away at its beginning and end, and its level."""

    trimmed: tuple[float, float]
    level: Level


@dataclass(frozen=True, slots=True)
class JoinedAudio:
    """A finished file. `spans` holds the (start, end) in frames of what is left of each part; between two of them are
    `gaps`, if anything.

    `pauses` holds each part's own, in seconds of the file.
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
    gaps: list[Gap] = field(default_factory=list)
    treated: list[Treated] = field(default_factory=list)


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
    seams: Sequence[Seam] | None = None,
    loudness: float | None = None,
) -> JoinedAudio:
    """Write the parts, one after another, to `path` as one mono file; the same parts make the same bytes.

    `seams` are what lies before, between and after the parts, one more than there are parts: silence beside them is
    trimmed, and silence of ours put in. Without them nothing is taken away or put in. `loudness` is what every
    part is brought to, in LUFS, below a true peak; without it no sample is changed for that.

    Without a `sample_rate` the first part's is taken; either is raised to what the format can carry.
    A part that ends n frames into a row of parts of one rate, with no silence of ours between, ends n·out/in
    frames, rounded half up, into the row's output: every edge is exact to half a frame however long the text, and
    audio that was cut inside a sound continues through the joint. 16-bit mono at the output rate passes unchanged.
    `tags` and their chapters are written into the file and change no sample.

    Memory does not grow with the length. `progress` is called after each part, and every few minutes of audio
    while the finished file is checked. `path` is removed on failure;
    OSError says that it could not be written.
    """
    with ExitStack() as undo:
        undo.callback(path.unlink, missing_ok=True)
        with closing(_Output(path, format, sample_rate, tags, limited=loudness is not None)) as output:
            treated = _write_parts(output, parts, seams, loudness, progress)
            output.finish()
        frames, rate = output.frames, output.rate
        chapters = tags.chapters(output.spans, frames) if tags else []
        with _writing():
            tagging.write(path, format, tags, chapters, rate)
        verify_file(path, format=format, frames=frames, sample_rate=rate, progress=progress)
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        undo.pop_all()
    size = path.stat().st_size
    return JoinedAudio(
        format, rate, frames, frames / rate, size, digest, output.spans, output.pauses, chapters, output.gaps, treated
    )


def _write_parts(
    output: "_Output",
    parts: Iterable[bytes],
    seams: Sequence[Seam] | None,
    loudness: float | None,
    progress: Callable[[], None] | None,
) -> list[Treated]:
    treated: list[Treated] = []
    before: float | None = None
    joint = Joint()
    decoded = _decoded(parts, seams, measured=loudness is not None)
    for number, (part, level) in enumerate(levelled(decoded, loudness)):
        around = seams[number : number + 2] if seams else []
        if around and not number:
            output.add_silence(around[0], part.sample_rate)
        goes_on = not (around and around[0].seconds)
        trimmed = part.trimmed
        fades = (
            bool(around) and (trimmed[0] > 0 or around[0].seconds > 0),
            bool(around) and (trimmed[1] > 0 or around[1].seconds > 0),
        )
        factor = 10 ** (level.gain / 20)
        samples = part.samples(factor, eased_from=before if goes_on else None, fades=fades)
        output.add(part, joint.passed(samples, part.sample_rate, goes_on=goes_on) if seams else samples)
        if around:
            output.add_silence(around[1], part.sample_rate)
        treated.append(Treated(trimmed, level))
        before = factor
        if progress:
            progress()
    return treated


def _decoded(parts: Iterable[bytes], seams: Sequence[Seam] | None, *, measured: bool) -> Iterator[Part]:
    for number, data in enumerate(parts):
        part = Part(data, number, measured=measured)
        if seams:
            part.trim(seams[number], seams[number + 1])
        yield part


def verify_file(
    path: Path, *, format: str, frames: int, sample_rate: int, progress: Callable[[], None] | None = None
) -> None:
    """Decode a finished file from end to end; raise unless it holds exactly what it should."""
    if format == "ogg":
        from speech.audio import opus

        opus.verify_file(path, frames=frames, sample_rate=sample_rate, progress=progress)
        return
    if format == "m4b":
        from speech.audio import m4b

        m4b.verify(path, frames=frames, sample_rate=sample_rate, progress=progress)
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

    def __init__(
        self, path: Path, format: str, wanted: int | None, tags: Tags | None = None, *, limited: bool = False
    ) -> None:
        self._path = path
        self._tags = tags
        self._format = format
        self._wanted = wanted
        self._is_limited = limited
        self._file: Any = None
        self._limiter: Limiter | None = None
        self.rate = 0
        self.frames = 0
        self.spans: list[tuple[int, int]] = []
        self.pauses: list[list[Pause]] = []
        self.gaps: list[Gap] = []
        self._room = 0
        self._row_rate = 0
        self._row_frames = 0
        self._row_start = 0
        self._resampler: Any = None

    def add(self, part: Part, samples: "Iterable[Samples]") -> None:
        """Put what is left of a part at the end of the file."""
        if self._file is None:
            self._open(part.sample_rate)
        if part.sample_rate != self._row_rate:
            self._begin_row(part.sample_rate)
        start = self._edge()
        for block in samples:
            self._row_frames += len(block)
            self._write(self._resampler.resample_chunk(block) if self._resampler else block)
        end = self._edge()
        self.spans.append((start, end))
        begin, from_ = start / self.rate, part.first / part.sample_rate
        shifted = ((begin + a - from_, begin + b - from_) for a, b in part.pauses)
        self.pauses.append(
            [(max(a, begin), min(b, end / self.rate)) for a, b in shifted if b > begin and a < end / self.rate]
        )

    def add_silence(self, seam: Seam, first_rate: int) -> None:
        """Put the silence of a seam, if it has any, at the end of the file: between two rows, so that it is exact."""
        import numpy

        if self._file is None:
            self._open(first_rate)
        left = round(seam.seconds * self.rate)
        if not left:
            return
        self._end_row()
        self._row_rate = 0
        self.gaps.append(Gap(self.frames, self.frames + left, seam.kind))
        while left:
            some = min(left, self.rate)
            self._write(numpy.zeros(some, numpy.float32))
            left -= some

    def finish(self) -> None:
        """Write what the resampler still holds."""
        if self._file is None:
            raise UnusableAudio("empty", "There are no parts to join.")
        self._end_row()
        if self._limiter:
            self._encode(self._limiter.rest())
        if self._format == "m4b":
            with _writing():
                self._file.finish(self._tags.chapters(self.spans, self.frames) if self._tags else [])

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
                from speech.audio.lame import Mp3File

                self._file = Mp3File(self._path, self.rate, room=self._room)
            elif self._format == "ogg":
                from speech.audio.opus import OpusFile

                self._file = OpusFile(self._path, self.rate)
            elif self._format == "m4b":
                from speech.audio.m4b import M4bFile

                self._file = M4bFile(self._path, self.rate, self._tags)
            else:
                self._file = soundfile.SoundFile(self._path, "w", self.rate, 1, **_ENCODINGS[self._format])
            if self._format == "flac" and self._tags:
                self._file.comment = "-" * self._room
        if self._is_limited:
            self._limiter = Limiter(self.rate)

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
        self.frames += len(samples)
        if self._format == "wav" and 2 * self.frames + 44 + self._room > MAX_WAV_BYTES:
            raise ProcessingFailed("The audio is too long for a WAV file; mp3, ogg and flac can hold it.")
        self._encode(self._limiter.add(samples) if self._limiter else samples)

    def _encode(self, samples: "Samples") -> None:
        """Round to 16 bits, which changes nothing that was 16 bits before, and encode."""
        import numpy

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
