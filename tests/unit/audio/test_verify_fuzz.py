"""T15: whatever happens to the bytes, the verdict is audio or UnusableAudio, and comes at once."""

import io
import os
from collections.abc import Iterator

import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from speech.audio.recognise import recognise
from speech.audio.verify import verify
from speech.errors import UnusableAudio
from tests.unit.audio import sounds

SOUND = sounds.speech(1.0, 16_000)
FILES = [
    sounds.wav(SOUND, 16_000),
    sounds.with_sizes(sounds.wav(SOUND, 16_000), 0, 0),
    sounds.wav(SOUND, 16_000, "ULAW"),
    sounds.wav(SOUND, 16_000, "FLOAT", "WAVEX"),
    sounds.mp3(SOUND, 16_000),
    sounds.untagged(sounds.mp3(SOUND, 16_000)),
    sounds.id3() + sounds.mp3(SOUND, 16_000) + sounds.ape() + sounds.id3v1(),
    sounds.flac(SOUND, 16_000),
    sounds.opus(SOUND, 16_000),
    sounds.vorbis(SOUND, 16_000),
]


@pytest.fixture(autouse=True, scope="module")
def quiet_decoder() -> Iterator[None]:
    """The MP3 decoder complains on file descriptor 2 of every frame it cannot read."""
    kept = os.dup(2)
    with open(os.devnull, "w") as nowhere:  # noqa: PTH123 - a device, not a path
        os.dup2(nowhere.fileno(), 2)
    yield
    os.dup2(kept, 2)
    os.close(kept)


def judged(data: bytes, characters: int | None) -> None:
    """Accepted audio must be what the verdict says it is; everything else must be refused in the one way."""
    recognise(data)
    try:
        audio = verify(data, characters=characters)
    except UnusableAudio:
        return
    assert audio.seconds == audio.frames / audio.sample_rate > 0
    with soundfile.SoundFile(io.BytesIO(audio.data)) as file:
        file.seekable = lambda: False
        assert len(file.read(audio.frames + 10_000)) == audio.frames


@st.composite
def mutations(draw: st.DrawFn) -> bytes:
    """A good file with a few bytes changed, cut, repeated, moved or put in."""
    data = bytearray(draw(st.sampled_from(FILES)))
    early = draw(st.booleans())  # headers are where the interesting bytes are
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, min(len(data), 300) if early else len(data)))
        length = draw(st.integers(0, 64))
        match draw(st.sampled_from(["flip", "set", "cut", "repeat", "insert", "end"])):
            case "flip" if at < len(data):
                data[at] ^= 1 << draw(st.integers(0, 7))
            case "set":
                data[at : at + 4] = draw(st.sampled_from([bytes(4), b"\xff" * 4, b"\xff\xff\xff\x7f", b"\0\0\0\x80"]))
            case "cut":
                del data[at : at + length]
            case "repeat":
                data[at:at] = data[at : at + length]
            case "insert":
                data[at:at] = draw(st.binary(max_size=64))
            case "end":
                del data[at:]
    return bytes(data)


@settings(max_examples=700, deadline=None, database=None)
@given(data=mutations(), characters=st.sampled_from([None, 15]))
def test_t15_a_mutated_file_is_judged_and_nothing_else_happens(data: bytes, characters: int | None) -> None:
    judged(data, characters)


@settings(max_examples=300, deadline=None, database=None)
@given(
    data=st.one_of(
        st.binary(max_size=600),
        st.tuples(
            st.sampled_from([b"RIFF\0\0\0\0WAVE", b"OggS\0\2", b"fLaC\0\0\0\x22", b"ID3\3\0\0", b"\xff\xfb\x90\xc4"]),
            st.binary(max_size=600),
        ).map(b"".join),
        st.text(max_size=200).map(str.encode),
    )
)
def test_t15_random_bytes_are_judged_and_nothing_else_happens(data: bytes) -> None:
    judged(data, None)


@settings(max_examples=100, deadline=None, database=None)
@given(parts=st.lists(st.sampled_from(FILES), min_size=2, max_size=3), cut=st.integers(0, 5_000))
def test_t15_files_glued_together_are_judged_and_nothing_else_happens(parts: list[bytes], cut: int) -> None:
    whole = b"".join(parts)

    judged(whole[: len(whole) - cut], None)
