"""Covers: what is a picture, and of what size, is told by its own bytes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from speech.audio.picture import MAX_BYTES, cover
from tests.support.pictures import a_jpeg, a_png


@pytest.mark.parametrize(
    ("data", "mime"), [(a_png(640, 480), "image/png"), (a_jpeg(640, 480), "image/jpeg")], ids=["png", "jpeg"]
)
def test_a_picture_is_known_by_its_bytes_and_kept_as_it_is(data: bytes, mime: str) -> None:
    found = cover(data)

    assert (found.mime, found.width, found.height, found.data) == (mime, 640, 480, data)


BAD = {
    "empty": (b"", "neither"),
    "a text": (b"hello", "neither"),
    "a GIF": (b"GIF89a" + bytes(50), "neither"),
    "the name of a PNG": (b"\x89PNG\r\n\x1a\n", "neither"),
    "a cut JPEG": (a_jpeg()[:12], "neither"),
    "a JPEG without a picture": (b"\xff\xd8\xff\xe0\x00\x10" + bytes(30), "neither"),
    "no pixels": (a_png(0, 5), "pixels"),
    "too many pixels": (a_jpeg(20_000, 10), "pixels"),
    "too many bytes": (a_png(more=MAX_BYTES), "2,000,000 bytes"),
}


@pytest.mark.parametrize(("data", "says"), BAD.values(), ids=BAD)
def test_what_is_no_cover_is_refused_with_the_reason(data: bytes, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        cover(data)


@given(st.binary(max_size=200), st.sampled_from([b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"]))
def test_any_bytes_are_a_picture_or_are_refused(data: bytes, head: bytes) -> None:
    try:
        found = cover(head + data)
    except ValueError:
        return
    assert found.data == head + data
