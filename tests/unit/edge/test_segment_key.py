"""What has another sound has another key; what has the same sound has the same one, however it is written.

Driven by what the adapters and the request declare, so that no option can be added without a decision.
"""

import unicodedata
from dataclasses import fields, replace
from typing import Any

import pytest

from speech.ids import LEFT_OUT, NOT_AUDIBLE, segment_key
from speech.jobs import Spec
from speech.requests import JobRequest
from speech.vendors import VENDORS, capabilities, vendor_class
from speech.vendors.base import Option
from tests.fakes import a_spec

TEXT = "The sun is up, and the birds are singing."

CHANGES_THE_SOUND = frozenset({"text", "vendor", "voice", "language", "speed", "vendor_options", "lexicon"})
"""Fields of a request that are part of the key; the two that name others who may speak change it when they do."""

CHANGES_NO_SEGMENT = frozenset(
    {
        *("format", "sample_rate"),  # of what comes out: segments are kept as the vendor sent them
        *("loudness", "trim_silence", "preview", "cover"),
        *("title", "author", "date", "metadata", "webhook_url", "request_id", "max_cost", "fallback"),
    }
)


def key(spec: Spec, text: str = TEXT) -> str:
    return segment_key("default", spec, text)


def two_values(option: Option) -> tuple[Any, Any]:
    """Two values that the option may have, and that are not what leaving it out means."""
    if option.choices:
        return option.choices[-1], option.choices[-2]
    if option.kind in ("number", "integer"):
        low = option.minimum if option.minimum is not None else 0
        high = option.maximum if option.maximum is not None else low + 100
        if option.kind == "integer":
            return int(low), int(high)
        return low + (high - low) * 0.3, low + (high - low) * 0.7
    if option.kind == "boolean":
        return True, False
    if option.kind == "uuid":
        return "3fa85f64-5717-4562-b3fc-2c963f66afa6", "9b2f85f6-5717-4562-b3fc-2c963f66afa6"
    return "one", "other"


DECLARED = [
    pytest.param(vendor, option, id=f"{vendor}-{option.name}")
    for vendor in VENDORS
    for option in capabilities(vendor).options
]


@pytest.mark.parametrize(("vendor", "option"), DECLARED)
def test_each_option_of_each_vendor_is_part_of_the_key_unless_it_is_not_heard(vendor: str, option: Option) -> None:
    spec = a_spec(vendor=vendor, voice="v")

    keys = {key(spec), *(key(replace(spec, vendor_options={option.name: value})) for value in two_values(option))}

    assert len(keys) == (1 if option.name in NOT_AUDIBLE else 3)


def test_what_is_not_heard_is_declared_by_somebody() -> None:
    names = {option.name for vendor in VENDORS for option in capabilities(vendor).options}

    assert names >= NOT_AUDIBLE
    assert all(
        set(options) <= {option.name for option in capabilities(vendor).options} for vendor, options in LEFT_OUT.items()
    )


def test_each_field_of_a_request_is_known_to_change_the_sound_or_not_to() -> None:
    """Whoever adds one says so here; if it changes the sound of what is bought, it must be part of the key."""
    assert set(JobRequest.model_fields) - CHANGES_THE_SOUND - CHANGES_NO_SEGMENT == set()
    assert {field.name for field in fields(Spec)} - CHANGES_NO_SEGMENT == CHANGES_THE_SOUND - {"text"}


@pytest.mark.parametrize(
    "changes",
    [{"voice": "w"}, {"voice": None}, {"language": "de"}, {"language": None}, {"speed": 1.5}, {"vendor": "convai"}],
    ids=lambda changes: "-".join(changes),
)
def test_what_changes_the_sound_changes_the_key(changes: dict[str, Any]) -> None:
    spec = a_spec(vendor="playht", voice="v", speed=1.0)

    assert key(replace(spec, **changes)) != key(spec)


def test_text_and_tenant_change_the_key() -> None:
    spec = a_spec()

    assert len({key(spec), key(spec, TEXT.upper()), key(spec, TEXT[:-1]), segment_key("acme", spec, TEXT)}) == 4


@pytest.mark.parametrize("changes", [{"format": "wav"}, {"sample_rate": 8_000}], ids=lambda changes: "-".join(changes))
def test_what_we_make_of_the_audio_does_not_change_the_key(changes: dict[str, Any]) -> None:
    assert key(replace(a_spec(), **changes)) == key(a_spec())


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"top_p": 0.5, "temperature": 2}, {"temperature": 2.0, "top_p": 0.5}),
        ({"top_p": 1}, {"top_p": 1.0}),
        ({"temperature": 1}, {}),
        ({"temperature": 1.0, "top_p": 0.8, "audio_format": "wav"}, {}),
        ({"delivery": "websocket"}, {"delivery": "stream"}),
    ],
    ids=["order", "numbers", "a default", "all defaults", "delivery"],
)
def test_options_that_say_the_same_have_the_same_key(one: dict[str, Any], other: dict[str, Any]) -> None:
    spec = a_spec(vendor="voiceai")

    assert key(replace(spec, vendor_options=one)) == key(replace(spec, vendor_options=other))


def test_null_is_left_out() -> None:
    spec = a_spec(vendor="playht", voice="v")

    assert key(replace(spec, vendor_options={"seed": None, "voice_engine": "PlayHT2.0"})) == key(spec)
    assert key(replace(spec, vendor_options={"seed": 0})) != key(spec)


def test_a_composed_letter_and_its_parts_are_one_text() -> None:
    text = "Grüße, señor: café."

    assert key(a_spec(), unicodedata.normalize("NFD", text)) == key(a_spec(), text)


def test_a_uuid_is_the_same_in_capitals_and_any_other_voice_is_not() -> None:
    voice = "3fa85f64-5717-4562-b3fc-2c963f66afa6"
    spec = a_spec(vendor="creatify", voice=voice)

    assert vendor_class("creatify").voice_kind == "uuid"
    assert key(replace(spec, voice=voice.upper())) == key(spec)
    assert key(replace(spec, voice="WUMale 1")) != key(replace(spec, voice="wumale 1"))


def test_language_is_in_its_usual_spelling_before_it_is_part_of_a_key() -> None:
    from speech.requests import Way

    asked = [JobRequest.parse({"text": TEXT, "language": tag}, Way.API).language for tag in ("EN-us", "en-US")]

    assert asked == ["en-US", "en-US"]


def test_a_key_of_the_release_before_is_found_again() -> None:
    """What was bought then is not bought again: the form of a plain request's key has not changed."""
    spec = a_spec(vendor="voiceai", voice="v", speed=1.0, vendor_options={"temperature": 0.5, "model": "m"})

    assert key(spec, "Hello.") == OF_THE_RELEASE_BEFORE


OF_THE_RELEASE_BEFORE = "default/cc/cc7c60b7b82d23615b2bd4189682fd7f74235633101392bfc081486b5edabfa3"
