"""A vendor's real service, asked with your own keys: it costs. `make live VENDOR=…` says what, asks, and runs this."""

import time

import pytest

from local.live import Target, ways
from speech.audio.verify import verify
from speech.errors import UnsupportedOperation, VendorUnauthorized
from speech.vendors.base import StillWorking

PATIENCE_SECONDS = 600.0
TARGET = Target.from_env()


@pytest.mark.parametrize("way", ways(TARGET.vendor), ids=lambda way: "-".join(map(str, way.values())) or "plain")
def test_a_sentence_is_spoken(way: dict[str, object]) -> None:
    vendor = TARGET.adapter()

    outcome = vendor.start(TARGET.request(**way))
    until = time.monotonic() + PATIENCE_SECONDS
    while isinstance(outcome, StillWorking) and time.monotonic() < until:
        time.sleep(outcome.check_after)  # the vendor wants to be asked no sooner
        outcome = vendor.check(outcome.vendor_job_id)

    assert not isinstance(outcome, StillWorking), f"still working after {PATIENCE_SECONDS:g} seconds"
    heard = verify(outcome.data, characters=len(TARGET.text))
    assert heard.container in vendor.capabilities.audio_formats
    print(f"\n{heard.seconds:.1f} s of {heard.container} at {heard.sample_rate} Hz, {outcome.credits} credits")


def test_voices_are_listed() -> None:
    vendor = TARGET.adapter()

    if not vendor.capabilities.lists_voices:
        with pytest.raises(UnsupportedOperation):
            vendor.voices()
        return
    assert vendor.voices()


def test_what_is_left_is_told() -> None:
    vendor = TARGET.adapter()

    if not vendor.capabilities.reports_credits:
        with pytest.raises(UnsupportedOperation):
            vendor.credits_left()
        return
    assert vendor.credits_left() >= 0


def test_a_wrong_key_is_refused() -> None:
    with pytest.raises(VendorUnauthorized):
        TARGET.adapter(key="wrong-key").start(TARGET.request())
