"""How often sentences end where they should, on texts in 15 languages that were marked by hand."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest

from speech.text.cutting import sentences

HERE = Path(__file__).parent
DOC = HERE.parents[2] / "docs" / "cutting.md"


@dataclass(frozen=True)
class Case:
    language: str
    part: str
    text: str
    ends: frozenset[int]


@dataclass
class Score:
    right: int = 0
    found: int = 0
    true: int = 0
    exact: int = 0
    cases: int = 0

    def add(self, case: Case) -> None:
        found = {start for start, _ in sentences(case.text, language=case.language)[1:]}
        self.right += len(found & case.ends)
        self.found += len(found)
        self.true += len(case.ends)
        self.exact += found == case.ends
        self.cases += 1

    @property
    def precision(self) -> float:
        return self.right / self.found

    @property
    def recall(self) -> float:
        return self.right / self.true

    @property
    def f1(self) -> float:
        return 2 * self.right / (self.found + self.true)

    def row(self, name: str) -> str:
        figures = f"{self.precision:.3f} | {self.recall:.3f} | {self.f1:.3f}"
        return f"| {name} | {self.cases} | {self.exact} | {figures} |"


def cases() -> list[Case]:
    found = []
    for line in (HERE / "sentence_cases.txt").read_text(encoding="utf-8").splitlines():
        if not line or line.startswith("#"):
            continue
        language, part, marked = line.split(" ", 2)
        pieces = marked.replace("\\n", "\n").split("|")
        ends, at = set(), 0
        for piece in pieces[:-1]:
            at += len(piece)
            ends.add(at)
        text = "".join(pieces)
        starts = {end + len(text[end:]) - len(text[end:].lstrip()) for end in ends}
        found.append(Case(language, part, text, frozenset(starts)))
    return found


def scored(part: str, language: str | None = None) -> Score:
    score = Score()
    for case in cases():
        if case.part == part and language in (None, case.language):
            score.add(case)
    return score


def table() -> list[str]:
    rows = [
        "| cases | number | wholly right | precision | recall | F1 |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
        scored("tuned").row("tuned on"),
        scored("held").row("**held out**"),
    ]
    languages = sorted({case.language for case in cases()})
    return rows + [scored("held", language).row(f"held out, `{language}`") for language in languages]


def test_the_set_is_large_and_of_many_languages() -> None:
    every = cases()

    languages = Counter(case.language for case in every)

    assert len(every) >= 150
    assert len(languages) >= 15
    assert min(languages.values()) >= 10
    assert len({case.text for case in every}) == len(every)


@pytest.mark.parametrize(("part", "least"), [("tuned", 0.95), ("held", 0.90)])
def test_sentences_end_where_they_should_in_nine_of_ten_cases(part: str, least: float) -> None:
    assert scored(part).f1 >= least


def test_the_figures_in_the_docs_are_these() -> None:
    expected = "\n".join(table())

    assert expected in DOC.read_text(encoding="utf-8"), f"put this into docs/cutting.md:\n{expected}"
