"""One sentence of a book of 400 segments is changed, on a real adapter and its emulator: the billing book tells."""

import random
from collections.abc import Iterator

import pytest

from local.emulators import EMULATORS
from local.emulators.base import Emulator
from speech.settings import Settings
from speech.text.cutting import cut, sentences
from speech.vendors import keys_of, vendor_class
from speech.vendors.http import VendorClient
from tests.support.edge import BUCKET
from tests.support.editing import Desk
from tests.support.world import World

SEGMENTS = 400
LIMIT = 30
"""So short that the whole book is a few minutes of audio: two sentences a segment, now and then one."""

PLAIN = {"loudness": "false", "trim-silence": "false", "sample-rate": "8000"}
"""Joined without anything that is not what this is about."""

NOUNS = ("boat", "lamp", "gate", "mill", "road", "bell", "wind", "tide", "dog", "star")
VERBS = ("waits", "turns", "sinks", "sings", "stays", "moves")
PLACES = ("by the sea", "on the hill", "in the rain", "at the door of the old house", "near the bay")


def a_short_book() -> str:
    """Paragraphs of three to eight sentences, each unlike the others."""
    rng = random.Random(1)
    paragraphs, said = [], 0
    while said < 2 * SEGMENTS:
        some = [f"{rng.choice(NOUNS).title()} {said + each} {rng.choice(VERBS)}." for each in range(rng.randint(3, 8))]
        said += len(some)
        paragraphs.append(" ".join(some))
    return "\n\n".join(paragraphs)


def a_usual_book() -> str:
    """The same with sentences of a usual length."""
    rng = random.Random(1)
    return "\n\n".join(
        " ".join(
            f"The {rng.choice(NOUNS)} {rng.choice(VERBS)} {rng.choice(PLACES)}, and the {rng.choice(NOUNS)} "
            f"{rng.choice(VERBS)} {' '.join(rng.sample(PLACES, rng.randint(1, 4)))} {rng.randint(2, 999)} times."
            for _ in range(rng.randint(3, 8))
        )
        for _ in range(25)
    )


def with_one_word_changed(text: str, rng: random.Random) -> str:
    """One word of one sentence replaced by another."""
    start, end = rng.choice(sentences(text))
    words = text[start:end].split(" ")
    at = rng.randrange(len(words))
    words[at] = rng.choice([each for each in (*NOUNS, *VERBS) if each != words[at]])
    return text[:start] + " ".join(words) + text[end:]


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    with EMULATORS["voiceai"]() as running:
        yield running


def test_i5_i20_one_changed_sentence_of_a_book_of_400_segments_is_one_call_by_the_billing_book(
    emulator: Emulator,
) -> None:
    client = VendorClient("voiceai", emulator.url, local=True, deadline_seconds=20)
    keys = dict.fromkeys(keys_of("voiceai"), "vk_right")
    settings = Settings(texts_bucket=BUCKET, base_urls={"voiceai": emulator.url}, lease_seconds=120)
    desk = Desk(limit=LIMIT, world=World(settings=settings, adapter=lambda: vendor_class("voiceai")(client, keys)))
    book = a_short_book()
    first = desk.speak(book, **PLAIN)
    bought = len(emulator.book)

    changed = book.replace("Boat", "Raft", 1)
    second = desk.speak(changed, **PLAIN)
    client.close()

    assert first.segments_total is not None
    assert first.segments_total >= SEGMENTS
    assert bought == first.segments_total == first.rendered
    assert len(emulator.book) - bought == 1
    assert (second.rendered, second.segments_total) == (1, first.segments_total)
    assert desk.manifest()["job"]["rendered"]["segments"] == 1
    assert sum(len(each["attempts"]) for each in desk.manifest()["segments"]) == 1


def test_of_changed_sentences_hardly_any_buys_more_than_its_own_segment() -> None:
    book = a_usual_book()
    before = {piece.text for piece in cut(book, limit=500)}
    rng = random.Random(7)

    bought = [
        len({piece.text for piece in cut(with_one_word_changed(book, rng), limit=500)} - before) for _ in range(60)
    ]

    assert sum(each == 1 for each in bought) / len(bought) >= 0.9
    assert sum(bought) / len(bought) <= 1.2
