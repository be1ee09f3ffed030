"""The table of faults: no row without a test, no empty cell, no test for a row that is not there."""

from pathlib import Path
from typing import Any

import pytest

from docs.generate_faults import SECTIONS, Unproven, ids_of, page, proofs_in

TOLD: dict[str, Any] = {section: {} for section in SECTIONS} | {"intake": {"A1": ["twice", "once"]}}


def test_a_row_stands_beside_the_tests_that_carry_its_id(tmp_path: Path) -> None:
    tests = tmp_path / "tests" / "unit"
    tests.mkdir(parents=True)
    (tests / "test_x.py").write_text('def test_a1_b2_y(): ...\ndef test_z():\n    """B1 to B3: and A1."""\n')
    (tests / "helper.py").write_text("def test_a1_not_a_test_file(): ...\n")

    found = proofs_in(tmp_path / "tests")

    y, z = (f"[{name}](../tests/unit/test_x.py)" for name in ("test_a1_b2_y", "test_z"))
    assert found == {"A1": [y, z], "B2": [y, z], "B1": [z], "B3": [z]}
    assert f"| A1 | twice | once | {y}<br>{z} |" in page(TOLD, {"A1": [y, z]})


@pytest.mark.parametrize(
    ("name", "doc", "ids"),
    [
        ("test_c3_c5_a_thing", "", {"C3", "C5"}),
        ("test_a_c3_thing", "", set()),
        ("test_a_thing", "T1: by UTF-8, B12A, ISO-8859-1, H2 and A4.", {"T1", "A4"}),
        ("test_s1_x", "A8, A9.", {"S1", "A8", "A9"}),
    ],
)
def test_an_id_is_told_from_what_looks_like_one(name: str, doc: str, ids: set[str]) -> None:
    assert ids_of(name, doc) == ids


def test_what_does_not_fit_together_is_named() -> None:
    told = {**TOLD, "death": {"B1": ["x", " "], "B2": ["x", "y"]}}
    del told["threats"]

    with pytest.raises(Unproven) as caught:
        page(told, {"A1": ["a test"], "B1": ["a test"], "Z9": ["a test"]})

    assert str(caught.value).splitlines() == [
        "faults.toml has no section threats",
        "faults.toml has an empty cell in B1",
        "no test carries B2",
        "faults.toml does not tell of Z9 (a test)",
    ]
