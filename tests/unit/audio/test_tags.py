"""Tags and chapters: read back by libraries that did not write them, in files whose sound they leave alone."""

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from speech.audio.join import FORMATS, JoinedAudio, join
from speech.audio.picture import MAX_BYTES
from speech.audio.tags import (
    MAX_CHAPTER_TITLE,
    MAX_CHAPTERS,
    MAX_TITLE,
    Chapter,
    Cover,
    Mark,
    Tags,
    printable,
    three_letters,
)
from speech.audio.verify import verify
from tests.support.tagged import by_mutagen, chapters_by_ffmpeg, metadata_by_ffmpeg, seconds_by_mutagen
from tests.unit.audio import sounds

RATE = 24_000
TAGS = Tags(
    title="Die Füße 脚 😀",
    author="Å. Författare",
    language="sv-SE",
    date="2026-11-20",
    comment="AI-generated speech by convai",
    opening="Before it all",
)
HOSTILE = {
    "zeros": "a\0b\0\0c",
    "ten thousand characters": "x" * 10_000,
    "right to left": "\u202eשלום עולם\u202c مرحبا",
    "emoji": "👩‍👩‍👧‍👦🏳️‍🌈",
    "lines": "one\r\ntwo\nthree\u2028four",
    "half a character": "a\ud800b",
    "like a tag": "CHAPTER001=00:00:00.000",
    "white space": " \t ",
    "latin": "Ærø ÿ",
}


def parts(count: int, frames: int = RATE // 4) -> list[bytes]:
    return [sounds.wav(sounds.tone(frames + number, RATE), RATE) for number in range(count)]


def made(folder: Path, format: str, tags: Tags | None, pieces: list[bytes]) -> tuple[JoinedAudio, bytes]:
    path = folder / f"made.{format}"
    joined = join(pieces, format=format, sample_rate=None, path=path, tags=tags)
    data = path.read_bytes()
    assert joined.bytes == len(data)
    return joined, data


@pytest.mark.parametrize("format", FORMATS)
def test_title_author_language_date_and_the_mark_of_a_machine_are_read_by_others(tmp_path: Path, format: str) -> None:
    _, data = made(tmp_path, format, TAGS, parts(2))

    read = by_mutagen(data, format)

    language = {"flac": "sv-SE", "ogg": "sv-SE"}.get(format, "swe")
    assert (read.title, read.author, read.date, read.comment) == (TAGS.title, TAGS.author, TAGS.date, TAGS.comment)
    assert read.is_ai == "true"
    assert read.language in (language, None if format == "m4b" else language)
    by_ffmpeg = metadata_by_ffmpeg(data)
    assert (by_ffmpeg["title"], by_ffmpeg["artist"], by_ffmpeg["comment"]) == (TAGS.title, TAGS.author, TAGS.comment)
    assert by_ffmpeg["language"] == language


@pytest.mark.parametrize("format", FORMATS)
def test_chapters_begin_exactly_where_their_parts_do(tmp_path: Path, format: str) -> None:
    tags = replace(TAGS, marks=tuple(Mark(part, f"Kapitel {part} 😀") for part in (1, 2, 4)))

    joined, data = made(tmp_path, format, tags, parts(6))

    wanted = [(0.0, "Before it all"), *((joined.spans[mark.part][0] / RATE, mark.title) for mark in tags.marks)]
    for read in (by_mutagen(data, format).chapters, chapters_by_ffmpeg(data)):
        assert [title for _, title in read] == [title for _, title in wanted]
        assert [start for start, _ in read] == pytest.approx([start for start, _ in wanted], abs=0.0006)
    assert joined.chapters[-1].end == joined.frames


@pytest.mark.parametrize("format", FORMATS)
def test_as_many_chapters_as_there_may_be(tmp_path: Path, format: str) -> None:
    tags = replace(TAGS, marks=tuple(Mark(number // 100, f"Chapter {number}: ü") for number in range(MAX_CHAPTERS)))

    joined, data = made(tmp_path, format, tags, parts(10))

    wanted = [mark.title for mark in tags.marks]
    assert [title for _, title in chapters_by_ffmpeg(data)] == wanted
    # The older of the two lists in an MP4 counts its chapters in one byte.
    assert [title for _, title in by_mutagen(data, format).chapters] == wanted[: 255 if format == "m4b" else None]
    assert len(joined.chapters) == MAX_CHAPTERS


@pytest.mark.parametrize("format", FORMATS)
def test_the_most_that_a_file_may_say_about_itself(tmp_path: Path, format: str) -> None:
    """libsndfile reads no FLAC with three million bytes before its audio; this stays below."""
    cover = Cover("image/png", 1, 1, b"\x89PNG".ljust(MAX_BYTES, b"x"))
    marks = tuple(Mark(number // 100, "😀" * MAX_CHAPTER_TITLE) for number in range(MAX_CHAPTERS))
    long = "脚" * MAX_TITLE

    joined, data = made(tmp_path, format, Tags(long, long, "en", "2026-11-20", long, cover, marks), parts(10))

    read = by_mutagen(data, format)
    assert (read.title, read.author, read.comment, read.cover) == (long, long, long, cover.data)
    assert len(joined.chapters) == len(chapters_by_ffmpeg(data)) == MAX_CHAPTERS


@pytest.mark.parametrize("format", [each for each in FORMATS if each != "m4b"])
def test_tags_change_no_sample_and_the_same_tags_make_the_same_bytes(tmp_path: Path, format: str) -> None:
    tags = replace(TAGS, marks=(Mark(0, "One"), Mark(2, "Two")), cover=Cover("image/png", 1, 1, bytes(1_000)))
    _, bare = made(tmp_path, format, None, parts(3))

    joined, first = made(tmp_path, format, tags, parts(3))
    again, second = made(tmp_path, format, tags, parts(3))

    assert first != bare
    assert (first, joined.sha256) == (second, again.sha256)
    assert np.array_equal(sounds.decode(first), sounds.decode(bare))
    assert seconds_by_mutagen(first, format) == pytest.approx(joined.seconds, abs=0.03)


@pytest.mark.parametrize("format", [each for each in FORMATS if each != "m4b"])
def test_our_own_verdict_finds_no_fault_in_a_tagged_file(tmp_path: Path, format: str) -> None:
    joined, data = made(tmp_path, format, replace(TAGS, marks=(Mark(0, "One"), Mark(2, "Two"))), parts(3))

    verdict = verify(data, characters=None)

    assert verdict.frames == joined.frames


@pytest.mark.parametrize("title", HOSTILE.values(), ids=HOSTILE)
@pytest.mark.parametrize("format", FORMATS)
def test_a_hostile_title_is_one_line_in_its_own_place(tmp_path: Path, format: str, title: str) -> None:
    safe = printable(title)
    chapter = printable(title, MAX_CHAPTER_TITLE) or "One"
    tags = Tags(title=safe or None, author=safe or None, comment="ours", marks=(Mark(0, chapter), Mark(1, "Two")))

    _, data = made(tmp_path, format, tags, parts(2))

    read = by_mutagen(data, format)
    assert (read.title or "", read.author or "", read.comment) == (safe, safe, "ours")
    assert [each for _, each in read.chapters] == [chapter, "Two"]
    assert len(safe) <= 500
    assert not any(each in safe for each in "\0\r\n\u2028\ud800")


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("size", [0, 1_500_000])
def test_a_cover_is_in_the_file_as_it_was(tmp_path: Path, format: str, size: int) -> None:
    picture = b"\x89PNG" + bytes(size)

    _, data = made(tmp_path, format, replace(TAGS, cover=Cover("image/png", 3, 2, picture)), parts(2))

    assert by_mutagen(data, format).cover == picture


def test_a_wav_has_cue_points_and_labels_that_libsndfile_reads(tmp_path: Path) -> None:
    joined, data = made(tmp_path, "wav", replace(TAGS, marks=(Mark(0, "Öne"), Mark(2, "Two"))), parts(3))

    file = soundfile.SoundFile(io.BytesIO(data))

    assert cues(file) == [(0, "Öne"), (joined.spans[2][0], "Two")]
    assert (file.title, file.artist, file.comment) == (TAGS.title, TAGS.author, TAGS.comment)
    assert int.from_bytes(data[4:8], "little") == len(data) - 8
    assert len(data) % 2 == 0


def cues(file: soundfile.SoundFile) -> list[tuple[int, str]]:
    """By SFC_GET_CUE_COUNT and SFC_GET_CUE, which soundfile gives no name."""
    ffi, library = soundfile._ffi, soundfile._snd
    count = ffi.new("uint32_t *")
    assert library.sf_command(file._file, 0x10CD, count, 4)
    size = 4 + 280 * count[0]
    found = ffi.new("char[]", size)
    assert library.sf_command(file._file, 0x10CE, found, size)
    raw = bytes(ffi.buffer(found))
    points = [raw[4 + 280 * number :][:280] for number in range(count[0])]
    return [(int.from_bytes(each[20:24], "little"), each[24:].split(b"\0")[0].decode()) for each in points]


def test_without_marks_there_are_no_chapters() -> None:
    assert TAGS.chapters([(0, 10), (10, 20)], 20) == []


def test_a_mark_at_the_first_part_begins_at_0_whatever_silence_comes_before_it() -> None:
    tags = replace(TAGS, marks=(Mark(0, "One"), Mark(1, "Two")))

    assert tags.chapters([(5, 10), (12, 20)], 25) == [Chapter(0, 12, "One"), Chapter(12, 25, "Two")]


def test_what_precedes_the_first_mark_is_a_chapter_named_after_the_work() -> None:
    tags = Tags(title="The Work", marks=(Mark(1, "One"),))

    assert tags.chapters([(0, 10), (10, 20)], 20) == [Chapter(0, 10, "The Work"), Chapter(10, 20, "One")]


@pytest.mark.parametrize(
    ("tag", "letters"),
    [("en", "eng"), ("pt-BR", "por"), ("yue", "yue"), ("xx", None), (None, None), ("ZH-Hant-TW", "zho")],
)
def test_languages_of_three_letters(tag: str | None, letters: str | None) -> None:
    assert three_letters(tag) == letters
