"""Any file's bytes become clean text, or a refusal that says what to do (fault A6)."""

import contextlib
import random
import time

import pytest

from speech.errors import EmptyText, NotText
from speech.text.reading import clean_text, read_text, spoken_bounds, spoken_length

SAMPLES = {
    "en": "The café on the corner serves “naïve” crêpes for only £5 each. It’s a fine old place.",
    "ca": "L’aigua de l’Àngel és més freda; però la cançó «Què és això?» continua sonant, senyor Puig.",
    "sv": "Där går en älg över ån. Åsa säger att hon får räksmörgås på fredag när vädret är bättre.",
    "es": "¿Dónde está el niño? ¡Mañana vendrá con su compañera al jardín! La canción terminó así.",
    "fr": "L’élève a mangé à l’hôtel où ça coûte 10 €. Garçon, un café très léger, s’il vous plaît !",
    "de": "Über den Dächern fährt die Straßenbahn. „Schöne Grüße“, sagte der Bäcker am Morgen früh.",
    "it": "Perché la città è così bella? L’università sarà aperta lunedì, però più tardi del solito.",
    "pt": "A canção não está à venda. O avô comprou pão na praça e então foi até à estação de manhã.",
    "pl": "Zażółć gęślą jaźń. Proszę państwa, to był wspaniały dzień w Łodzi, a jutro będzie słońce.",
    "ru": "Съешь ещё этих мягких французских булок, да выпей чаю. Завтра будет хорошая погода.",
    "nl": "De coördinatie van het café één keer per week is geregeld. Zij vroeg: “Heb jij óók ideeën?”",
    "cs": "Příliš žluťoučký kůň úpěl ďábelské ódy. Dnes večer půjdeme s přáteli do hospody na pivo.",
    "el": "Καλημέρα σας. Πώς είστε σήμερα; Ο καιρός είναι πολύ ωραίος στην Αθήνα.",
    "tr": "Güneşli bir gün. Çocuklar bahçede oynuyor, şimdi eve dönmek istiyorlar. Iğdır ılık.",
    "ja": "今日はいい天気ですね。 公園へ行きましょう。\n",
}
LEGACY = {"pl": ["cp1250", "iso8859-2"], "cs": ["cp1250"], "ru": ["cp1251", "koi8-r", "cp866"], "el": ["cp1253"]}
LEGACY |= {"tr": ["cp1254"], "ja": ["shift_jis", "euc-jp"]}
UNICODE = ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be"]


@pytest.mark.parametrize("encoding", UNICODE)
@pytest.mark.parametrize("language", SAMPLES)
def test_unicode_is_read_with_and_without_a_byte_order_mark(language: str, encoding: str) -> None:
    text = SAMPLES[language]

    read = read_text(text.encode(encoding))

    assert read == text


@pytest.mark.parametrize("bom", [b"\xff\xfe", b"\xfe\xff", b"\xff\xfe\x00\x00", b"\x00\x00\xfe\xff"])
def test_either_byte_order_is_read_from_its_mark(bom: bytes) -> None:
    order = "le" if bom[0] == 0xFF else "be"
    encoding = f"utf-{8 * len(bom)}-{order}"

    read = read_text(bom + SAMPLES["ru"].encode(encoding))

    assert read == SAMPLES["ru"]


@pytest.mark.parametrize(
    ("language", "encoding"),
    [(language, encoding) for language in SAMPLES for encoding in LEGACY.get(language, ["cp1252"])],
)
@pytest.mark.parametrize("repeats", [1, 6])
def test_legacy_encodings_are_told_apart(language: str, encoding: str, repeats: int) -> None:
    data = "\n".join([SAMPLES[language]] * repeats).encode(encoding, errors="replace")

    read = read_text(data)

    assert read == data.decode(encoding)


def test_the_euro_sign_tells_latin_9_from_windows() -> None:
    text = "Le café coûte 3 €, déjà payé à l'entrée."

    assert read_text(text.encode("iso8859-15")) == text
    assert read_text(text.encode("cp1252")) == text


def test_a_megabyte_of_utf_8_with_one_accent_in_the_middle_stays_utf_8() -> None:
    text = "a word " * 70_000 + "é" + " a word" * 70_000

    assert read_text(text.encode()) == text
    assert read_text(text.encode("cp1252")) == text


def test_damaged_utf_8_is_refused_and_not_taken_for_another_encoding() -> None:
    data = SAMPLES["sv"].encode() * 3
    at = data.index("å".encode()) + 1

    with pytest.raises(NotText, match=f"UTF-8 but is damaged at byte {at - 1}"):
        read_text(data[:at] + data[at + 1 :])


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"\xff\xfeh\x00\x00\xd8i\x00", id="a lone surrogate"),
        pytest.param(b"\xff\xfeh\x00i", id="half a unit at the end"),
        pytest.param(b"\xfe\xff\x00h\xdc\x00", id="a lone surrogate, the other order"),
        pytest.param(b"\xef\xbb\xbfcaf\xe9", id="Latin-1 behind a UTF-8 mark"),
    ],
)
def test_damaged_unicode_behind_a_mark_is_refused(data: bytes) -> None:
    with pytest.raises(NotText, match=r"damaged at byte \d+\. Save it as plain text"):
        read_text(data)


@pytest.mark.parametrize(
    ("data", "looks_like"),
    [
        (b"%PDF-1.7\n1 0 obj\n<< /Type /Catalog >>", "a PDF document"),
        (b"{\\rtf1\\ansi Hello}", "an RTF document"),
        (b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\x00", "a PNG picture"),
        (b"PK\x03\x04\x14\x00\x06\x00\x08\x00\x00\x00!\x00", "a ZIP archive"),
        (b"\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00", "a program"),
        (b"\xff\xd8\xff\xe0\x00\x10JFIF\x00\x01", "a JPEG picture"),
        (b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03", "a gzip archive"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1\x00\x00", "an old Office document"),
        (b"RIFF$\x08\x00\x00WAVEfmt \x10\x00\x00\x00", "a RIFF file"),
        (b"ID3\x04\x00\x00\x00\x00\x00\x23TSSE\x00\x00", "an MP3 audio file"),
        (b"\xff\xfb\x90\x64\x00\x0f\xf0\x00\x00\x69\x00", "an MP3 audio file"),
        (b"OggS\x00\x02\x00\x00\x00\x00", "an Ogg audio file"),
        (b"fLaC\x00\x00\x00\x22\x10\x00", "a FLAC audio file"),
        (b"\x00\x00\x00\x20ftypM4A \x00\x00\x00\x00", "an MP4"),
        (b"Hello\x00World!", "zero bytes"),
        ("Café\x00 au lait".encode(), "zero bytes"),
        (b"\x00", "zero bytes"),
        (b"\x00" * 4_096, "zero bytes"),
        (b"a\x01b\x02c\x03d\x04e", "binary data"),
    ],
)
def test_a_binary_file_is_refused_by_name_with_advice(data: bytes, looks_like: str) -> None:
    with pytest.raises(NotText) as refusal:
        read_text(data)

    assert looks_like in refusal.value.detail
    assert "Save it as plain text in UTF-8" in refusal.value.detail


@pytest.mark.parametrize("size", [64, 257, 1_024, 65_536])
def test_random_bytes_are_not_text(size: int) -> None:
    dice = random.Random(size)

    for _ in range(20):
        with pytest.raises(NotText):
            read_text(dice.randbytes(size))


def test_a_text_that_begins_as_a_binary_file_does_is_still_text() -> None:
    assert read_text(b"MZ is a band. ID3 is a tag.") == "MZ is a band. ID3 is a tag."


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b" \r\n\t\n",
        b"\xef\xbb\xbf",
        b"\xff\xfe",
        b"\xff\xfe\x00\x00",
        b"\xef\xbb\xbf \n",
        b" \x00\n\x00",
        b"\x01\x02\x1b\x7f",
        "\u200b\u2028\u00a0".encode(),
    ],
)
def test_a_file_with_nothing_in_it_is_empty(data: bytes) -> None:
    with pytest.raises(EmptyText):
        read_text(data)


def test_a_stray_control_does_not_make_a_text_binary() -> None:
    assert read_text(b"One.\x0cTwo.\x1b[0m Three.\r\n\x1a") == "One.\nTwo.[0m Three.\n"


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(("a" * 500_000 + "é" + "b" * 500_000).encode(), id="utf-8"),
        pytest.param((SAMPLES["ru"] * 12_000).encode("cp1251"), id="cp1251"),
        pytest.param(("hé llo " * 80_000).encode("utf-16-le"), id="utf-16"),
        pytest.param(b"\xe9 " * 500_000, id="mostly high bytes"),
        pytest.param(b"\x01" * 1_000_000, id="controls"),
    ],
)
def test_a_megabyte_is_read_in_a_moment(data: bytes) -> None:
    before = time.process_time()

    with contextlib.suppress(EmptyText):
        read_text(data)

    assert time.process_time() - before < 5


# --- What is spoken --------------------------------------------------------------------------


def test_cleaning_changes_line_ends_controls_and_half_characters_only() -> None:
    text = "\ufeffOne\r\ntwo\rthree\u2028four\u2029five\x00\x07\x85six\ud800\ufeff\t 👨‍👩‍👧 e\u0301 \u00ad\u200d  "

    cleaned = clean_text(text)

    assert cleaned == "One\ntwo\nthree\nfour\nfive\nsix\t 👨‍👩‍👧 e\u0301 \u00ad\u200d  "
    assert clean_text(cleaned) == cleaned


@pytest.mark.parametrize(
    "text", ["", " \n", "\x00", "...", "* * *", "—!?", "👍", "👨‍👩‍👧‍👦 ❤️", "____", "\u3164", "\ud83d"]
)
def test_a_text_that_makes_no_sound_is_empty(text: str) -> None:
    with pytest.raises(EmptyText):
        clean_text(text)


@pytest.mark.parametrize("text", ["a", "7", "ß", "漢", "ن", "है", "½", "€", "100 %", "… I …", "👍 ok"])
def test_a_text_with_anything_to_say_is_kept(text: str) -> None:
    assert clean_text(text) == text


def test_the_refusal_of_a_text_says_what_is_missing_and_not_what_was_there() -> None:
    with pytest.raises(EmptyText) as refusal:
        clean_text("!!!")

    assert "punctuation" in refusal.value.detail
    assert "!!!" not in refusal.value.detail


def test_only_what_sounds_counts_as_spoken() -> None:
    assert spoken_length("# Hello, *world*!\n---\n") == 10
    assert spoken_length("漢字、100 %") == 6
    assert spoken_length("👍 …") == 0


def test_reading_out_may_come_to_more_letters_than_there_are() -> None:
    least, most = spoken_bounds("Call 112 now!")

    assert least == 10
    assert most >= 7 + 3 * 8


@pytest.mark.parametrize("text", ["one two", "¿Qué?", "日本語です。", "1,234.5 €", "    a"])
def test_the_bounds_of_speech_hold_the_text_between_them(text: str) -> None:
    least, most = spoken_bounds(text)

    assert 0 < least <= len(text) <= most
