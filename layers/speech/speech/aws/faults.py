"""What AWS can answer, told apart: busy for now, a refused condition, or a bug of ours."""

from collections.abc import Iterator
from contextlib import contextmanager

from botocore.exceptions import (
    ClientError,
    FlexibleChecksumError,
    HTTPClientError,
    IncompleteReadError,
)
from botocore.exceptions import (
    ConnectionError as BotoConnectionError,
)

from speech.errors import StoreUnavailable

_PASSES = frozenset(
    {
        "ConditionalRequestConflict",
        "InternalError",
        "InternalFailure",
        "InternalServerError",
        "KmsThrottled",
        "LimitExceededException",
        "OperationAborted",
        "OverLimit",
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "RequestTimeout",
        "SlowDown",
        "TooManyRequestsException",
        "TransactionConflictException",
        "TransactionInProgressException",
    }
)
_PASSING_REASONS = frozenset({"TransactionConflict", "ThrottlingError", "ProvisionedThroughputExceeded"})


def code_of(error: ClientError) -> str:
    """The error code, which for a HEAD is only the status."""
    return str(error.response.get("Error", {}).get("Code", ""))


def status_of(error: ClientError) -> int:
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def passes(error: ClientError) -> bool:
    """Whether the same call may succeed a little later."""
    code = code_of(error)
    if code == "TransactionCanceledException":
        reasons = {reason.get("Code", "None") for reason in error.response.get("CancellationReasons", [])}
        return "ConditionalCheckFailed" not in reasons and bool(reasons & _PASSING_REASONS)
    return code in _PASSES or "Throttl" in code or status_of(error) >= 500 or status_of(error) == 429


def is_conflict(error: BaseException | None) -> bool:
    """Whether a transaction was called off only because another one was at the same row."""
    if not isinstance(error, ClientError) or code_of(error) != "TransactionCanceledException":
        return False
    reasons = {reason.get("Code", "None") for reason in error.response.get("CancellationReasons", [])}
    return reasons <= {"None", "TransactionConflict"}


@contextmanager
def translated() -> Iterator[None]:
    """Turn what passes into StoreUnavailable; let everything else through as it is."""
    try:
        yield
    except ClientError as error:
        if passes(error):
            raise StoreUnavailable("The service is busy; try again shortly.") from error
        raise
    except (BotoConnectionError, HTTPClientError, IncompleteReadError, FlexibleChecksumError) as error:
        raise StoreUnavailable("The service is busy; try again shortly.") from error
