"""Whole audio is never refused, whatever its container, and what can be mended without loss is."""

import hashlib
import json
import struct
from collections.abc import Callable

import miniaudio
import numpy as np
import pytest

from speech.audio import mpeg
from speech.audio.verify import verify
from tests.unit.audio import sounds

SECONDS = 4.0
CHARACTERS = 60

ENCODERS: dict[str, Callable[[sounds.Samples, int], bytes]] = {
    "pcm_u8": lambda x, rate: sounds.wav(x, rate, "PCM_U8"),
    "pcm_s16": lambda x, rate: sounds.wav(x, rate, "PCM_16"),
    "pcm_s24": lambda x, rate: sounds.wav(x, rate, "PCM_24"),
    "pcm_s32": lambda x, rate: sounds.wav(x, rate, "PCM_32"),
    "float32": lambda x, rate: sounds.wav(x, rate, "FLOAT"),
    "float64": lambda x, rate: sounds.wav(x, rate, "DOUBLE"),
    "ulaw": lambda x, rate: sounds.wav(x, rate, "ULAW"),
    "alaw": lambda x, rate: sounds.wav(x, rate, "ALAW"),
    "flac": lambda x, rate: sounds.flac(x, rate),
    "vorbis": lambda x, rate: sounds.vorbis(x, rate),
}


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("rate", [8_000, 22_050, 44_100, 48_000])
@pytest.mark.parametrize("codec", ENCODERS)
def test_audio_of_every_codec_rate_and_width_is_accepted_as_it_is(codec: str, rate: int, channels: int) -> None:
    data = ENCODERS[codec](sounds.speech(SECONDS, rate, channels), rate)

    audio = verify(data, characters=CHARACTERS)

    assert (audio.codec, audio.sample_rate, audio.channels) == (codec, rate, channels)
    assert audio.frames == SECONDS * rate
    assert audio.seconds == SECONDS
    assert audio.data is data


@pytest.mark.parametrize("rate", [8_000, 12_000, 16_000, 24_000, 48_000])
def test_opus_counts_at_the_rate_it_decodes_to(rate: int) -> None:
    data = sounds.opus(sounds.speech(SECONDS, rate), rate)

    audio = verify(data, characters=CHARACTERS)

    assert (audio.container, audio.codec, audio.sample_rate, audio.frames) == ("ogg", "opus", rate, SECONDS * rate)


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize(
    ("rate", "mode", "level"),
    [
        (8_000, "VARIABLE", 0.5),
        (11_025, "VARIABLE", 0.5),
        (16_000, "AVERAGE", 0.5),
        (22_050, "VARIABLE", 0.0),
        (24_000, "CONSTANT", 0.5),
        (32_000, "VARIABLE", 0.9),
        (44_100, "CONSTANT", 0.3),
        (48_000, "AVERAGE", 0.7),
    ],
)
def test_a_tagged_mp3_is_accepted_as_it_is_and_gapless(rate: int, mode: str, level: float, channels: int) -> None:
    data = sounds.mp3(sounds.speech(SECONDS, rate, channels), rate, mode, level)

    audio = verify(data, characters=CHARACTERS)

    assert (audio.codec, audio.sample_rate, audio.channels) == ("mp3", rate, channels)
    assert audio.frames == SECONDS * rate
    assert audio.data is data


def test_an_untagged_mp3_gets_the_tag_without_which_most_of_it_would_be_lost() -> None:
    loud_then_soft = np.concatenate([sounds.speech(4.0), 0.02 * sounds.speech(16.0)])
    data = sounds.untagged(sounds.mp3(loud_then_soft))
    assert len(sounds.decode(data)) < 0.7 * len(loud_then_soft)  # libsndfile's own guess, from the first frames

    audio = verify(data, characters=None)

    assert audio.data.endswith(data)
    assert len(loud_then_soft) <= audio.frames <= len(loud_then_soft) + 3 * 1_152
    assert len(sounds.decode(audio.data)) == audio.frames
    assert verify(audio.data, characters=None).data is audio.data


@pytest.mark.parametrize("rate", [8_000, 11_025, 22_050, 24_000, 44_100, 48_000])
@pytest.mark.parametrize("channels", [1, 2])
def test_an_untagged_mp3_of_any_kind_decodes_to_what_another_decoder_hears(rate: int, channels: int) -> None:
    data = sounds.untagged(sounds.mp3(sounds.speech(3.0, rate, channels), rate))

    audio = verify(data, characters=45)

    theirs = miniaudio.decode(data, miniaudio.SampleFormat.SIGNED16, channels, rate)
    # The two differ by the 529 samples that a decoder takes to speak up.
    assert theirs.num_frames - 1_200 < audio.frames <= theirs.num_frames


@pytest.mark.parametrize(
    "dress",
    [
        lambda data: sounds.id3() + data,
        lambda data: sounds.id3(10) + sounds.id3(200) + data,
        lambda data: sounds.id3() + bytes(700) + data,
        lambda data: data + sounds.id3v1(),
        lambda data: data + sounds.ape() + sounds.id3v1(),
        lambda data: data + bytes(1_000),
    ],
)
def test_tags_and_padding_around_an_mp3_are_no_fault(dress: Callable[[bytes], bytes]) -> None:
    data = dress(sounds.mp3(sounds.speech(SECONDS)))

    audio = verify(data, characters=CHARACTERS)

    assert audio.frames == SECONDS * 24_000


def test_a_header_frame_without_counts_is_replaced() -> None:
    data = bytearray(sounds.mp3(sounds.speech(SECONDS)))
    at = data.index(b"Xing")
    data[at + 8 : at + 12] = bytes(4)

    audio = verify(bytes(data), characters=CHARACTERS)

    assert audio.data != data
    assert SECONDS * 24_000 <= audio.frames < SECONDS * 24_000 + 3_000


@pytest.mark.parametrize("riff", [None, 0, 0xFFFF_FFFF, 0x7FFF_FFFF])
@pytest.mark.parametrize("samples", [0, 0xFFFF_FFFF, 0x7FFF_FFFF, 0x7FFF_F000, 0xFFFF_FFD3])
def test_a_streamed_wav_gets_its_true_sizes(riff: int | None, samples: int) -> None:
    whole = sounds.wav(sounds.speech(SECONDS))

    audio = verify(sounds.with_sizes(whole, riff, samples), characters=CHARACTERS)

    assert audio.data == whole


@pytest.mark.parametrize("riff", [0, 0xFFFF_FFFF, 44, 192_000])
def test_a_wav_whose_outer_size_alone_is_wrong_is_mended(riff: int) -> None:
    whole = sounds.wav(sounds.speech(SECONDS))

    audio = verify(sounds.with_sizes(whole, riff), characters=CHARACTERS)

    assert audio.data == whole


@pytest.mark.parametrize("pad", [b"", b"\0"])
def test_an_odd_number_of_bytes_is_whole_with_and_without_its_padding(pad: bytes) -> None:
    samples = sounds.decode(sounds.wav(sounds.speech(SECONDS), subtype="ULAW"))[: 24_001 * 3]
    chunk = sounds.format_chunk(tag=7, bits=8)
    data = sounds.wav_with(chunk, (samples >> 8).astype(np.uint8).tobytes()).removesuffix(b"\0") + pad
    size = struct.pack("<I", len(data) - 8)

    audio = verify(data[:4] + size + data[8:], characters=CHARACTERS)

    assert audio.frames == 24_001 * 3


def test_chunks_around_the_samples_are_no_fault() -> None:
    plain = sounds.wav(sounds.speech(SECONDS))
    listing = b"LIST" + struct.pack("<I", 26) + b"INFOISFT\x0e\0\0\0Lavf60.16.100\0"
    data = sounds.wav_with(plain[20:36], plain[44:], before=b"JUNK" + struct.pack("<I", 3) + b"abc\0", after=listing)

    audio = verify(data, characters=CHARACTERS)

    assert audio.data is data
    assert audio.frames == SECONDS * 24_000


def test_several_wav_files_of_one_format_become_one() -> None:
    pieces = [sounds.wav(sounds.speech(2.0, seed=seed)) for seed in range(3)]

    audio = verify(b"".join(pieces), characters=CHARACTERS)

    assert audio.frames == 6 * 24_000
    assert np.array_equal(sounds.decode(audio.data), np.concatenate([sounds.decode(piece) for piece in pieces]))


def test_several_streamed_wav_files_of_one_format_become_one() -> None:
    pieces = [sounds.wav(sounds.speech(2.0, seed=seed)) for seed in range(3)]

    audio = verify(b"".join(sounds.with_sizes(piece, 0xFFFF_FFFF, 0xFFFF_FFFF) for piece in pieces), characters=None)

    assert np.array_equal(sounds.decode(audio.data), np.concatenate([sounds.decode(piece) for piece in pieces]))


def test_a_flac_of_unknown_length_gets_its_length() -> None:
    whole = sounds.flac(sounds.speech(SECONDS))
    data = bytearray(whole)
    data[21] &= 0xF0
    data[22:26] = bytes(4)

    audio = verify(bytes(data), characters=CHARACTERS)

    assert audio.data == whole
    assert audio.frames == SECONDS * 24_000


def test_a_flac_behind_an_id3_tag_loses_the_tag_alone() -> None:
    whole = sounds.flac(sounds.speech(SECONDS))

    audio = verify(sounds.id3() + whole, characters=CHARACTERS)

    assert audio.data == whole


@pytest.mark.parametrize("seconds_per_character", [1 / 59, 1 / 40, 1 / 15, 1 / 5, 1 / 2.1])
def test_any_speed_a_voice_can_have_is_plausible(seconds_per_character: float) -> None:
    data = sounds.wav(sounds.speech(60 * seconds_per_character))

    audio = verify(data, characters=60)

    assert audio.frames > 0


@pytest.mark.parametrize("characters", [None, 1, 19])
def test_a_very_short_text_may_take_any_time(characters: int | None) -> None:
    audio = verify(sounds.wav(sounds.speech(0.1)), characters=characters)

    assert audio.seconds == pytest.approx(0.1)


def test_quiet_speech_is_not_silence() -> None:
    audio = verify(sounds.wav(0.02 * sounds.speech(SECONDS)), characters=CHARACTERS)

    assert audio.seconds == SECONDS


def test_the_verdict_comes_from_the_bytes_and_never_from_the_media_type() -> None:
    """C9"""
    data = sounds.wav(sounds.speech(SECONDS))

    audio = verify(data, characters=CHARACTERS, media_type="audio/mpeg")

    assert audio.container == "wav"


def test_the_input_is_left_as_it_was() -> None:
    data = sounds.with_sizes(sounds.wav(sounds.speech(SECONDS)), 0, 0)
    before = hashlib.sha256(data).digest()

    verify(data, characters=CHARACTERS)

    assert hashlib.sha256(data).digest() == before


def test_samples_that_look_like_text_are_samples() -> None:
    sound = sounds.wav(sounds.speech(SECONDS))
    data = sounds.with_sizes(sound, 0, 0) + json.dumps("}").encode() * 2

    audio = verify(data, characters=CHARACTERS)

    assert audio.frames == SECONDS * 24_000 + 3


@pytest.mark.parametrize("mode", ["VARIABLE", "CONSTANT", "AVERAGE"])
def test_the_checksums_of_an_encoder_are_understood_whoever_wrote_them(mode: str) -> None:
    """FFmpeg writes LAME's fields, but the tag's own checksum always covers 190 bytes."""
    data = bytearray(sounds.mp3(sounds.speech(SECONDS), mode=mode))
    at = data.index(b"LAME")
    data[at : at + 9] = b"Lavf58.12"
    data[at + 34 : at + 36] = bytes(2)
    data[at + 34 : at + 36] = mpeg.crc16(bytes(data[:190])).to_bytes(2)

    audio = verify(bytes(data), characters=CHARACTERS)

    assert audio.frames == SECONDS * 24_000


@pytest.mark.parametrize("length", [0, 1, 2, 3, 255, 256, 1_001])
def test_the_checksum_of_many_bytes_at_once_is_that_of_one_after_another(length: int) -> None:
    data = np.random.default_rng(length).bytes(length)
    crc = 0
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0xA001 if crc & 1 else 0)

    assert mpeg.crc16(data) == crc


@pytest.mark.parametrize(
    ("field", "value"),
    [(24, 24_000 ^ 1 << 3), (24, 0), (28, 0), (28, 123), (28, 0xFFFF_FFFF), (28, 96_000)],
)
def test_of_two_rates_that_contradict_each_other_the_true_one_is_kept(field: int, value: int) -> None:
    whole = sounds.wav(sounds.speech(SECONDS))
    data = whole[:field] + struct.pack("<I", value) + whole[field + 4 :]

    audio = verify(data, characters=CHARACTERS)

    assert audio.data == whole
    assert audio.repairs == ("rates-corrected",)


def test_what_was_mended_is_named() -> None:
    wav, mp3 = sounds.wav(sounds.speech(SECONDS)), sounds.mp3(sounds.speech(SECONDS))
    named = {
        wav: (),
        sounds.with_sizes(wav, 0, 0): ("sizes-corrected",),
        wav + wav: ("sizes-corrected", "files-merged"),
        mp3: (),
        sounds.untagged(mp3): ("length-added",),
        sounds.id3() + mp3: ("tags-removed",),
        sounds.ape() + sounds.untagged(mp3) + sounds.id3v1(): ("tags-removed", "length-added"),
        sounds.opus(sounds.speech(SECONDS)) + bytes(100): ("padding-removed",),
    }

    for data, repairs in named.items():
        assert verify(data, characters=CHARACTERS).repairs == repairs


def test_how_loud_and_how_long_it_is_is_measured() -> None:
    tone, pause = 0.5 * sounds.tone(24_000, 24_000), np.zeros(24_000)
    data = sounds.wav(np.concatenate([pause, tone, pause]))

    audio = verify(data, characters=None)

    assert audio.loudness == pytest.approx(-19.8, abs=0.1)
    assert audio.seconds == 3
    assert audio.heard == pytest.approx(1, abs=0.03)
