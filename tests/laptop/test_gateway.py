"""The HTTP API answers as API Gateway does, limits included."""

import asyncio
import base64
import json
from collections.abc import Callable
from typing import Any, cast

import aiohttp
import pytest
from yarl import URL

from local.gateway import Gateway, find_route
from local.runtime import Pool, Result
from local.template import Route

ROUTES = [
    Route("ANY", "$default", "probe"),
    Route("GET", "/jobs", "probe"),
    Route("GET", "/jobs/{id}", "probe"),
    Route("ANY", "/jobs/{id}", "probe"),
    Route("GET", "/jobs/new", "probe"),
    Route("GET", "/files/{path+}", "probe"),
    Route("POST", "/callbacks/{token}", "probe"),
]


class FakePool:
    """A function that answers with its event, or with what the test wants."""

    def __init__(self, answer: Any = None, *, seconds: float = 0) -> None:
        self._answer = answer
        self._seconds = seconds

    async def invoke(self, event: bytes) -> Result:
        await asyncio.sleep(self._seconds)
        if isinstance(self._answer, Result):
            return self._answer
        return Result(event if self._answer is None else json.dumps(self._answer).encode())


def ask(
    method: str,
    path: str,
    *,
    pool: FakePool | None = None,
    integration_seconds: float = 30,
    then: Callable[[aiohttp.ClientResponse], Any] | None = None,
    routes: list[Route] = ROUTES,
    **request: Any,
) -> tuple[aiohttp.ClientResponse, Any]:
    """One request through a gateway; the answer and its body, parsed when it is JSON."""

    async def main() -> tuple[aiohttp.ClientResponse, Any]:
        async with Gateway(integration_seconds=integration_seconds) as gateway, aiohttp.ClientSession() as session:
            gateway.open(routes, {"probe": cast(Pool, pool or FakePool())})
            async with session.request(method, URL(gateway.url + path, encoded=True), **request) as answer:
                body = await answer.read()
                return answer, json.loads(body) if answer.content_type == "application/json" else body

    return asyncio.run(main())


@pytest.mark.parametrize(
    ("method", "path", "key", "parameters"),
    [
        ("GET", "/jobs", "GET /jobs", {}),
        ("GET", "/jobs/7", "GET /jobs/{id}", {"id": "7"}),
        ("DELETE", "/jobs/7", "ANY /jobs/{id}", {"id": "7"}),
        ("GET", "/jobs/new", "GET /jobs/new", {}),
        ("GET", "/files/a/b.txt", "GET /files/{path+}", {"path": "a/b.txt"}),
        ("POST", "/jobs", "$default", {}),
        ("GET", "/callbacks/t", "$default", {}),
        ("GET", "/jobs/7/more", "$default", {}),
        ("GET", "/jobs/", "$default", {}),
        ("GET", "//jobs", "$default", {}),
        ("GET", "/", "$default", {}),
    ],
)
def test_the_most_specific_route_is_taken(method: str, path: str, key: str, parameters: dict[str, str]) -> None:
    match = find_route(ROUTES, method, path)

    assert match is not None
    assert (match.route.key, dict(match.parameters)) == (key, parameters)


def test_without_a_route_there_is_nothing() -> None:
    answer, body = ask("GET", "/nowhere", routes=ROUTES[1:])

    assert (answer.status, body) == (404, {"message": "Not Found"})


def test_an_event_has_the_shape_of_payload_format_2() -> None:
    _, event = ask(
        "GET",
        "/jobs/a%20b?x=1&x=2&y=%C3%BC&empty=",
        headers=[("X-Many", "1"), ("X-Many", "2"), ("Cookie", "a=1; b=2"), ("User-Agent", "tester")],
    )

    assert event["version"] == "2.0"
    assert event["routeKey"] == event["requestContext"]["routeKey"] == "GET /jobs/{id}"
    assert event["rawPath"] == event["requestContext"]["http"]["path"] == "/jobs/a b"
    assert event["pathParameters"] == {"id": "a b"}
    assert event["rawQueryString"] == "x=1&x=2&y=%C3%BC&empty="
    assert event["queryStringParameters"] == {"x": "1,2", "y": "ü", "empty": ""}
    assert event["headers"]["x-many"] == "1,2"
    assert event["cookies"] == ["a=1", "b=2"]
    assert "cookie" not in event["headers"]
    assert event["requestContext"]["http"]["method"] == "GET"
    assert event["requestContext"]["http"]["userAgent"] == "tester"
    assert event["requestContext"]["stage"] == "$default"
    assert event["isBase64Encoded"] is False
    assert "body" not in event


@pytest.mark.parametrize("content_type", ["application/json", "text/plain; charset=utf-8", "application/xml"])
def test_text_arrives_as_text(content_type: str) -> None:
    _, event = ask("POST", "/callbacks/t", data="ü".encode(), headers={"Content-Type": content_type})

    assert (event["body"], event["isBase64Encoded"]) == ("ü", False)


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("application/octet-stream", b"plain"),
        ("application/x-www-form-urlencoded", b"a=1"),
        ("application/problem+json", b"{}"),
        ("audio/mpeg", b"\xff\xfb"),
        ("text/plain", b"\xff\xfe"),
        ("", b"untyped"),
    ],
)
def test_everything_else_arrives_in_base64(content_type: str, body: bytes) -> None:
    _, event = ask("POST", "/callbacks/t", data=body, headers={"Content-Type": content_type})

    assert base64.b64decode(event["body"]) == body
    assert event["isBase64Encoded"] is True


def test_a_body_in_pieces_arrives_whole() -> None:
    async def pieces() -> Any:
        for each in (b'{"a":', b" 1}"):
            yield each

    _, event = ask("POST", "/callbacks/t", data=pieces(), headers={"Content-Type": "application/json"})

    assert event["body"] == '{"a": 1}'


def test_an_answer_keeps_status_headers_and_cookies() -> None:
    answer, body = ask(
        "GET",
        "/jobs",
        pool=FakePool(
            {
                "statusCode": 418,
                "headers": {"content-type": "application/problem+json", "X-A": "b"},
                "cookies": ["a=1", "b=2"],
                "body": "{}",
            }
        ),
    )

    assert (answer.status, body) == (418, b"{}")
    assert answer.headers["X-A"] == "b"
    assert answer.headers.getall("Content-Type") == ["application/problem+json"]
    assert answer.headers.getall("Set-Cookie") == ["a=1", "b=2"]


def test_a_binary_answer_is_decoded() -> None:
    encoded = base64.b64encode(b"\xff\xfb").decode()
    _, body = ask(
        "GET",
        "/jobs",
        pool=FakePool(
            {"statusCode": 200, "headers": {"content-type": "audio/mpeg"}, "body": encoded, "isBase64Encoded": True}
        ),
    )

    assert body == b"\xff\xfb"


@pytest.mark.parametrize("status", [204, 304])
def test_an_answer_without_a_body_has_none(status: int) -> None:
    answer, body = ask("GET", "/jobs", pool=FakePool({"statusCode": status}))

    assert (answer.status, body) == (status, b"")


@pytest.mark.parametrize(
    "answer",
    [
        Result(b'{"errorType": "ValueError"}', failed=True),
        Result(b"not json"),
        Result(b'{"statusCode": "what"}'),
        Result(b'{"statusCode": 200, "headers": 5}'),
        Result(b'{"statusCode": 200, "body": "***", "isBase64Encoded": true}'),
        Result(b'{"statusCode": 200, "headers": {"X-A": "b\\nc"}}'),
    ],
)
def test_a_function_that_fails_or_answers_nonsense_is_an_internal_error(answer: Result) -> None:
    got, body = ask("GET", "/jobs", pool=FakePool(answer))

    assert (got.status, body) == (500, {"message": "Internal Server Error"})


def test_a_function_that_takes_longer_than_the_gateway_waits_is_unavailable() -> None:
    answer, body = ask("GET", "/jobs", pool=FakePool(seconds=5), integration_seconds=0.1)

    assert (answer.status, body) == (503, {"message": "Service Unavailable"})


@pytest.mark.parametrize("size", [10 * 1024 * 1024 + 1, 6 * 1024 * 1024])
def test_a_request_larger_than_gateway_or_function_take_is_refused(size: int) -> None:
    answer, body = ask("POST", "/callbacks/t", data=b"x" * size, headers={"Content-Type": "text/plain"})

    assert (answer.status, body) == (413, {"message": "Request Entity Too Large"})


def test_a_request_below_the_limits_passes() -> None:
    _, event = ask("POST", "/callbacks/t", data=b"x" * 5_000_000, headers={"Content-Type": "text/plain"})

    assert len(event["body"]) == 5_000_000


def test_head_and_unknown_methods_reach_the_default_route() -> None:
    _, event = ask("PROPFIND", "/jobs")

    assert event["routeKey"] == "$default"
    assert event["requestContext"]["http"]["method"] == "PROPFIND"
