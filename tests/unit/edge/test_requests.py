"""What may be asked for, and what is said about what may not (A10)."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from speech.errors import InvalidRequest
from speech.requests import FORMATS, OPTIONS, JobRequest, Way, formats, is_request_id, require_format, require_https

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inside: st.lists(inside, max_size=3) | st.dictionaries(st.text(max_size=8), inside, max_size=3),
    max_leaves=8,
)


def parse(way: Way = Way.API, **fields: Any) -> JobRequest:
    return JobRequest.parse({"text": "Hello.", **fields} if way is not Way.UPLOAD else fields, way)


def complaint(way: Way = Way.API, **fields: Any) -> str:
    """What is said about one wrong field; it must be named in the errors and in the detail."""
    with pytest.raises(InvalidRequest) as refused:
        parse(way, **fields)
    assert refused.value.status == 422
    [error] = refused.value.errors
    assert error.field.split(".")[0] in fields
    assert error.field in refused.value.detail
    return error.message


def test_a_whole_request_is_taken_as_it_is() -> None:
    fields: dict[str, Any] = {
        "text": "Hello.",
        "vendor": "voiceai",
        "voice": "s3://voices/one.json",
        "language": "en",
        "format": "ogg",
        "sample_rate": 22_050,
        "speed": 1.25,
        "metadata": {"article": "4711"},
        "webhook_url": "https://example.com/hook?x=1",
        "vendor_options": {"delivery": "whole"},
    }

    assert JobRequest.parse(fields, Way.API).model_dump(exclude_none=True) == fields


def test_null_is_the_same_as_left_out() -> None:
    assert parse(voice=None, metadata=None, sample_rate=None) == parse()


def test_every_unknown_field_is_named_at_once() -> None:
    with pytest.raises(InvalidRequest) as refused:
        parse(colour="red", Voice="x")

    assert {each.field for each in refused.value.errors} == {"colour", "Voice"}
    assert "vendor_options" in refused.value.errors[0].message


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("text", 1),
        ("text", ["Hello."]),
        ("vendor", 1),
        ("vendor", ""),
        ("voice", True),
        ("voice", ""),
        ("voice", " "),
        ("voice", "a\nb"),
        ("voice", "x" * 1_001),
        ("sample_rate", "22050"),
        ("sample_rate", True),
        ("sample_rate", 22_050.0),
        ("sample_rate", 22_050.5),
        ("sample_rate", 7_999),
        ("sample_rate", 48_001),
        ("speed", "1.0"),
        ("speed", True),
        ("speed", 0),
        ("speed", -1),
        ("speed", math.nan),
        ("speed", math.inf),
        ("speed", 10**400),
        ("loudness", "-16"),
        ("loudness", True),
        ("loudness", "OFF"),
        ("loudness", -30.1),
        ("loudness", 0),
        ("loudness", math.nan),
        ("loudness", [-16]),
        ("trim_silence", "false"),
        ("trim_silence", 0),
        ("metadata", "a=b"),
        ("metadata", ["a"]),
        ("metadata", {"a": 1}),
        ("metadata", {"a": None}),
        ("metadata", {"": "b"}),
        ("metadata", {"k" * 129: "v"}),
        ("metadata", {"k": "v" * 1_025}),
        ("metadata", {str(number): "v" for number in range(51)}),
        ("metadata", {str(number): "é" * 500 for number in range(9)}),
        ("vendor_options", []),
        ("vendor_options", "delivery=whole"),
        ("request_id", "order-1"),
    ],
)
def test_a_wrong_field_is_named_and_nothing_is_converted(field: str, value: Any) -> None:
    """A10"""
    assert len(complaint(**{field: value})) > 5


@pytest.mark.parametrize(
    "tag", ["en", "de-CH", "zh-Hant-TW", "es-419", "sl-rozaj-biske-1994", "de-CH-x-phonebk", "yue"]
)
def test_language_tags_are_taken(tag: str) -> None:
    assert parse(language=tag).language == tag


@pytest.mark.parametrize(("sent", "meant"), [("EN", "en"), ("en-us", "en-US"), ("ZH-hANT-tw", "zh-Hant-TW")])
def test_language_tags_are_spelled_the_usual_way_so_that_the_same_speech_is_bought_once(sent: str, meant: str) -> None:
    assert parse(language=sent).language == meant


@pytest.mark.parametrize(
    "tag", ["", "e", "en_US", "english please", "en-", "-en", "en--US", "123", "é", "a" * 65, "en\n"]
)
def test_what_is_no_language_tag_is_refused_with_examples(tag: str) -> None:
    assert "de-CH" in complaint(language=tag)


@pytest.mark.parametrize(("sent", "meant"), [(-16, -16), (-23.5, -23.5), (False, "off"), ("off", "off"), (None, None)])
def test_loudness_is_a_number_or_off(sent: Any, meant: Any) -> None:
    request = parse(loudness=sent)

    assert request.loudness == meant
    assert parse(**request.model_dump(exclude_none=True)) == request  # as the options of a drop are merged
    assert "`false`" in complaint(loudness=-7)


@pytest.mark.parametrize("format", FORMATS)
def test_every_format_is_taken(format: str) -> None:
    assert parse(format=format).format == format


def test_the_formats_are_those_that_can_be_written() -> None:
    from speech.audio.join import FORMATS as WRITTEN

    assert set(FORMATS) == set(WRITTEN)


def test_m4b_is_refused_without_the_media_layer_with_the_way_to_it_and_the_choice() -> None:
    request = parse(format="m4b")

    require_format(request.format, media_layer=True)
    with pytest.raises(InvalidRequest) as refused:
        require_format(request.format, media_layer=False)

    assert [each.field for each in refused.value.errors] == ["format"]
    assert "make deploy MEDIA=1" in refused.value.detail
    assert "`mp3`" in refused.value.detail
    assert (formats(media_layer=True), formats(media_layer=False)) == (list(FORMATS), ["mp3", "wav", "ogg", "flac"])


@pytest.mark.parametrize("format", ["MP3", "aac", "", "audio/mpeg", ".mp3"])
def test_an_unknown_format_is_refused_with_the_choice(format: str) -> None:
    assert "`flac`" in complaint(format=format)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "example.com",
        "ftp://example.com",
        "https://",
        "https:///x",
        "https://user:pass@example.com/",
        "https://example.com/#part",
        "https://exa mple.com/",
        "https://example.com:99999/",
        "https://[::1",
        "https://exämple.com/",
        "javascript:alert(1)",
        "https://example.com/" + "x" * 2_000,
        "https://example.com\\@evil.com/",
    ],
)
def test_a_webhook_that_is_no_plain_address_is_refused(url: str) -> None:
    assert len(complaint(webhook_url=url)) > 10


@pytest.mark.parametrize("url", ["http://example.com/", "https://127.0.0.1/", "https://[::1]/", "https://10.0.0.1/x"])
def test_plain_and_private_webhooks_are_for_local_stacks_only(url: str) -> None:
    assert parse(webhook_url=url).webhook_url == url
    require_https(url, local=True)

    with pytest.raises(InvalidRequest, match="webhook_url"):
        require_https(url, local=False)


@pytest.mark.parametrize("body", [None, 1, "text", [], [{"text": "x"}], True])
def test_a_body_that_is_no_object_is_refused(body: object) -> None:
    """A10"""
    with pytest.raises(InvalidRequest, match="JSON object"):
        JobRequest.parse(body, Way.API)


@pytest.mark.parametrize("way", [Way.API, Way.MESSAGE])
def test_a_request_without_text_is_refused(way: Way) -> None:
    with pytest.raises(InvalidRequest, match="`text` is missing"):
        JobRequest.parse({}, way)


def test_only_messages_name_themselves() -> None:
    assert parse(Way.MESSAGE, request_id="order-1").request_id == "order-1"
    assert "Idempotency-Key" in complaint(request_id="order-1")
    assert "version" in complaint(Way.UPLOAD, request_id="order-1")


def test_a_drop_has_options_but_no_text_of_its_own() -> None:
    assert "content of the file" in complaint(Way.UPLOAD, text="Hello.")
    assert set(OPTIONS) == set(JobRequest.model_fields) - {"text", "request_id"}


@pytest.mark.parametrize("value", ["", " ", "x" * 129, "a\nb", "\x7f"])
def test_a_request_id_is_short_and_printable(value: str) -> None:
    assert not is_request_id(value)
    assert len(complaint(Way.MESSAGE, request_id=value)) > 5


@given(JSON | st.fixed_dictionaries({}, optional=dict.fromkeys(JobRequest.model_fields, JSON)))
def test_any_json_is_a_request_or_is_refused_with_reasons_and_without_its_content(body: object) -> None:
    """A10"""
    try:
        said = JobRequest.parse(body, Way.MESSAGE).text
    except InvalidRequest as error:
        said = error.detail

    assert said is not None
    assert "pydantic" not in said
    assert "input_value" not in said
