"""Joints that nobody hears: vendor silence goes, ours comes, no sound is lost and none is added."""

from io import BytesIO
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import soundfile

from speech.audio.join import JoinedAudio, _Output, join
from speech.audio.part import Part
from speech.audio.seams import (
    GUARD_AFTER,
    GUARD_BEFORE,
    LEAD_IN,
    LEAD_OUT,
    SILENCES,
    Seam,
)
from speech.audio.subtitles import Spoken, cues
from tests.unit.audio import sounds

RATE = 24_000


def silence(seconds: float, rate: int = RATE) -> sounds.Samples:
    return np.zeros(round(seconds * rate))


def around(seams: list[Seam]) -> list[Seam]:
    return [Seam("beginning"), *seams, Seam("end")]


def joined_by(
    tmp_path: Path, parts: list[bytes], seams: list[Seam], rate: int | None = None, loudness: float | None = None
) -> tuple[JoinedAudio, sounds.Samples]:
    joined = join(parts, format="wav", sample_rate=rate, path=tmp_path / "out", seams=seams, loudness=loudness)
    samples, _ = soundfile.read(tmp_path / "out", dtype="float64")
    assert len(samples) == joined.frames
    return joined, samples


def test_vendor_silence_goes_and_ours_comes(tmp_path: Path) -> None:
    voice = sounds.tone(2 * RATE, RATE)
    parts = [sounds.wav(np.concatenate([silence(0.8), voice, silence(1.1)]), RATE)] * 3

    joined, samples = joined_by(tmp_path, parts, around([Seam("paragraph"), Seam("pause", 1.5)]))

    assert [gap.kind for gap in joined.gaps] == ["paragraph", "pause"]
    assert [(gap.end - gap.start) / RATE for gap in joined.gaps] == [SILENCES["paragraph"], 1.5]
    kept = [(0.8 - before, 1.1 - after) for before, after in [(LEAD_IN, GUARD_AFTER), (GUARD_BEFORE, GUARD_AFTER)]]
    kept.append((0.8 - GUARD_BEFORE, 1.1 - LEAD_OUT))
    for treated, (before, after) in zip(joined.treated, kept, strict=True):
        assert treated.trimmed == pytest.approx((before, after), abs=0.011)
    for gap in joined.gaps:
        assert not samples[gap.start : gap.end].any()
    for start, end in joined.spans:
        assert np.sqrt(np.mean(samples[start:end] ** 2)) > 0.25


@pytest.mark.parametrize("constant", [0.003, -0.05])
def test_silence_is_silence_also_where_a_vendors_samples_lie_beside_zero(tmp_path: Path, constant: float) -> None:
    voice = sounds.speech(3.0, RATE)
    whole = np.concatenate([silence(0.8), voice, silence(1.1)])
    seams = around([Seam("sentence")])

    joined, samples = joined_by(tmp_path, [sounds.wav(whole + constant, RATE)] * 2, seams)
    usual, _ = joined_by(tmp_path, [sounds.wav(whole, RATE)] * 2, seams)

    for treated, as_usual in zip(joined.treated, usual.treated, strict=True):
        assert treated.trimmed == pytest.approx(as_usual.trimmed, abs=0.011)
    assert bend(samples, joined.gaps[0].start) < 0.001


def test_every_sample_of_the_speech_is_still_there(tmp_path: Path) -> None:
    voice = sounds.tone(2 * RATE, RATE)
    part = sounds.wav(np.concatenate([silence(0.8), voice, silence(1.1)]), RATE)

    joined, _ = joined_by(tmp_path, [part, part], around([Seam("sentence")]))

    heard, whole = sounds.decode((tmp_path / "out").read_bytes()), sounds.decode(part)
    spoken = whole[round(0.8 * RATE) : round(2.8 * RATE)]
    for start, end in joined.spans:
        inside = heard[start:end]
        at = int(np.flatnonzero(inside)[0]) - int(np.flatnonzero(spoken)[0])
        assert np.array_equal(inside[at : at + len(spoken)], spoken)


@pytest.mark.parametrize("into", [8_000, 16_000, 24_000, 44_100])
def test_the_length_is_that_of_the_trimmed_segments_and_the_gaps_to_the_frame(tmp_path: Path, into: int) -> None:
    voice = sounds.speech(1.7, 22_050)
    kinds = [
        sounds.mp3(np.concatenate([silence(0.4, 22_050), voice, silence(0.3, 22_050)]), 22_050),
        sounds.wav(sounds.speech(0.9, 8_000, seed=1), 8_000, "ULAW"),
        sounds.opus(np.concatenate([sounds.speech(1.1, 24_000, seed=2), silence(0.7)]), 24_000),
        sounds.flac(np.concatenate([silence(1.0, 44_100), sounds.speech(1.3, 44_100, channels=1, seed=3)]), 44_100),
        sounds.wav(sounds.speech(1.0, 16_000, channels=2, seed=4), 16_000),
        sounds.vorbis(np.concatenate([sounds.speech(1.2, 48_000, seed=5), silence(0.5, 48_000)]), 48_000),
    ]
    seams = around([Seam("sentence"), Seam("clause"), Seam("paragraph"), Seam("pause", 0.123), Seam("after-heading")])

    joined, _ = joined_by(tmp_path, kinds, seams, rate=into, loudness=-16.0)

    parts = [Part(data, number, measured=False) for number, data in enumerate(kinds)]
    expected = 0
    for part, before, after, (start, end) in zip(parts, seams, seams[1:], joined.spans, strict=False):
        part.trim(before, after)
        frames = int(np.floor((part.last - part.first) * into / part.sample_rate + 0.5))
        assert (start, end) == (expected, expected + frames)
        assert part.last - part.first <= part.frames
        expected += frames + round(after.seconds * into)
    assert joined.frames == expected
    assert sum(part.frames - (part.last - part.first) for part in parts) > 0


def discontinuity(samples: sounds.Samples, rate: int, frequency: float = 440.0) -> float:
    """How far the samples are from going on as a tone does: its second difference is itself, times a factor."""
    factor = 2 * np.cos(2 * np.pi * frequency / rate)
    return float(np.abs(samples[2:] - factor * samples[1:-1] + samples[:-2]).max())


@pytest.mark.parametrize("loudness", [None, -16.0])
def test_a_tone_cut_inside_a_sentence_is_joined_without_a_discontinuity(tmp_path: Path, loudness: float | None) -> None:
    lengths = [RATE, 12_345, 77, 5 * RATE, RATE // 3]
    starts = np.cumsum([0, *lengths])
    parts = [sounds.wav(sounds.tone(n, RATE, start=int(s)), RATE) for n, s in zip(lengths, starts, strict=False)]

    joined, samples = joined_by(tmp_path, parts, around([Seam("continues")] * 4), loudness=loudness)

    assert joined.frames == sum(lengths)
    assert not joined.gaps
    assert discontinuity(samples, RATE) < 0.0002
    # The naive joint, of files that begin and end with a bit of silence of their own, is told by the same measure.
    naive = np.concatenate([np.concatenate([sounds.tone(n, RATE), silence(0.05)]) for n in lengths])
    assert discontinuity(naive, RATE) > 0.05


def bend(samples: sounds.Samples, at: int) -> float:
    return float(np.abs(np.diff(samples[at - RATE // 50 : at + RATE // 50], 2)).max())


def hiss(samples: sounds.Samples, at: int) -> float:
    """The power above 4 kHz around a place, in dB below that of the tone."""
    power = np.square(np.abs(np.fft.rfft(samples[at - RATE // 50 : at + RATE // 50] * np.hanning(RATE // 25))))
    return float(10 * np.log10(power[len(power) // 3 :].sum() / power.sum()))


def broken_off() -> sounds.Samples:
    """A tone of 440 Hz that breaks off at its peak, as a vendor's audio may."""
    return sounds.tone(RATE + 13, RATE)


def test_where_a_sound_meets_our_silence_nothing_clicks(tmp_path: Path) -> None:
    """A click is a bend, and loud at all frequencies."""
    voice = broken_off()
    joined, samples = joined_by(tmp_path, [sounds.wav(voice, RATE)] * 2, around([Seam("sentence")]))
    gap = joined.gaps[0]
    naive = np.concatenate([voice, np.zeros(gap.end - gap.start), voice])

    assert gap.start == len(voice)
    assert abs(voice[-1]) > 0.4
    assert bend(naive, gap.start) > 0.4
    assert hiss(naive, gap.start) > -40
    for edge in (gap.start, gap.end):
        assert bend(samples, edge) < 1.2 * bend(voice, RATE // 2)
        assert hiss(samples, edge) < -60


@pytest.mark.parametrize("more", [1, 2, 5])
def test_where_a_sound_is_broken_off_at_the_first_samples_of_a_block_nothing_clicks(tmp_path: Path, more: int) -> None:
    """A part is decoded in blocks of 65,536 samples, and the last may have one."""
    length = 65_536 + more
    voice = sounds.tone(length, RATE, frequency=RATE / 64, start=(17 - length) % 64)
    second = np.concatenate([silence(0.02), broken_off()])

    joined, samples = joined_by(
        tmp_path, [sounds.wav(voice, RATE), sounds.wav(second, RATE)], around([Seam("continues")])
    )

    assert joined.spans[0] == (0, length)
    assert abs(voice[-1]) > 0.4
    assert hiss(np.concatenate([voice, second]), length) > -40
    assert hiss(samples, length) < -55


@pytest.mark.parametrize("lead", [0.02, 0.5])
@pytest.mark.parametrize("loudness", [None, -16.0])
def test_where_a_sound_is_broken_off_inside_a_sentence_nothing_clicks(
    tmp_path: Path, lead: float, loudness: float | None
) -> None:
    voice = broken_off()
    second = np.concatenate([silence(lead), voice])
    parts = [sounds.wav(voice, RATE), sounds.wav(second, RATE)]

    joined, samples = joined_by(tmp_path, parts, around([Seam("continues")]), loudness=loudness)
    joint = joined.spans[1][0]
    naive = np.concatenate([voice, second])

    assert joint == len(voice)
    assert not joined.gaps
    assert hiss(naive, joint) > -40
    assert bend(samples, joint) < 3 * bend(samples, RATE // 2) < bend(naive, joint) / 10
    assert hiss(samples, joint) < -55


def test_where_a_sound_goes_on_noise_stays_as_it_is(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).normal(0, 0.1, 3 * RATE)
    parts = [sounds.wav(each, RATE) for each in np.split(noise, [RATE // 3, RATE, 2 * RATE + 7])]
    alone = np.concatenate([soundfile.read(BytesIO(part))[0] for part in parts])

    joined, samples = joined_by(tmp_path, parts, around([Seam("continues")] * 3))

    assert joined.frames == len(alone)
    assert np.array_equal(samples, alone)


@pytest.mark.parametrize("noise_db", [-90.0, -60.0, -50.0])
def test_a_quiet_consonant_at_an_edge_is_not_eaten(tmp_path: Path, noise_db: float) -> None:
    """An f: 80 ms of hiss, 30 dB below the vowel that follows, with the room of a recording around."""
    rng = np.random.default_rng(4)
    vowel = 0.4 * np.sin(2 * np.pi * 180 * np.arange(RATE) / RATE)
    level = 10 ** (-30 / 20) * 0.4 / np.sqrt(2)
    hiss = level * rng.standard_normal(round(0.08 * RATE))
    spoken = np.concatenate([hiss, vowel, hiss])
    room = 10 ** (noise_db / 20) * 0.3 * rng.standard_normal(len(spoken) + 2 * RATE)
    room[RATE : RATE + len(spoken)] += spoken

    joined, samples = joined_by(tmp_path, [sounds.wav(room, RATE)] * 2, around([Seam("sentence")]))

    (_, first_end), (second_start, _) = joined.spans
    for heard in (samples[:first_end][::-1], samples[second_start:]):
        assert np.sqrt(np.mean(heard[: round(0.11 * RATE)] ** 2)) > level / 2  # all of the f lies there
        assert np.abs(heard[: round(0.02 * RATE)]).max() < level  # and next to no room before it
    for treated in joined.treated:
        assert sum(treated.trimmed) > 1.0


def test_a_noise_that_does_not_end_is_no_silence(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    part = sounds.wav(0.05 * rng.standard_normal(2 * RATE), RATE)

    joined, _ = joined_by(tmp_path, [part, part], around([Seam("sentence")]))

    assert [treated.trimmed for treated in joined.treated] == [(0.0, 0.0), (0.0, 0.0)]


def test_silence_that_is_not_to_be_trimmed_stays_and_only_the_texts_own_pauses_come(tmp_path: Path) -> None:
    part = sounds.wav(np.concatenate([silence(0.8), sounds.tone(RATE, RATE), silence(1.1)]), RATE)
    seams = [
        Seam("beginning", trims=False),
        Seam("paragraph", trims=False),
        Seam("pause", 0.5, trims=False),
        Seam("end", trims=False),
    ]

    joined, samples = joined_by(tmp_path, [part] * 3, seams)

    assert [(gap.kind, gap.end - gap.start) for gap in joined.gaps] == [("pause", RATE // 2)]
    assert joined.frames == 3 * len(sounds.decode(part)) + RATE // 2
    assert np.array_equal(
        sounds.decode((tmp_path / "out").read_bytes())[: 2 * len(sounds.decode(part))], np.tile(sounds.decode(part), 2)
    )
    assert len(samples) == joined.frames


def test_a_pause_at_either_end_is_silence_of_ours(tmp_path: Path) -> None:
    part = sounds.wav(np.concatenate([silence(0.8), sounds.tone(RATE, RATE), silence(1.1)]), RATE)

    joined, samples = joined_by(tmp_path, [part], [Seam("pause", 2.0), Seam("pause", 1.0)])

    assert [(gap.start, gap.end) for gap in joined.gaps] == [
        (0, 2 * RATE),
        (joined.frames - RATE, joined.frames),
    ]
    assert joined.spans == [(2 * RATE, joined.frames - RATE)]
    assert not samples[: 2 * RATE].any()


def test_pauses_inside_a_segment_are_told_where_they_are_in_the_file(tmp_path: Path) -> None:
    voice = np.concatenate([silence(0.8), sounds.tone(RATE, RATE), silence(0.5), sounds.tone(RATE, RATE)])

    joined, _ = joined_by(tmp_path, [sounds.wav(voice, RATE)] * 2, around([Seam("sentence")]))

    for (start, end), pauses in zip(joined.spans, joined.pauses, strict=True):
        inner = [(a, b) for a, b in pauses if b - a > 0.4]
        assert len(inner) == 1
        assert inner[0] == pytest.approx((end / RATE - 1.5, end / RATE - 1.0), abs=0.011)
        assert all(start / RATE <= a < b <= end / RATE for a, b in pauses)


class Counted(_Output):
    """An output that counts frames, and neither resamples nor writes them."""

    def _open(self, first_rate: int) -> None:
        self._file, self.rate = object(), 44_100

    def _begin_row(self, rate: int) -> None:
        self._end_row()
        self._row_rate, self._row_frames, self._row_start = rate, 0, self.frames

    def _end_row(self) -> None:
        self.frames = self._edge() if self._row_rate else self.frames

    def _write(self, samples: Any) -> None:
        if not self._row_rate:
            self.frames += len(samples)


def test_segments_and_cues_do_not_drift_over_ten_hours(tmp_path: Path) -> None:
    """The arithmetic of 36,000 segments at a rate that does not fit, with a gap after every third."""
    output = Counted(tmp_path / "out", "wav", 44_100)
    rate, frames, exact, gaps = 22_051, 0, [], 0
    for number in range(36_000):
        length = 22_001 + 7 * (number % 13)
        frames += length
        part: Any = SimpleNamespace(sample_rate=rate, first=0, pauses=[])
        output.add(part, [range(length)])  # type: ignore[list-item] # as long as samples, which are never looked at
        exact.append(frames / rate + gaps * 0.4)
        if number % 3 == 2:
            output.add_silence(Seam("sentence"), rate)
            gaps += 1
    said = [Spoken("One.", [(0, 4)], start / 44_100, end / 44_100) for start, end in output.spans]

    made = cues(said)

    ends = np.array([end for _, end in output.spans]) / 44_100
    assert ends[-1] > 10 * 3600
    assert all(a[1] == b[0] for number, (a, b) in enumerate(pairwise(output.spans)) if number % 3 != 2)
    # A gap begins at a whole frame, so half a frame may be gained or lost at each: by chance, and never a millisecond.
    assert np.abs(ends - exact).max() < 0.001
    assert [(cue.start_ms, cue.end_ms) for cue in made] == [
        (round(start / 44.1), round(end / 44.1)) for start, end in output.spans
    ]
