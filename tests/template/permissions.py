"""What the role of each function allows, and what a call needs: `tests/integration/test_permissions.py` compares them.

`python -m tests.template.permissions` writes docs/permissions.md from the roles; with --check it compares only.
"""

import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tests.template.rules import Stack, listed, logical_id
from tests.template.translated import TEMPLATE, decided, sam_template, translate

PAGE = TEMPLATE.parent / "docs" / "permissions.md"
OWN_KEY = "KmsKeyArn"

TAKE = ("sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes")
LOG = ("logs:CreateLogStream", "logs:PutLogEvents")

IN_TRANSACTIONS = {
    "Put": "dynamodb:PutItem",
    "Update": "dynamodb:UpdateItem",
    "Delete": "dynamodb:DeleteItem",
    "ConditionCheck": "dynamodb:ConditionCheckItem",
    "Get": "dynamodb:GetItem",
}
ROWS = ("GetItem", "PutItem", "UpdateItem", "DeleteItem", "Query", "BatchGetItem", "BatchWriteItem")
OBJECTS = {
    **dict.fromkeys(("GetObject", "HeadObject"), "Get"),
    **dict.fromkeys(("PutObject", "CreateMultipartUpload", "UploadPart", "CompleteMultipartUpload"), "Put"),
    "DeleteObject": "Delete",
}
LISTS = {"ListObjectsV2": "s3:ListBucket", "ListObjectVersions": "s3:ListBucketVersions"}

READS_OF_ENCRYPTED = ("s3:GetObject", "dynamodb:", "secretsmanager:GetSecretValue", "sqs:")
WRITES_OF_ENCRYPTED = ("s3:PutObject", "sqs:SendMessage")


@dataclass(frozen=True, order=True)
class Permission:
    """`resource` is a logical id of the template; `inside` says where in it: objects of a bucket, an index."""

    action: str
    resource: str
    inside: str = ""

    def covers(self, needed: "Permission") -> bool:
        """Whether this, as a role grants it, allows what a call needs."""
        pattern = ".*".join(map(re.escape, self.inside.split("*")))
        same = (self.action, self.resource) == (needed.action, needed.resource)
        return same and re.fullmatch(pattern, needed.inside, re.DOTALL) is not None

    def __str__(self) -> str:
        return f"{self.action} on {self.resource}{'/' if self.inside else ''}{self.inside}"


def granted(stack: Stack, function: str) -> set[Permission]:
    """What the role of a function allows, action by action and resource by resource."""
    return {
        Permission(action, *_place(resource))
        for statement in stack.statements(function)
        for action in listed(statement["Action"])
        for resource in listed(statement["Resource"])
    }


def _place(resource: Any) -> tuple[str, str]:
    if isinstance(resource, str) and ":kms:" in resource:
        return OWN_KEY, ""
    inside = resource.get("Fn::Sub", "").partition(".Arn}/")[2] if isinstance(resource, dict) else ""
    return logical_id(resource), inside


def needed_by_lambda(stack: Stack, function: str) -> set[Permission]:
    """What Lambda itself does with the role of a function: write its log, take its messages, report its failures."""
    group = logical_id(stack.functions[function]["LoggingConfig"]["LogGroup"])
    queues = [
        logical_id(mapping["EventSourceArn"])
        for mapping in stack.mappings
        if logical_id(mapping["FunctionName"]) == function
    ]
    ends = [
        logical_id(config["DestinationConfig"]["OnFailure"]["Destination"])
        for config in stack.of("AWS::Lambda::EventInvokeConfig").values()
        if logical_id(config["FunctionName"]) == function
    ]
    return {
        *(Permission(action, group) for action in LOG),
        *(Permission(action, queue) for action in TAKE for queue in queues),
        *(Permission("sqs:SendMessage", end) for end in ends),
    }


def needed_for_own_key(needed: set[Permission]) -> set[Permission]:
    """What all this needs besides, where everything at rest is under a key of one's own. (S3 and SQS ask for a data
    key with the caller's permissions; the table, the secrets and the environment of a function are only decrypted.)
    """
    wanted = set()
    if any(each.action.startswith(READS_OF_ENCRYPTED) for each in needed):
        wanted.add(Permission("kms:Decrypt", OWN_KEY))
    if any(each.action.startswith(WRITES_OF_ENCRYPTED) for each in needed):
        wanted.add(Permission("kms:GenerateDataKey", OWN_KEY))
    return wanted


def needed_for(service: str, operation: str, asked: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """(action, name of the resource, where in it) for all that AWS checks when it gets this request."""
    if service == "dynamodb":
        yield from _for_rows(operation, asked)
    elif service == "s3":
        yield from _for_objects(operation, asked)
    elif service == "sqs" and operation in ("SendMessage", "SendMessageBatch"):
        yield "sqs:SendMessage", asked["QueueUrl"].rpartition("/")[2], ""
    elif service == "secretsmanager" and operation == "GetSecretValue":
        yield "secretsmanager:GetSecretValue", asked["SecretId"], ""
    elif service == "events" and operation == "PutEvents":
        for entry in asked["Entries"]:
            yield "events:PutEvents", entry["EventBusName"], ""
    else:
        raise NotImplementedError(f"What {service} {operation} needs is not written down here.")


def _for_rows(operation: str, asked: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    if operation in ("TransactWriteItems", "TransactGetItems"):
        for item in asked["TransactItems"]:
            ((kind, action),) = item.items()
            yield IN_TRANSACTIONS[kind], action["TableName"], ""
    elif operation in ("BatchGetItem", "BatchWriteItem"):
        for table in asked["RequestItems"]:
            yield f"dynamodb:{operation}", table, ""
    elif operation in ROWS:
        index = f"index/{asked['IndexName']}" if "IndexName" in asked else ""
        yield f"dynamodb:{operation}", asked["TableName"], index
    else:
        raise NotImplementedError(f"What dynamodb {operation} needs is not written down here.")


def _for_objects(operation: str, asked: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    if operation in OBJECTS:
        verb = OBJECTS[operation]
        version = "Version" if "VersionId" in asked and verb != "Put" else ""
        yield f"s3:{verb}Object{version}", asked["Bucket"], asked["Key"]
        if "IfMatch" in asked:  # whoever may write on condition of what is there has to be allowed to see it
            yield "s3:GetObject", asked["Bucket"], asked["Key"]
    elif operation == "AbortMultipartUpload":
        yield "s3:AbortMultipartUpload", asked["Bucket"], asked["Key"]
    elif operation == "DeleteObjects":
        for each in asked["Delete"]["Objects"]:
            version = "Version" if "VersionId" in each else ""
            yield f"s3:DeleteObject{version}", asked["Bucket"], each["Key"]
    elif operation in LISTS:
        yield LISTS[operation], asked["Bucket"], ""
    else:
        raise NotImplementedError(f"What s3 {operation} needs is not written down here.")


class Watch:
    """Notes what the calls of boto3 sessions need, for whoever is `working`.

    `names` are the logical ids of what the calls name: tables, buckets, queues, secrets and the bus.
    """

    def __init__(self, names: Mapping[str, str]) -> None:
        self.names = names
        self.working = ""
        self.needed: dict[str, set[Permission]] = {}

    def attach(self, events: Any) -> None:
        """Listen to the events of a session; it must not have made clients yet."""
        events.register("before-parameter-build", self._asked)
        events.register("after-call.s3", self._answered)

    def _asked(self, params: Mapping[str, Any], model: Any, context: dict[str, Any], **_: Any) -> None:
        # Also when a link is signed: who follows it does so with our permissions.
        service = model.service_model.service_name
        context["asked"] = [
            Permission(action, self.names[name], inside)
            for action, name, inside in needed_for(service, model.name, params)
        ]
        self.needed.setdefault(self.working, set()).update(context["asked"])

    def _answered(self, http_response: Any, context: Mapping[str, Any], **_: Any) -> None:
        # Without s3:ListBucket, S3 answers 403 and not 404 for what is not there.
        if http_response.status_code == 404:
            for each in context["asked"]:
                self.needed[self.working].add(Permission("s3:ListBucket", each.resource))


# ---------------------------------------------------------------- the page

HEAD = """# Permissions

<!-- generated by tests/template/permissions.py, do not edit -->

Every function has a role of its own, and its role allows what follows and nothing else. Each line is proven from both
sides by `tests/integration/test_permissions.py`: it runs the functions through all of their paths, and fails when a
call needs what its role does not allow, and when a role allows what no call has needed. Simulated worlds hold every
call against its role, too. Lambda itself writes the log of each function (`logs:CreateLogStream`, `logs:PutLogEvents`)
and takes the messages of its queues (`sqs:ReceiveMessage`, `sqs:DeleteMessage`, `sqs:GetQueueAttributes`) with the role
of the function. `s3:ListBucket` is there where objects are read, too: without it S3 answers `403`, not `404`, for one
that is missing.
"""

TAIL = """
With `KmsKeyArn`, every role also allows `kms:Decrypt` and `kms:GenerateDataKey` on that key, and on no other.
"""


def page() -> str:
    """The table of all roles, as Markdown."""
    stack = Stack(decided(translate(sam_template())))
    lines = [HEAD.rstrip(), ""]
    for function in stack.functions:
        folder = re.sub(r"(?<!^)(?=[A-Z])", "_", function.removesuffix("Function")).lower()
        by_actions: dict[tuple[str, str], list[str]] = {}
        for each in sorted(granted(stack, function)):
            if each.action not in (*LOG, *TAKE):
                by_actions.setdefault((each.resource, each.inside), []).append(each.action)
        queues = sorted({each.resource for each in granted(stack, function) if each.action in TAKE})
        lines += [f"## `{folder}`", ""]
        lines += [f"Takes messages of {', '.join(f'`{queue}`' for queue in queues)}.", ""] if queues else []
        lines += ["| on | may |", "|---|---|"]
        merged: dict[tuple[str, ...], list[str]] = {}
        for (resource, inside), actions in by_actions.items():
            merged.setdefault(tuple(actions), []).append(f"`{resource}{'/' if inside else ''}{inside}`")
        lines += [
            f"| {', '.join(places)} | {', '.join(f'`{action}`' for action in actions)} |"
            for actions, places in sorted(merged.items(), key=lambda row: row[1])
        ]
        lines.append("")
    return "\n".join(lines).rstrip() + "\n" + TAIL


def main(arguments: list[str]) -> int:
    """Write the page, or with --check say whether it is what it should be."""
    wanted = page()
    if arguments == ["--check"]:
        if PAGE.exists() and PAGE.read_text(encoding="utf-8") == wanted:
            return 0
        sys.stderr.write("docs/permissions.md is not what the roles are; write it again with: make docs\n")
        return 1
    PAGE.write_text(wanted, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
