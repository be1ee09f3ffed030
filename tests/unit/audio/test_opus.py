"""An Ogg Opus file of ours: exactly as long as what was written, the same every time, and read to its last page."""

from pathlib import Path

import av
import numpy as np
import pytest
from mutagen.oggopus import OggOpus
from numpy.typing import NDArray

from speech.audio import ogg, opus
from speech.audio.join import FORMATS
from speech.audio.verify import verify
from speech.errors import ProcessingFailed
from tests.unit.audio import sounds


def speech(frames: int, rate: int) -> NDArray[np.int16]:
    return np.round(sounds.speech(frames / rate, rate) * 32_767).astype(np.int16)


def made(path: Path, samples: NDArray[np.int16], rate: int, piece: int = 65_536) -> Path:
    file = opus.OpusFile(path, rate)
    for at in range(0, len(samples), piece):
        file.write(samples[at : at + piece])
    file.close()
    return path


@pytest.mark.parametrize("rate", FORMATS["ogg"].rates)
def test_it_is_as_long_for_ffmpeg_which_has_a_decoder_of_its_own(tmp_path: Path, rate: int) -> None:
    frames = 5 * rate + 7
    path = made(tmp_path / "some.ogg", speech(frames, rate), rate)

    with av.open(str(path)) as file:
        heard = sum(frame.samples for frame in file.decode(file.streams.audio[0]))

    assert heard * rate == frames * ogg.OPUS_CLOCK
    assert len(sounds.decode(path.read_bytes())) == frames


@pytest.mark.parametrize("rate", FORMATS["ogg"].rates)
@pytest.mark.parametrize("frames", [1, 159, 160, 161, 960, 961, 100_003])
def test_it_holds_exactly_what_was_written_for_two_decoders(tmp_path: Path, rate: int, frames: int) -> None:
    """libsndfile's is a libopus and an Ogg reader of its own; ours are those that made the file."""
    path = made(tmp_path / "some.ogg", speech(frames, rate), rate, piece=4_001)

    assert len(sounds.decode(path.read_bytes())) == frames
    opus.verify_file(path, frames=frames, sample_rate=rate)
    read = OggOpus(path)  # type: ignore[no-untyped-call] # mutagen is not typed
    assert read.info.length == pytest.approx(frames / rate, abs=1e-6)  # type: ignore[attr-defined] # as above
    assert ogg.read(path.read_bytes()).frames * rate == frames * ogg.OPUS_CLOCK


def test_the_verdict_finds_no_fault_in_it(tmp_path: Path) -> None:
    data = made(tmp_path / "some.ogg", speech(240_000, 24_000), 24_000).read_bytes()

    heard = verify(data, characters=None)

    assert (heard.data, heard.repairs) == (data, ())


@pytest.mark.parametrize("rate", FORMATS["ogg"].rates)
def test_it_sounds_like_what_was_written_and_is_not_late(tmp_path: Path, rate: int) -> None:
    samples = speech(3 * rate, rate)

    heard = sounds.decode(made(tmp_path / "some.ogg", samples, rate).read_bytes())

    difference = heard.astype(float) - samples
    assert 10 * np.log10((samples.astype(float) ** 2).sum() / (difference**2).sum()) > 10
    lags = np.correlate(heard[:4_000].astype(float), samples[50:3_950].astype(float))
    assert abs(int(lags.argmax()) - 50) <= 1


def test_it_is_the_same_however_it_is_written(tmp_path: Path) -> None:
    samples = speech(100_003, 24_000)

    first, second = made(tmp_path / "1", samples, 24_000, 7), made(tmp_path / "2", samples, 24_000, 50_000)

    assert first.read_bytes() == second.read_bytes()


def test_loud_noise_fits_its_pages(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(-32_768, 32_767, 480_000).astype(np.int16)

    path = made(tmp_path / "noise.ogg", noise, 48_000)

    opus.verify_file(path, frames=len(noise), sample_rate=48_000)
    assert len(sounds.decode(path.read_bytes())) == len(noise)


def test_i3_no_byte_of_a_finished_file_can_change_unnoticed(tmp_path: Path) -> None:
    path = made(tmp_path / "some.ogg", speech(40_000, 24_000), 24_000)
    data = path.read_bytes()

    for at in range(0, len(data), 197):
        path.write_bytes(data[:at] + bytes((data[at] ^ 0x55,)) + data[at + 1 :])
        with pytest.raises(ProcessingFailed):
            opus.verify_file(path, frames=40_000, sample_rate=24_000)


@pytest.mark.parametrize("kept", [0, 20, 0.3, 0.5, 0.99])
def test_i3_a_finished_file_that_was_cut_is_noticed(tmp_path: Path, kept: float) -> None:
    path = made(tmp_path / "some.ogg", speech(100_000, 24_000), 24_000)
    data = path.read_bytes()
    path.write_bytes(data[: int(kept if kept >= 1 else kept * len(data))])

    with pytest.raises(ProcessingFailed):
        opus.verify_file(path, frames=100_000, sample_rate=24_000)


def test_i3_a_page_that_is_missing_is_noticed(tmp_path: Path) -> None:
    path = made(tmp_path / "some.ogg", speech(100_000, 24_000), 24_000)
    data = path.read_bytes()
    pages = data.split(b"OggS")[1:]
    path.write_bytes(b"".join(b"OggS" + page for page in pages[:3] + pages[4:]))

    with pytest.raises(ProcessingFailed):
        opus.verify_file(path, frames=100_000, sample_rate=24_000)


def test_progress_is_told_while_a_long_file_is_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opus, "_PAGES_BETWEEN_PROGRESS", 10)
    path = made(tmp_path / "long.ogg", np.zeros(8_000 * 20, np.int16), 8_000)
    told: list[None] = []

    opus.verify_file(path, frames=8_000 * 20, sample_rate=8_000, progress=lambda: told.append(None))

    assert len(told) == 3
