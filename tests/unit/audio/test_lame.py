"""An MP3 of ours: as near to what was written as that of libsndfile, and a tag that says exactly how long it is."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mutagen.mp3 import MP3
from numpy.typing import NDArray

from speech.audio import mpeg
from speech.audio.join import FORMATS
from speech.audio.lame import Mp3File
from speech.audio.verify import verify
from tests.unit.audio import sounds


def made(path: Path, samples: NDArray[np.int16], rate: int, piece: int = 65_536) -> bytes:
    file = Mp3File(path, rate)
    for at in range(0, len(samples), piece):
        file.write(samples[at : at + piece])
    file.close()
    return path.read_bytes()


def speech(seconds: float, rate: int) -> NDArray[np.int16]:
    return np.round(sounds.speech(seconds, rate) * 32_767).astype(np.int16)


@pytest.mark.parametrize("rate", FORMATS["mp3"].rates)
def test_it_is_as_near_to_the_original_as_one_that_takes_twice_the_work_and_hardly_larger(
    tmp_path: Path, rate: int
) -> None:
    samples = speech(10.0, rate)
    theirs = sounds.encode(samples, rate, "MP3", "MPEG_LAYER_III", bitrate_mode="VARIABLE", compression_level=0.5)

    ours = made(tmp_path / "ours.mp3", samples, rate)

    assert noise(ours, samples) <= noise(theirs, samples)
    assert len(ours) <= len(theirs) * 1.1


def noise(data: bytes, samples: NDArray[np.int16]) -> float:
    """The RMS of what encoding changed."""
    return float(np.sqrt(np.mean(np.square(sounds.decode(data).astype(float) - samples))))


@pytest.mark.parametrize("rate", [8_000, 24_000, 44_100])
@pytest.mark.parametrize("frames", [1, 575, 576, 577, 1_152, 10_001, 100_000])
def test_it_holds_exactly_what_was_written(tmp_path: Path, rate: int, frames: int) -> None:
    samples = speech(frames / rate, rate)

    data = made(tmp_path / "some.mp3", samples, rate, piece=4_000)

    assert len(sounds.decode(data)) == len(samples)


def test_its_tag_holds_what_an_encoder_says_and_the_verdict_finds_no_fault(tmp_path: Path) -> None:
    data = made(tmp_path / "some.mp3", speech(30.0, 24_000), 24_000)
    header = mpeg.header_at(data, 0)
    assert header is not None

    tag = mpeg.tag_at(data, 0, header)
    heard = verify(data, characters=None)

    assert tag == mpeg.Tag(len(sounds.frame_starts(data)) - 1, len(data), True, tag.crc if tag else None, True)
    assert tag is not None
    assert tag.crc is not None
    assert (heard.data, heard.repairs, heard.seconds) == (data, (), 30)
    read: Any = MP3(tmp_path / "some.mp3")  # type: ignore[no-untyped-call] # mutagen is not typed
    assert read.info.length == pytest.approx(30, abs=0.001)
    assert read.info.encoder_info.startswith("LAME 3.100")


def test_its_table_says_where_each_hundredth_begins_however_long_it_is(tmp_path: Path) -> None:
    quiet_then_loud = np.concatenate([speech(60.0, 8_000) // 40, speech(60.0, 8_000)])
    data = made(tmp_path / "some.mp3", quiet_then_loud, 8_000)
    starts = sounds.frame_starts(data)
    at = data.index(b"Xing") + 16
    table = data[at : at + 100]

    wanted = [starts[1 + part * (len(starts) - 1) // 100] * 256 / len(data) for part in range(100)]

    assert len(starts) > 1_600  # more than the places that are remembered
    assert max(abs(a - b) for a, b in zip(table, wanted, strict=True)) < 3
    assert list(table) == sorted(table)
