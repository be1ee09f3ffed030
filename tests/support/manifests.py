"""Manifests held against their published schema."""

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator

from speech.ports import Over
from tests.fakes import FakeResultStore

SCHEMA = Path(__file__).resolve().parents[2] / "docs" / "manifest.schema.json"


@cache
def _validator() -> Draft202012Validator:
    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


def check_manifest(manifest: object) -> None:
    """It is described by the schema, to the last key."""
    wrong = [f"{error.json_path}: {error.message}" for error in _validator().iter_errors(manifest)]
    assert not wrong, f"{wrong[:5]}\nA new key has to be described in {SCHEMA.name}."


class CheckedResults(FakeResultStore):
    """Takes no manifest that its schema does not describe."""

    def put_bytes(
        self, key: str, data: bytes, *, content_type: str, metadata: Mapping[str, str], over: Over | None = None
    ) -> str | None:
        if key.endswith(".manifest.json"):
            check_manifest(json.loads(data))
        return super().put_bytes(key, data, content_type=content_type, metadata=metadata, over=over)


def as_manifest(data: bytes | None) -> dict[str, Any]:
    """The manifest in these bytes, checked."""
    assert data is not None
    manifest: dict[str, Any] = json.loads(data)
    check_manifest(manifest)
    return manifest
