"""The HTTP API: jobs made and looked at, vendors listed. Trigger: every address but those of callbacks."""

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from aws_lambda_powertools.event_handler import APIGatewayHttpResolver, Response
from aws_lambda_powertools.event_handler.exceptions import NotFoundError
from aws_lambda_powertools.utilities.typing import LambdaContext

from speech import api
from speech.apikeys import READ, WRITE
from speech.bootstrap import services
from speech.errors import MethodNotAllowed, NotFound, SpeechError
from speech.observability import logger, observed

app = APIGatewayHttpResolver()

METHODS: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"/v1/jobs"), "GET, HEAD, OPTIONS, POST"),
    (re.compile(r"/v1/jobs/\w+"), "DELETE, GET, HEAD, OPTIONS"),
    (re.compile(r"/v1/jobs/\w+/cancel"), "OPTIONS, POST"),
    (re.compile(r"/v1/vendors"), "GET, HEAD, OPTIONS"),
    (re.compile(r"/v1/vendors/\w+"), "GET, HEAD, OPTIONS"),
    (re.compile(r"/v1/voices"), "GET, HEAD, OPTIONS"),
)


def needs(scope: str) -> Callable[..., Response[str]]:
    """Middleware: nothing happens for a request before its API key is known to allow it."""

    def check(app: APIGatewayHttpResolver, next_middleware: Callable[..., Response[str]]) -> Response[str]:
        key = services().check_api_key(app.current_event.headers.get("authorization"), scope)
        app.context["tenant"] = key.tenant
        return next_middleware(app)

    return check


@app.post("/v1/jobs", middlewares=[needs(WRITE)])
def post_job() -> Response[str]:
    event = app.current_event
    accepted = services().post_job(
        app.context["tenant"], api.json_body(event.raw_event), event.headers.get("idempotency-key")
    )
    logger.info("job accepted", extra={"job_id": accepted.job.id, "repeated": not accepted.created})
    resource = services().read_job.resource(accepted.job, fresh=accepted.created)
    return answer(202, resource, {"Location": f"/v1/jobs/{accepted.job.id}", **_again(accepted.job.is_terminal)})


@app.get("/v1/jobs/<job_id>", middlewares=[needs(READ)])
def get_job(job_id: str) -> Response[str]:
    job = services().read_job.by_id(app.context["tenant"], job_id)
    return answer(200, services().read_job.resource(job), _again(job.is_terminal))


@app.post("/v1/jobs/<job_id>/cancel", middlewares=[needs(WRITE)])
def cancel_job(job_id: str) -> Response[str]:
    job = services().cancel_job(services().read_job.by_id(app.context["tenant"], job_id))
    logger.info("job cancelled", extra={"job_id": job.id})
    return answer(200, services().read_job.resource(job))


@app.delete("/v1/jobs/<job_id>", middlewares=[needs(WRITE)])
def delete_job(job_id: str) -> Response[str]:
    services().erase_job(app.context["tenant"], job_id)
    logger.info("job erased", extra={"job_id": job_id})
    return Response(status_code=204, headers=dict(api.HEADERS))


@app.get("/v1/jobs", middlewares=[needs(READ)])
def list_jobs() -> Response[str]:
    request_id = (app.current_event.query_string_parameters or {}).get("request_id")
    jobs = services().read_job.by_request_id(app.context["tenant"], request_id)
    return answer(200, {"jobs": [services().read_job.resource(job) for job in jobs], "next": None})


@app.get("/v1/vendors", middlewares=[needs(READ)])
def list_vendors() -> Response[str]:
    return answer(200, services().list_vendors())


@app.get("/v1/vendors/<name>", middlewares=[needs(READ)])
def get_vendor(name: str) -> Response[str]:
    return answer(200, services().read_vendor(name))


@app.get("/v1/voices", middlewares=[needs(READ)])
def list_voices() -> Response[str]:
    asked = app.current_event.query_string_parameters or {}
    return answer(200, services().list_voices(app.context["tenant"], asked.get("vendor"), asked.get("language")))


def nowhere(_: NotFoundError) -> Response[str]:
    path, method = app.current_event.path, app.current_event.http_method
    allowed = next((methods for pattern, methods in METHODS if pattern.fullmatch(path)), None)
    if allowed is None:
        return on_error(NotFound(api.NOTHING_HERE))
    if method == "OPTIONS":
        return Response(status_code=204, headers={**api.HEADERS, "Allow": allowed})
    refused = on_error(MethodNotAllowed(f"This address takes {allowed}."))
    refused.headers["Allow"] = allowed
    return refused


def on_error(error: SpeechError) -> Response[str]:
    status, headers, body = api.refusal(error)
    return Response(status_code=status, content_type=headers.pop("Content-Type"), headers=dict(headers), body=body)


def on_bug(error: Exception) -> Response[str]:
    return on_error(api.bug(error))


app.not_found(nowhere)
app.exception_handler(SpeechError)(on_error)
app.exception_handler(Exception)(on_bug)


def answer(status: int, body: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> Response[str]:
    return Response(
        status_code=status,
        content_type="application/json",
        headers={**api.HEADERS, **(headers or {})},
        body=json.dumps(body, separators=(",", ":")),
    )


def _again(is_terminal: bool) -> dict[str, str]:
    return {} if is_terminal else {"Retry-After": str(api.RETRY_SECONDS)}


@observed
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    if event["requestContext"]["http"]["method"] != "HEAD":
        return app.resolve(event, context)
    # HEAD is GET without the body.
    http = {**event["requestContext"]["http"], "method": "GET"}
    whole = app.resolve({**event, "requestContext": {**event["requestContext"], "http": http}}, context)
    return {**whole, "body": ""}
