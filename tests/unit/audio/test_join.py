"""Joining: every sample where it should be, one encoding, the same bytes every time."""

import hashlib
import io
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import miniaudio
import numpy as np
import pytest
import soundfile
from mutagen.mp3 import MP3

from speech.audio import ogg
from speech.audio.join import FORMATS as ALL_FORMATS
from speech.audio.join import join, output_rate, verify_file
from speech.audio.recognise import recognise
from speech.audio.verify import verify
from speech.errors import ProcessingFailed, UnusableAudio
from tests.unit.audio import sounds

FORMATS = {name: each for name, each in ALL_FORMATS.items() if name != "m4b"}
"""Those that libsndfile reads; test_m4b.py is about the other."""

LOSSLESS = ["wav", "flac"]
# How far from the tone a sample may be: rounding, or what a lossy codec does to a tone. A click would be near 0.5.
TOLERANCE = {"wav": 0.0001, "flac": 0.0001, "mp3": 0.07, "ogg": 0.07}


def pieces_of_a_tone(rate: int, lengths: list[int]) -> list[bytes]:
    """One tone, cut inside the sound."""
    starts = np.cumsum([0, *lengths])
    return [sounds.wav(sounds.tone(n, rate, start=int(s)), rate) for n, s in zip(lengths, starts, strict=False)]


def deviation(heard: sounds.Samples, rate: int, frequency: float = 440.0) -> float:
    """The largest distance from the sine that fits best, the ends left aside."""
    t = np.arange(len(heard)) / rate
    base = np.stack([np.sin(2 * np.pi * frequency * t), np.cos(2 * np.pi * frequency * t)], axis=1)
    fit = base @ np.linalg.lstsq(base, heard, rcond=None)[0]
    edge = rate // 20
    return float(np.abs(heard - fit)[edge:-edge].max())


def heard(path: Path) -> tuple[sounds.Samples, int]:
    return soundfile.read(path, dtype="float64")  # type: ignore[no-any-return] # soundfile is not typed


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("rate", [24_000, 48_000])
def test_a_tone_cut_in_pieces_is_one_tone_again(tmp_path: Path, format: str, rate: int) -> None:
    lengths = [rate, 12_345, 1, 7, rate // 3, 20_011]

    joined = join(pieces_of_a_tone(rate, lengths), format=format, sample_rate=None, path=tmp_path / "out")

    assert joined.sample_rate == rate
    assert joined.frames == sum(lengths)
    assert [end - start for start, end in joined.spans] == lengths
    samples, found = heard(tmp_path / "out")
    assert (len(samples), found) == (sum(lengths), rate)
    assert deviation(samples, rate) < TOLERANCE[format]
    whole = join(pieces_of_a_tone(rate, [sum(lengths)]), format=format, sample_rate=None, path=tmp_path / "whole")
    assert joined.sha256 == whole.sha256


@pytest.mark.parametrize(
    ("format", "into"),
    [("wav", 24_000), ("flac", 16_000), ("mp3", 44_100), ("ogg", 24_000), ("wav", 44_100), ("mp3", 8_000)],
)
def test_a_tone_cut_in_pieces_goes_through_a_change_of_rate_unbroken(tmp_path: Path, format: str, into: int) -> None:
    rate = 22_050
    lengths = [rate + 1, 12_345, 3, 33_333, 20_011]

    joined = join(pieces_of_a_tone(rate, lengths), format=format, sample_rate=into, path=tmp_path / "out")

    ends = [int(np.floor(n * into / rate + 0.5)) for n in np.cumsum(lengths)]
    assert [end for _, end in joined.spans] == ends
    assert [start for start, _ in joined.spans] == [0, *ends[:-1]]
    samples, _ = heard(tmp_path / "out")
    assert len(samples) == ends[-1] == joined.frames
    assert deviation(samples, into) < max(TOLERANCE[format], 0.002)


def test_edges_do_not_drift_over_a_thousand_parts(tmp_path: Path) -> None:
    part = sounds.wav(sounds.tone(1_001, 22_050), 22_050)

    joined = join([part] * 1_000, format="wav", sample_rate=24_000, path=tmp_path / "out")

    drift = max(abs(end - (i + 1) * 1_001 * 24_000 / 22_050) for i, (_, end) in enumerate(joined.spans))
    assert drift <= 0.5
    assert joined.frames == joined.spans[-1][1]


@pytest.mark.parametrize("format", LOSSLESS)
def test_sixteen_bits_at_the_same_rate_pass_unchanged(tmp_path: Path, format: str) -> None:
    rng = np.random.default_rng(5)
    noise = [rng.integers(-32_768, 32_768, 30_000, dtype=np.int16) for _ in range(3)]
    parts = [sounds.wav_with(sounds.format_chunk(), samples.tobytes()) for samples in noise]

    join(parts, format=format, sample_rate=None, path=tmp_path / "out")

    assert np.array_equal(sounds.decode((tmp_path / "out").read_bytes()), np.concatenate(noise))


@pytest.mark.parametrize("format", FORMATS)
def test_c14_parts_of_every_kind_become_one_file_in_order(tmp_path: Path, format: str) -> None:
    """C14: mixed sample rates, widths, channels and codecs. Each part is told by its own tone."""
    kinds: list[tuple[int, Callable[[sounds.Samples, int], bytes]]] = [
        (22_050, lambda x, r: sounds.mp3(x, r)),
        (8_000, lambda x, r: sounds.wav(x, r, "ULAW")),
        (44_100, lambda x, r: sounds.wav(np.stack([x, x], axis=1), r, "PCM_24")),
        (24_000, lambda x, r: sounds.opus(x, r)),
        (48_000, lambda x, r: sounds.vorbis(x, r)),
        (16_000, lambda x, r: sounds.flac(np.stack([x, 0.5 * x], axis=1), r)),
        (22_050, lambda x, r: verify(sounds.untagged(sounds.mp3(x, r)), characters=None).data),
        (11_025, lambda x, r: sounds.wav(x, r, "FLOAT")),
    ]
    tones = [400 + 150 * i for i in range(len(kinds))]
    parts = [make(sounds.tone(rate, rate, f), rate) for (rate, make), f in zip(kinds, tones, strict=True)]

    joined = join(iter(parts), format=format, sample_rate=24_000, path=tmp_path / "out")

    samples, rate = heard(tmp_path / "out")
    assert (len(samples), rate) == (joined.frames, 24_000)
    assert joined.seconds == pytest.approx(len(kinds), abs=0.08)  # the untagged MP3 is a few frames longer
    for (start, end), frequency in zip(joined.spans, tones, strict=True):
        middle = samples[(start + end) // 2 - 4_800 : (start + end) // 2 + 4_800]
        assert deviation(middle, rate, frequency) < 0.15  # one part was Opus, and may be so again
        assert np.sqrt(np.mean(middle**2)) > 0.2


@pytest.mark.parametrize("rate", FORMATS["mp3"].rates)
def test_an_mp3_is_gapless_for_three_readers_at_every_rate(tmp_path: Path, rate: int) -> None:
    path = tmp_path / "out.mp3"
    parts = [sounds.wav(sounds.speech(1.3, rate, seed=seed), rate) for seed in range(3)]

    joined = join(parts, format="mp3", sample_rate=None, path=path)

    assert joined.frames == 3 * round(1.3 * rate)
    assert len(heard(path)[0]) == joined.frames
    data = path.read_bytes()
    theirs = miniaudio.decode(data, miniaudio.SampleFormat.SIGNED16, 1, rate)
    assert theirs.num_frames == joined.frames
    read: Any = MP3(io.BytesIO(data))  # type: ignore[no-untyped-call] # mutagen is not typed
    assert read.info.length == pytest.approx(joined.seconds, abs=0.001)
    assert read.info.sample_rate == rate
    assert verify(data, characters=None).data is data


@pytest.mark.parametrize("format", ["mp3", "wav", "flac"])
@pytest.mark.parametrize("rate", [8_000, 24_000, 44_100])
def test_every_format_is_as_long_for_two_decoders_that_share_no_code(tmp_path: Path, format: str, rate: int) -> None:
    """libsndfile and miniaudio; for Opus see test_opus.py."""
    path = tmp_path / "out"
    parts = [sounds.wav(sounds.speech(2.3, 24_000, seed=seed), 24_000) for seed in range(3)]

    joined = join(parts, format=format, sample_rate=rate, path=path)

    theirs = miniaudio.decode(path.read_bytes(), miniaudio.SampleFormat.SIGNED16, 1, rate)
    samples = np.frombuffer(theirs.samples, np.int16) / 32_768
    assert (len(heard(path)[0]), theirs.num_frames) == (joined.frames, joined.frames)
    assert np.abs(samples - heard(path)[0]).max() < 0.001


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("wanted", [8_000, 11_025, 22_050, 32_000, 48_000])
def test_a_finished_file_is_what_it_says(tmp_path: Path, format: str, wanted: int) -> None:
    path = tmp_path / "out"

    joined = join([sounds.wav(sounds.speech(1.0))], format=format, sample_rate=wanted, path=path)

    data = path.read_bytes()
    assert recognise(data) == joined.format == format
    assert joined.sample_rate == output_rate(format, wanted)
    assert (joined.bytes, joined.sha256) == (len(data), hashlib.sha256(data).hexdigest())
    assert joined.seconds == joined.frames / joined.sample_rate == 1.0
    audio = verify(data, characters=None)
    assert (audio.frames, audio.channels, audio.data) == (joined.frames, 1, data)


@pytest.mark.parametrize("format", FORMATS)
def test_b12_the_same_parts_make_the_same_bytes(tmp_path: Path, format: str) -> None:
    parts = [sounds.wav(sounds.speech(2.0, seed=seed)) for seed in range(2)]

    first = join(parts, format=format, sample_rate=None, path=tmp_path / "first")
    second = join(parts, format=format, sample_rate=None, path=tmp_path / "second")

    assert first == second
    assert (tmp_path / "first").read_bytes() == (tmp_path / "second").read_bytes()


def test_b12_the_same_parts_make_the_same_bytes_in_another_process(tmp_path: Path) -> None:
    part = sounds.wav(sounds.speech(2.0))
    (tmp_path / "part").write_bytes(part)
    program = (
        "import sys; from pathlib import Path; from speech.audio.join import join; p = Path(sys.argv[1]);"
        "print(*[join([(p / 'part').read_bytes()], format=f, sample_rate=None, path=p / f).sha256"
        " for f in ('mp3', 'ogg')])"
    )

    said = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)],
        env={"PYTHONPATH": str(Path(ogg.__file__).parents[2]), "PYTHONHASHSEED": "7"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()

    ours = [join([part], format=f, sample_rate=None, path=tmp_path / "ours").sha256 for f in ("mp3", "ogg")]
    assert said == ours


@pytest.mark.parametrize("page", [b"", b"123456789", bytes(range(256)) * 20])
def test_the_checksum_of_ogg_is_that_of_its_specification(page: bytes) -> None:
    plain = 0
    for byte in page:
        plain ^= byte << 24
        for _ in range(8):
            plain = (plain << 1 ^ (0x04C1_1DB7 if plain & 0x8000_0000 else 0)) & 0xFFFF_FFFF

    assert ogg.checksum(page) == plain


@pytest.mark.parametrize(
    ("format", "wanted", "rate"),
    [
        ("mp3", 8_000, 8_000),
        ("mp3", 8_001, 11_025),
        ("mp3", 22_050, 22_050),
        ("mp3", 23_000, 24_000),
        ("mp3", 96_000, 48_000),
        ("ogg", 22_050, 24_000),
        ("ogg", 32_000, 48_000),
        ("ogg", 9_000, 12_000),
        ("ogg", 48_000, 48_000),
        ("wav", 12_345, 12_345),
        ("flac", 96_000, 96_000),
    ],
)
def test_the_output_rate_is_the_nearest_above_that_the_format_can_carry(format: str, wanted: int, rate: int) -> None:
    assert output_rate(format, wanted) == rate


@pytest.mark.parametrize("channels", [2, 6])
def test_several_channels_become_their_mean(tmp_path: Path, channels: int) -> None:
    sound = sounds.speech(1.0, channels=channels)

    join([sounds.wav(sound, subtype="FLOAT")], format="wav", sample_rate=None, path=tmp_path / "out")

    assert np.abs(heard(tmp_path / "out")[0] - sound.mean(axis=1)).max() < 1 / 32_768


def test_what_is_too_loud_is_clipped_and_never_wraps(tmp_path: Path) -> None:
    loud = 4 * sounds.tone(24_000, 24_000)

    join([sounds.wav(loud, subtype="FLOAT")], format="wav", sample_rate=None, path=tmp_path / "out")

    assert np.abs(heard(tmp_path / "out")[0] - np.clip(loud, -1, 1)).max() < 2 / 32_768


def test_progress_is_told_after_each_part_and_parts_are_taken_one_at_a_time(tmp_path: Path) -> None:
    happened: list[str] = []

    def parts() -> Iterator[bytes]:
        for number in range(3):
            happened.append(f"part {number}")
            yield sounds.wav(sounds.speech(0.5))

    join(parts(), format="mp3", sample_rate=None, path=tmp_path / "out", progress=lambda: happened.append("progress"))

    assert happened == ["part 0", "progress", "part 1", "progress", "part 2", "progress"]


def test_progress_is_told_while_a_long_file_is_checked(tmp_path: Path) -> None:
    told: list[int] = []
    part = sounds.wav(sounds.speech(10.0, 8_000), 8_000)

    join([part] * 100, format="wav", sample_rate=48_000, path=tmp_path / "out", progress=lambda: told.append(1))

    assert len(told) > 100


def test_an_untagged_mp3_is_joined_whole_even_unverified(tmp_path: Path) -> None:
    part = sounds.untagged(sounds.mp3(np.concatenate([sounds.speech(2.0), np.zeros(240_000)])))

    joined = join([part], format="wav", sample_rate=None, path=tmp_path / "out")

    assert joined.frames == verify(part, characters=None).frames > 288_000


def test_a_part_without_samples_takes_no_time(tmp_path: Path) -> None:
    parts = [sounds.wav(np.zeros(n) + 0.1) for n in (100, 0, 50)]

    joined = join(parts, format="wav", sample_rate=None, path=tmp_path / "out")

    assert joined.spans == [(0, 100), (100, 100), (100, 150)]


@pytest.mark.parametrize(
    "parts",
    [
        [],
        [sounds.wav(sounds.speech(0.5)), b"{}"],
        [sounds.wav(sounds.speech(0.5)), sounds.flac(sounds.speech(0.5))[:-5_000]],
    ],
)
def test_parts_that_cannot_be_joined_leave_no_file(tmp_path: Path, parts: list[bytes]) -> None:
    with pytest.raises(UnusableAudio):
        join(parts, format="mp3", sample_rate=None, path=tmp_path / "out")

    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("format", FORMATS)
def test_b16_a_full_disk_is_no_fault_of_the_audio(tmp_path: Path, format: str) -> None:
    """B16: the file may not grow beyond some bytes, as on a disk that is full."""
    (tmp_path / "part").write_bytes(sounds.wav(sounds.speech(20.0)))
    program = (
        "import resource, signal, sys; from pathlib import Path; from speech.audio.join import join;"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, 30_000));"
        "p = Path(sys.argv[1]); part = (p / 'part').read_bytes();"
        "join([part, part], format=sys.argv[2], sample_rate=None, path=p / 'out')"
    )

    said = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path), format],
        # Compiled modules would be cut off as well, and stay so for everybody.
        env={"PYTHONPATH": str(Path(ogg.__file__).parents[2]), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert said.stderr.rstrip().endswith("OSError: The joined audio cannot be written.")
    assert not (tmp_path / "out").exists()


def test_a_wav_beyond_its_size_is_refused_before_it_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("speech.audio.join.MAX_WAV_BYTES", 100_000)
    parts = [sounds.wav(sounds.speech(1.0))] * 3

    with pytest.raises(ProcessingFailed, match="too long for a WAV"):
        join(parts, format="wav", sample_rate=None, path=tmp_path / "out")

    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("format", FORMATS)
def test_i3_a_finished_file_that_was_cut_or_is_another_is_noticed(tmp_path: Path, format: str) -> None:
    path = tmp_path / "out"
    joined = join([sounds.wav(sounds.speech(2.0))], format=format, sample_rate=None, path=path)
    verify_file(path, format=format, frames=joined.frames, sample_rate=joined.sample_rate)

    with pytest.raises(ProcessingFailed):
        verify_file(path, format=format, frames=joined.frames + 1, sample_rate=joined.sample_rate)
    with pytest.raises(ProcessingFailed):
        verify_file(path, format=format, frames=joined.frames, sample_rate=8_000)
    path.write_bytes(path.read_bytes()[: joined.bytes // 2])
    with pytest.raises((ProcessingFailed, UnusableAudio)):
        verify_file(path, format=format, frames=joined.frames, sample_rate=joined.sample_rate)


@pytest.mark.parametrize(("format", "short", "long"), [("flac", 10, 60), ("mp3", 1, 4), ("ogg", 1, 4)])
def test_b16_memory_does_not_grow_with_the_length(tmp_path: Path, format: str, short: int, long: int) -> None:
    """B16: the peak of a process that joins many times as many minutes is the same."""
    (tmp_path / "part").write_bytes(sounds.wav(sounds.speech(60.0, 8_000), 8_000))
    program = (
        "import sys, resource; from itertools import repeat; from pathlib import Path;"
        "from speech.audio.join import join;"
        "p = Path(sys.argv[1]); part = (p / 'part').read_bytes();"
        "join(repeat(part, int(sys.argv[2])), format=sys.argv[3], sample_rate=None, path=p / 'out');"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    )

    def peak(parts: int) -> int:
        command = [sys.executable, "-c", program, str(tmp_path), str(parts), format]
        paths = {"PYTHONPATH": str(Path(ogg.__file__).parents[2])}
        return int(subprocess.run(command, env=paths, capture_output=True, text=True, check=True).stdout)

    assert peak(long) < peak(short) * 1.05 + 2_000
