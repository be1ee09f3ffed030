"""What travels on our queues is read by this release whichever of the last two wrote it."""

import json

import pytest

from speech.errors import InvalidRequest
from speech.messages import AssembleAudio, CheckSegment, DeliverEvent, Message, StartSegment
from speech.settings import TENANT
from tests.fakes import JOB_ID


@pytest.mark.parametrize(
    "message",
    [
        StartSegment(TENANT, JOB_ID, 3, vendor="convai"),
        CheckSegment(TENANT, JOB_ID, 3, 1, hint="vj-1"),
        AssembleAudio(TENANT, JOB_ID),
        DeliverEvent(TENANT, JOB_ID),
    ],
)
def test_a_message_is_read_as_it_was_written(message: Message) -> None:
    assert type(message).from_json(message.to_json()) == message


def test_e11_the_previous_envelope_is_still_read() -> None:
    body = json.dumps({"v": 1, "tenant": TENANT, "job_id": JOB_ID, "segment": 3})

    assert StartSegment.from_json(body) == StartSegment(TENANT, JOB_ID, 3)


def test_e11_only_what_says_more_has_the_new_envelope() -> None:
    """A release that is taken back still reads all the others."""
    assert json.loads(StartSegment(TENANT, JOB_ID, 0).to_json())["v"] == 2
    assert json.loads(DeliverEvent(TENANT, JOB_ID).to_json())["v"] == 1


@pytest.mark.parametrize("body", ["", "[]", "{}", '{"v": 3, "tenant": "t", "job_id": "j"}', '{"v": 1, "tenant": "t"}'])
def test_a_message_that_is_none_of_ours_is_refused(body: str) -> None:
    with pytest.raises(InvalidRequest):
        AssembleAudio.from_json(body)
