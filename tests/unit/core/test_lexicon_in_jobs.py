"""Respellings reach the vendor and nobody else: what is bought, shown and counted when a lexicon is there or edited."""

import json
from typing import Any

import pytest

from speech.errors import VendorRejected, VendorTextTooLong, VendorUnavailable
from speech.jobs import JobStatus
from speech.policy import Policy
from speech.prices import Price
from tests.support.edge import BUCKET
from tests.support.editing import Desk

TEXT = "Siobhan met the crew at noon. The lead pipe was cold. Nobody saw Siobhan leave. The tide went out early."


def a_desk(limit: int = 32) -> Desk:
    return Desk(limit=limit)


def test_a_word_is_sent_as_it_is_spoken_and_shown_as_it_is_written() -> None:
    desk = a_desk()
    desk.place("lexicon.csv", "word,respelling\nSiobhan,Shivawn\nlead,led\n")

    done = desk.speak(TEXT)

    assert sorted(desk.sent) == sorted(
        [
            "Shivawn met the crew at noon.",
            "The led pipe was cold.",
            "Nobody saw Shivawn leave.",
            "The tide went out early.",
        ]
    )
    assert "Siobhan met the crew" in desk.subtitles()
    assert "Shivawn" not in desk.subtitles()
    manifest = desk.manifest()
    assert [TEXT[each["from"] : each["to"]] for each in manifest["segments"]][1] == "The lead pipe was cold."
    assert [each["characters"] for each in manifest["segments"]] == [29, 22, 25, 24]
    assert done.characters == len(TEXT)


def test_an_edit_of_the_lexicon_speaks_the_segments_with_the_word_anew_and_no_others() -> None:
    desk = a_desk()
    desk.place("lexicon.csv", "lead,led\n")
    desk.speak(TEXT)

    desk.place("lexicon.csv", "lead,led\nSiobhan,Shivawn\nabsent,never heard\n")
    second = desk.speak(TEXT)
    desk.place("lexicon.csv", "Siobhan,Shivawn\n")
    third = desk.speak(TEXT)
    desk.place("lexicon.csv", "lead,led\nSiobhan,Shivawn\n")
    fourth = desk.speak(TEXT)

    assert (second.rendered, third.rendered, fourth.rendered) == (2, 1, 0)
    assert sorted(desk.sent[4:6]) == ["Nobody saw Shivawn leave.", "Shivawn met the crew at noon."]
    assert desk.sent[6:] == ["The lead pipe was cold."]


def test_a_lexicon_that_has_no_word_of_a_text_changes_nothing_about_its_segments() -> None:
    desk = a_desk()
    desk.speak(TEXT)
    desk.place("lexicon.csv", "zebra,zeebra\n")

    done = desk.speak(TEXT)

    assert done.rendered == 0
    assert done.spec is not None
    assert done.spec.lexicon == {}


def test_the_nearest_lexicon_counts_and_the_option_comes_before_it() -> None:
    desk = a_desk(limit=200)
    desk.place("lexicon.csv", "lead,root\n")
    desk.place("a/lexicon.csv", "lead,led\ntide,tyde\n")

    desk.speak("The lead and the tide.", key="a/b/c.txt")
    desk.speak("The lead and the tide.", key="d/c.txt")
    desk.speak("The lead and the tide.", key="a/c.txt", lexicon='{"tide": "tied"}')

    assert desk.sent == ["The led and the tyde.", "The root and the tide.", "The led and the tied."]


def test_the_option_works_in_front_matter_too() -> None:
    desk = a_desk(limit=200)

    desk.speak("---\nvoicedrop:\n  lexicon:\n    lead: led\n---\nThe lead.")

    assert desk.sent == ["The led."]


def test_an_entry_for_another_language_is_not_for_this_text() -> None:
    desk = a_desk(limit=200)
    desk.place("lexicon.csv", "Weggli,Weckli,de\nlead,led,en\n")

    desk.speak("The lead, the Weggli.", language="en")

    assert desk.sent == ["The led, the Weggli."]


def test_a_job_keeps_the_lexicon_that_was_there_when_it_was_accepted() -> None:
    """Whatever happens later: retries, a lost message, another file in its place."""
    desk = a_desk(limit=200)
    desk.place("lexicon.csv", "lead,led\n")
    desk.drop("The lead.")
    desk.place("lexicon.csv", "lead,leed\n")
    desk.world.vendor.starts = [VendorUnavailable("down", vendor="voiceai")] * 2

    desk.world.run_with_sweeps(seconds=600)

    assert desk.world.job().status is JobStatus.COMPLETED
    assert desk.sent == ["The led."] * 3


def test_the_voice_that_takes_over_speaks_by_the_same_lexicon() -> None:
    desk = a_desk(limit=200)
    desk.place("lexicon.csv", "lead,led\n")
    desk.world.vendor.starts = [VendorRejected("no", vendor="voiceai")]

    done = desk.speak("The lead.", fallback='["convai:WUMale 1"]')

    assert done.spec is not None
    assert (done.spec.vendor, desk.sent) == ("convai", ["The led.", "The led."])


def test_where_respelling_passes_the_vendor_s_limit_the_piece_is_cut_smaller_and_no_other() -> None:
    desk = a_desk(limit=32)
    text = "One two three, four five six. Alpha beta, gamma delta now. Seven eight nine, ten eleven."
    desk.speak(text)
    desk.place("lexicon.csv", "alpha,the letter alpha\ngamma,the letter gamma\n")

    done = desk.speak(text)

    assert desk.sent[:3] == [
        "One two three, four five six.",
        "Alpha beta, gamma delta now.",
        "Seven eight nine, ten eleven.",
    ]
    assert sorted(desk.sent[3:]) == ["the letter alpha beta,", "the letter gamma delta now."]
    assert (done.segments_total, done.rendered) == (4, 2)
    pieces = [text[each["from"] : each["to"]] for each in desk.manifest()["segments"]]
    assert " ".join(pieces) == text


def test_a_respelling_longer_than_all_that_a_vendor_takes_does_not_keep_the_text_from_being_spoken() -> None:
    desk = a_desk(limit=12)
    desk.place("lexicon.csv", "lead,a very long story\n")

    desk.speak("The lead is")

    assert max(len(sent) for sent in desk.sent) <= 12


def test_what_the_vendor_turns_away_for_its_length_is_cut_anew_and_respelled_again() -> None:
    desk = a_desk(limit=200)
    desk.place("lexicon.csv", "Siobhan,Shivawn\n")
    desk.world.vendor.starts = [VendorTextTooLong("too long", vendor="voiceai", limit=60)]

    desk.speak(TEXT)

    assert all(len(sent) <= 60 and "Siobhan" not in sent for sent in desk.sent[1:])
    assert sum("Shivawn" in sent for sent in desk.sent[1:]) == 2


def test_what_is_sent_is_what_is_paid_for() -> None:
    desk = a_desk(limit=200)
    desk.world.policies.put(Policy(prices={"voiceai": Price(per_character=0.001)}))
    desk.place("lexicon.csv", "GIF,graphics interchange format\n")

    done = desk.speak("A GIF.")

    assert done.cost is not None
    assert done.cost.amount == pytest.approx(0.001 * len("A graphics interchange format."))


@pytest.mark.parametrize(
    ("lexicon", "said"),
    [("GIF\n", "line 1 has 1 column"), ("a,b\na,c\n", "line 2 has the same word"), ("a,<i>b\n", "line 1 has markup")],
)
def test_a_lexicon_that_is_wrong_fails_the_job_before_anything_is_bought(lexicon: str, said: str) -> None:
    desk = a_desk()
    desk.place("books/lexicon.csv", lexicon)

    failed = desk.drop(TEXT, key="books/one.txt")
    desk.world.run()

    assert failed.status is JobStatus.FAILED
    assert desk.sent == []
    page = desk.world.results.objects["books/one.txt.error.md"].data.decode()
    assert "books/lexicon.csv" in page
    assert said in page


def test_a_book_with_more_words_of_its_lexicon_than_a_job_keeps_fails_with_what_to_do() -> None:
    desk = a_desk(limit=500)
    words = [f"w{number}" for number in range(501)]
    desk.place("lexicon.csv", "".join(f"{word},x\n" for word in words))

    failed = desk.drop(" ".join(words))

    assert failed.problem is not None
    assert "split the text, or keep only" in failed.problem["detail"]


def test_the_api_and_the_queue_take_the_option_as_well() -> None:
    desk = a_desk()
    options: dict[str, Any] = {"vendor": "voiceai", "lexicon": [{"word": "lead", "respelling": "led"}]}

    desk.edge.ingest_message(json.dumps({"text": "The lead.", **options}), "m-1")

    job = desk.world.job()
    assert job.spec is not None
    assert job.spec.lexicon == {"lead": "led"}


def test_looking_for_a_lexicon_takes_one_request_a_folder() -> None:
    desk = a_desk()
    desk.place("a/lexicon.csv", "lead,led\n")

    desk.drop("The lead.", key="a/b/c.txt")

    # voicedrop.json in a/b, a and the root; the file; lexicon.csv in a/b and a.
    assert desk.edge.inputs.calls.count("read") == 6
    assert desk.edge.inputs.read(BUCKET, "a/lexicon.csv", None, 10) is not None
