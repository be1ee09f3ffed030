"""The one family of errors: what went wrong, whether trying again helps, and what a client may see."""

from collections.abc import Sequence
from typing import Any, ClassVar, NamedTuple


class FieldError(NamedTuple):
    """One thing wrong with one field of the input. `field` is a dotted path as the sender wrote it."""

    field: str
    message: str


class SpeechError(Exception):
    """Base of every error we raise on purpose. `detail` is always safe to show to a client."""

    code: ClassVar[str] = "internal-error"
    title: ClassVar[str] = "Something went wrong on our side"
    status: ClassVar[int] = 500
    retryable: ClassVar[bool] = False

    def __init__(self, detail: str, *, errors: Sequence[FieldError] = ()) -> None:
        super().__init__(detail)
        self.detail = detail
        self.errors = tuple(errors)


# --- What a sender can get wrong -------------------------------------------------------------


class NotJson(SpeechError):
    code = "not-json"
    title = "The body is not JSON"
    status = 400


class Unauthenticated(SpeechError):
    code = "unauthenticated"
    title = "A valid API key is needed"
    status = 401


class Forbidden(SpeechError):
    code = "forbidden"
    title = "This API key may not do that"
    status = 403


class NotFound(SpeechError):
    code = "not-found"
    title = "There is nothing here"
    status = 404


class JobNotFound(NotFound):
    code = "job-not-found"
    title = "There is no such job"


class MethodNotAllowed(SpeechError):
    code = "method-not-allowed"
    title = "This address does not take that method"
    status = 405


class IllegalTransition(SpeechError):
    code = "illegal-transition"
    title = "The job is not in a state that allows this"
    status = 409


class JobErased(SpeechError):
    code = "job-erased"
    title = "The job of this request was erased"
    status = 409


class PayloadTooLarge(SpeechError):
    code = "payload-too-large"
    title = "The request is too large"
    status = 413


class UnsupportedMediaType(SpeechError):
    code = "unsupported-media-type"
    title = "The body must be application/json"
    status = 415


class InvalidRequest(SpeechError):
    code = "invalid-request"
    title = "The request cannot be carried out as it stands"
    status = 422


class UnsupportedOption(InvalidRequest):
    code = "unsupported-option"
    title = "The vendor cannot do what was asked"


class UnknownVendor(InvalidRequest):
    code = "unknown-vendor"
    title = "There is no such vendor"


class TextTooLong(InvalidRequest):
    code = "text-too-long"
    title = "The text is too long"


class MaxCostTooLow(InvalidRequest):
    code = "max-cost-too-low"
    title = "The job could cost more than its max_cost"


class IdempotencyKeyReused(InvalidRequest):
    code = "idempotency-key-reused"
    title = "This Idempotency-Key was used for another request"


class InputGone(SpeechError):
    code = "input-gone"
    title = "The file was gone before it could be read"
    status = 410


class NotText(InvalidRequest):
    code = "not-text"
    title = "The file is not a text"


class EmptyText(InvalidRequest):
    code = "empty-text"
    title = "There is no text to speak"


# --- What can end a job from within ----------------------------------------------------------


class DeadlineExceeded(SpeechError):
    code = "deadline-exceeded"
    title = "The job did not finish before its deadline"
    status = 504


class JobEnded(SpeechError):
    """Why a segment was given up: its job had ended, and nobody waits for its audio."""

    code = "job-ended"
    title = "The job had ended"
    status = 409

    def __init__(self) -> None:
        super().__init__("The job ended before the vendor's answer was known.")


class NarratorChanged(SpeechError):
    """Why a segment was given up: another narrator speaks the job from its first word on."""

    code = "narrator-changed"
    title = "Another narrator speaks the job"
    status = 409

    def __init__(self) -> None:
        super().__init__("Another narrator took over before the vendor's answer was known.")


class ProcessingFailed(SpeechError):
    code = "processing-failed"
    title = "The job could not be processed"
    status = 500


class OverBudget(SpeechError):
    """What would be reserved does not fit into what the job may cost. Nothing was written."""

    code = "max-cost-reached"
    title = "The job may not cost more"
    status = 422


class UnusableAudio(SpeechError):
    """Bytes that are not whole, real, audible audio. `reason` is a kebab-case class of damage."""

    code = "unusable-audio"
    title = "The audio could not be used"
    status = 502

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.request_id: str | None = None
        self.credits: float | None = None
        """What the vendor said of the call that brought these bytes; it may well have been billed."""


class StaleWrite(SpeechError):
    """A conditional write was refused: somebody else moved the row first. Never shown to clients."""

    code = "stale-write"
    title = "Somebody else was faster"
    status = 409
    retryable = True


class ObjectChanged(SpeechError):
    """A conditional write of an object was refused: something else lies there. Never shown to clients."""

    code = "object-changed"
    title = "Somebody else was faster"
    status = 409
    retryable = True


class StoreUnavailable(SpeechError):
    """AWS throttled or failed in a way that passes; the queue or the client tries again."""

    code = "temporarily-unavailable"
    title = "The service is busy; try again shortly"
    status = 503
    retryable = True


class CorruptRow(SpeechError):
    """A row that this release cannot understand: it is left as it is for a person to look at."""

    code = "corrupt-row"
    title = "The record of this job is damaged"


# --- Vendors ---------------------------------------------------------------------------------


class VendorError(SpeechError):
    """Something a vendor did. Carries what a person needs to talk to the vendor about it.

    `vendor_status` is the vendor's HTTP status, `vendor_code` its own error code, `request_id` its
    request id, `retry_after` seconds, `credits` what it charged all the same. None is ever the text, a key
    or a token.
    """

    code = "vendor-error"
    title = "The vendor failed"
    status = 502

    def __init__(
        self,
        detail: str,
        *,
        vendor: str,
        vendor_status: int | None = None,
        vendor_code: str | None = None,
        request_id: str | None = None,
        retry_after: float | None = None,
        credits: float | None = None,
    ) -> None:
        super().__init__(detail)
        self.credits = credits
        self.vendor = vendor
        self.vendor_status = vendor_status
        self.vendor_code = vendor_code
        self.request_id = request_id
        self.retry_after = retry_after


class VendorUnavailable(VendorError):
    """Connect failure, 5xx, or a refusal before anything was bought. Nothing was spoken for us."""

    code = "vendor-unavailable"
    title = "The vendor cannot be reached or is failing"
    status = 503
    retryable = True


class VendorAmbiguous(VendorUnavailable):
    """The request left and no answer came back: the vendor may have spoken, and may have billed."""

    code = "vendor-ambiguous"
    title = "The vendor did not answer in time"


class VendorThrottled(VendorError):
    code = "vendor-throttled"
    title = "The vendor asks us to slow down"
    status = 503
    retryable = True


class VendorMisbehaved(VendorError):
    """Success without usable audio, or an answer outside the vendor's own contract."""

    code = "vendor-misbehaved"
    title = "The vendor answered without usable audio"
    retryable = True


class VendorGone(VendorMisbehaved):
    """There is nobody: no such name, an address given up for good, or a web page where an API was.

    A page that came with a success may have been billed as well as audio; the others were not.
    """

    code = "vendor-gone"
    title = "The vendor is no longer there"

    @property
    def is_free(self) -> bool:
        return not 200 <= (self.vendor_status or 0) < 300


class VendorRetired(VendorError):
    """The operator has taken this vendor, engine or voice out of service: it is not asked at all."""

    code = "vendor-retired"
    title = "The vendor, its engine or the voice is retired"
    status = 422


class VendorQuotaExhausted(VendorError):
    """Somebody has to pay or raise a limit; the job waits until its deadline."""

    code = "vendor-quota-exhausted"
    title = "The vendor account has no credit left"
    status = 503


class VendorUnauthorized(VendorError):
    """The vendor refuses our key; the job waits until its deadline for somebody to mend it."""

    code = "vendor-unauthorized"
    title = "The vendor refuses the configured key"


class VendorRejected(VendorError):
    """The vendor refuses this request for good: trying the same again cannot help."""

    code = "vendor-rejected"
    title = "The vendor refused the request"


class VendorTextTooLong(VendorRejected):
    """The vendor's real limit is below the one it documents. `limit` is what it says it is, if it says so."""

    code = "vendor-text-too-long"
    title = "The vendor refused the text for its length"

    def __init__(self, detail: str, *, limit: int | None = None, **facts: Any) -> None:
        super().__init__(detail, **facts)
        self.limit = limit


class VendorJobFailed(VendorError):
    code = "vendor-job-failed"
    title = "The vendor's own job failed"


class VendorJobExpired(VendorError):
    code = "vendor-job-expired"
    title = "The vendor no longer knows its job"


class UnsupportedContainer(VendorError):
    code = "unsupported-container"
    title = "The vendor's audio is in a container we do not read"


class UnsupportedOperation(SpeechError):
    """A bug in our wiring: a vendor was asked for something its capabilities do not declare."""

    code = "unsupported-operation"
    title = "The vendor does not work that way"


class CallbackNotAuthentic(NotFound):
    """Always the same answer, whatever was wrong with the token."""

    def __init__(self) -> None:
        super().__init__("There is nothing at this address.")
