"""A pronunciation lexicon: how it is read, which words it finds, and what is made of a text."""

import time
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from speech.errors import InvalidRequest
from speech.text.lexicon import (
    MAX_BYTES,
    MAX_ENTRIES,
    MAX_RESPELLING,
    MAX_USED,
    MAX_WORD,
    Entry,
    Speller,
    read_csv,
    read_option,
    used,
)

NAME = "books/lexicon.csv"


def respelled(text: str, **lexicon: str) -> str:
    return Speller({word.replace("_", " "): respelling for word, respelling in lexicon.items()})(text)


# --- Which words it finds --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "spoken"),
    [
        ("A GIF, GIFs and a (GIF).", "A jif, GIFs and a (jif)."),
        ("GIF", "jif"),
        ("Siobhan’s cat, Siobhan's dog", "Shivawn’s cat, Shivawn's dog"),
        ("d’Artagnan and l'Artagnan", "d’Artanyan and l'Artanyan"),
        ("a Siobhan-GIF", "a Shivawn-jif"),
        ("I can. You can't, he can’t.", "I kan. You can't, he can’t."),
        ("Mr O’Brien and Mr O'Brien", "Mr Oh Bryan and Mr Oh Bryan"),
        ("New York, New\nYork, York", "Noo Yoork, Noo Yoork, Jork"),
        ("C# and C#4, not C", "see sharp and C#4, not C"),
        ("use .NET, ASP.NET", "use dot net, ASP.NET"),
        ("nai\u0308ve and naïve", "nah-eev and nah-eev"),
        ("Ærø is not Ærøskøbing", "Air-uh is not Ærøskøbing"),
        ("Ærø\u00adskøbing, Ærø\u2060s, Ærø", "Ærø\u00adskøbing, Ærø\u2060s, Air-uh"),
        ("Москва, москва, Москвабад", "Maskva, москва, Москвабад"),
        ("हिन्दी और हिन्दीय", "hin-dee और हिन्दीय"),
        ("東京都は東京", "とうきょう都はとうきょう"),
        ("서울은 서울", "Soul은 Soul"),
        ("กรุงเทพมหานคร", "ครุงเทบมหานคร"),
    ],
)
def test_a_word_is_found_where_it_stands_whole(text: str, spoken: str) -> None:
    lexicon = {
        "GIF": "jif",
        "Siobhan": "Shivawn",
        "Artagnan": "Artanyan",
        "can": "kan",
        "O'Brien": "Oh Bryan",
        "New York": "Noo Yoork",
        "York": "Jork",
        "C#": "see sharp",
        ".NET": "dot net",
        "naïve": "nah-eev",
        "Ærø": "Air-uh",
        "Москва": "Maskva",
        "हिन्दी": "hin-dee",
        "東京": "とうきょう",
        "서울": "Soul",
        "กรุงเทพ": "ครุงเทบ",
    }

    assert Speller(lexicon)(text) == spoken


def test_a_word_in_small_letters_is_meant_in_any_case_and_one_as_it_is_written_comes_first() -> None:
    assert respelled("lead Lead LEAD", lead="led") == "led led led"
    assert respelled("lead Lead LEAD", lead="led", Lead="Leed") == "led Leed led"
    assert respelled("polish Polish POLISH", Polish="Pohlish") == "polish Pohlish POLISH"


def test_of_words_that_begin_alike_the_longest_counts() -> None:
    assert respelled("New York City, New York, new", New="1", New_York="2", New_York_City="3") == "3, 2, new"


def test_what_was_put_in_place_of_a_word_is_not_looked_at_again() -> None:
    assert respelled("a b", a="b", b="c") == "b c"


@given(st.text(alphabet="aAbß 'İ’-東\u0308\n", max_size=40))
def test_without_its_words_a_text_stays_as_it_is_and_with_them_nothing_else_changes(text: str) -> None:
    assert Speller({"zebra": "zeebra"})(text) == text
    marked = Speller({"b": "<", "東": ">"})(text)
    assert marked.replace("<", "b").replace(">", "東") == text.replace("B", "b")


@pytest.mark.parametrize("text", ["the tide is out at Ninnau ", "die Flut geht bei Nünnau "])
def test_a_million_characters_and_five_thousand_words_take_no_time_to_speak_of(text: str) -> None:
    words = [f"w{number:05}rd" for number in range(5_000)]
    whole = " ".join(text + words[number % 5_000] for number in range(1_000_000 // 33))
    entries = [Entry(word, f"x{number}") for number, word in enumerate(words[:400])] + [
        Entry(f"{word}x", "never") for word in words[400:]
    ]

    begun = time.process_time()
    kept = used(entries, language="en", text=whole)
    spoken = Speller(kept)(whole)
    took = time.process_time() - begun

    assert len(kept) == 400
    assert "x399" in spoken
    assert took < 2


# --- Which entries a job keeps ---------------------------------------------------------------


def test_of_a_lexicon_only_what_the_text_contains_is_kept() -> None:
    entries = [Entry("GIF", "jif"), Entry("Siobhan", "Shivawn"), Entry("lead", "led")]

    assert used(entries, language=None, text="Lead the GIFs to Siobhan.") == {"Siobhan": "Shivawn", "lead": "led"}


@pytest.mark.parametrize(
    ("language", "respelling"),
    [("de-CH", "Schwiiz"), ("de", "Deutsch"), ("de-AT", "Deutsch"), ("den", "all"), ("en", "all"), (None, "all")],
)
def test_an_entry_for_a_language_holds_for_what_is_as_exact_or_more(language: str | None, respelling: str) -> None:
    entries = [Entry("Weggli", "Schwiiz", "de-ch"), Entry("Weggli", "Deutsch", "de"), Entry("Weggli", "all")]

    assert used(entries, language=language, text="Ein Weggli.") == {"Weggli": respelling}


def test_of_two_entries_for_one_word_the_later_one_counts() -> None:
    entries = [Entry("GIF", "from the file"), Entry("GIF", "from the option")]

    assert used(entries, language="en", text="A GIF.") == {"GIF": "from the option"}


@pytest.mark.parametrize(("words", "length"), [(MAX_USED + 1, 5), (200, 190)])
def test_more_than_a_job_can_keep_is_refused_with_what_to_do(words: int, length: int) -> None:
    entries = [Entry(f"w{number}", "o" * length) for number in range(words)]
    text = " ".join(entry.word for entry in entries)

    with pytest.raises(InvalidRequest, match="split the text, or keep only") as caught:
        used(entries, language="en", text=text)

    assert [each.field for each in caught.value.errors] == ["lexicon"]


# --- How a file is read ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "data",
    [
        b"word,respelling\nGIF,jif\nSiobhan,Shivawn,en\n",
        b"GIF,jif\nSiobhan,Shivawn,en",
        b"\xef\xbb\xbfWord,Respelling,Language\r\n\r\nGIF,jif,\r\nSiobhan,Shivawn,en\r\n",
        b"GIF;jif\nSiobhan;Shivawn;en\n",
        b"GIF\tjif\nSiobhan\tShivawn\tEN\n",
        b'"GIF","jif"\n"Siobhan" , "Shivawn" ,en\n'.replace(b'" , "', b'","').replace(b'" ,', b'",'),
        b" GIF , jif ,,\n,,\nSiobhan,Shivawn,en\n",
    ],
)
def test_a_file_is_read_with_or_without_a_header_and_as_spreadsheets_write_it(data: bytes) -> None:
    assert read_csv(NAME, data) == [Entry("GIF", "jif"), Entry("Siobhan", "Shivawn", "en")]


def test_quotes_keep_commas_and_quotes() -> None:
    assert read_csv(NAME, b'"Dr. ""Z""","doctor zed, MD"\n') == [Entry('Dr. "Z"', "doctor zed, MD")]


def test_an_empty_file_is_an_empty_lexicon() -> None:
    assert read_csv(NAME, b"") == read_csv(NAME, b"\xef\xbb\xbf\n\n") == read_csv(NAME, b"word,respelling\n") == []


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"GIF,jif\nlonely\n", "line 2 has 1 column; write word,respelling or word,respelling,language"),
        (b"GIF,jif,en,more\n", "line 1 has 4 columns"),
        (b"GIF,jif\n\nGIF,gif\n", "line 3 has the same word as line 1"),
        (b"GIF,jif\n,jif\n", "line 2 needs a word"),
        (b"...,jif\n", "line 1 needs a word"),
        (b"GIF,!?\n", "line 1 needs a respelling that can be spoken"),
        (b"GIF,<break time='9s'/>jif\n", "line 1 has markup"),
        (b"GIF,[pause:9s] jif\n", "line 1 has markup"),
        (b"GIF,jif,english please\n", "line 1 has a language that is no tag"),
        (b"GIF,jif\n\xff\xfeX,Y\n", "line 2 is not UTF-8; save the file as CSV in UTF-8"),
        ("GIF,jif\n".encode("utf-16"), "line 1 is not UTF-8"),
        (b'GIF,"jif\nSiobhan,Shivawn\n', "is not CSV"),
        (b'GIF,"ji\nf"\n', "line 2 has a line break"),
        (b"GIF,ji\x00f\n", "line 1"),
        (b"G\xe2\x80\x8bIF,jif\n", "line 1 has a line break or an invisible character"),
        (b"w" * (MAX_WORD + 1) + b",x\n", "line 1 needs a word"),
        (b"w," + b"x" * (MAX_RESPELLING + 1) + b"\n", "line 1 needs a respelling"),
        (b"x" * (MAX_BYTES + 1), "is larger than 1,000,000 bytes"),
        (b"".join(b"w%d,x\n" % number for number in range(MAX_ENTRIES + 1)), "has more than 20,000 entries"),
    ],
)
def test_a_file_that_is_wrong_is_refused_with_its_name_the_line_and_what_to_do(data: bytes, said: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        read_csv(NAME, data)

    assert said in caught.value.detail
    assert caught.value.detail.startswith(f"`{NAME}` ")
    assert {each.field for each in caught.value.errors} == {NAME}


def test_several_mistakes_are_told_at_once_but_not_all_of_them() -> None:
    with pytest.raises(InvalidRequest) as caught:
        read_csv(NAME, b"secret\n" * 500)

    assert [each.message.split(";")[0] for each in caught.value.errors] == [
        f"line {number} has 1 column" for number in range(1, 11)
    ]
    assert "secret" not in caught.value.detail


@given(st.binary(max_size=300))
def test_whatever_a_file_holds_it_is_a_lexicon_or_refused(data: bytes) -> None:
    entries = []
    with suppress(InvalidRequest):
        entries = read_csv(NAME, data)

    assert Speller({entry.word: entry.respelling for entry in entries})(data.decode(errors="replace")) is not None


# --- The option ------------------------------------------------------------------------------


def test_the_option_is_an_object_or_a_list_of_rows_and_reads_its_own_answer() -> None:
    rows = [{"word": "GIF", "respelling": "jif"}, {"word": "Weggli", "respelling": "Weckli", "language": "de-ch"}]

    assert read_option({" GIF ": "jif"}) == rows[:1]
    assert read_option([rows[0], {**rows[1], "language": "de-CH"}]) == rows
    assert read_option(read_option(rows)) == rows
    assert read_option({}) == read_option([]) == []


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("GIF=jif", "must be an object of words and respellings"),
        ({"GIF": 1}, "entry 1 must have a `word`"),
        ([{"word": "GIF"}], "entry 1 must have a `word`"),
        ([{"word": "GIF", "respelling": "jif", "ipa": "x"}], "entry 1 must have a `word`"),
        ([{"word": "a", "respelling": "b"}, {"word": "a", "respelling": "c"}], "entry 2 has the same word as entry 1"),
        ({f"w{number}": "x" for number in range(MAX_ENTRIES + 1)}, "has more than 20,000 entries"),
        ({"GIF": "<b>"}, "entry 1 has markup"),
    ],
)
def test_an_option_that_is_wrong_says_which_entry_and_what_to_do(value: object, said: str) -> None:
    with pytest.raises(ValueError, match=r"entr|object") as caught:
        read_option(value)

    assert said in str(caught.value)
