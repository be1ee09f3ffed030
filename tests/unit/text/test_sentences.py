"""Sentences end where a reader would end them, in many languages and in spite of dots and quotes."""

import time

import pytest

from speech.text.cutting import sentences


def spoken(text: str, language: str | None = None) -> list[str]:
    return [text[start:end] for start, end in sentences(text, language=language)]


@pytest.mark.parametrize(
    ("language", "marked"),
    [
        ("en", "Dr. Smith met Mrs. Jones at 5 p.m. on Jan. 3rd.| They left."),
        ("en", "The U.S. Army vs. Navy.| See Fig. 3 and No. 5.| It was 3.14 or $2.50."),
        ("en", "J. R. R. Tolkien wrote it.| Version 2.0.1 is out."),
        ("en", "He works at Yahoo! in the U.K. and loves it!| Really?!"),
        ("en", '"What?" he asked.| "Go!"| Then she left.'),
        ("en", "See e.g. Smith et al. 2004.| It's approx. 5 km, i.e. far."),
        ("en", "Visit www.example.com.| Then mail a.b@c.org.| Bye."),
        ("en", "Wait... what?| Yes… of course.| So be it..."),
        ("en", "I don't know.| He won't go.| It's Ann's."),
        ("en-US", "Inc. vs. Ltd. and St. John's Prof. Miller came.| Fine."),
        ("en", "iPhone sales fell.| iPad sales rose."),
        ("de", "Am 3. Oktober kam Dr. Müller z. B. nach Berlin.| Er blieb."),
        ("de", "„Komm her!“, sagte er.| „Nein.“| Dann ging sie."),
        ("de", "Das ist z.B. gut, bzw. schlecht, d.h. egal.| Ja."),
        ("fr", "M. Dupont et Mme. Durand sont là.| Voir p. 12.| Oui !"),
        ("fr", "« Venez ! » dit-il.| « Non. »| Puis il partit."),
        ("fr", "Né en 50 av. J.-C. à Rome.| Mort là-bas."),
        ("es", "El Sr. García y la Dra. López viven en EE. UU. desde 1990.| Bien."),
        ("es", "¿Cómo estás?| ¡Muy bien!| ¿Y tú?"),
        ("es", "—¡Hola! —dijo él.| —Adiós."),
        ("ca", "El Sr. Puig i la Sra. Roca van a la pl. Major núm. 3.| Sí."),
        ("ca", "L’Àngel, p. ex., col·labora.| És així?| Sí!"),
        ("sv", "Vi ses kl. 5, t.ex. på torget, dvs. bl.a. där.| Hej då."),
        ("sv", "Dr. Berg kom den 3. maj.| ”Hej.”| Sedan gick hon."),
        ("sv", "Det var hon.| ”Hej du!”| Sedan gick hon.| Så var det.| Hon gick ut.| Slut."),
        ("es", "Muy bien.| Dijo que no.| Vio el mar.| Fin."),
        ("en", "He told me.| I said no.| No. 5 is alive."),
        ("it", "Il sig. Rossi e la dott.ssa Bianchi.| Il prof. Verdi abita al n. 5.| Fine."),
        ("pt", "O Sr. Silva e a Dra. Costa vivem em Lisboa.| Sim."),
        ("pl", "Np. prof. Kowalski, tzn. dr hab. Nowak, ul. Długa 5.| Koniec."),
        ("ru", "В 1990 г. и т. д. и т.п. Иванов А. С. приехал.| Да."),
        ("nl", "Dhr. Jansen, mevr. de Vries, o.a. bijv. dit, d.w.z. dat.| Klaar."),
        ("el", "Τι κάνεις;| Καλά."),
        ("ja", "今日は晴れ！|明日は？|わからない…"),
        ("ja", "「行こう。早く。」|はい。"),
        ("zh", "他说：“走吧。我们走。”|然后离开了。|好的！|是吗？"),
        ("hi", "यह डॉ. शर्मा हैं।| वे ठीक हैं।"),
        ("ar", "قال د. أحمد: نعم.| كيف حالك؟| بخير."),
        (None, "No language.| Still sentences."),
        ("x-klingon", "Some tag.| Still sentences."),
    ],
)
def test_sentences_end_where_they_should(language: str | None, marked: str) -> None:
    expected = [each.strip() for each in marked.split("|")]

    found = spoken(marked.replace("|", ""), language)

    assert found == expected


def test_spans_leave_out_only_the_white_space_around_sentences() -> None:
    text = "  One.  Two. \n\n\t Three.\n"

    assert sentences(text) == [(2, 6), (8, 12), (17, 23)]


@pytest.mark.parametrize("text", ["", "  \n\n ", "\n"])
def test_white_space_has_no_sentences(text: str) -> None:
    assert sentences(text) == []


def test_a_sentence_never_crosses_a_paragraph_but_may_cross_a_line() -> None:
    assert spoken("A title\n\nThe first\nline. And\n  \nmore") == ["A title", "The first\nline.", "And", "more"]


def test_items_of_a_list_are_apart_even_in_lower_case() -> None:
    assert spoken("To buy:\n- milk\n- two eggs.\n1. Go home.\n2) Eat.") == [
        "To buy:",
        "- milk",
        "- two eggs.",
        "1. Go home.",
        "2) Eat.",
    ]


def test_a_text_all_in_lower_case_still_has_sentences() -> None:
    assert spoken("hi there. how are you? fine.") == ["hi there.", "how are you?", "fine."]


def test_a_quotation_that_swallows_many_sentences_is_opened_up() -> None:
    quoted = " ".join(f"Sentence number {number} is here." for number in range(40))

    found = spoken(f'He began: "{quoted}" he said. "Enough." Then silence.')

    assert len(found) == 42
    assert found[0] == 'He began: "Sentence number 0 is here.'
    assert found[39:] == ['Sentence number 39 is here." he said.', '"Enough."', "Then silence."]


def test_a_quotation_mark_that_is_never_closed_swallows_nothing() -> None:
    text = 'It was 5" long. ' + "This goes on. " * 50

    found = spoken(text)

    assert max(len(each) for each in found) < 40


def test_a_bracket_opened_far_away_stops_nothing() -> None:
    text = "An (open bracket. " + "A sentence goes here. " * 6_000

    assert max(end - start for start, end in sentences(text)) < 400


@pytest.mark.parametrize("space", ["\u2009", "\u00a0", "\u202f", "\u3000", "\u2028"])
def test_spaces_beyond_ascii_do_not_crash_the_splitter(space: str) -> None:
    text = f"He is J{space}. R{space}. Then we saw A{space}.{space}Go on."

    found = spoken(text)

    assert "".join("".join(found).split()) == "".join(text.split())


def test_a_panic_in_the_splitter_costs_sentences_and_not_the_job(monkeypatch: pytest.MonkeyPatch) -> None:
    import sentencex

    class PanicException(BaseException):
        """As pyo3 raises it."""

    def panic(language: str, text: str) -> list[dict[str, object]]:
        raise PanicException("byte index 3 is not a char boundary")

    monkeypatch.setattr(sentencex, "get_sentence_boundaries", panic)

    assert spoken("One. Two.\n\nThree.") == ["One. Two.", "Three."]


def test_what_makes_no_sound_joins_the_sentence_before_it() -> None:
    assert spoken("Hello. 👍 !!! Bye.") in (["Hello. 👍 !!!", "Bye."], ["Hello.", "👍 !!! Bye."])
    assert spoken("One.\n\n* * *\n\nTwo.") == ["One.", "* * *", "Two."]


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("Hello there, said the fox. " * 37_000, id="sentences"),
        pytest.param("«Aa. " * 200_000, id="open quotes"),
        pytest.param('"' * 1_000_000, id="quotes"),
        pytest.param("x" * 1_000_000, id="one word"),
        pytest.param("." * 1_000_000, id="dots"),
        pytest.param("\n" * 1_000_000, id="line ends"),
        pytest.param("🇸🇪" * 500_000, id="flags"),
        pytest.param("यह शर्मा हैं। वे ठीक हैं। " * 40_000, id="Hindi"),
    ],
)
def test_a_million_characters_take_linear_time(text: str) -> None:
    before = time.process_time()

    sentences(text)

    assert time.process_time() - before < 20
