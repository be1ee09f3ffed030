"""Whether a vendor is there for us, asked in a way that costs nothing."""

from collections.abc import Callable

import pytest

from speech.errors import VendorError
from tests.vendors.scripted import Scripted, answer, vendor_at

Serve = Callable[..., Scripted]

WELL = {
    "convai": [answer(200, {})],
    "voiceai": [answer(200, [])],
    "dify": [answer(200, {"text_to_speech": {}})],
    "playht": [answer(200, []), answer(200, [])],
    "creatify": [answer(200, {"remaining_credits": "0.5"})],
}


@pytest.mark.parametrize("vendor", WELL)
def test_a_vendor_that_is_well_is_asked_without_anything_that_costs(serve: Serve, vendor: str) -> None:
    server = serve(*WELL[vendor])

    vendor_at(vendor, server).probe()

    assert {each.method for each in server.seen} == {"GET"}


@pytest.mark.parametrize("vendor", WELL)
@pytest.mark.parametrize(
    ("reply", "code"),
    [
        (answer(500, b"no"), "vendor-unavailable"),
        (answer(429, b""), "vendor-throttled"),
        (answer(200, b"<!doctype html><title>Moved on</title>"), "vendor-gone"),
        (answer(410, b""), "vendor-gone"),
        (answer(302, headers=[("Location", "https://elsewhere.example")]), "vendor-misbehaved"),
    ],
)
def test_c20_c23_a_vendor_that_is_not_there_is_found_out(serve: Serve, vendor: str, reply: bytes, code: str) -> None:
    with pytest.raises(VendorError) as caught:
        vendor_at(vendor, serve(reply)).probe()

    assert caught.value.code == code


@pytest.mark.parametrize("vendor", sorted(WELL.keys() - {"convai"}))
def test_c5_a_refused_key_is_found_out(serve: Serve, vendor: str) -> None:
    with pytest.raises(VendorError) as caught:
        vendor_at(vendor, serve(answer(401, {"error": "no", "detail": "no"}))).probe()

    assert caught.value.code == "vendor-unauthorized"


@pytest.mark.parametrize("status", [401, 403])
def test_convais_list_needs_a_plan_of_its_own_and_so_its_refusal_proves_nothing(serve: Serve, status: int) -> None:
    vendor_at("convai", serve(answer(status, {"ERROR": "Invalid API key provided."}))).probe()


def test_c7_an_account_without_credits_is_found_out(serve: Serve) -> None:
    with pytest.raises(VendorError) as caught:
        vendor_at("creatify", serve(answer(200, {"remaining_credits": 0}))).probe()

    assert caught.value.code == "vendor-quota-exhausted"
