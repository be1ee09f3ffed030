"""Who gets in: keys on every door, no browser from elsewhere, and nothing that unpacks what it is given."""

import ast
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from speech.apikeys import READ, WRITE, key_id_of
from speech.settings import TENANT
from tests.fakes import FakeClock
from tests.support.answers import check_answer
from tests.support.cloud import Cloud
from tests.support.edge import ROOT, event, function

PACKAGE = ROOT / "layers" / "speech" / "speech"
JOB = "/v1/jobs/job_01JD0000000000000000000000"


def asked(cloud: Cloud, token: str | None, method: str = "GET", path: str = "/v1/vendors", **headers: str) -> Any:
    sample = event("api_unknown_address")
    sample["headers"] = {"content-type": "application/json", **headers}
    if token is not None:
        sample["headers"]["authorization"] = f"Bearer {token}"
    http = sample["requestContext"]["http"]
    http["method"], http["path"], sample["rawPath"] = method, path, path
    sample["body"] = '{"text": "Hello."}' if method == "POST" else ""
    return cloud.call("jobs_api", sample)


# --- T1 --------------------------------------------------------------------------------------


def routes() -> list[Any]:
    module = function("jobs_api")
    return [*module.app._static_routes, *module.app._dynamic_routes]


def test_t1_every_route_asks_for_a_key_before_anything_else() -> None:
    found = routes()

    assert len(found) >= 6
    for route in found:
        assert [each.__qualname__ for each in route.middlewares] == ["needs.<locals>.check"], route.path


def test_t1_who_may_only_read_may_not_write_and_the_other_way_round(cloud: Cloud) -> None:
    reader, writer = (cloud.an_api_key([scope]) for scope in (READ, WRITE))

    assert asked(cloud, reader, "POST", "/v1/jobs")["statusCode"] == 403
    assert asked(cloud, writer, "POST", "/v1/jobs")["statusCode"] == 202
    assert asked(cloud, writer, "GET", "/v1/vendors")["statusCode"] == 403
    assert asked(cloud, reader, "GET", "/v1/vendors")["statusCode"] == 200


def test_t1_a_key_that_was_taken_away_is_refused_within_a_minute(cloud: Cloud) -> None:
    here = cloud.services
    clock = FakeClock(here.clock.now())
    here.__dict__["clock"] = clock
    token = cloud.an_api_key()
    assert asked(cloud, token)["statusCode"] == 200
    record = here.store.api_key(TENANT, key_id_of(token) or "")
    assert record is not None

    here.store.put_api_key(replace(record, disabled=True))
    clock.advance(60)

    answer = asked(cloud, token)
    assert answer["statusCode"] == 401
    assert answer["headers"]["WWW-Authenticate"].startswith("Bearer")


def test_t1_a_wrong_key_is_refused_alike_whatever_is_wrong_with_it(cloud: Cloud) -> None:
    token = cloud.an_api_key()
    head, _, secret = token.rpartition("_")
    stranger = token.replace(key_id_of(token) or "", "0" * 16)

    answers = [
        asked(cloud, wrong)
        for wrong in (f"{head}_{'0' * 64}", stranger, f"{head}_{secret[:-1]}", token.upper(), "x", "", f"{token}\u0000")
    ]

    assert all(answer == answers[0] for answer in answers)
    assert answers[0]["statusCode"] == 401


def test_t1_the_table_holds_nothing_that_opens_a_door(cloud: Cloud) -> None:
    token = cloud.an_api_key()

    (row,) = cloud.rows()

    assert token.rpartition("_")[2] not in str(row)
    assert len(row["secret_hash"]["S"]) == 64


# --- T14 -------------------------------------------------------------------------------------

UNPACKERS = ("zipfile", "tarfile", "gzip", "bz2", "lzma", "shutil", "xml", "lxml", "html5lib", "expat", "plistlib")


def _imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""


def test_t14_nothing_in_the_package_unpacks_archives_or_reads_xml() -> None:
    """What cannot be unpacked is no bomb. Cached lists are our own, and only those are decompressed."""
    found = {
        (str(path.relative_to(PACKAGE)), name)
        for path in PACKAGE.rglob("*.py")
        for name in _imported(path)
        if name.split(".")[0] in UNPACKERS
    }
    decompressing = {
        str(path.relative_to(PACKAGE)) for path in PACKAGE.rglob("*.py") if ".decompress" in path.read_text("utf-8")
    }

    assert found == set()
    assert decompressing <= {"usecases/list_voices.py"}


# --- T22 -------------------------------------------------------------------------------------


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://localhost:3000"])
def test_t22_a_browser_from_elsewhere_reads_nothing_and_nobody_keeps_an_answer(cloud: Cloud, origin: str) -> None:
    """No Access-Control header, `no-store`, `nosniff` and strict transport: on every answer, whatever it is."""
    token = cloud.an_api_key()
    cors = {
        "origin": origin,
        "access-control-request-method": "POST",
        "access-control-request-headers": "authorization",
    }

    answers = [
        asked(cloud, key, method, path, **cors)
        for key in (token, None)
        for method in ("GET", "HEAD", "POST", "OPTIONS", "PUT")
        for path in ("/v1/jobs", JOB, "/v1/vendors", "/v1/nothing")
    ]
    answers.append(cloud.call("vendor_callback", event("creatify_callback")))

    assert {check_answer(answer) for answer in answers} >= {200, 202, 204, 401, 404, 405, 422}
    assert not any("access-control" in name.lower() for answer in answers for name in answer["headers"])


def test_t22_the_gateway_adds_no_permission_for_browsers() -> None:
    template = (ROOT / "template.yaml").read_text(encoding="utf-8")

    assert "Cors" not in template
    assert "AllowOrigin" not in template
