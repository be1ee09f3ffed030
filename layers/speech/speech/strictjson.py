"""JSON from strangers: read strictly, so that nothing in it can surprise whoever uses it."""

import json
import math
import re
from typing import Any, NoReturn

from speech.errors import NotJson

MAX_DEPTH = 32
MAX_INTEGER_DIGITS = 19

# A string without its closing quote runs to the end: looking for it again and again would take for ever.
_TOKENS = re.compile(r'"(?:[^"\\]++|\\.)*+"?|[\[\]{}]', re.DOTALL)
_SURROGATE_ESCAPE = re.compile(r"\\u[dD][89a-fA-F]")


def strict_json(body: bytes) -> object:
    """Read JSON. Raises NotJson, saying where, for anything that is not JSON or is out of all bounds."""
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise NotJson(f"The body is not UTF-8: byte {error.start} cannot be read.") from error
    if not text.strip():
        raise NotJson("The body is empty. Send a JSON object.")
    _check_depth(text)
    try:
        value: object = json.loads(
            text,
            object_pairs_hook=_object,
            parse_constant=_constant,
            parse_int=_integer,
            parse_float=_number,
        )
    except json.JSONDecodeError as error:
        raise NotJson(f"{error.msg} at line {error.lineno}, column {error.colno}.") from error
    if _SURROGATE_ESCAPE.search(text):
        _check_surrogates(value, "the body")
    return value


def _check_depth(text: str) -> None:
    if text.count("[") + text.count("{") <= MAX_DEPTH:
        return
    depth = 0
    for token in _TOKENS.finditer(text):
        if token[0] in "[{":
            depth += 1
            if depth > MAX_DEPTH:
                raise NotJson(f"The body is nested more than {MAX_DEPTH} deep at character {token.start()}.")
        elif token[0] in "]}":
            depth -= 1


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        seen: set[str] = set()
        for name, _ in pairs:
            if name in seen:
                raise NotJson(f"The name {json.dumps(name[:64])} appears twice in one object.")
            seen.add(name)
    return result


def _constant(name: str) -> NoReturn:
    raise NotJson(f"{name} is not a JSON number.")


def _integer(digits: str) -> int:
    if len(digits.removeprefix("-")) > MAX_INTEGER_DIGITS:
        raise NotJson(f"A whole number has more than {MAX_INTEGER_DIGITS} digits.")
    return int(digits)


def _number(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise NotJson("A number is too large.")
    return value


def _check_surrogates(value: object, where: str) -> None:
    """Half a UTF-16 pair is no character: it can be neither stored nor spoken."""
    if isinstance(value, str):
        try:
            value.encode("utf-8")
        except UnicodeEncodeError as error:
            raise NotJson(f"A lone surrogate is no character: {where}, character {error.start}.") from error
    elif isinstance(value, dict):
        for name, item in value.items():
            _check_surrogates(name, f"a name in {where}")
            _check_surrogates(item, f"`{name[:64]}`")
    elif isinstance(value, list):
        for item in value:
            _check_surrogates(item, where)
