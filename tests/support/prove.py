"""How much the tests look at, and where they leave the figures that docs/guarantees.md shows.

`VOICEDROP_PROVE=full` in the environment asks for everything, as `make prove` does; the suite looks at a part.
`VOICEDROP_FIGURES` names the folder for the figures; without it nothing is written.
"""

import json
import os
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")

FULL, FIGURES = "VOICEDROP_PROVE", "VOICEDROP_FIGURES"


def is_full() -> bool:
    """Whether everything is to be looked at."""
    return os.environ.get(FULL) == "full"


def promised(*, full: T, usual: T) -> T:
    """A count for `make prove`, or the usual one."""
    return full if is_full() else usual


def proven(name: str, **figures: Any) -> None:
    """Leave the figures of a proof that held."""
    folder = os.environ.get(FIGURES)
    if folder:
        Path(folder).mkdir(parents=True, exist_ok=True)
        text = json.dumps({**figures, "full": is_full()}, indent=2, sort_keys=True)
        (Path(folder) / f"{name}.json").write_text(text + "\n", encoding="utf-8")
