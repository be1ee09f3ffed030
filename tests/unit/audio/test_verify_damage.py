"""Damaged audio, and what is not audio at all, is never accepted, and the reason names the damage."""

import re
import struct
import time
import tracemalloc

import numpy as np
import pytest

from speech.audio import flac
from speech.audio.verify import verify
from speech.errors import UnusableAudio
from tests.unit.audio import sounds

SOUND = sounds.speech(4.0)
CHARACTERS = 60
WAV, MP3, FLAC, OPUS, VORBIS = (
    make(SOUND) for make in (sounds.wav, sounds.mp3, sounds.flac, sounds.opus, sounds.vorbis)
)
UNTAGGED = sounds.untagged(MP3)
STREAMED = sounds.with_sizes(WAV, 0xFFFF_FFFF, 0xFFFF_FFFF)
WHOLE = {"wav": WAV, "mp3": MP3, "untagged mp3": UNTAGGED, "flac": FLAC, "opus": OPUS, "vorbis": VORBIS}
JSON, HTML = b'{"error": {"code": "quota"}}', b"<html><body>502</body></html>"


def refusal(data: bytes, characters: int | None = CHARACTERS) -> str:
    with pytest.raises(UnusableAudio) as caught:
        verify(data, characters=characters)
    assert re.fullmatch(r"[a-z]+(-[a-z]+)*", caught.value.reason)
    assert caught.value.detail
    return caught.value.reason


@pytest.mark.parametrize(
    ("reason", "data"),
    [
        ("empty", b""),
        ("empty", b"\r\n"),
        ("json", JSON),
        ("json", JSON + MP3),
        ("html", HTML),
        ("xml", b"<?xml version='1.0'?><Error/>"),
        ("text", b"Internal Server Error"),
        ("not-audio", bytes(100_000)),
        ("not-audio", np.random.default_rng(3).bytes(50_000)),
        ("not-audio", b"\x89PNG\r\n\x1a\n" + bytes(100)),
        ("not-audio", b"PK\x03\x04" + bytes(100)),
        ("unsupported-container", b"\0\0\0\x20ftypM4A " + bytes(100)),
        ("unsupported-container", b"\x1a\x45\xdf\xa3" + bytes(100)),
        ("unsupported-container", sounds.encode(SOUND, 24_000, "AIFF", "PCM_16")),
        ("unsupported-container", sounds.wav(SOUND, subtype="IMA_ADPCM")),
        ("unsupported-container", sounds.wav(SOUND, subtype="GSM610")),
    ],
)
def test_c8_what_is_not_audio_we_read_is_called_by_its_name(reason: str, data: bytes) -> None:
    assert refusal(data) == reason


def test_the_refusal_repeats_a_media_type_only_if_it_is_one() -> None:
    for media_type, repeated in (("audio/mpeg", True), ("audio/mpeg\nSet-Cookie: x", False)):
        with pytest.raises(UnusableAudio) as caught:
            verify(JSON, characters=1, media_type=media_type)

        assert (media_type in caught.value.detail) is repeated


@pytest.mark.parametrize("container", WHOLE)
def test_c10_a_file_cut_anywhere_is_refused(container: str) -> None:
    data = WHOLE[container]
    edges = set(sounds.frame_starts(data)) if "mp3" in container else set()
    cuts = {1, 2, 3, 4, 11, 12, 30, 43, 44, len(data) - 1, len(data) - 2, len(data) - 100}
    cuts |= set(np.linspace(45, len(data) - 1, 40).astype(int).tolist())

    for cut in sorted(cuts - edges):
        assert refusal(data[:cut], characters=None) in {"truncated", "not-audio", "text", "empty"}, cut


def test_c10_a_tagged_mp3_cut_between_two_frames_is_refused() -> None:
    starts = sounds.frame_starts(MP3)

    for start in (starts[-1], starts[-2], starts[len(starts) // 2], starts[2]):
        assert refusal(MP3[:start], characters=None) == "truncated"


def test_c10_an_untagged_mp3_cut_between_two_frames_is_refused_when_too_little_is_left() -> None:
    starts = sounds.frame_starts(UNTAGGED)

    assert refusal(UNTAGGED[: starts[len(starts) // 5]]) == "implausible-duration"


def test_c10_a_streamed_wav_cut_inside_a_sample_is_refused() -> None:
    assert refusal(STREAMED[:-1]) == "truncated"


def test_c10_a_streamed_wav_cut_early_is_refused_when_too_little_is_left() -> None:
    assert refusal(STREAMED[: len(STREAMED) // 5]) == "implausible-duration"


@pytest.mark.parametrize("container", WHOLE)
@pytest.mark.parametrize("tail", [JSON, HTML, b"error", b"\n", b"\x01\x02\x03"])
def test_what_follows_the_audio_is_refused(container: str, tail: bytes) -> None:
    assert refusal(WHOLE[container] + tail, characters=None) in {"trailing-bytes", "truncated", "damaged"}


@pytest.mark.parametrize("container", ["wav", "mp3", "flac", "opus"])
@pytest.mark.parametrize("tail", [JSON, HTML])
def test_c8_an_error_after_the_audio_is_called_so(container: str, tail: bytes) -> None:
    assert refusal(WHOLE[container] + tail, characters=None) == "trailing-bytes"


@pytest.mark.parametrize("tail", [JSON, b'{\n  "a": {"b": [1, 2]}\n}\n', HTML + b"\n\n"])
def test_c8_an_error_at_the_end_of_a_streamed_wav_is_refused(tail: bytes) -> None:
    assert refusal(STREAMED + tail + b" " * (len(tail) % 2)) == "trailing-bytes"


@pytest.mark.parametrize("container", WHOLE)
def test_an_error_in_the_middle_is_refused(container: str) -> None:
    data = WHOLE[container]
    half = len(data) // 2

    # In a WAV with true sizes the error pushes the last samples out.
    assert refusal(data[:half] + JSON + data[half:], characters=None) in {"damaged", "trailing-bytes", "truncated"}


def test_an_error_between_two_mp3_frames_is_refused() -> None:
    starts = sounds.frame_starts(UNTAGGED)
    half = starts[len(starts) // 2]

    assert refusal(UNTAGGED[:half] + JSON + UNTAGGED[half:]) == "damaged"
    assert refusal(UNTAGGED[:half] + JSON) == "trailing-bytes"


@pytest.mark.parametrize(
    "data",
    [
        MP3 + MP3,
        UNTAGGED + MP3,
        MP3 + sounds.id3() + MP3,
        MP3 + UNTAGGED,
        UNTAGGED + sounds.untagged(sounds.mp3(sounds.speech(4.0, 22_050), 22_050)),
        UNTAGGED + sounds.untagged(sounds.mp3(sounds.speech(4.0, channels=2))),
        FLAC + FLAC,
        OPUS + OPUS,
        OPUS + VORBIS,
        WAV + sounds.wav(sounds.speech(4.0, 22_050), 22_050),
        WAV + sounds.wav(sounds.speech(4.0, channels=2)),
        WAV + sounds.wav(SOUND, subtype="PCM_24"),
        WAV + MP3,
        WAV + FLAC,
        MP3 + WAV,
        OPUS + MP3,
    ],
)
def test_files_in_a_row_that_are_not_one_sound_are_refused(data: bytes) -> None:
    assert refusal(data, characters=None) == "several-files"


def test_of_several_wav_files_each_must_be_whole() -> None:
    assert refusal(WAV + WAV[:-100], characters=None) == "truncated"


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_U8", "FLOAT", "ULAW"])
@pytest.mark.parametrize("level", [0.0, 0.4])
def test_c14_silence_and_a_constant_are_silent(subtype: str, level: float) -> None:
    assert refusal(sounds.wav(np.full(96_000, level), subtype=subtype)) == "silent"


@pytest.mark.parametrize("make", [sounds.mp3, sounds.flac, sounds.opus, sounds.vorbis])
def test_c14_silence_in_any_container_is_silent(make: object) -> None:
    assert callable(make)
    assert refusal(make(np.zeros(96_000))) == "silent"


def test_hiss_below_the_threshold_is_silent() -> None:
    hiss = 0.0005 * np.random.default_rng(1).standard_normal(96_000)

    assert refusal(sounds.wav(hiss)) == "silent"


@pytest.mark.parametrize(("seconds", "characters"), [(4.0, 300), (31.0, 60), (0.2, 20)])
@pytest.mark.parametrize("make", [sounds.wav, sounds.mp3, sounds.flac, sounds.opus])
def test_c10_a_duration_no_voice_has_is_implausible(make: object, seconds: float, characters: int) -> None:
    assert callable(make)
    assert refusal(make(sounds.speech(seconds)), characters) == "implausible-duration"


def test_a_header_without_sound_is_empty() -> None:
    assert refusal(sounds.wav(np.zeros(0))) == "empty"
    assert refusal(sounds.flac(np.zeros(0))) == "empty"


def test_an_mp3_header_without_frames_is_refused() -> None:
    assert refusal(MP3[: sounds.frame_starts(MP3)[1]]) == "truncated"


def test_an_id3_tag_alone_is_truncated() -> None:
    assert refusal(sounds.id3()) == "truncated"
    assert refusal(sounds.id3()[:50]) == "truncated"


@pytest.mark.parametrize("container", ["flac", "opus", "vorbis"])
def test_a_flipped_bit_in_a_container_with_checksums_is_refused(container: str) -> None:
    data = WHOLE[container]

    for at in np.linspace(len(data) // 4, len(data) - 10, 12).astype(int).tolist():
        flipped = bytearray(data)
        flipped[at] ^= 0x10
        assert refusal(bytes(flipped), characters=None) in {"damaged", "truncated"}


@pytest.mark.parametrize("container", ["opus", "vorbis"])
def test_an_ogg_file_with_a_page_missing_is_refused(container: str) -> None:
    data = WHOLE[container]
    pages = [match.start() for match in re.finditer(b"OggS", data)]
    assert len(pages) >= 4

    assert refusal(data[: pages[-2]] + data[pages[-1] :]) == "damaged"
    assert refusal(data[: pages[-1]]) == "truncated"
    assert refusal(data[pages[1] :]) in {"truncated", "damaged"}


def test_samples_that_are_not_numbers_are_damage() -> None:
    samples = SOUND.astype(np.float32)
    samples[1_000] = np.nan

    assert refusal(sounds.wav_with(sounds.format_chunk(tag=3, bits=32), samples.tobytes())) == "damaged"


@pytest.mark.parametrize(
    "chunk",
    [
        sounds.format_chunk(channels=0),
        sounds.format_chunk(channels=9),
        sounds.format_chunk(channels=65_535, bits=8),
        sounds.format_chunk(rate=0),
        sounds.format_chunk(rate=0xFFFF_FFFF),
        sounds.format_chunk(rate=3_000),
        sounds.format_chunk()[:-2],
        sounds.format_chunk()[:12] + b"\x07\x00\x10\x00",
        b"",
    ],
)
def test_a_wav_header_that_contradicts_itself_is_damage(chunk: bytes) -> None:
    assert refusal(sounds.wav_with(chunk, WAV[44:])) == "damaged"


def test_a_wav_without_a_format_is_damage() -> None:
    assert refusal(b"RIFF" + struct.pack("<I", 192_012) + b"WAVEdata" + WAV[40:]) == "damaged"


def test_c12_a_header_that_claims_the_world_allocates_nothing() -> None:
    bombs = [
        sounds.with_sizes(WAV, 0x7FFE_FFFF, 0x7FFE_0000),
        sounds.wav_with(sounds.format_chunk(channels=60_000, bits=8), WAV[44:]),
        FLAC[:18] + (192_000 << 44 | 7 << 41 | 15 << 36 | (1 << 36) - 1).to_bytes(8, "big") + FLAC[26:],
        FLAC[:5] + b"\xff\xff\xff" + FLAC[8:],
        b"ID3\x04\0\0\x7f\x7f\x7f\x7f" + MP3,
        MP3[: MP3.index(b"Xing") + 8] + b"\xff\xff\xff\xff" + MP3[MP3.index(b"Xing") + 12 :],
    ]
    verify(WAV, characters=None)

    tracemalloc.start()
    for bomb in bombs:
        assert refusal(bomb, characters=None) in {"truncated", "damaged", "implausible-duration"}
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert peak < 8_000_000


def test_c12_a_bomb_of_compressed_silence_is_given_up_early() -> None:
    bomb = sounds.flac(np.zeros(48_000 * 300), 48_000)
    unknown = bytearray(bomb)
    unknown[21] &= 0xF0
    unknown[22:26] = bytes(4)
    assert len(bomb) < 200_000

    for data in (bomb, bytes(unknown)):
        assert refusal(data, characters=100) == "implausible-duration"


@pytest.mark.parametrize(
    "data",
    [
        b"RIFF\0\0\0\0WAVE" + b"LIST\0\0\0\0" * 200_000,
        b"RIFF\0\0\0\0WAVEdata" * 100_000,
        WAV[:44] * 40_000,
        sounds.with_sizes(WAV, 0, 0)[:44] * 40_000,
        WAV + b'{"' * 500_000,
        FLAC[:-1] + b"\xff\xf8\xc9\x08\x00" * 300_000,
        FLAC[:-1] + b"\xff" * 1_500_000,
        UNTAGGED + (b"\xff\xf3\x14\xc4" + bytes(9) + b"Info\0\0\0").ljust(24, b"x") * 50_000,
        UNTAGGED[:24] + b"Info" * 400_000,
        UNTAGGED + b"\0" + b"\xff\xf3" * 500_000,
        OPUS[:27] * 50_000,
        b"ID3\x03\0\0\0\0\0\0" * 150_000,
        sounds.id3(1) + bytes(1_500_000),
        MP3 + b"APETAGEX" * 200_000 + b"x",
        MP3 + b"TAG" + bytes(125) + b"TAG" * 400_000,
        b"[" * 1_000_000,
        WAV + b'{"a":' * 100_000 + b"}" * 100_000,
    ],
)
def test_hostile_bytes_are_refused_in_time_proportional_to_their_length(data: bytes) -> None:
    before = time.process_time()

    refusal(data, characters=None)

    assert time.process_time() - before < 5


@pytest.mark.parametrize("mode", ["VARIABLE", "CONSTANT", "AVERAGE"])
def test_a_flipped_bit_in_a_tagged_mp3_is_refused_wherever_it_is(mode: str) -> None:
    data = sounds.mp3(SOUND, mode=mode)

    for at in np.linspace(4, len(data) - 1, 60).astype(int).tolist():
        flipped = bytearray(data)
        flipped[at] ^= 0x04
        assert refusal(bytes(flipped), characters=None) in {"damaged", "truncated", "several-files", "trailing-bytes"}


def test_an_mp3_without_its_first_frames_is_refused_when_the_rest_leans_on_them() -> None:
    starts = sounds.frame_starts(UNTAGGED)
    leaning = [at for at in starts if UNTAGGED[at + 4]]  # the first byte says how far back its bits begin

    assert refusal(UNTAGGED[leaning[5] :]) == "damaged"


@pytest.mark.parametrize("of", [FLAC, sounds.flac(sounds.speech(4.0, 48_000, 2), 48_000, "PCM_24")])
def test_flac_frames_out_of_their_order_are_refused(of: bytes) -> None:
    starts = [match.start() for match in re.finditer(rb"\xff[\xf8\xf9]", of) if flac._frame(of, match.start())]
    frames = [of[a:b] for a, b in zip(starts, [*starts[1:], len(of)], strict=True)]
    unknown = bytearray(of[: starts[0]])
    unknown[21] &= 0xF0
    unknown[22:26] = bytes(4)

    for head in (of[: starts[0]], bytes(unknown)):
        assert refusal(head + b"".join([*frames[:2], frames[3], frames[2], *frames[4:]]), None) == "damaged"
        assert refusal(head + b"".join([*frames[:2], *frames[3:]]), None) == "damaged"
        assert refusal(head + b"".join([*frames[:2], frames[1], *frames[2:]]), None) == "damaged"
        assert refusal(head + b"".join(frames[1:]), None) == "damaged"


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_U8", "ULAW", "ALAW"])
def test_c10_what_was_filled_up_with_zeros_counts_as_far_as_it_is_heard(subtype: str) -> None:
    data = sounds.wav(SOUND, subtype=subtype)
    keep = len(data) // 8

    assert refusal(data[:keep] + bytes(len(data) - keep)) == "implausible-duration"


def test_c12_a_short_text_does_not_speak_for_hours() -> None:
    hour = sounds.wav(np.tile(sounds.speech(10.0, 8_000), 61), 8_000, "PCM_U8")

    assert refusal(hour, characters=19) == "implausible-duration"
    assert verify(hour, characters=None).seconds == 610


def test_samples_far_beyond_full_scale_are_damage() -> None:
    loud = (30_000 * SOUND).astype(np.float32)

    assert refusal(sounds.wav_with(sounds.format_chunk(tag=3, bits=32), loud.tobytes())) == "damaged"


def test_many_zeros_behind_frames_that_nothing_counts_may_be_what_became_of_the_rest() -> None:
    assert refusal(UNTAGGED[:-500] + bytes(500), None) == "truncated"
    assert verify(UNTAGGED + bytes(16), characters=CHARACTERS).repairs == ("tags-removed", "length-added")
