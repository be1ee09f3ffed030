"""`make key` makes a key that the stack then accepts."""

import boto3
import pytest
from moto import mock_aws

from local.make_key import NoSuchStack, main, make_key, outputs_of
from speech.apikeys import check_key, key_id_of
from speech.aws.dynamo import DynamoJobStore
from speech.settings import TENANT


@pytest.fixture(autouse=True)
def an_account(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    monkeypatch.delenv("AWS_PROFILE", raising=False)


@mock_aws
def test_a_key_made_for_a_stack_is_known_to_its_table_by_its_hash_alone() -> None:
    dynamodb = boto3.client("dynamodb")
    dynamodb.create_table(
        TableName="jobs",
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in ("pk", "sk")],
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
    )
    secret = boto3.client("secretsmanager").create_secret(Name="signing", SecretString="s" * 64)

    token = make_key("voicedrop-dev", {"JobsTable": "jobs", "SigningSecretArn": secret["ARN"]})

    record = DynamoJobStore(dynamodb, "jobs").api_key(TENANT, key_id_of(token) or "")
    assert check_key(token, record, b"s" * 64)
    assert token not in str(dynamodb.scan(TableName="jobs")["Items"])


@mock_aws
def test_a_stack_that_is_not_there_is_named() -> None:
    with pytest.raises(NoSuchStack, match="voicedrop-none"):
        outputs_of("voicedrop-none", boto3.client("cloudformation"))


@mock_aws
def test_a_stack_that_is_none_of_ours_is_told_apart() -> None:
    cloudformation = boto3.client("cloudformation")
    cloudformation.create_stack(StackName="other", TemplateBody='{"Resources": {"Topic": {"Type": "AWS::SNS::Topic"}}}')

    with pytest.raises(NoSuchStack, match="JobsTable"):
        outputs_of("other", cloudformation)


@mock_aws
def test_without_a_stack_the_program_says_so_and_makes_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["voicedrop-none"]) == 1
    assert main([]) == 2

    assert capsys.readouterr().out == ""
