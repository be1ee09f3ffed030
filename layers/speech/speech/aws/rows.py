"""Entities as DynamoDB rows: plain values as attributes of their own, nested ones as JSON.

boto3's own serializer walks every nested value, turns numbers into Decimal and refuses floats; JSON in
one attribute costs a fraction, on our side and in botocore's.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from enum import Enum
from functools import cache
from types import NoneType
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from speech.errors import CorruptRow, InvalidRequest

Row = dict[str, Any]
"""Attribute name → DynamoDB's typed cell, for instance {"rev": {"N": "3"}}."""

E = TypeVar("E")

MAX_BYTES = 100 * 1024
"""Of a new row."""

MAX_GROWN_BYTES = 300 * 1024
"""Of a row that was there before: what we write into it must not be what keeps a job from ending."""


def encode(entity: Any, *, most: int = MAX_BYTES) -> Row:
    """The attributes of a dataclass; None and empty collections are left out. Raises InvalidRequest above `most`."""
    row: Row = {}
    size = 0
    kind: Any = type(entity)
    for name in _names(kind):
        value = getattr(entity, name)
        if value is None:
            continue
        if isinstance(value, str):
            text = str(value)
        elif isinstance(value, bool):
            row[name] = {"BOOL": value}
            continue
        elif isinstance(value, int):
            row[name] = {"N": str(value)}
            continue
        elif value or is_dataclass(value) or isinstance(value, float):
            text = json.dumps(value, default=_plain, separators=(",", ":"))
        else:
            continue
        size += len(text.encode(errors="surrogatepass"))
        row[name] = {"S": text}
    if size > most:
        raise InvalidRequest("The options and metadata are too large to be kept with the job.")
    return row


def decode(kind: type[E], row: Mapping[str, Any]) -> E:
    """The entity of a row. Attributes this release does not know are passed over; raises CorruptRow."""
    of: Any = kind
    try:
        values: dict[str, Any] = {}
        for name, read, required in _readers(of):
            cell = row.get(name)
            if cell is not None:
                values[name] = read(cell)
            elif required:
                values[name] = None
        return kind(**values)
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise CorruptRow(f"A {kind.__name__.lower()} row cannot be understood.") from error


@cache
def _names(kind: Any) -> tuple[str, ...]:
    return tuple(field.name for field in fields(kind))


def _plain(value: Any) -> Any:
    """What json does not know: nested dataclasses and read-only mappings."""
    if is_dataclass(value):
        kind: Any = type(value)
        return {name: getattr(value, name) for name in _names(kind)}
    return dict(value)


@cache
def _readers(kind: Any) -> tuple[tuple[str, Callable[[Any], Any], bool], ...]:
    """Name, how to read its cell, and whether a missing cell means None for want of a default."""
    hints = get_type_hints(kind)
    return tuple(
        (field.name, _cell_reader(hints[field.name]), _has_no_default(field) and _is_optional(hints[field.name]))
        for field in fields(kind)
    )


def _cell_reader(hint: Any) -> Callable[[Any], Any]:
    inner = _without_none(hint)
    if inner is bool:
        return lambda cell: bool(cell["BOOL"])
    if inner is int:
        return lambda cell: int(cell["N"])
    if inner is str:
        return lambda cell: str(cell["S"])
    build = _builder(inner)
    if isinstance(inner, type) and issubclass(inner, Enum):
        return lambda cell: build(cell["S"])
    return lambda cell: build(json.loads(cell["S"]))


@cache
def _builder(hint: Any) -> Callable[[Any], Any]:
    """From a value as JSON knows it to the type of a field; ValueError or TypeError when it does not fit."""
    inner = _without_none(hint)
    if inner is not hint:
        build = _builder(inner)
        return lambda value: None if value is None else build(value)
    if is_dataclass(inner) and isinstance(inner, type):
        return _dataclass_builder(inner)
    if get_origin(inner) is tuple:
        of = _builder(get_args(inner)[0])
        return lambda value: tuple(of(each) for each in _a(list, value))
    if isinstance(inner, type) and issubclass(inner, Enum):
        return inner
    if inner is float:
        return lambda value: _a((int, float), value)
    if inner is bool:
        return _a_bool
    if inner in (int, str):
        return lambda value: _a(inner, value)
    return lambda value: _a(dict, value)


def _dataclass_builder(kind: type[Any]) -> Callable[[Any], Any]:
    hints = get_type_hints(kind)
    builders = {field.name: _builder(hints[field.name]) for field in fields(kind)}

    def build(value: Any) -> Any:
        return kind(**{name: builders[name](each) for name, each in _a(dict, value).items() if name in builders})

    return build


def _a_bool(value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError("a value is not of its type")
    return value


def _a(kind: type[Any] | tuple[type[Any], ...], value: Any) -> Any:
    if not isinstance(value, kind) or isinstance(value, bool):
        raise TypeError("a value is not of its type")
    return value


def _without_none(hint: Any) -> Any:
    if not _is_optional(hint):
        return hint
    (inner,) = (each for each in get_args(hint) if each is not NoneType)
    return inner


def _is_optional(hint: Any) -> bool:
    return NoneType in get_args(hint)


def _has_no_default(field: "Field[Any]") -> bool:
    return field.default is MISSING and field.default_factory is MISSING
