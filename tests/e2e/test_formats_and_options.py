"""Formats, sample rates, options from four places, encodings, and names of files that ask for trouble."""

import hashlib
import json
import uuid

import pytest

from tests.support.pictures import a_png
from tests.support.results import Spoken, completed
from tests.support.stack import Stack, unique
from tests.support.tagged import by_mutagen, seconds_by_mutagen
from tests.support.tone_vendors import ToneVendors, as_heard, heard

RATES = {
    ("mp3", None): 32_000,
    ("mp3", 8_000): 8_000,
    ("mp3", 40_000): 44_100,
    ("wav", 11_025): 11_025,
    ("wav", 47_999): 47_999,
    ("flac", None): 32_000,
    ("flac", 22_050): 22_050,
    ("ogg", None): 48_000,
    ("ogg", 16_000): 16_000,
}
"""What comes out for what is asked of a vendor that sends 32,000: the next rate that the format can carry."""


def folder() -> str:
    """A folder that no other test has put anything into."""
    return f"options/{uuid.uuid4().hex}"


def dropped(stack: Stack, key: str, text: str) -> Spoken:
    """The checked job of a drop."""
    return completed(stack, stack.job(stack.dropped(key)["job"]["id"]), text, base=key)


@pytest.mark.parametrize(("container", "sample_rate"), list(RATES))
def test_any_format_at_any_rate_says_the_same(tone_stack: Stack, container: str, sample_rate: int | None) -> None:
    text = unique(f"Once more as {container} with {sample_rate} samples")

    job = tone_stack.post(text=text, format=container, **({"sample_rate": sample_rate} if sample_rate else {}))

    result = completed(tone_stack, tone_stack.ended(job["id"]), text)
    assert result.job["format"] == container
    assert result.sample_rate == RATES[container, sample_rate]
    assert heard(result.audio) == as_heard(text)


def test_a_vendor_that_sends_mp3_gives_every_format(tone_stack: Stack) -> None:
    text = unique("From a vendor whose only format is another")

    jobs = {
        container: tone_stack.post(text=text, vendor="creatify", format=container)
        for container in ("mp3", "wav", "flac", "ogg")
    }

    for container, job in jobs.items():
        result = completed(tone_stack, tone_stack.ended(job["id"]), text)
        assert (result.job["format"], heard(result.audio)) == (container, as_heard(text))


def test_options_come_with_the_file_as_metadata(tone_stack: Stack, tones: ToneVendors) -> None:
    text, key = unique(), f"{folder()}/a.txt"

    tone_stack.drop(
        key,
        text,
        vendor="voiceai",
        format="wav",
        sample_rate="16000",
        language="de-AT",
        voice="a voice",
        metadata='{"chapter": "7"}',
        vendor_options='{"temperature": 0.5, "audio_format": "wav_24000"}',
    )

    result = dropped(tone_stack, key, text)
    assert (result.job["format"], result.sample_rate, result.job["metadata"]) == ("wav", 16_000, {"chapter": "7"})
    assert (result.job["voice"], result.job["language"]) == ("a voice", "de-AT")
    assert tones.voiceai.asked[text].body == {
        "text": text,
        "voice_id": "a voice",
        "language": "de",
        "temperature": 0.5,
        "audio_format": "wav_24000",
    }


def test_other_metadata_is_nobodys_business(tone_stack: Stack) -> None:
    text, key = unique(), f"{folder()}/a.txt"

    tone_stack.s3.put_object(
        Bucket=tone_stack.facts["texts_bucket"],
        Key=key,
        Body=text.encode(),
        Metadata={"author": "somebody", "voicedrop": "yes", "x-voicedrop-format": "tape"},
    )

    assert dropped(tone_stack, key, text).job["format"] == "mp3"


def test_options_come_from_the_nearest_file_and_only_from_that(tone_stack: Stack) -> None:
    top, text, texts = folder(), unique(), tone_stack.facts["texts_bucket"]
    for place, options in ((top, {"format": "wav", "language": "de"}), (f"{top}/in/side", {"format": "flac"})):
        tone_stack.s3.put_object(Bucket=texts, Key=f"{place}/voicedrop.json", Body=json.dumps(options).encode())

    for key in (f"{top}/a.txt", f"{top}/in/a.txt", f"{top}/in/side/a.txt"):
        tone_stack.drop(key, text)

    found = [tone_stack.dropped(f"{top}/{key}")["job"] for key in ("a.txt", "in/a.txt", "in/side/a.txt")]
    assert [(job["format"], job["language"]) for job in found] == [("wav", "de"), ("wav", "de"), ("flac", None)]


def test_front_matter_wins_over_metadata_and_metadata_over_the_file(tone_stack: Stack) -> None:
    top, text = folder(), unique("Only this is spoken")
    options = {"format": "wav", "sample_rate": 11025, "language": "fr"}
    tone_stack.s3.put_object(
        Bucket=tone_stack.facts["texts_bucket"], Key=f"{top}/voicedrop.json", Body=json.dumps(options).encode()
    )
    front = "---\ntitle: This is not spoken\nvoicedrop:\n  format: ogg\n  metadata: {page: '3'}\n---\n"

    tone_stack.drop(f"{top}/a.md", front + text, format="flac", sample_rate="24000")

    result = dropped(tone_stack, f"{top}/a.md", text)
    assert (result.job["format"], result.sample_rate, result.job["language"]) == ("ogg", 24_000, "fr")
    assert result.job["metadata"] == {"page": "3"}
    assert heard(result.audio) == as_heard(text)


def test_a_dropped_book_is_an_m4b_with_its_chapters_and_its_cover(tone_stack: Stack) -> None:
    top, texts = folder(), (unique("It was a dark night"), unique("And a bright day"))
    tone_stack.s3.put_object(Bucket=tone_stack.facts["audio_bucket"], Key=f"{top}/cover.png", Body=a_png())

    tone_stack.drop(
        f"{top}/book.md", f"# One\n\n{texts[0]}\n\n# Two\n\n{texts[1]}", format="m4b", cover=f"{top}/cover.png"
    )

    job = tone_stack.job(tone_stack.dropped(f"{top}/book.md")["job"]["id"])
    audio, listed = tone_stack.audio(job), json.loads(tone_stack.fetch(job["chapters"]))
    said = by_mutagen(audio, "m4b")
    assert (said.title, said.is_ai, said.cover) == ("One", "true", a_png())
    assert [title for _, title in said.chapters] == [each["title"] for each in listed["chapters"]] == ["One", "Two"]
    assert said.chapters[1][0] == pytest.approx(listed["chapters"][1]["startTime"], abs=0.001)
    assert abs(seconds_by_mutagen(audio, "m4b") - job["audio"]["duration_seconds"]) < 0.1


def test_the_nearest_lexicon_says_how_a_word_is_spoken_and_an_edit_of_it_is_heard(tone_stack: Stack) -> None:
    top, text = folder(), unique("The crew of the schooner waits")
    lexicon = {"Bucket": tone_stack.facts["texts_bucket"], "Key": f"{top}/lexicon.csv"}

    tone_stack.drop(f"{top}/a.txt", text)
    before = dropped(tone_stack, f"{top}/a.txt", text)
    tone_stack.s3.put_object(**lexicon, Body=b"schooner,skooner\n")
    tone_stack.drop(f"{top}/in/b.txt", text)
    after = dropped(tone_stack, f"{top}/in/b.txt", text)
    tone_stack.s3.put_object(**lexicon, Body=b"schooner,skooner\nzebra,zeebra\n")
    tone_stack.drop(f"{top}/in/c.txt", text)
    again = dropped(tone_stack, f"{top}/in/c.txt", text)

    assert heard(before.audio) == as_heard(text)
    assert heard(after.audio) == as_heard(text.replace("schooner", "skooner"))
    assert [each.job["rendered"]["segments"] for each in (before, after, again)] == [1, 1, 0]


def test_options_files_and_folders_are_no_inputs(tone_stack: Stack) -> None:
    top, text = folder(), unique()
    for key, data in (("voicedrop.json", b"{}"), ("lexicon.csv", b"word,respelling\n"), ("", b""), ("in/", b"")):
        tone_stack.drop(f"{top}/{key}", data)

    tone_stack.drop(f"{top}/a.txt", text)

    dropped(tone_stack, f"{top}/a.txt", text)
    tone_stack.drained("UploadsQueue")
    assert {key for key in tone_stack.objects() if key.startswith(top)} == {
        f"{top}/a.txt.{suffix}" for suffix in ("mp3", "vtt", "srt", "manifest.json")
    }


@pytest.mark.parametrize(
    "written",
    [
        pytest.param(lambda text: text.encode("utf-8"), id="utf-8"),
        pytest.param(lambda text: text.encode("utf-8-sig"), id="utf-8 with BOM"),
        pytest.param(lambda text: text.encode("utf-16"), id="utf-16 with BOM"),
        pytest.param(lambda text: text.encode("utf-16-be"), id="utf-16 big end first, no BOM"),
        pytest.param(lambda text: text.encode("cp1252"), id="cp1252"),
        pytest.param(lambda text: text.replace("\n", "\r\n").encode("cp1252"), id="cp1252 from Windows"),
    ],
)
def test_a_file_in_any_encoding_is_read_right(tone_stack: Stack, tones: ToneVendors, written: object) -> None:
    text = unique("Zwölf Boxkämpfer jagen „Viktor“ über den großen Deich – für 5 €\nDéjà vu, naïve café").replace(
        "„", "“"
    )
    key = f"{folder()}/a.txt"
    assert callable(written)

    tone_stack.drop(key, written(text))

    result = dropped(tone_stack, key, text)
    assert tones.voiceai.sales(text[-14:]) == [text]
    assert heard(result.audio) == as_heard(text)


HOSTILE = (
    "a b/c  d.txt",
    "a+b.txt",
    "100%2Fpercent%20sign%.txt",
    "ünïcödé/日本語 🎧.txt",
    "down/../up/./etc/passwd",
    "a/b/../../c.txt",
    "double//slash.txt",
    "quote'\"<b>&amp;.txt",
    "semi;colon:?query=1#fragment.txt",
    "no suffix",
    "a.txt.mp3",
    "n" * 1000,
    "l" * 1001,
    "ü" * 512,
)


@pytest.fixture(scope="module")
def hostile(tone_stack: Stack) -> dict[str, str]:
    """A text under each of the names, all under way; it holds the number of its name."""
    texts = {name: unique(f"File {number}") for number, name in enumerate(HOSTILE)}
    for name, text in texts.items():
        tone_stack.drop(name, text)
    return texts


@pytest.mark.parametrize("name", HOSTILE, ids=lambda name: name[:40])
def test_a_file_may_be_called_anything(tone_stack: Stack, hostile: dict[str, str], name: str) -> None:
    """A4."""
    too_long = len(name.encode()) > 1000
    base = f"long/{hashlib.sha256(name.encode()).hexdigest()}" if too_long else name

    job = tone_stack.job(tone_stack.dropped(base)["job"]["id"])

    result = completed(tone_stack, job, hostile[name], base=base)
    assert result.job["source"]["key"] == name
    assert heard(result.audio) == as_heard(hostile[name])
