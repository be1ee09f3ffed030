"""One part of what is joined: decoded, listened to, trimmed, and brought to its gain."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from speech.audio import mp3
from speech.audio.decode import blocks, opened
from speech.audio.loudness import LoudnessMeter
from speech.audio.pauses import Pause, PauseFinder
from speech.audio.recognise import recognise
from speech.audio.seams import EASE, FADE, Seam, sounding
from speech.errors import UnusableAudio

if TYPE_CHECKING:
    from speech.audio.decode import Samples
    from speech.audio.loudness import Energies

KEPT_FRAMES = 8_000_000
"""A part up to this long is decoded once and kept (32 MB); a longer one is decoded again when it is written."""


class Part:
    """A part, and what was heard in it."""

    def __init__(self, data: bytes, number: int, *, measured: bool) -> None:
        # libsndfile only guesses the length of an MP3 without a tag, and stops there: never let it.
        self._data = mp3.read(data).data if recognise(data) == "mp3" else data
        self._number = number
        self.frames = 0
        self._blocks: list[Samples] | None = []
        meter: LoudnessMeter | None = None
        with opened(self._data) as file:
            self.sample_rate: int = file.samplerate
            finder = PauseFinder(self.sample_rate)
            meter = LoudnessMeter(self.sample_rate) if measured else None
            for block in self._mono(file):
                self.frames += len(block)
                finder.add(block)
                if meter:
                    meter.add(block)
                if self.frames > KEPT_FRAMES:
                    self._blocks = None
                if self._blocks is not None:
                    self._blocks.append(block.copy())
        self.pauses: list[Pause] = finder.pauses()
        first, last = sounding(finder.levels())
        self.silences = first * finder.window, max(0, self.frames - last * finder.window)
        """Frames of silence at the beginning and the end."""
        self.energies: Energies | None = meter.energies() if meter else None
        self.first, self.last = 0, self.frames

    @property
    def seconds(self) -> float:
        """Of what was decoded."""
        return self.frames / self.sample_rate

    @property
    def held(self) -> int:
        """Frames that are kept in memory."""
        return self.frames if self._blocks is not None else 0

    @property
    def trimmed(self) -> tuple[float, float]:
        """Seconds that were taken away at the beginning and the end."""
        return self.first / self.sample_rate, (self.frames - self.last) / self.sample_rate

    def trim(self, before: Seam, after: Seam) -> None:
        """Take away the silence beside these seams, but for what belongs to the speech."""
        first, last = (
            int(max(0.0, silence - kept * self.sample_rate))
            for silence, kept in zip(
                self.silences, (before.kept(before_segment=True), after.kept(before_segment=False)), strict=True
            )
        )
        self.first, self.last = first, self.frames - last

    def samples(self, gain: float, *, eased_from: float | None, fades: tuple[bool, bool]) -> Iterator["Samples"]:
        """Mono, trimmed, times `gain`; beginning with another gain, and fading in and out, where asked to."""
        import numpy

        length, at = self.last - self.first, -self.first
        fade = min(round(FADE * self.sample_rate), length // 2)
        ease = min(round(EASE * self.sample_rate), length)
        factor = numpy.float32(gain)
        for block in self._again():
            begin, end = max(0, -at), min(len(block), length - at)
            at += len(block)
            if begin >= end:
                continue
            samples, position = block[begin:end], at - len(block) + begin
            if factor != 1:
                samples = samples * factor
            if eased_from is not None and eased_from != gain and position < ease:
                samples = samples.copy() if factor == 1 else samples
                rise = _rise(position, min(ease, position + len(samples)), ease)
                samples[: len(rise)] *= (eased_from / gain) * (1 - rise) + rise
            if fades[0] and position < fade:
                samples = samples.copy()
                rise = _rise(position, min(fade, position + len(samples)), fade)
                samples[: len(rise)] *= rise
            if fades[1] and position + len(samples) > length - fade:
                samples = samples.copy()
                start = max(position, length - fade)
                fall = _rise(length - position - len(samples), length - start, fade)[::-1]
                samples[start - position :] *= fall
            yield samples

    def _again(self) -> Iterator["Samples"]:
        if self._blocks is not None:
            yield from self._blocks
            return
        with opened(self._data) as file:
            yield from (block.copy() for block in self._mono(file))

    def _mono(self, file: Any) -> Iterator["Samples"]:
        """Each block is valid until the next."""
        found = 0
        for block in blocks(file):
            found += len(block)
            yield block[:, 0] if file.channels == 1 else block.mean(axis=1)
        if found != file.frames:
            raise UnusableAudio("truncated", f"Part {self._number} ends before its time.")


def _rise(start: int, end: int, whole: int) -> "Samples":
    """A part of the raised cosine that goes from 0 to 1 in `whole` samples."""
    import numpy

    at = (numpy.arange(start, end) + 0.5) / whole
    return (0.5 - 0.5 * numpy.cos(numpy.pi * at)).astype(numpy.float32)
