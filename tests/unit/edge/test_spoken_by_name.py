"""Jobs whose words only the vendor knows: a message of a Dify app, where the operator allows it."""

import json
from typing import Any

import pytest

from speech.errors import InvalidRequest, UnsupportedOption
from speech.jobs import Job, JobStatus, Source
from speech.messages import StartSegment
from speech.requests import JobRequest, Way
from speech.settings import Settings
from speech.usecases.accept_job import API, Accepted, Arrival
from tests.support.edge import Edge

MESSAGE = "6f8ca7a8-1c5a-4b1e-9d5c-0d7f3a2b1c4e"
ANOTHER = MESSAGE.replace("6", "7")
ANONYMOUS = Arrival(kind=API, source=Source(type="api"))


def an_edge(*, allowed: bool = True) -> Edge:
    base_urls = {"playht": "https://speech.example"}
    return Edge(settings=Settings(texts_bucket="voicedrop-texts", dify_message_ids=allowed, base_urls=base_urls))


def options(message_id: Any = MESSAGE, **more: Any) -> dict[str, Any]:
    return {"vendor": "dify", "vendor_options": {"message_id": message_id, **more}}


def posted(edge: Edge, **fields: Any) -> Accepted:
    return edge.post_job("default", fields, None)


def audio_key(edge: Edge, job: Job) -> str:
    [segment] = edge.store.segments("default", job.id)
    return segment.audio_key


@pytest.mark.proves("dify: limit text or message_id")
def test_a_message_needs_no_text_and_is_one_segment_of_no_characters() -> None:
    edge = an_edge()

    job = posted(edge, **options()).job

    [segment] = edge.store.segments("default", job.id)
    assert (job.status, job.characters, job.segments_total) == (JobStatus.SYNTHESIZING, None, 1)
    assert (segment.start, segment.end, segment.characters) == (0, 0, 0)
    assert edge.dispatcher.on("dify") == [StartSegment("default", job.id, segment=0, vendor="dify")]
    assert job.spec is not None
    assert job.spec.vendor_options == {"message_id": MESSAGE}


@pytest.mark.proves("dify: priority message_id")
def test_a_message_wins_over_a_text_which_is_not_even_kept() -> None:
    edge = an_edge()

    job = posted(edge, text="Not this. " * 1000, **options()).job

    assert (job.characters, job.segments_total) == (None, 1)
    assert edge.texts.texts["default", job.text_id] == b""


@pytest.mark.parametrize("text", ["", "   ", "...", "x" * 1_000_001])
def test_a_text_that_is_not_spoken_is_not_judged(text: str) -> None:
    assert posted(an_edge(), text=text, **options()).job.characters is None


def test_the_message_and_its_user_say_what_the_audio_is() -> None:
    edge = an_edge()

    keys = [
        audio_key(edge, posted(edge, **asked).job)
        for asked in (
            options(),
            options() | {"text": "Hi."},
            options(ANOTHER),
            options(user="abc-123"),
            options() | {"voice": "alloy"},
            {"vendor": "dify", "text": "Hi."},
        )
    ]

    assert keys[0] == keys[1]
    assert len(set(keys)) == 5


def test_by_message_and_by_file_it_is_the_same() -> None:
    edge = an_edge()
    front_matter = f"---\nvoicedrop: {json.dumps(options())}\n---\nNot this.\n"

    edge.ingest_message(json.dumps(options()), "m-1")
    sent = edge.only_job()
    dropped = edge.drop("a.md", front_matter)

    assert (sent.status, dropped.status) == (JobStatus.SYNTHESIZING, JobStatus.SYNTHESIZING)
    assert audio_key(edge, sent) == audio_key(edge, dropped)


@pytest.mark.parametrize("text", [{}, {"text": "Hi."}])
def test_t2_where_the_operator_does_not_allow_it_a_message_is_refused_and_nothing_is_kept(
    text: dict[str, str],
) -> None:
    edge = an_edge(allowed=False)

    with pytest.raises(UnsupportedOption) as caught:
        posted(edge, **options(), **text)

    assert [each.field for each in caught.value.errors] == ["vendor_options.message_id"]
    assert edge.store.jobs() == []
    assert edge.texts.texts == {}
    assert edge.dispatcher.on("dify") == []


def test_t2_a_refused_message_on_the_queue_is_a_failed_job() -> None:
    edge = an_edge(allowed=False)

    edge.ingest_message(json.dumps(options()), "m-1")

    job = edge.only_job()
    assert job.status is JobStatus.FAILED
    assert job.problem is not None
    assert job.problem["code"] == "unsupported-option"


@pytest.mark.parametrize("vendor", ["voiceai", "creatify", "convai"])
def test_no_other_vendor_knows_messages(vendor: str) -> None:
    with pytest.raises(UnsupportedOption) as caught:
        posted(an_edge(), vendor=vendor, voice="v", vendor_options={"message_id": MESSAGE})

    assert "vendor_options.message_id" in [each.field for each in caught.value.errors]


@pytest.mark.parametrize("message_id", [None, "", "no uuid", 7])
def test_a_message_id_is_a_uuid(message_id: Any) -> None:
    with pytest.raises(InvalidRequest) as caught:
        posted(an_edge(), **options(message_id))

    assert [each.field for each in caught.value.errors] == ["vendor_options.message_id"]


@pytest.mark.proves("dify: limit text or message_id")
@pytest.mark.parametrize("way", [Way.API, Way.MESSAGE])
@pytest.mark.parametrize("fields", [{}, {"vendor_options": {}}, {"vendor_options": {"user": "u"}}])
def test_without_a_message_the_text_is_missing(way: Way, fields: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest) as caught:
        JobRequest.parse({"vendor": "dify", **fields}, way)

    assert [each.field for each in caught.value.errors] == ["text"]


@pytest.mark.parametrize("allowed", [True, False])
def test_the_list_of_vendors_shows_what_this_stack_takes(allowed: bool) -> None:
    [dify] = [each for each in an_edge(allowed=allowed).list_vendors()["vendors"] if each["name"] == "dify"]

    shown = [option["name"] for option in dify["options"]]
    assert shown == ["user", "streaming", *(["message_id"] if allowed else [])]
    assert all("allowed_by" not in option for option in dify["options"])


def test_the_list_of_vendors_says_that_playht_is_retired_and_which_limits_it_has() -> None:
    [playht] = [each for each in an_edge().list_vendors()["vendors"] if each["name"] == "playht"]

    assert playht["status"] == "retired"
    assert "closed since 31 December 2025" in playht["notes"][0]
    assert playht["character_limit"] == 2000
    assert playht["other_limits"] == [{"option": "voice_engine", "value": "Play3.0-mini", "character_limit": 20_000}]
    [emotion] = [option for option in playht["options"] if option["name"] == "emotion"]
    assert emotion["only_with"] == ("voice_engine", ("PlayHT2.0", None))


@pytest.mark.proves("playht: limit text", "playht: limit text with Play3.0-mini")
@pytest.mark.parametrize(("engine", "segments"), [(None, 2), ("PlayHT2.0", 2), ("PlayDialog", 2), ("Play3.0-mini", 1)])
def test_a_text_is_cut_at_the_limit_of_its_engine(engine: str | None, segments: int) -> None:
    text = "A sentence of a text. " * 150

    job = posted(an_edge(), vendor="playht", voice="s3://v", text=text, vendor_options={"voice_engine": engine}).job

    assert job.segments_total == segments


@pytest.mark.parametrize(("said", "allowed"), [("true", True), ("false", False), ("", False), ("yes", False)])
def test_only_the_word_true_allows_messages(said: str, allowed: bool) -> None:
    assert Settings.from_env({"DIFY_MESSAGE_IDS": said}).dify_message_ids is allowed
