"""A vendor that is refused, or that dies mid-book: the job ends as its options say, and the record says why."""

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from local.emulators import EMULATORS
from tests.support.stack import Stack, running, unique, wait_for

POLICY = {
    "prices": {"voiceai": {"per_character": 0.00003}, "convai": {"per_character": 0.00002}},
    "aliases": {"narrator": ["creatify", "voiceai"]},
}
MAX_COST = 5.0


def a_chapter(paragraphs: int) -> str:
    return "\n\n".join(
        unique("The harbour master counts the boats and writes them down " * 8) for _ in range(paragraphs)
    )


@pytest.fixture(scope="module")
def priced(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack whose operator has set prices."""
    folder = tmp_path_factory.mktemp("priced")
    (folder / "policy.json").write_text(json.dumps(POLICY))
    with running(folder / "stack", LEASE_SECONDS="40", SEGMENT_ATTEMPTS="3", POLICY=str(folder / "policy.json")) as up:
        yield up


def narrators(manifest: dict[str, Any]) -> list[tuple[str, str | None]]:
    return [(each["vendor"], each["ended_by"]) for each in manifest["narrators"]]


def test_a_vendor_that_is_killed_mid_book_is_replaced_within_max_cost(tmp_path: Path) -> None:
    """Must show: one narrator for the whole, every purchase in the ledger, and the record says why."""
    policy = tmp_path / "policy.json"
    policy.write_text(json.dumps(POLICY))
    text = a_chapter(12)
    with ExitStack() as up:
        first = EMULATORS["voiceai"](**EMULATORS["voiceai"].in_tests)
        alive = up.enter_context(ExitStack())
        alive.enter_context(first)
        env = {"VOICEAI_BASE_URL": first.url, "VOICEAI_API_KEY": "vk_right", "POLICY": str(policy)}
        stack = up.enter_context(running(tmp_path / "stack", LEASE_SECONDS="40", SEGMENT_ATTEMPTS="3", **env))
        job = stack.post(text=text, vendor="voiceai", format="wav", fallback=["convai:WUMale 3"], max_cost=MAX_COST)
        wait_for(lambda: len(first.book.entries) >= 2, seconds=60, what="two segments that are sold")
        alive.close()

        ended = stack.ended(job["id"], seconds=150)

        assert ended["status"] == "completed", ended
        assert (ended["vendor"], ended["voice"]) == ("convai", "WUMale 3")
        manifest = stack.manifest(ended)
        [gave_up, speaks] = manifest["narrators"]
        assert gave_up["vendor"] == "voiceai"
        assert gave_up["ended_by"].startswith("vendor-")
        assert (speaks["vendor"], speaks["from"], speaks["to"]) == ("convai", 0.0, manifest["segments"][-1]["end"])
        assert {each["vendor"] for each in manifest["segments"]} == {"convai"}
        assert sum(each["characters"] for each in manifest["segments"]) == pytest.approx(len(text), abs=200)
        sold = stack.emulator("convai").sold()
        assert len(sold) == len(manifest["segments"])
        assert ended["cost"]["vendor_calls"] >= len(sold) + len(first.book.entries)
        bill = sum(each["characters"] for each in manifest["segments"]) * 0.00002
        assert bill < ended["cost"]["amount"] <= MAX_COST


def test_whoever_is_refused_before_anything_was_bought_is_replaced_without_further_ado(stack: Stack) -> None:
    text = unique("Convai will not say this")
    stack.emulator("convai").play("rejected", match=text)

    stack.drop("narrators/refused.txt", text, vendor="convai", fallback='["voiceai"]', format="wav")

    manifest = stack.dropped("narrators/refused.txt")
    assert narrators(manifest) == [("convai", "vendor-rejected"), ("voiceai", None)]
    assert manifest["job"]["cost"]["vendor_calls"] == 2
    assert [len(stack.emulator(vendor).purchases(text)) for vendor in ("convai", "voiceai")] == [0, 1]


def test_what_was_bought_is_not_bought_twice_without_a_word(priced: Stack) -> None:
    text = unique("Voice.ai sells no audio for this")
    priced.emulator("voiceai").play("json", match=text, times=9)

    priced.drop("narrators/bought.txt", text, vendor="voiceai", fallback='["convai"]')

    page = priced.page("narrators/bought.txt")
    assert "`vendor-misbehaved`" in page
    assert "max_cost" in page
    assert "USD" in page
    assert priced.emulator("convai").purchases(text) == []


def test_a_name_stands_for_several_voices_and_a_cost_is_known(priced: Stack) -> None:
    text = unique("The narrator says")
    priced.emulator("creatify").play("rejected", match=text)

    ended = priced.ended(priced.post(text=text, voice="narrator")["id"])

    manifest = priced.manifest(ended)
    assert narrators(manifest) == [("creatify", "vendor-rejected"), ("voiceai", None)]
    assert manifest["choice"]["asked"] == "the voice narrator"
    assert ended["cost"]["vendor_calls"] == 2


def test_the_cheapest_is_chosen_and_a_job_costs_what_its_characters_cost(priced: Stack) -> None:
    text = unique("Anybody may say this")

    ended = priced.ended(priced.post(text=text, vendor="auto", max_cost=1)["id"])

    assert ended["vendor"] == "convai"
    assert ended["cost"]["amount"] == pytest.approx(len(text) * 0.00002, abs=0.000001)
    assert priced.manifest(ended)["choice"]["vendor"] == "convai"


def test_a_job_that_may_cost_too_much_is_not_taken(priced: Stack) -> None:
    answer = priced.api.post("/v1/jobs", json={"text": "Hello there.", "vendor": "convai", "max_cost": 0.0001})
    unknown = priced.api.post("/v1/jobs", json={"text": "Hello there.", "vendor": "dify", "max_cost": 1})

    assert [(each.status_code, each.json()["code"]) for each in (answer, unknown)] == [
        (422, "max-cost-too-low"),
        (422, "max-cost-too-low"),
    ]
