"""What finished audio says about its job: titles, chapters from headings, and the list of them beside it."""

import json
from collections.abc import Mapping
from typing import Any

import pytest

from speech.audio.tags import MAX_CHAPTERS
from speech.jobs import About, Job, JobStatus, Source
from speech.requests import JobRequest, Way
from speech.settings import Settings
from speech.titles import tags_of
from speech.usecases.accept_job import API, Arrival
from tests.fakes import a_job, a_segment
from tests.support.edge import BUCKET, Edge, a_notification, s3_encoded
from tests.support.pictures import a_jpeg, a_png
from tests.support.tagged import Tagged, by_mutagen
from tests.support.world import World

BOOK = """Words before it all.

# The First

It was a dark night.

## A part of it

And it was cold.

### Too deep

Nobody looks here.

# The Second

It was a bright day.
"""
AUDIO_BUCKET = "voicedrop-audio"
CHAPTERS = ["book", "The First", "A part of it", "The Second"]


class Publisher:
    """A stack on fakes from the ways in to the results."""

    def __init__(self) -> None:
        self.world = World()
        self.drops = 0
        self.edge = Edge(
            store=self.world.store,
            texts=self.world.texts,
            dispatcher=self.world.dispatcher,
            clock=self.world.clock,
            results=self.world.results,
            settings=Settings(
                texts_bucket=BUCKET, audio_bucket=AUDIO_BUCKET, default_voices={"convai": "WUMale 1"}, media_layer=True
            ),
        )

    def drop(self, key: str, text: str, **options: str) -> Job:
        metadata = {f"voicedrop-{name}": value for name, value in {"vendor": "convai", **options}.items()}
        placed = self.edge.inputs.drop(BUCKET, key, text.encode(), metadata=metadata)
        self.drops += 1
        notification = a_notification(s3_encoded(key), versionId=placed.version_id, sequencer=f"{self.drops:016X}")
        self.edge.ingest_upload(notification)
        return self.ended(self.world.store.jobs()[-1])

    def post(self, **request: Any) -> Job:
        arrival = Arrival(kind=API, source=Source(type=API))
        accepted = self.edge.accept_job(
            arrival, JobRequest.parse({"vendor": "convai", **request}, Way.API), request["text"]
        )
        return self.ended(accepted.job)

    def ended(self, job: Job) -> Job:
        self.world.run()
        ended = self.world.job(job.id)
        assert ended.status is JobStatus.COMPLETED, ended.problem
        return ended

    def said(self, job: Job) -> Tagged:
        """What the audio of a job says about itself."""
        assert job.result is not None
        return by_mutagen(self.world.results.objects[f"{job.result.key}.{job.result.format}"].data, job.result.format)

    def listed(self, job: Job) -> Mapping[str, Any]:
        assert job.result is not None
        listed: Mapping[str, Any] = json.loads(self.world.results.objects[f"{job.result.key}.chapters.json"].data)
        return listed


@pytest.mark.parametrize("format", ["mp3", "wav", "flac", "ogg", "m4b"])
def test_a_dropped_book_has_its_name_its_chapters_and_the_mark_of_a_machine(format: str) -> None:
    publisher = Publisher()

    job = publisher.drop("shelf/book.txt", BOOK, format=format, language="en-GB", author="Ann Author")

    said = publisher.said(job)
    assert (said.title, said.author, said.is_ai) == ("The First", "Ann Author", "true")
    assert said.language in ("en-GB", "eng", None if format == "m4b" else "eng")
    assert said.date == "2026-11-20"
    assert said.comment == "AI-generated speech by convai, voice WUMale 1, made with Voicedrop"
    assert [title for _, title in said.chapters] == CHAPTERS
    assert job.result is not None
    assert job.result.chapters == len(CHAPTERS)


def test_chapters_begin_where_their_headings_are_heard_and_are_listed_beside_the_audio() -> None:
    publisher = Publisher()

    job = publisher.drop("shelf/book.txt", BOOK)

    listed = publisher.listed(job)
    assert (listed["version"], listed["title"]) == ("1.2.0", "The First")
    assert [each["title"] for each in listed["chapters"]] == CHAPTERS
    manifest = json.loads(publisher.world.results.objects["shelf/book.txt.manifest.json"].data)
    heard = {each["start"] for each in manifest["segments"]}
    starts = [each["startTime"] for each in listed["chapters"]]
    assert starts[0] == 0
    assert all(min(abs(start - each) for each in heard) < 0.001 for start in starts)
    assert starts == sorted(set(starts))
    assert publisher.world.results.objects["shelf/book.txt.chapters.json"].content_type == "application/json+chapters"


def test_what_was_asked_for_wins_over_headings_and_file_name() -> None:
    publisher = Publisher()

    job = publisher.post(text=BOOK, title="Nächte 😀", author="Ann", date="1925-04")

    said = publisher.said(job)
    assert (said.title, said.author, said.date) == ("Nächte 😀", "Ann", "1925")  # a month alone has no place in an MP3
    assert [title for _, title in said.chapters] == ["Nächte 😀", *CHAPTERS[1:]]
    resource = publisher.edge.read_job.resource(job)
    assert "chapters.json" in resource["chapters"]


def test_front_matter_names_the_work() -> None:
    publisher = Publisher()

    job = publisher.drop("a.md", "---\ntitle: not this\nvoicedrop:\n  title: Grüße\n  date: 2024-02-29\n---\nHello.")

    said = publisher.said(job)
    assert (said.title, said.date) == ("Grüße", "2024-02-29")


def test_without_headings_the_file_name_is_the_title_and_there_is_no_list() -> None:
    publisher = Publisher()

    dropped, posted = publisher.drop("in/Letter to S.txt", "Hello there."), publisher.post(text="Hello there.")

    assert publisher.said(dropped).title == "Letter to S"
    assert publisher.said(posted).title is None
    assert publisher.said(dropped).chapters == []
    assert not [key for key in publisher.world.results.objects if key.endswith(".chapters.json")]
    assert publisher.edge.read_job.resource(dropped)["chapters"] is None


def test_a_list_of_chapters_that_are_no_more_does_not_outlive_them() -> None:
    publisher = Publisher()
    publisher.drop("a.txt", BOOK)

    job = publisher.drop("a.txt", "Only words now.")

    assert publisher.listed(job)["chapters"] == []


def test_the_list_goes_when_its_job_is_erased() -> None:
    publisher = Publisher()
    job = publisher.drop("a.txt", BOOK)

    publisher.world.erase(job.tenant, job.id)
    publisher.world.run_with_sweeps(seconds=600)

    assert publisher.world.results.objects == {}


def test_titles_and_dates_buy_nothing_again() -> None:
    publisher = Publisher()
    publisher.post(text=BOOK)
    bought = len(publisher.world.vendor.requests)

    publisher.post(text=BOOK, title="Another", author="Somebody", date="2020")

    assert len(publisher.world.vendor.requests) == bought


def test_more_headings_than_chapters_there_may_be_leave_out_the_lower_level() -> None:
    text = "".join(f"# Top {top}\n\n" + "".join(f"## Sub {top}.{sub}\n\n" for sub in range(20)) for top in range(60))
    ends = [at for at, each in enumerate(text) if each == "\n"]
    rows = [a_segment(index=number, start=end - 1, end=end) for number, end in enumerate(ends)]

    tags = tags_of(a_job(characters=len(text)), rows, text)

    assert [mark.title for mark in tags.marks] == [f"Top {top}" for top in range(60)]
    many = "# A\n" * 2 * MAX_CHAPTERS
    rows = [a_segment(index=number, start=4 * number + 2, end=4 * number + 3) for number in range(2 * MAX_CHAPTERS)]
    assert len(tags_of(a_job(), rows, many).chapters()) <= MAX_CHAPTERS


@pytest.mark.parametrize("title", ["# \u202eevil\0\r\n", "# " + "x" * 10_000, "# 😀 words"])
def test_a_heading_is_a_title_of_one_short_line(title: str) -> None:
    text = f"{title}\n\nWords."
    rows = [a_segment(start=2, end=3), a_segment(index=1, start=len(text.encode()) - 6, end=len(text.encode()))]

    marks = tags_of(a_job(about=About(title="T")), rows, text).marks

    assert len(marks) == 1
    assert 1 <= len(marks[0].title) <= 200
    assert not any(each in marks[0].title for each in "\0\r\n")


def test_a_voice_that_is_an_address_stays_out_of_the_file() -> None:
    from tests.fakes import a_spec

    tags = tags_of(a_job(spec=a_spec(vendor="playht", voice="s3://voices/private/manifest.json")), [a_segment()], "Hi.")

    assert tags.comment == "AI-generated speech by playht, made with Voicedrop"


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("title", "", "empty"),
        ("title", "x" * 501, "500"),
        ("author", "a\nb", "control"),
        ("title", 7, "string"),
        ("date", "20/11/2026", "2026-11-20"),
        ("date", "2026-02-30", "2026-11-20"),
        ("date", "2026-1", "2026-11-20"),
        ("date", "٢٠٢٦", "2026-11-20"),
    ],
)
@pytest.mark.parametrize("way", list(Way))
def test_a_title_or_date_that_no_file_could_hold_is_refused_by_name(
    way: Way, field: str, value: object, says: str
) -> None:
    from speech.errors import InvalidRequest

    request = {field: value} | ({} if way is Way.UPLOAD else {"text": "Hi."})
    with pytest.raises(InvalidRequest) as refused:
        JobRequest.parse(request, way)

    assert [each.field for each in refused.value.errors] == [field]
    assert says in refused.value.errors[0].message


def test_a_refused_title_of_a_drop_fails_it_before_anything_is_bought() -> None:
    publisher = Publisher()
    publisher.edge.inputs.drop(BUCKET, "voicedrop.json", b'{"title": 7}')

    job = publisher.edge.drop("a.txt", "Hello.")

    assert job.status is JobStatus.FAILED
    assert "voicedrop.json: title" in (job.problem or {})["detail"]
    assert publisher.world.vendor.requests == []


@pytest.mark.parametrize("format", ["mp3", "wav", "flac", "ogg", "m4b"])
def test_a_cover_is_in_the_file_as_it_lay_in_the_audio_bucket_when_the_text_was_dropped(format: str) -> None:
    publisher = Publisher()
    picture = a_png(more=300_000)
    publisher.edge.inputs.drop(AUDIO_BUCKET, "art/cover.png", picture)

    job = publisher.drop("book.txt", "Hello.", format=format, cover="art/cover.png")

    assert publisher.said(job).cover == picture


def test_a_cover_that_is_replaced_meanwhile_is_the_one_that_was_checked() -> None:
    publisher = Publisher()
    publisher.edge.inputs.drop(AUDIO_BUCKET, "cover.jpg", a_jpeg())
    request = JobRequest.parse({"vendor": "convai", "text": "Hi.", "cover": "cover.jpg"}, Way.API)
    job = publisher.edge.accept_job(Arrival(kind=API, source=Source(type=API)), request, "Hi.").job

    publisher.edge.inputs.drop(AUDIO_BUCKET, "cover.jpg", b"no picture")

    assert publisher.said(publisher.ended(job)).cover == a_jpeg()


@pytest.mark.parametrize(
    ("lies", "says"), [(None, "is not there"), (b"hello", "neither a JPEG"), (a_png(more=2_000_001), "2,000,000")]
)
def test_a_cover_that_is_none_is_refused_before_anything_is_bought_or_written(lies: bytes | None, says: str) -> None:
    from speech.errors import InvalidRequest

    publisher = Publisher()
    if lies is not None:
        publisher.edge.inputs.drop(AUDIO_BUCKET, "cover.jpg", lies)
    request = JobRequest.parse({"vendor": "convai", "text": "Hi.", "cover": "cover.jpg"}, Way.API)

    with pytest.raises(InvalidRequest, match=says) as refused:
        publisher.edge.accept_job(Arrival(kind=API, source=Source(type=API)), request, "Hi.")

    assert [each.field for each in refused.value.errors] == ["cover"]
    assert publisher.world.texts.texts == {}
    dropped = publisher.edge.drop("a.txt", "Hello.", metadata={"voicedrop-cover": "cover.jpg"})
    assert dropped.status is JobStatus.FAILED
    assert says in (dropped.problem or {})["detail"]
    assert publisher.world.vendor.requests == []


def test_f7_the_copy_of_a_cover_goes_with_its_job() -> None:
    publisher = Publisher()
    publisher.edge.inputs.drop(AUDIO_BUCKET, "cover.jpg", a_jpeg())
    job = publisher.post(text="Hi.", cover="cover.jpg")

    publisher.world.erase(job.tenant, job.id)
    publisher.world.run_with_sweeps(seconds=600)

    assert publisher.world.texts.texts == {}
