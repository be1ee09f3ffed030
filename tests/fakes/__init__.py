"""Every port in memory. The contract tests hold these to the same promises as the real adapters."""

from typing import TYPE_CHECKING

from tests.fakes.builders import (
    JOB_ID,
    a_cleanup,
    a_cost,
    a_delivery,
    a_job,
    a_problem,
    a_result,
    a_segment,
    a_spec,
    an_api_key,
    an_attempt,
    some_audio,
)
from tests.fakes.clock import NOW, FakeClock
from tests.fakes.jobs import FakeJobStore
from tests.fakes.outside import (
    FakeCache,
    FakeDispatcher,
    FakeEventBus,
    FakeKeys,
    FakePolicies,
    FakeWebhookSender,
    Sent,
)
from tests.fakes.stores import FakeInputStore, FakeResultStore, FakeSegmentStore, FakeTextStore

if TYPE_CHECKING:
    from speech import ports

    # The type checker proves here that each fake is what the inside asks for.
    _fakes: tuple[
        ports.Clock,
        ports.JobStore,
        ports.Cache,
        ports.Policies,
        ports.TextStore,
        ports.SegmentStore,
        ports.InputStore,
        ports.ResultStore,
        ports.Dispatcher,
        ports.Keys,
        ports.EventBus,
        ports.WebhookSender,
    ] = (
        FakeClock(),
        FakeJobStore(),
        FakeCache(),
        FakePolicies(),
        FakeTextStore(),
        FakeSegmentStore(),
        FakeInputStore(),
        FakeResultStore(),
        FakeDispatcher(),
        FakeKeys(),
        FakeEventBus(),
        FakeWebhookSender(),
    )

__all__ = [
    "JOB_ID",
    "NOW",
    "FakeCache",
    "FakeClock",
    "FakeDispatcher",
    "FakeEventBus",
    "FakeInputStore",
    "FakeJobStore",
    "FakeKeys",
    "FakePolicies",
    "FakeResultStore",
    "FakeSegmentStore",
    "FakeTextStore",
    "FakeWebhookSender",
    "Sent",
    "a_cleanup",
    "a_cost",
    "a_delivery",
    "a_job",
    "a_problem",
    "a_result",
    "a_segment",
    "a_spec",
    "an_api_key",
    "an_attempt",
    "some_audio",
]
