"""What a function finds on Lambda: the layers and the runtime. More is installed here, and must not be found."""

import re
from collections.abc import Sequence
from functools import cache
from importlib import metadata

from local.process import ROOT

RUNTIME = ("boto3", "awslambdaric")
"""What Lambda's own image brings, with all that these need."""

START = """
import sys
sys.modules.update(dict.fromkeys(sys.argv.pop(1).split(",")))
from awslambdaric.__main__ import main
main(sys.argv)
"""
"""`awslambdaric`, for which the modules that the first argument lists are not there."""


@cache
def absent() -> Sequence[str]:
    """Modules that are installed here, and neither in a layer nor in Lambda's runtime.

    A function that needs one would fail only when it is deployed. Libraries take what they find: botocore all of
    OpenSSL, httpx for its command line all of rich, which was a quarter of a cold start.
    """
    locks = (ROOT / "layers").glob("*/requirements.txt")
    deployed = {name for lock in locks for name in re.findall(r"^([a-z0-9-]+)==", lock.read_text(), re.MULTILINE)}
    missing = set(RUNTIME)
    while missing:
        deployed.add(name := missing.pop())
        missing |= _needs(name) - deployed
    owners = metadata.packages_distributions().items()
    return sorted(module for module, names in owners if deployed.isdisjoint(map(_normalised, names)))


def _needs(name: str) -> set[str]:
    """What a distribution asks for, but for its extras."""
    try:
        needs = metadata.requires(name) or ()
    except metadata.PackageNotFoundError:  # for another Python, or another system
        return set()
    return {_normalised(re.split(r"[^\w.-]", each, maxsplit=1)[0]) for each in needs if "extra ==" not in each}


def _normalised(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
