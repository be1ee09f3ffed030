"""Loudness as the standard has it, and levels that a listener does not notice."""

import io
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr

from speech.audio.join import JoinedAudio, join
from speech.audio.limiter import CEILING, Limiter
from speech.audio.loudness import LoudnessMeter, integrated
from speech.audio.seams import Seam
from tests.unit.audio import sounds

RATES = [8_000, 11_025, 16_000, 22_050, 24_000, 44_100, 48_000]


def sine(seconds: float, rate: int, dbfs: float, frequency: float = 997.0) -> sounds.Samples:
    t = np.arange(round(seconds * rate)) / rate
    return 10 ** (dbfs / 20) * np.sin(2 * np.pi * frequency * t)


def measured(samples: sounds.Samples, rate: int, block: int = 65_536) -> tuple[float | None, float]:
    meter = LoudnessMeter(rate)
    for at in range(0, len(samples), block):
        meter.add(samples[at : at + block].astype(np.float32))
    return integrated(meter.energies())


def by_filter(samples: sounds.Samples) -> float:
    """BS.1770-4 for a mono file of 48,000 Hz, by its own two filters, sample after sample."""
    stages = (
        ((1.53512485958697, -2.69169618940638, 1.19839281085285), (-1.69065929318241, 0.73248077421585)),
        ((1.0, -2.0, 1.0), (-1.99004745483398, 0.99007225036621)),
    )
    signal = samples.tolist()
    for (b0, b1, b2), (a1, a2) in stages:
        x1 = x2 = y1 = y2 = 0.0
        out = []
        for x in signal:
            y = b0 * x + b1 * x1 + b2 * x2 - a1 * y1 - a2 * y2
            x1, x2, y1, y2 = x, x1, y, y1
            out.append(y)
        signal = out
    squares = np.concatenate(([0.0], np.cumsum(np.square(signal))))
    edges = np.arange(0, len(signal) - 19_199, 4_800)
    z = (squares[edges + 19_200] - squares[edges]) / 19_200
    z = z[-0.691 + 10 * np.log10(z) > -70]
    z = z[z > z.mean() / 10]
    return float(-0.691 + 10 * np.log10(z.mean()))


@pytest.mark.parametrize("rate", RATES)
def test_a_sine_of_997_hertz_reads_as_the_standard_says(rate: int) -> None:
    """In one channel of a full scale it reads -3.01."""
    for dbfs in (0.0, -20.0, -40.0):
        loudness, seconds = measured(sine(5, rate, dbfs), rate)
        assert loudness == pytest.approx(dbfs - 3.01, abs=0.1)
        assert seconds == pytest.approx(4.7)


@pytest.mark.parametrize("rate", [8_000, 22_050])
def test_pauses_do_not_count(rate: int) -> None:
    """As in EBU Tech 3341, cases 3 to 5: softer and silent stretches are left out, by both gates."""
    tones = [(10.0, -36.0), (60.0, -23.0), (10.0, -36.0)]
    assert measured(np.concatenate([sine(s, rate, db + 3.01) for s, db in tones]), rate)[0] == pytest.approx(
        -23.0, abs=0.1
    )
    tones = [(10.0, -72.0), (10.0, -36.0), (60.0, -23.0), (10.0, -36.0), (10.0, -72.0)]
    assert measured(np.concatenate([sine(s, rate, db + 3.01) for s, db in tones]), rate)[0] == pytest.approx(
        -23.0, abs=0.1
    )
    tones = [(20.0, -26.0), (20.1, -20.0), (20.0, -26.0)]
    assert measured(np.concatenate([sine(s, rate, db + 3.01) for s, db in tones]), rate)[0] == pytest.approx(
        -23.0, abs=0.1
    )


@pytest.mark.parametrize("rate", [8_000, 22_050, 48_000])
def test_speech_reads_as_by_the_filters_of_the_standard(rate: int) -> None:
    """The same sound at every rate; what a low rate cannot carry is not in it."""
    speech = soxr.resample(sounds.speech(6.0, 48_000, seed=3), 48_000, rate, quality="HQ")

    ours, _ = measured(speech, rate)

    assert ours == pytest.approx(by_filter(soxr.resample(speech, rate, 48_000, quality="HQ")), abs=0.1)


def test_how_the_samples_arrive_changes_nothing() -> None:
    speech = sounds.speech(3.3, 22_050)

    assert measured(speech, 22_050, 1_000)[0] == pytest.approx(measured(speech, 22_050, 65_536)[0], abs=1e-4)


def test_silence_and_next_to_nothing_have_no_loudness() -> None:
    assert measured(np.zeros(48_000), 48_000) == (None, 0.0)
    assert measured(np.zeros(10), 48_000) == (None, 0.0)
    assert measured(sine(0.2, 48_000, -20), 48_000)[0] == pytest.approx(-23.01, abs=0.1)


# --- The limiter -----------------------------------------------------------------------------


def limited(samples: sounds.Samples, rate: int, block: int = 65_536) -> sounds.Samples:
    limiter = Limiter(rate)
    parts = [limiter.add(samples[at : at + block].astype(np.float32)) for at in range(0, len(samples), block)]
    return np.concatenate([*parts, limiter.rest()]).astype(np.float64)


def true_peak(samples: sounds.Samples, rate: int) -> float:
    """In dB, eight times oversampled by another resampler."""
    return 20 * float(np.log10(np.abs(soxr.resample(samples, rate, 8 * rate, quality="VHQ")).max()))


@pytest.mark.parametrize("rate", [8_000, 24_000, 48_000])
def test_no_true_peak_is_left_above_the_ceiling(rate: int) -> None:
    # Hiss up to the very top of the band, which no voice has, would have its peaks where four times is too seldom.
    speech = soxr.resample(6 * sounds.speech(12.0, rate * 3 // 4, seed=1), rate * 3 // 4, rate)
    between = sine(2, rate, 1.9, frequency=rate / 4 + 3)  # peaks far from its samples
    between *= np.minimum(1, np.minimum(np.arange(len(between)), np.arange(len(between))[::-1]) / rate * 20)

    for sound in (speech, between):
        assert true_peak(sound, rate) > 1
        assert true_peak(limited(sound, rate), rate) <= CEILING


def test_far_from_a_peak_every_sample_stays_as_it_was() -> None:
    rate = 24_000
    sound = 0.4 * sounds.speech(20.0, rate)
    sound[200_000:200_050] = 1.0

    found = limited(sound, rate)

    changed = np.flatnonzero(found != sound.astype(np.float32))
    assert len(found) == len(sound)
    assert changed.min() > 200_000 - 0.05 * rate
    assert changed.max() < 200_050 + 0.05 * rate
    assert np.array_equal(limited(sound[:190_000], rate), sound[:190_000].astype(np.float32))


@pytest.mark.parametrize("block", [999, 10_007, 400_000])
def test_the_limiter_does_the_same_however_the_samples_arrive(block: int) -> None:
    sound = 3 * sounds.speech(14.0, 24_000, seed=2)

    assert np.allclose(limited(sound, 24_000, block), limited(sound, 24_000), atol=1e-7)


def test_the_gain_moves_gently() -> None:
    """A tone that is half as loud but for a moment: no step, no click, and no sign of it a tenth of a second away."""
    rate = 24_000
    sound = sine(4, rate, -3.0, frequency=220)
    sound[48_000:48_120] *= 2.5

    found = limited(sound, rate)

    gain = np.ones(len(sound))
    audible = np.abs(sound) > 0.1
    gain[audible] = found[audible] / sound[audible]
    known = np.flatnonzero(audible)
    slope = np.abs(np.diff(gain[known]) / np.diff(known)) * rate
    assert gain.min() < 0.6
    assert slope.max() < 100  # from 1 to 0.5 in 5 ms at most
    untouched = np.r_[0 : 48_000 - rate // 10, 48_120 + rate // 10 : len(sound)]
    assert np.array_equal(found[untouched], sound[untouched].astype(np.float32))


# --- Levels in a joined file -----------------------------------------------------------------


def levelled(
    tmp_path: Path, parts: list[bytes], *, kinds: list[str] | None = None, format: str = "wav", to: float = -16.0
) -> tuple[JoinedAudio, sounds.Samples]:
    seams = [Seam("beginning"), *map(Seam, kinds or ["sentence"] * (len(parts) - 1)), Seam("end")]
    joined = join(parts, format=format, sample_rate=None, path=tmp_path / "out", seams=seams, loudness=to)
    samples, _ = soundfile.read(tmp_path / "out", dtype="float64")
    return joined, samples


def test_soft_and_loud_segments_come_out_alike_under_the_ceiling(tmp_path: Path) -> None:
    rate = 24_000
    voices = [10 ** (db / 20) * sounds.speech(9.0, rate, seed=n) for n, db in enumerate((0.0, -14.0, 4.0, -6.0))]

    joined, samples = levelled(tmp_path, [sounds.wav(each, rate, "FLOAT") for each in voices], to=-20.0)

    for (start, end), treated in zip(joined.spans, joined.treated, strict=True):
        assert measured(samples[start:end], rate)[0] == pytest.approx(-20.0, abs=0.2)
        assert treated.level.loudness is not None
        assert treated.level.loudness + treated.level.gain == pytest.approx(-20.0, abs=0.11)
    assert measured(samples, rate)[0] == pytest.approx(-20.0, abs=0.2)
    assert true_peak(samples, rate) <= CEILING + 0.01
    for gap in joined.gaps:
        assert not samples[gap.start : gap.end].any()


def test_a_heading_takes_after_the_text_beside_it(tmp_path: Path) -> None:
    rate = 24_000
    soft, heading, outlier = 0.8, 1.0, 0.3
    parts = [
        sounds.wav(factor * sounds.speech(seconds, rate), rate)
        for factor, seconds in [(heading, 0.8), (soft, 9.0), (heading, 0.8), (outlier, 0.8)]
    ]

    joined, _ = levelled(tmp_path, parts)

    first, text, second, last = (each.level for each in joined.treated)
    assert first.gain == pytest.approx(text.gain, abs=0.5)
    assert second.gain == pytest.approx(text.gain, abs=0.02)
    assert last.loudness is not None
    assert last.loudness + last.gain == pytest.approx(-20.0, abs=0.1)  # no farther off than this


def test_a_few_words_alone_are_levelled_by_themselves(tmp_path: Path) -> None:
    joined, samples = levelled(tmp_path, [sounds.wav(0.2 * sounds.speech(1.2, 24_000))], to=-22.0)

    assert joined.treated[0].level.gain > 3
    assert measured(samples, 24_000)[0] == pytest.approx(-22.0, abs=0.2)


def test_what_needs_no_gain_passes_to_the_bit(tmp_path: Path) -> None:
    rate = 24_000
    speech = sounds.speech(9.0, rate)
    loudness, _ = measured(speech, rate)
    assert loudness is not None
    part = sounds.wav(speech * 10 ** ((-16.0 - loudness) / 20), rate)

    joined, _ = levelled(tmp_path, [part, part])

    first, last = (int(seconds * rate) for seconds in joined.treated[0].trimmed)
    heard = sounds.decode((tmp_path / "out").read_bytes())
    whole = sounds.decode(part)
    assert [each.level.gain for each in joined.treated] == [0.0, 0.0]
    edge = rate // 20  # where it fades
    start, end = joined.spans[0]
    assert np.array_equal(heard[start + edge : end - edge], whole[first + edge : len(whole) - last - edge])


@pytest.mark.parametrize("format", ["mp3", "wav"])
def test_b12_levelling_gives_the_same_bytes_every_time(tmp_path: Path, format: str) -> None:
    parts = [sounds.mp3(0.3 * sounds.speech(3.0, 22_050, seed=seed), 22_050) for seed in range(3)]

    once, _ = levelled(tmp_path, parts, format=format)
    again, _ = levelled(tmp_path, parts, format=format)

    assert once == again


def test_a_sound_that_goes_on_has_no_step_where_the_gain_changes(tmp_path: Path) -> None:
    rate = 24_000
    swelling = sine(9, rate, -12, 440) * np.linspace(0.5, 1.0, 9 * rate)
    parts = [sounds.wav(swelling[: 5 * rate], rate), sounds.wav(swelling[5 * rate :], rate)]

    joined, samples = levelled(tmp_path, parts, kinds=["continues"])

    assert joined.treated[0].level.gain != joined.treated[1].level.gain
    # A sine is its own second difference, times a factor: what is left over would be a click.
    factor = 2 * np.cos(2 * np.pi * 440 / rate)
    residue = np.abs(samples[2:] - factor * samples[1:-1] + samples[:-2])
    around = residue[5 * rate - rate // 5 : 5 * rate + rate // 5]
    assert around.max() < 0.0005
    assert not joined.gaps


def test_a_very_long_part_is_decoded_again_rather_than_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    part = sounds.mp3(0.3 * sounds.speech(9.0, 22_050), 22_050)
    kept, _ = levelled(tmp_path, [part, part])
    monkeypatch.setattr("speech.audio.part.KEPT_FRAMES", 1_000)

    again, _ = levelled(tmp_path, [part, part])

    assert again == kept


def test_audio_that_is_not_to_be_levelled_is_not_even_measured(tmp_path: Path) -> None:
    part = sounds.wav(0.3 * sounds.speech(4.0))

    joined = join([part], format="wav", sample_rate=None, path=tmp_path / "out")

    assert joined.treated[0].level.loudness is None
    assert np.array_equal(sounds.decode((tmp_path / "out").read_bytes()), sounds.decode(part))
    assert soundfile.info(io.BytesIO(part)).frames == joined.frames
