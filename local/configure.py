"""Put a policy in force in a deployed stack and print it: `python -m local.configure STACK [FILE]`.

Without a file, only what is in force is printed.
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from local.make_key import NoSuchStack, outputs_of

if TYPE_CHECKING:
    from speech.policy import Policy
    from speech.ports import Policies


def read_policy(file: Path) -> "Policy":
    """The policy of a file. Raises SpeechError, or OSError where there is no such file."""
    from speech.plans import require_known_plans
    from speech.policy import Policy
    from speech.strictjson import strict_json
    from speech.vendors import VENDORS

    policy = Policy.parse(strict_json(file.read_bytes()), vendors=VENDORS)
    require_known_plans(policy)
    return policy


def policies_of(table: str) -> "Policies":
    """Where the stack with this jobs table keeps its policy."""
    from speech.bootstrap import Services
    from speech.settings import Settings

    return Services(Settings(jobs_table=table)).policies


def main(arguments: Sequence[str]) -> int:
    """Credentials and region are those of the AWS profile in use."""
    import boto3
    from botocore.exceptions import BotoCoreError, ClientError

    from speech.errors import SpeechError

    if len(arguments) not in (1, 2):
        sys.stderr.write("python -m local.configure STACK [FILE]\n")
        return 2
    stack, *files = arguments
    try:
        wanted = [read_policy(Path(file)) for file in files]
        policies = policies_of(outputs_of(stack, boto3.client("cloudformation"))["JobsTable"])
        for policy in wanted:
            policies.put(policy)
        in_force = policies.policy()
    except SpeechError as error:
        sys.stderr.write(f"Nothing was changed. {error.detail}\n")
        return 1
    except (NoSuchStack, OSError, BotoCoreError, ClientError) as error:
        sys.stderr.write(f"Nothing was changed. {error}\n")
        return 1
    sys.stderr.write(f"In force in {stack}, within a minute everywhere:\n")
    sys.stdout.write(json.dumps(in_force.to_json(), indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
