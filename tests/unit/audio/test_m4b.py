"""M4B: as long as its parts, the index in front, the same bytes every time; refused in plain words without FFmpeg."""

import io
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest

from speech.audio import m4b
from speech.audio.join import FORMATS, JoinedAudio, join, verify_file
from speech.audio.m4b import FRAME
from speech.audio.tags import Cover, Mark, Tags
from speech.errors import ProcessingFailed
from tests.support.tagged import by_mutagen, chapters_by_ffmpeg, seconds_by_mutagen
from tests.unit.audio import sounds

TAGS = Tags(title="A Book", language="de", marks=(Mark(0, "One"), Mark(1, "Two")))


def made(path: Path, parts: Sequence[bytes], tags: Tags | None = TAGS, rate: int | None = None) -> JoinedAudio:
    return join(parts, format="m4b", sample_rate=rate, path=path, tags=tags)


def heard(data: bytes) -> sounds.Samples:
    """What FFmpeg decodes, to the length that the file says."""
    with av.open(io.BytesIO(data), "r") as container:
        stream = container.streams.audio[0]
        assert stream.duration is not None
        blocks = [frame.to_ndarray()[0] for frame in container.decode(stream)]
        return np.concatenate(blocks)[: stream.duration].astype(np.float64)


def boxes(data: bytes) -> list[bytes]:
    """The names of the boxes of a file."""
    names, at = [], 0
    while at < len(data):
        names.append(data[at + 4 : at + 8])
        at += int.from_bytes(data[at : at + 4])
    assert at == len(data)
    return names


@pytest.mark.parametrize("rate", FORMATS["m4b"].rates)
def test_two_readers_agree_to_a_frame_at_every_rate(tmp_path: Path, rate: int) -> None:
    parts = [sounds.wav(sounds.speech(1.3, rate, seed=seed), rate) for seed in range(2)]

    joined = made(tmp_path / "out.m4b", parts)

    data = (tmp_path / "out.m4b").read_bytes()
    assert joined.frames == 2 * round(1.3 * rate) == len(heard(data))
    assert abs(seconds_by_mutagen(data, "m4b") - joined.seconds) <= (FRAME + 1) / rate
    assert (joined.sample_rate, joined.bytes) == (rate, len(data))


def test_a_tone_cut_in_pieces_is_one_tone_again(tmp_path: Path) -> None:
    lengths = [24_000, 12_345, 7, 20_011]
    starts = np.cumsum([0, *lengths])
    parts = [sounds.wav(sounds.tone(n, 24_000, start=int(at))) for n, at in zip(lengths, starts, strict=False)]

    made(tmp_path / "out.m4b", parts)

    samples = heard((tmp_path / "out.m4b").read_bytes())
    assert len(samples) == sum(lengths)
    assert np.abs(samples - sounds.tone(sum(lengths), 24_000))[2_000:-2_000].max() < 0.07


def test_the_index_comes_before_the_audio(tmp_path: Path) -> None:
    made(tmp_path / "out.m4b", [sounds.wav(sounds.speech(2.0))] * 2)

    data = (tmp_path / "out.m4b").read_bytes()

    names = boxes(data)
    assert names[:2] == [b"ftyp", b"moov"]
    assert names[-1] == b"mdat"
    assert data[8:12] == b"M4B "


def test_the_same_parts_make_the_same_bytes_and_tags_change_no_sample(tmp_path: Path) -> None:
    parts = [sounds.wav(sounds.speech(2.0, seed=seed)) for seed in range(2)]
    first, again, bare = (tmp_path / name for name in ("first", "again", "bare"))

    made(first, parts)
    made(again, parts)
    made(bare, parts, tags=None)

    assert first.read_bytes() == again.read_bytes() != bare.read_bytes()
    assert np.array_equal(heard(first.read_bytes()), heard(bare.read_bytes()))


def test_a_cover_moves_the_audio_and_nothing_else(tmp_path: Path) -> None:
    parts = [sounds.wav(sounds.speech(2.0, seed=seed)) for seed in range(2)]
    picture = b"\xff\xd8\xff" + bytes(300_000)

    made(tmp_path / "out", parts, replace(TAGS, cover=Cover("image/jpeg", 3, 2, picture)))
    made(tmp_path / "bare", parts, tags=None)

    data = (tmp_path / "out").read_bytes()
    assert by_mutagen(data, "m4b").cover == picture
    assert [title for _, title in chapters_by_ffmpeg(data)] == ["One", "Two"]
    assert np.array_equal(heard(data), heard((tmp_path / "bare").read_bytes()))


@pytest.mark.parametrize("title", ["脚" * 200, "a" + "é" * 199, "x" * 255])
def test_a_long_title_of_a_chapter_ends_at_a_whole_character(tmp_path: Path, title: str) -> None:
    made(tmp_path / "out", [sounds.wav(sounds.speech(1.0))], Tags(marks=(Mark(0, title),)))

    data = (tmp_path / "out").read_bytes()
    for found in (by_mutagen(data, "m4b").chapters, chapters_by_ffmpeg(data)):
        assert title.startswith(found[0][1])
        assert len(found[0][1].encode()) > 251


def test_i3_a_file_that_was_cut_or_is_another_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "out"
    joined = made(path, [sounds.wav(sounds.speech(3.0))] * 2)
    whole = path.read_bytes()

    for frames, rate in ((joined.frames - 1, 24_000), (joined.frames + 1, 24_000), (joined.frames, 22_050)):
        with pytest.raises(ProcessingFailed):
            verify_file(path, format="m4b", frames=frames, sample_rate=rate)
    path.write_bytes(whole[: len(whole) * 2 // 3])
    with pytest.raises(ProcessingFailed):
        verify_file(path, format="m4b", frames=joined.frames, sample_rate=24_000)


@pytest.mark.parametrize("room", [1_000, 100_000])
def test_b16_a_full_disk_is_no_fault_of_the_audio(tmp_path: Path, room: int) -> None:
    """B16: the file may not grow beyond some bytes, as on a disk that is full."""
    (tmp_path / "part").write_bytes(sounds.wav(sounds.speech(20.0)))
    program = (
        "import resource, signal, sys; from pathlib import Path; from speech.audio.join import join;"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "size = int(sys.argv[2]); resource.setrlimit(resource.RLIMIT_FSIZE, (size, size));"
        "p = Path(sys.argv[1]); part = (p / 'part').read_bytes();"
        "join([part, part], format='m4b', sample_rate=None, path=p / 'out')"
    )

    said = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path), str(room)],
        env={"PYTHONPATH": str(Path(m4b.__file__).parents[2]), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert said.stderr.rstrip().endswith("OSError: The joined audio cannot be written.")
    assert not (tmp_path / "out").exists()


def test_without_the_media_layer_it_is_refused_in_plain_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)

    with pytest.raises(ProcessingFailed, match="media layer"):
        made(tmp_path / "out", [sounds.wav(sounds.speech(1.0))])
