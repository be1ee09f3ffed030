"""A preview speaks the opening of a text; the whole, later on, has it for nothing."""

import json
from typing import Any

import pytest

from speech.errors import InvalidRequest, StoreUnavailable, VendorRejected
from speech.jobs import Job, JobStatus, Preview, Progress, Source
from speech.policy import Policy
from speech.prices import Price
from speech.requests import OPTIONS, JobRequest, Way
from speech.resource import job_resource
from speech.settings import Settings
from speech.titles import tags_of
from speech.usecases import accept_job
from speech.usecases.accept_job import Arrival
from speech.usecases.deliver_event import error_page
from speech.usecases.plan_seams import plan_seams
from speech.usecases.plan_segments import opening, plan_segments, preview
from tests.fakes import NOW, a_job, a_problem, a_result, a_spec
from tests.support.edge import Edge
from tests.support.simulation import Plan, Simulation

SENTENCES = tuple(f"Line {number} of a book that is long." for number in range(100, 112))
"""About two seconds each, a segment of its own."""


def a_stack() -> Simulation:
    return Simulation(Plan(), calls_back=False)


def job_of(stack: Simulation, name: str) -> Job:
    return next(job for job in stack.world.store.jobs() if job.request_id == name)


def run(stack: Simulation) -> None:
    try:
        stack.run(seconds=60)
        stack.calm(seconds=3_600)
    finally:
        stack.stop()


def test_a_preview_is_whole_segments_and_the_whole_is_bought_without_them() -> None:
    """I5, by the vendor's own book: nothing is bought twice."""
    stack = a_stack()
    stack.submit("preview", *SENTENCES, preview={"seconds": 10})
    stack.acknowledged["preview"] = list(SENTENCES[:5])
    run(stack)
    preview = job_of(stack, "preview")
    bought = sum(stack.vendor.billed.values())

    stack.submit("whole", *SENTENCES)
    run(stack)

    stack.check()
    whole = job_of(stack, "whole")
    assert (preview.status, whole.status) == (JobStatus.COMPLETED, JobStatus.COMPLETED)
    assert preview.preview == Preview(10, segments=len(SENTENCES), characters=len(" ".join(SENTENCES)))
    assert preview.characters == len(" ".join(SENTENCES[:5]))
    assert preview.segments_total == bought == 5
    assert whole.preview is None
    assert sum(stack.vendor.billed.values()) == len(SENTENCES)
    assert set(stack.vendor.billed.values()) == {1}
    assert (whole.cost.vendor_calls if whole.cost else None) == len(SENTENCES) - 5


def test_what_is_told_of_a_preview_says_that_it_is_one() -> None:
    stack = a_stack()
    stack.submit("preview", *SENTENCES, preview={"seconds": 4})
    stack.acknowledged["preview"] = list(SENTENCES[:2])
    run(stack)

    stack.check()
    job = job_of(stack, "preview")
    base = (job.result or a_result()).key
    manifest = json.loads(stack.world.results.objects[f"{base}.manifest.json"].data)
    spoken = stack.world.results.objects[f"{base}.srt"].data.decode()
    whole = {"segments": len(SENTENCES), "characters": len(" ".join(SENTENCES))}
    assert manifest["job"]["preview"] == {"seconds": 4, "of": whole}
    assert manifest["job"]["segments"] == {"total": 2, "stored": 2, "failed": 0}
    assert [sentence in " ".join(spoken.split()) for sentence in SENTENCES[:3]] == [True, True, False]


def test_the_whole_of_a_text_is_no_preview_in_the_job_resource() -> None:
    assert job_resource(a_job(), Progress())["preview"] is None


def test_a_preview_whose_accepting_was_cut_off_is_taken_up_as_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """B2"""
    monkeypatch.setattr(accept_job, "SEGMENTS_AT_CREATION", 2)
    stack = a_stack()
    stack.world.store.fail_next("add_segments", StoreUnavailable("busy"))
    stack.submit("preview", *SENTENCES, preview={"seconds": 10})
    stack.acknowledged["preview"] = list(SENTENCES[:5])

    run(stack)

    stack.check()
    assert job_of(stack, "preview").status is JobStatus.COMPLETED
    assert sum(stack.vendor.billed.values()) == 5


def test_a_preview_that_somebody_else_speaks_is_still_one() -> None:
    stack = Simulation(Plan(), calls_back=False, others=("second",))
    stack.vendor.start = refused  # type: ignore[method-assign] # whatever it is asked
    stack.submit("preview", *SENTENCES, preview={"seconds": 10}, fallback=["second:v2"])
    stack.acknowledged["preview"] = list(SENTENCES[:5])

    run(stack)

    stack.check()
    job = job_of(stack, "preview")
    assert (job.status, job.take, job.segments_total) == (JobStatus.COMPLETED, 1, 5)


def test_a_preview_by_somebody_who_takes_other_pieces_counts_those() -> None:
    text = " ".join(SENTENCES)
    spec = a_spec()
    job = a_job(spec=spec, preview=Preview(10, segments=99, characters=len(text)), characters=1)
    whole = plan_segments(job, spec, text, limit=80, due_at=NOW)

    counted, rows = preview(job, spec, whole, text)

    assert (len(whole), len(rows)) == (6, 3)
    assert counted.preview == Preview(10, segments=6, characters=len(text))
    assert counted.characters == len(" ".join(SENTENCES[:6]))


def test_a_preview_that_ends_inside_code_takes_none_of_its_comments_for_headings() -> None:
    text = "# Title\n\nSome words.\n\n```\n# comment\nrun()\n# comment\n```\n\n# Later\n\nMore words.[pause:9s]\n\nEnd."
    spec = a_spec()
    job = a_job(spec=spec, preview=Preview(3, segments=1, characters=1))
    heard = plan_segments(job, spec, text, limit=12, due_at=NOW)
    inside = next(number for number, row in enumerate(heard) if "run" in text[row.start : row.end])

    rows = heard[: inside + 1]
    seams = plan_seams(job, spec, rows, text.encode())
    marks = tags_of(job, rows, text).marks

    assert [seam.kind for seam in seams[1:]].count("before-heading") == 0
    assert (seams[-1].kind, seams[-1].pause) == ("end", None)
    assert [mark.title for mark in marks] == ["Title"]


def test_a_preview_that_ends_inside_code_counts_the_signs_of_its_comments_as_what_is_spoken() -> None:
    text = "# Title\n\nSome words.\n\n```\n# comment\nrun()\n# comment\n```\n\nMore words. And more."
    spec = a_spec()
    job = a_job(spec=spec, preview=Preview(2, segments=1, characters=1))

    counted, rows = preview(job, spec, plan_segments(job, spec, text, limit=12, due_at=NOW), text)

    heard = text[: rows[-1].end]
    assert heard.count("```") == 1
    assert "# comment" in heard
    assert counted.characters == len(heard) - len("# ")


def refused(*_: Any, **__: Any) -> Any:
    raise VendorRejected("not this text", vendor="scripted")


def test_what_a_preview_may_cost_is_what_it_may_cost_and_not_the_whole() -> None:
    """I12"""
    stack = a_stack()
    stack.world.policies.put(Policy(prices={"scripted": Price(per_character=0.001)}))
    stack.submit("preview", *SENTENCES, preview={"seconds": 4}, max_cost=0.07)
    stack.acknowledged["preview"] = list(SENTENCES[:2])

    run(stack)

    assert job_of(stack, "preview").status is JobStatus.COMPLETED


@pytest.mark.parametrize("way", list(Way))
def test_a_preview_can_be_asked_for_in_each_of_the_ways_in(way: Way) -> None:
    body: dict[str, Any] = {"preview": {"seconds": 30}} | ({} if way is Way.UPLOAD else {"text": "Hello."})

    request = JobRequest.parse(body, way)

    assert request.preview is not None
    assert request.preview.seconds == 30
    assert "preview" in OPTIONS


@pytest.mark.parametrize(
    "preview",
    [
        *(30, "30", True, [], {}, {"seconds": 30, "minutes": 1}),
        *({"seconds": each} for each in (0, 301, 1.5, "30", True, None)),
    ],
    ids=str,
)
def test_a10_what_is_no_preview_is_refused_and_told_how_one_looks(preview: Any) -> None:
    with pytest.raises(InvalidRequest, match=r'`preview` must look like {"seconds": 30}, with 1 to 300 seconds'):
        JobRequest.parse({"text": "Hello.", "preview": preview}, Way.API)


def test_a_preview_of_what_only_the_vendor_has_is_refused() -> None:
    message_id = "3fa85f64-5717-4562-b3fc-2c963f66afa6"
    edge = Edge(settings=Settings(default_vendor="dify", dify_message_ids=True))
    request = JobRequest.parse({"vendor_options": {"message_id": message_id}, "preview": {"seconds": 30}}, Way.API)

    with pytest.raises(InvalidRequest, match="cannot be made of what only the vendor has") as caught:
        edge.accept_job(Arrival(accept_job.API, Source(accept_job.API)), request, "")

    assert [each.field for each in caught.value.errors] == ["preview"]
    assert edge.store.jobs() == []


def test_the_page_of_a_preview_that_failed_says_that_it_was_one() -> None:
    page = error_page(a_job(problem=a_problem(), preview=Preview(30, segments=412, characters=200_000)))

    assert "Only a preview: the first 30 seconds, roughly." in page


@pytest.mark.parametrize(
    ("text", "least", "most"),
    [("The sun is up. " * 100, 80, 120), ("太陽出來了。" * 100, 90, 160), ("In 1984, 17 of 42. " * 50, 50, 120)],
    ids=["letters", "ideographs", "numbers"],
)
def test_how_long_a_text_takes_is_reckoned_in_any_script(text: str, least: float, most: float) -> None:
    """Within a third or so of how fast people read aloud: a preview of five minutes is not one of two."""
    rows = plan_segments(a_job(), a_spec(), text, limit=20, due_at=NOW)

    heard = len(opening(rows, 60, speed=None)) / len(rows)

    assert least <= 60 / heard <= most


def test_a_faster_voice_says_more_in_a_preview() -> None:
    rows = plan_segments(a_job(), a_spec(), "The sun is up. " * 100, limit=20, due_at=NOW)

    assert len(opening(rows, 20, speed=2.0)) == pytest.approx(2 * len(opening(rows, 20, speed=None)), abs=1)
