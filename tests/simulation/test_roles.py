"""The simulated AWS knows the roles of the template: a call that a role forbids breaks a promise (T9)."""

import pytest

from tests.simulation.run import failing
from tests.support.sim.laboratory import Laboratory

pytestmark = pytest.mark.filterwarnings("ignore:No application metrics:UserWarning")


@pytest.mark.parametrize(
    "missing",
    [
        ("start_segment", "dynamodb:PutItem", "JobsTable"),
        ("start_segment", "s3:ListBucket", "WorkBucket"),
        ("assemble_audio", "s3:PutObject", "AudioBucket"),
        ("deliver_event", "events:PutEvents", "EventBus"),
        ("jobs_api", "secretsmanager:GetSecretValue", "SigningSecret"),
    ],
    ids="-".join,
)
def test_t9_what_a_role_does_not_allow_does_not_happen(
    lab: Laboratory, missing: tuple[str, str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(lab.roles.allowed, missing)

    worlds = (failing(lab, seed, faulty=False) for seed in range(3))

    assert any(str(world.violation).startswith("T9") for world in worlds)
