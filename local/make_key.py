"""Make an API key in a deployed stack and print it, once: `python -m local.make_key STACK`."""

import base64
import sys
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mypy_boto3_cloudformation import CloudFormationClient


class NoSuchStack(Exception):
    """The stack is not there, or is not one of ours."""


def make_key(stack: str, outputs: Mapping[str, str]) -> str:
    """A new key with every scope; the stack's table keeps only its hash, peppered with the stack's signing secret."""
    from speech.apikeys import new_key
    from speech.bootstrap import Services
    from speech.settings import Settings

    services = Services(Settings(jobs_table=outputs["JobsTable"], signing_secret_arn=outputs["SigningSecretArn"]))
    token, record = new_key(pepper=services.keys.signing_key(), env=stack, now=time.time_ns() // 1_000_000)
    services.store.put_api_key(record)
    return token


def webhook_secret(outputs: Mapping[str, str]) -> str:
    """What receivers of this stack's webhooks verify with, spelled as Standard Webhooks spells it."""
    from speech.bootstrap import Services
    from speech.settings import TENANT, Settings
    from speech.usecases.deliver_event import signing_secret

    keys = Services(Settings(signing_secret_arn=outputs["SigningSecretArn"])).keys
    return "whsec_" + base64.b64encode(signing_secret(keys.signing_key(), TENANT)).decode()


def outputs_of(stack: str, cloudformation: "CloudFormationClient") -> dict[str, str]:
    """What a stack says of itself. Raises NoSuchStack."""
    from botocore.exceptions import ClientError

    try:
        described = cloudformation.describe_stacks(StackName=stack)["Stacks"][0]
    except ClientError as error:
        raise NoSuchStack(f"{stack}: {error.response['Error'].get('Message', 'cannot be described')}") from error
    outputs = {output["OutputKey"]: output["OutputValue"] for output in described.get("Outputs", [])}
    missing = {"JobsTable", "SigningSecretArn"} - outputs.keys()
    if missing:
        raise NoSuchStack(f"{stack} is no Voicedrop stack: it has no output {' or '.join(sorted(missing))}")
    return outputs


def main(arguments: Sequence[str]) -> int:
    """Credentials and region are those of the AWS profile in use."""
    import boto3
    from botocore.exceptions import BotoCoreError, ClientError

    if len(arguments) != 1:
        sys.stderr.write("python -m local.make_key STACK\n")
        return 2
    try:
        outputs = outputs_of(arguments[0], boto3.client("cloudformation"))
        token, secret = make_key(arguments[0], outputs), webhook_secret(outputs)
    except (NoSuchStack, BotoCoreError, ClientError) as error:
        sys.stderr.write(f"No key was made. {error}\n")
        return 1
    sys.stderr.write(f"Webhooks of this stack are signed with {secret}\n")
    sys.stderr.write("This key is shown once; the stack keeps only its hash.\n")
    sys.stdout.write(f"{token}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
