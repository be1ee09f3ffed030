"""The tables of facts and proofs: nothing without a test, no test for nothing."""

from pathlib import Path

import pytest

from docs.generate_vendor_matrix import Unproven, facts, proofs_in
from speech.vendors import VENDORS

KNOWN = {vendor: {"field text": "the text"} for vendor in VENDORS}
PROVEN = {f"{vendor}: field text": ["a test"] for vendor in VENDORS}


def written(folder: Path, code: str, name: str = "test_x.py") -> Path:
    tests = folder / "tests"
    tests.mkdir(exist_ok=True)
    (tests / name).write_text(code)
    return tests


def test_every_fact_is_beside_the_tests_that_name_it(tmp_path: Path) -> None:
    tests = written(
        tmp_path,
        '@pytest.mark.slow\n@pytest.mark.proves("a: one", "a: two")\ndef test_y(): ...\n'
        '@pytest.mark.proves(\n    "a: two",\n)\ndef test_z(): ...\n',
    )
    written(tmp_path, '@pytest.mark.proves("a: three")\ndef test_y(): ...\n', "helper.py")

    found = proofs_in(tests)

    y, z = (f"[{name}](../../tests/test_x.py)" for name in ("test_y", "test_z"))
    assert found == {"a: one": [y], "a: two": [y, z]}


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ('@pytest.mark.proves("a: one")\ndef helper(): ...\n', "is no test"),
        ('CASES = [pytest.param(1, marks=pytest.mark.proves("a: one"))]\n', "is no test"),
        ("@pytest.mark.proves(FACT)\ndef test_y(): ...\n", "plain strings"),
    ],
)
def test_a_mark_that_cannot_be_read_is_refused(tmp_path: Path, code: str, words: str) -> None:
    with pytest.raises(Unproven, match=words):
        proofs_in(written(tmp_path, code))


def test_a_fact_without_a_test_and_a_test_without_a_fact_are_named() -> None:
    first, *others = VENDORS
    known = {**{vendor: KNOWN[vendor] for vendor in others}, "nobody": {"field text": "the text"}}

    with pytest.raises(Unproven) as caught:
        facts(known, {f"{first}: field text": ["a test"], "nobody: field text": ["a test"]})

    assert str(caught.value).splitlines() == [
        f"facts.toml says nothing of {first}",
        "facts.toml has facts of nobody, which is no vendor",
        *(f"no test proves: {vendor}: field text" for vendor in sorted(others)),
        f"facts.toml does not state: {first}: field text (a test)",
    ]


def test_no_cell_is_empty() -> None:
    rows = [line for line in facts(KNOWN, PROVEN).splitlines() if line.startswith("|")]

    assert len(rows) == 3 * len(VENDORS)
    assert all(cell.strip() for row in rows for cell in row.strip("|").split("|"))
