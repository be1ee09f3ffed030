"""`make configure` puts a policy in force in a stack, and says what is in force."""

import json
from pathlib import Path

import boto3
import pytest
from moto import mock_aws

from local.configure import main, policies_of
from speech.policy import Policy, Speaker

STACK = "voicedrop-dev"


@pytest.fixture(autouse=True)
def an_account(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    monkeypatch.delenv("AWS_PROFILE", raising=False)


def a_stack() -> None:
    boto3.client("dynamodb").create_table(
        TableName="jobs",
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in ("pk", "sk")],
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
    )
    template = {
        "Resources": {"Topic": {"Type": "AWS::SNS::Topic"}},
        "Outputs": {"JobsTable": {"Value": "jobs"}, "SigningSecretArn": {"Value": "arn"}},
    }
    boto3.client("cloudformation").create_stack(StackName=STACK, TemplateBody=json.dumps(template))


@mock_aws
def test_the_policy_of_a_file_is_in_force_and_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a_stack()
    file = tmp_path / "policy.json"
    file.write_text('{"fallback": ["voiceai"], "limits": {"playht": "hacker"}}')

    assert main([STACK, str(file)]) == 0

    policy = policies_of("jobs").policy()
    assert policy.fallback == (Speaker("voiceai"),)
    assert policy.limits_of("playht").requests_per_minute == 20
    assert json.loads(capsys.readouterr().out) == policy.to_json()


@mock_aws
def test_without_a_file_nothing_changes_and_what_is_in_force_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    a_stack()

    assert main([STACK]) == 0

    assert Policy.parse(json.loads(capsys.readouterr().out)) == Policy()


@mock_aws
@pytest.mark.parametrize("body", ["{", '{"fallback": ["nobody"]}', '{"fallback": [], "fallback": []}', None])
def test_a_file_that_is_wrong_or_missing_changes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], body: str | None
) -> None:
    a_stack()
    file = tmp_path / "policy.json"
    if body is not None:
        file.write_text(body)

    assert main([STACK, str(file)]) == 1

    assert "Nothing was changed" in capsys.readouterr().err
    assert policies_of("jobs").policy() == Policy()


@mock_aws
def test_a_stack_that_is_not_there_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["voicedrop-none"]) == 1
    assert main([]) == 2

    assert "voicedrop-none" in capsys.readouterr().err
