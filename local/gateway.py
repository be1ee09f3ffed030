"""Serve the HTTP API with payload format 2.0 and the limits of API Gateway; throttling is left out.

https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html
"""

import asyncio
import base64
import json
import re
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self
from urllib.parse import unquote

from aiohttp import web
from multidict import CIMultiDict, CIMultiDictProxy

from local.runtime import Pool
from local.template import ACCOUNT, Route

REQUEST_LIMIT = 10 * 1024 * 1024
INVOCATION_LIMIT = 6 * 1024 * 1024
INTEGRATION_SECONDS = 30.0

TEXT = re.compile(r"text/[^;]+|application/(json|xml|javascript)", re.IGNORECASE)
"""What arrives as text. The rest, forms and bodies without a type included, arrives in base64."""

HOP_BY_HOP = frozenset({"connection", "content-length", "keep-alive", "transfer-encoding"})


@dataclass(frozen=True, slots=True)
class Match:
    """A route and what its path parameters came to."""

    route: Route
    parameters: Mapping[str, str]


class Gateway:
    """The HTTP API, on a free port of loopback."""

    def __init__(self, *, integration_seconds: float = INTEGRATION_SECONDS) -> None:
        self._routes: Sequence[Route] = ()
        self._pools: Mapping[str, Pool] = {}
        self._integration_seconds = integration_seconds
        # Above our own limit, so that it is we who answer.
        application = web.Application(client_max_size=REQUEST_LIMIT + 1)
        application.router.add_route("*", "/{anything:.*}", self._serve)
        self._server = web.AppRunner(application, access_log=None, shutdown_timeout=0.5, auto_decompress=False)
        self.url = ""

    async def __aenter__(self) -> Self:
        await self._server.setup()
        await web.TCPSite(self._server, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._server.addresses[0][1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._server.cleanup()

    def open(self, routes: Sequence[Route], pools: Mapping[str, Pool]) -> None:
        """Begin to route. Until then every request is answered 503."""
        self._pools = pools
        self._routes = routes

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        if not self._routes:
            return _message(503, "Service Unavailable")
        try:
            body = await request.read()
        except web.HTTPRequestEntityTooLarge:
            return _message(413, "Request Entity Too Large")
        path = unquote(request.rel_url.raw_path)
        match = find_route(self._routes, request.method, path)
        if match is None:
            return _message(404, "Not Found")
        payload = json.dumps(_event(request, path, match, body)).encode()
        if len(body) > REQUEST_LIMIT or len(payload) > INVOCATION_LIMIT:
            return _message(413, "Request Entity Too Large")
        # The function goes on when the gateway has given up or the client has gone.
        invocation = asyncio.ensure_future(self._pools[match.route.function].invoke(payload))
        try:
            result = await asyncio.wait_for(asyncio.shield(invocation), self._integration_seconds)
        except TimeoutError:
            return _message(503, "Service Unavailable")
        if result.failed:
            return _message(500, "Internal Server Error")
        return _answer(result.payload)


def find_route(routes: Sequence[Route], method: str, path: str) -> Match | None:
    """The most specific route: a literal path before one with parameters, a greedy one last, then `$default`."""
    best: tuple[tuple[list[int], int], Match] | None = None
    parts = path.removeprefix("/").split("/")
    for route in routes:
        if route.method not in ("ANY", method):
            continue
        matched = ([3], {}) if route.path == "$default" else _match(route.path.removeprefix("/").split("/"), parts)
        if matched is None:
            continue
        rank = (matched[0], 0 if route.method == method else 1)
        if best is None or rank < best[0]:
            best = (rank, Match(route, matched[1]))
    return None if best is None else best[1]


def _match(pattern: Sequence[str], parts: Sequence[str]) -> tuple[list[int], dict[str, str]] | None:
    """How general each part of the pattern is, and the parameters; None when it does not match."""
    ranks: list[int] = []
    parameters: dict[str, str] = {}
    for index, each in enumerate(pattern):
        if each.startswith("{") and each.endswith("+}"):
            parameters[each[1:-2]] = "/".join(parts[index:])
            return ([*ranks, 2], parameters) if len(parts) > index and parts[index] else None
        if index >= len(parts):
            return None
        if each.startswith("{") and each.endswith("}"):
            if not parts[index]:
                return None
            parameters[each[1:-1]] = parts[index]
            ranks.append(1)
        elif each == parts[index]:
            ranks.append(0)
        else:
            return None
    return (ranks, parameters) if len(pattern) == len(parts) else None


def _event(request: web.Request, path: str, match: Match, body: bytes) -> dict[str, Any]:
    """The request as the function sees it. API Gateway hands over the path decoded, also as `rawPath`."""
    headers = _joined(request.headers)
    cookies = headers.pop("cookie", None)
    text = None
    if TEXT.match(request.headers.get("Content-Type", "")):
        try:
            text = body.decode()
        except UnicodeDecodeError:
            text = None
    now = time.time()
    host = request.host.partition(":")[0]
    event: dict[str, Any] = {
        "version": "2.0",
        "routeKey": match.route.key,
        "rawPath": path,
        "rawQueryString": request.rel_url.raw_query_string,
        "headers": {
            **headers,
            "x-forwarded-for": request.remote or "127.0.0.1",
            "x-forwarded-port": str(request.url.port),
            "x-forwarded-proto": "http",
        },
        "requestContext": {
            "accountId": ACCOUNT,
            "apiId": "local",
            "domainName": host,
            "domainPrefix": host.partition(".")[0],
            "http": {
                "method": request.method,
                "path": path,
                "protocol": "HTTP/1.1",
                "sourceIp": request.remote or "127.0.0.1",
                "userAgent": request.headers.get("User-Agent", ""),
            },
            "requestId": uuid.uuid4().hex[:16],
            "routeKey": match.route.key,
            "stage": "$default",
            "time": time.strftime("%d/%b/%Y:%H:%M:%S +0000", time.gmtime(now)),
            "timeEpoch": int(now * 1000),
        },
        "isBase64Encoded": bool(body) and text is None,
    }
    if cookies is not None:
        event["cookies"] = [each.strip() for each in cookies.replace(",", ";").split(";") if each.strip()]
    if request.rel_url.raw_query_string:
        event["queryStringParameters"] = _joined(request.rel_url.query, lower=False)
    if match.parameters:
        event["pathParameters"] = dict(match.parameters)
    if body:
        event["body"] = base64.b64encode(body).decode() if text is None else text
    return event


def _joined(values: Any, *, lower: bool = True) -> dict[str, str]:
    """Repeated names joined by commas, as payload format 2.0 has it."""
    joined: dict[str, str] = {}
    for name, value in values.items():
        key = name.lower() if lower else name
        joined[key] = f"{joined[key]},{value}" if key in joined else value
    return joined


def _answer(payload: bytes) -> web.Response:
    """The function's answer. Without a status code the whole answer is the body, as format 2.0 infers."""
    try:
        answer = json.loads(payload)
        if not isinstance(answer, dict) or "statusCode" not in answer:
            return web.Response(body=payload, content_type="application/json")
        body = answer.get("body") or ""
        if not isinstance(body, str):
            body = json.dumps(body)
        raw = base64.b64decode(body, validate=True) if answer.get("isBase64Encoded") else body.encode()
        return web.Response(status=int(answer["statusCode"]), body=raw, headers=_headers(answer))
    except (ValueError, TypeError, AttributeError):
        return _message(500, "Internal Server Error")


def _headers(answer: Mapping[str, Any]) -> CIMultiDictProxy[str]:
    headers: CIMultiDict[str] = CIMultiDict()
    for name, value in (answer.get("headers") or {}).items():
        if name.lower() not in HOP_BY_HOP:
            headers[name] = value if isinstance(value, str) else json.dumps(value)
    for cookie in answer.get("cookies") or []:
        headers.add("Set-Cookie", cookie)
    if any("\n" in value or "\r" in value for value in headers.values()):
        raise ValueError("A header has several lines.")
    headers.setdefault("Content-Type", "text/plain;charset=utf-8")
    return CIMultiDictProxy(headers)


def _message(status: int, message: str) -> web.Response:
    return web.json_response({"message": message}, status=status)
