"""What holds for every call to AWS: it is bounded, and the table of these tests is that of the template."""

import pytest
from botocore.awsrequest import AWSPreparedRequest

from speech.aws.clients import Clients
from tests.fakes.aws import TABLE_DEFINITION, create_bucket, in_process_aws
from tests.template.translated import sam_template

SERVICES = ("dynamodb", "s3", "sqs", "secrets", "events")


@pytest.mark.parametrize("service", SERVICES)
def test_every_call_has_a_deadline_and_few_attempts(service: str) -> None:
    """E1, I18."""
    with in_process_aws() as clients:
        config = getattr(clients, service).meta.config

    assert config.connect_timeout <= 2
    assert config.read_timeout <= 30
    assert config.retries["total_max_attempts"] <= 3
    assert config.user_agent.startswith("voicedrop ")


def test_a_client_is_made_once_and_only_when_it_is_used() -> None:
    with in_process_aws() as clients:
        before = set(vars(clients))
        first, second = clients.sqs, clients.sqs

    assert before == set()
    assert first is second
    assert set(vars(clients)) == {"_session", "sqs"}


def test_links_are_signed_with_sigv4_also_where_an_endpoint_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "AWS_ENDPOINT_URL": "http://127.0.0.1:1",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
    }.items():
        monkeypatch.setenv(name, value)

    link = Clients().s3.generate_presigned_url("get_object", Params={"Bucket": "b", "Key": "k"}, ExpiresIn=1)

    assert link.startswith("http://127.0.0.1:1/b/k?X-Amz-Algorithm=AWS4-HMAC-SHA256")


def test_a_small_object_is_sent_without_asking_first() -> None:
    with in_process_aws() as clients:
        sent: list[AWSPreparedRequest] = []
        clients.s3.meta.events.register("before-send.s3", lambda request, **_: sent.append(request))
        bucket = create_bucket(clients.s3, "bucket")

        clients.s3.put_object(Bucket=bucket, Key="k", Body=b"small")

    assert "Expect" not in sent[-1].headers


def test_the_table_of_these_tests_is_that_of_the_template() -> None:
    table = sam_template()["Resources"]["JobsTable"]["Properties"]

    assert {name: table[name] for name in TABLE_DEFINITION} == TABLE_DEFINITION
    assert table["TimeToLiveSpecification"] == {"AttributeName": "expires_at", "Enabled": True}
