"""Take a vendor's callback. Trigger: POST /callbacks/creatify/{token}."""

from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from speech import api
from speech.bootstrap import services
from speech.errors import SpeechError
from speech.observability import observed


@observed
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    token = (event.get("pathParameters") or {}).get("token") or ""
    try:
        services().vendor_callback(token, event.get("headers") or {}, lambda: api.body_bytes(event))
    except SpeechError as error:
        return api.problem(error)
    return api.done()
