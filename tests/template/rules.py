"""What must hold of the stack, as properties of the translated template. A rule yields a sentence for every breach."""

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

from speech.settings import MARGIN_SECONDS, Settings
from speech.vendors import VENDORS, capabilities, keys_of, vendor_class
from tests.template.translated import Document

Resource = dict[str, Any]
Rule = Callable[["Stack"], Iterator[str]]

DEAD_LETTERS = "DeadLetterQueue"
FOUR_DAYS = 4 * 24 * 3600
FOURTEEN_DAYS = 14 * 24 * 3600
READS_ONLY = ("s3:Get", "s3:List", "s3:Head")
MAY_SEND_TO_ITSELF = {
    ("CheckSegmentFunction", "ChecksQueue"),
    *(("StartSegmentFunction", f"{vendor.capitalize()}Queue") for vendor in VENDORS),
}
"""A few delayed checks and retries, counted in the row, before the sweep takes over: the platform cuts long chains."""

MEDIA, USES_MEDIA = "FfmpegLayer", "AssembleAudioFunction"
"""What stands on a large library under a licence of its own, and the one function that does."""

OBJECTS = re.compile(r'\{"Fn::Sub": "\$\{\w+\.Arn\}/([a-z]+/)?\*(\.[a-z.]+)?"\}')
"""The one place where a star belongs: the objects of a bucket, under a prefix or with a suffix."""

OWN_KEY = re.compile(r'"arn:[a-z-]+:kms:[a-z0-9-]+:[0-9]{12}:key/[A-Za-z0-9-]+"')
"""The one key that the operator names."""

KINDS = frozenset(
    {
        "AWS::ApiGatewayV2::Api",
        "AWS::ApiGatewayV2::Stage",
        "AWS::CloudWatch::Alarm",
        "AWS::DynamoDB::Table",
        "AWS::Events::EventBus",
        "AWS::Events::Rule",
        "AWS::IAM::Policy",
        "AWS::IAM::Role",
        "AWS::Lambda::EventInvokeConfig",
        "AWS::Lambda::EventSourceMapping",
        "AWS::Lambda::Function",
        "AWS::Lambda::LayerVersion",
        "AWS::Lambda::Permission",
        "AWS::Logs::LogGroup",
        "AWS::S3::Bucket",
        "AWS::S3::BucketPolicy",
        "AWS::SQS::Queue",
        "AWS::SQS::QueuePolicy",
        "AWS::SecretsManager::Secret",
    }
)
"""What the rules below know how to judge. Others open doors of their own: function URLs, resource policies, users."""

ACCESS_LOG_FIELDS = frozenset(
    {
        "requestId",
        "requestTime",
        "routeKey",
        "status",
        "responseLength",
        "responseLatency",
        "integrationLatency",
        "integrationStatus",
        "error.responseType",
    }
)
"""No path, query, address or agent: paths hold callback tokens and job ids, and the rest is personal."""


class Stack:
    """A translated template, its parameters and conditions filled in, with the questions that the rules ask."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.resources: dict[str, Resource] = document["Resources"]

    def of(self, kind: str) -> dict[str, Resource]:
        """The properties of all resources of a type, by logical id."""
        return {
            name: resource.get("Properties", {})
            for name, resource in self.resources.items()
            if resource["Type"] == kind
        }

    @property
    def functions(self) -> dict[str, Resource]:
        return self.of("AWS::Lambda::Function")

    @property
    def mappings(self) -> list[Resource]:
        return list(self.of("AWS::Lambda::EventSourceMapping").values())

    def readers(self, queue: str) -> list[str]:
        """The functions that a queue invokes."""
        return [
            logical_id(mapping["FunctionName"])
            for mapping in self.mappings
            if logical_id(mapping["EventSourceArn"]) == queue
        ]

    def statements(self, function: str) -> list[Resource]:
        """What the role of a function allows, by its own policies and by those that are attached to several roles."""
        name = logical_id(self.functions[function]["Role"])
        attached = [
            policy
            for policy in self.of("AWS::IAM::Policy").values()
            if name in [logical_id(role) for role in policy.get("Roles", [])]
        ]
        own = self.of("AWS::IAM::Role")[name].get("Policies", [])
        return [statement for policy in (*own, *attached) for statement in policy["PolicyDocument"]["Statement"]]

    def grants(self, function: str) -> Iterator[tuple[str, str, str]]:
        """(action, logical id of what it is allowed on, the resource as text) for all that a function may do."""
        for statement in self.statements(function):
            for action in listed(statement["Action"]):
                for resource in listed(statement["Resource"]):
                    yield action, logical_id(resource), json.dumps(resource)

    def environment(self, function: str) -> dict[str, Any]:
        variables: dict[str, Any] = self.functions[function].get("Environment", {}).get("Variables", {})
        return variables


def listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def logical_id(value: Any) -> str:
    """The resource that a Ref, GetAtt or Sub speaks of; a literal is itself."""
    if isinstance(value, dict):
        ((name, argument),) = value.items()
        if name == "Ref":
            return str(argument)
        if name == "Fn::GetAtt":
            return str(argument[0])
        if name == "Fn::Sub":
            found = re.search(r"\$\{(?!AWS::)([A-Za-z0-9]+)", argument if isinstance(argument, str) else argument[0])
            return found[1] if found else ""
    return str(value)


# ---------------------------------------------------------------- data at rest and on the way


def buckets_and_queues_refuse_plain_http(stack: Stack) -> Iterator[str]:
    refused: set[str] = set()
    for kind, owner in (("AWS::S3::BucketPolicy", "Bucket"), ("AWS::SQS::QueuePolicy", "Queues")):
        for policy in stack.of(kind).values():
            for statement in policy["PolicyDocument"]["Statement"]:
                condition = statement.get("Condition", {}).get("Bool", {})
                if (
                    statement["Effect"] == "Deny"
                    and statement["Principal"] == "*"
                    and statement["Action"] in ("s3:*", "sqs:*")
                    and condition == {"aws:SecureTransport": "false"}
                ):
                    covered = [logical_id(resource) for resource in listed(statement["Resource"])]
                    whole = 2 if kind == "AWS::S3::BucketPolicy" else 1  # the bucket and its objects
                    refused |= {
                        logical_id(target)
                        for target in listed(policy[owner])
                        if covered.count(logical_id(target)) == whole
                    }
    for name in stack.of("AWS::S3::Bucket") | stack.of("AWS::SQS::Queue"):
        if name not in refused:
            yield f"{name} may be used without TLS"


def buckets_are_closed_to_the_public(stack: Stack) -> Iterator[str]:
    for name, bucket in stack.of("AWS::S3::Bucket").items():
        block = bucket.get("PublicAccessBlockConfiguration", {})
        if set(block.values()) != {True} or len(block) != 4:
            yield f"{name} does not block public access altogether"
        if bucket.get("OwnershipControls", {}).get("Rules") != [{"ObjectOwnership": "BucketOwnerEnforced"}]:
            yield f"{name} still knows access lists"


def everything_is_encrypted_at_rest(stack: Stack) -> Iterator[str]:
    own_key = bool(stack.of("AWS::IAM::Policy"))
    for name, bucket in stack.of("AWS::S3::Bucket").items():
        rules = bucket.get("BucketEncryption", {}).get("ServerSideEncryptionConfiguration", [{}])
        by = rules[0].get("ServerSideEncryptionByDefault", {})
        wanted = by.get("SSEAlgorithm") == "aws:kms" and "KMSMasterKeyID" in by
        if not (wanted if own_key else by.get("SSEAlgorithm") == "AES256"):
            yield f"{name} is not encrypted as the stack says"
    for name, queue in stack.of("AWS::SQS::Queue").items():
        if not ("KmsMasterKeyId" in queue if own_key else queue.get("SqsManagedSseEnabled") is True):
            yield f"{name} is not encrypted as the stack says"
    for name, table in stack.of("AWS::DynamoDB::Table").items():
        encryption = table.get("SSESpecification", {})
        if encryption.get("SSEEnabled") is not True or (own_key and "KMSMasterKeyId" not in encryption):
            yield f"{name} is not encrypted as the stack says"
    if own_key:
        for kind, named in (
            ("AWS::SecretsManager::Secret", "KmsKeyId"),
            ("AWS::Logs::LogGroup", "KmsKeyId"),
            ("AWS::Events::EventBus", "KmsKeyIdentifier"),
            ("AWS::Lambda::Function", "KmsKeyArn"),
        ):
            for name, resource in stack.of(kind).items():
                if named not in resource:
                    yield f"{name} does not use the stack's own key"


def abandoned_uploads_are_aborted(stack: Stack) -> Iterator[str]:
    for name, bucket in stack.of("AWS::S3::Bucket").items():
        rules = bucket.get("LifecycleConfiguration", {}).get("Rules", [])
        if not any(
            rule["Status"] == "Enabled" and "AbortIncompleteMultipartUpload" in rule and "Prefix" not in rule
            for rule in rules
        ):
            yield f"{name} keeps the parts of uploads that were never finished"


def texts_and_audio_keep_old_versions_for_a_while(stack: Stack) -> Iterator[str]:
    for name in ("TextsBucket", "AudioBucket"):
        bucket = stack.of("AWS::S3::Bucket")[name]
        if bucket.get("VersioningConfiguration", {}).get("Status") != "Enabled":
            yield f"{name} is not versioned"
        rules = bucket.get("LifecycleConfiguration", {}).get("Rules", [])
        if not any("NoncurrentVersionExpiration" in rule for rule in rules):
            yield f"{name} keeps old versions for ever"
        if any("ExpirationInDays" in rule for rule in rules):
            yield f"{name} deletes what is not ours"


def working_copies_expire(stack: Stack) -> Iterator[str]:
    rules = stack.of("AWS::S3::Bucket")["WorkBucket"].get("LifecycleConfiguration", {}).get("Rules", [])
    expiring = {rule.get("Prefix") for rule in rules if "ExpirationInDays" in rule}
    for prefix in ("texts/", "segments/"):
        if prefix not in expiring:
            yield f"WorkBucket keeps {prefix} for ever"


def what_cannot_be_made_again_outlives_the_stack(stack: Stack) -> Iterator[str]:
    for name in (*stack.of("AWS::S3::Bucket"), *stack.of("AWS::DynamoDB::Table")):
        resource = stack.resources[name]
        if not str(resource.get("DeletionPolicy", "")).startswith("Retain"):
            yield f"{name} goes with the stack"
        if resource.get("UpdateReplacePolicy") != "Retain":
            yield f"{name} goes when it is replaced"


def the_table_is_as_agreed(stack: Stack) -> Iterator[str]:
    table = stack.of("AWS::DynamoDB::Table")["JobsTable"]
    if table.get("BillingMode") != "PAY_PER_REQUEST":
        yield "JobsTable costs money while idle"
    if not table.get("PointInTimeRecoverySpecification", {}).get("PointInTimeRecoveryEnabled"):
        yield "JobsTable cannot be brought back to a point in time"
    if table.get("TimeToLiveSpecification") != {"AttributeName": "expires_at", "Enabled": True}:
        yield "JobsTable does not expire its rows by expires_at"
    if _keys(table) != ["pk", "sk"]:
        yield "JobsTable is not keyed by pk and sk"
    if {index["IndexName"]: _keys(index) for index in table.get("GlobalSecondaryIndexes", [])} != {
        "due": ["due_shard", "due_at"],
        "audio": ["audio_key"],
    }:
        yield "JobsTable has not the indexes `due` on due_shard and due_at, `audio` on audio_key"


def _keys(table: Resource) -> list[str]:
    return [key["AttributeName"] for key in table["KeySchema"]]


# ---------------------------------------------------------------- queues


def messages_stay_hidden_for_six_timeouts(stack: Stack) -> Iterator[str]:
    for name, queue in stack.of("AWS::SQS::Queue").items():
        for reader in stack.readers(name):
            needed = 6 * stack.functions[reader]["Timeout"]
            if queue.get("VisibilityTimeout", 30) < needed:
                yield f"{name} must hide messages for {needed} seconds, six timeouts of {reader}"


def every_batch_reports_its_failures_alone(stack: Stack) -> Iterator[str]:
    for mapping in stack.mappings:
        if mapping.get("FunctionResponseTypes") != ["ReportBatchItemFailures"]:
            yield f"one bad message of {logical_id(mapping['EventSourceArn'])} takes its whole batch along"


def every_queue_has_a_concurrency_cap(stack: Stack) -> Iterator[str]:
    for mapping in stack.mappings:
        if mapping.get("ScalingConfig", {}).get("MaximumConcurrency", 0) < 2:
            yield f"{logical_id(mapping['EventSourceArn'])} has no cap of at least 2 on its readers"
    for name, function in stack.functions.items():
        if "ReservedConcurrentExecutions" in function:
            yield f"{name} reserves concurrency, which a new account does not have"


def every_queue_has_one_reader(stack: Stack) -> Iterator[str]:
    for name in stack.of("AWS::SQS::Queue"):
        readers = stack.readers(name)
        if name in _failure_destinations(stack):
            if readers:
                yield f"{name} is for people, and {readers[0]} reads it"
        elif len(readers) != 1:
            yield f"{name} has {len(readers)} readers"


def _failure_destinations(stack: Stack) -> set[str]:
    return {
        logical_id(config["DestinationConfig"]["OnFailure"]["Destination"])
        for config in stack.of("AWS::Lambda::EventInvokeConfig").values()
        if "DestinationConfig" in config
    }


def dead_letters_go_to_one_queue_and_are_kept(stack: Stack) -> Iterator[str]:
    queues = stack.of("AWS::SQS::Queue")
    people = _failure_destinations(stack)
    for name, queue in queues.items():
        if name == DEAD_LETTERS or name in people:
            if queue.get("MessageRetentionPeriod") != FOURTEEN_DAYS:
                yield f"{name} must keep its messages for 14 days"
            if "RedrivePolicy" in queue:
                yield f"{name} is an end, and passes messages on"
            continue
        redrive = queue.get("RedrivePolicy", {})
        if logical_id(redrive.get("deadLetterTargetArn")) != DEAD_LETTERS:
            yield f"{name} does not send its dead letters to {DEAD_LETTERS}"
        if queue.get("MessageRetentionPeriod", FOUR_DAYS) > FOUR_DAYS:
            yield f"{name} keeps messages so long that a dead one, whose age counts on, has little time left"
        if redrive.get("maxReceiveCount", 0) < 5:
            yield f"{name} gives up after fewer than 5 receives: a throttled poller burns them"


def what_runs_unasked_has_a_place_for_its_failures(stack: Stack) -> Iterator[str]:
    configured = {
        logical_id(config["FunctionName"])
        for config in stack.of("AWS::Lambda::EventInvokeConfig").values()
        if config.get("DestinationConfig", {}).get("OnFailure")
    }
    for name, rule in stack.of("AWS::Events::Rule").items():
        for target in rule["Targets"]:
            if logical_id(target["Arn"]) not in configured:
                yield f"{logical_id(target['Arn'])} fails without a trace"
            if "DeadLetterConfig" not in target:
                yield f"{name} loses what it cannot deliver"


# ---------------------------------------------------------------- permissions


def services_act_only_for_our_own_resources(stack: Stack) -> Iterator[str]:
    for name, policy in stack.of("AWS::SQS::QueuePolicy").items():
        for statement in policy["PolicyDocument"]["Statement"]:
            if statement["Effect"] != "Allow":
                continue
            condition = statement.get("Condition", {})
            if "Service" not in statement["Principal"]:
                yield f"{name} lets in more than a service"
            if "aws:SourceArn" not in condition.get("ArnEquals", {}):
                yield f"{name} does not say whose event it takes (SourceArn)"
            if condition.get("StringEquals", {}).get("aws:SourceAccount") != {"Ref": "AWS::AccountId"}:
                yield f"{name} takes events of other accounts (SourceAccount)"
    for name, policy in stack.of("AWS::S3::BucketPolicy").items():
        if any(statement["Effect"] != "Deny" for statement in policy["PolicyDocument"]["Statement"]):
            yield f"{name} lets somebody in: whoever may use a bucket has a role that says so"


def functions_are_called_by_our_own_events(stack: Stack) -> Iterator[str]:
    for name, permission in stack.of("AWS::Lambda::Permission").items():
        source = permission.get("SourceArn")
        if not source:
            yield f"{name} lets any {permission['Principal']} in (SourceArn)"
        elif permission["Principal"] == "s3.amazonaws.com" and "SourceAccount" not in permission:
            yield f"{name} takes events of other accounts: a bucket's ARN names none (SourceAccount)"
        elif "${AWS::AccountId}:" not in json.dumps(source) and logical_id(source) not in stack.resources:
            yield f"{name} lets in what is not of this stack (SourceArn)"
        if permission.get("Action") != "lambda:InvokeFunction" or not permission["Principal"].endswith(
            ".amazonaws.com"
        ):
            yield f"{name} lets more be done than a service calling the function"


def nothing_is_there_that_no_rule_knows(stack: Stack) -> Iterator[str]:
    for name, resource in stack.resources.items():
        if resource["Type"] not in KINDS:
            yield f"{name} is a {resource['Type']}: say here what must hold of it, then add it to KINDS"


def every_function_has_a_role_of_its_own(stack: Stack) -> Iterator[str]:
    roles = [logical_id(function["Role"]) for function in stack.functions.values()]
    for name, role in stack.of("AWS::IAM::Role").items():
        if roles.count(name) != 1:
            yield f"{name} is the role of {roles.count(name)} functions"
        if role.get("ManagedPolicyArns"):
            yield f"{name} brings policies that AWS may change"
        trust = role["AssumeRolePolicyDocument"]["Statement"]
        if [statement["Principal"] for statement in trust] != [{"Service": "lambda.amazonaws.com"}]:
            yield f"{name} can be taken by others than Lambda"


def permissions_name_actions_and_resources(stack: Stack) -> Iterator[str]:
    for function in stack.functions:
        for statement in stack.statements(function):
            if statement["Effect"] == "Allow" and ({"NotAction", "NotResource"} & set(statement)):
                yield f"{function} is allowed all but something"
        for action, target, text in stack.grants(function):
            if "*" in action:
                yield f"{function} may do {action}"
            of_objects = action.startswith("s3:") and action != "s3:ListBucket" and OBJECTS.fullmatch(text)
            of_the_key = action in ("kms:Decrypt", "kms:GenerateDataKey") and OWN_KEY.fullmatch(text)
            if (target not in stack.resources and not of_the_key) or ("*" in text and not of_objects):
                yield f"{function} may do {action} on {text}"


def nobody_writes_where_a_trigger_listens(stack: Stack) -> Iterator[str]:
    for function in stack.functions:
        for action, target, _ in stack.grants(function):
            if target == "TextsBucket" and not action.startswith(READS_ONLY):
                yield f"{function} may {action} in the texts bucket, and would hear itself"
            if (
                action == "sqs:SendMessage"
                and function in stack.readers(target)
                and (function, target) not in MAY_SEND_TO_ITSELF
            ):
                yield f"{function} may send to {target}, which it reads"
    for name, bucket in stack.of("AWS::S3::Bucket").items():
        if ("NotificationConfiguration" in bucket) != (name == "TextsBucket"):
            yield f"only the texts bucket may tell of its objects, not {name}"


def a_function_is_told_of_what_it_may_use_and_of_nothing_else(stack: Stack) -> Iterator[str]:
    kinds = {
        "AWS::DynamoDB::Table": r"[A-Z]+_TABLE",
        "AWS::S3::Bucket": r"[A-Z]+_BUCKET",
        "AWS::SQS::Queue": r"[A-Z]+_QUEUE_URL",
        "AWS::SecretsManager::Secret": r"[A-Z]+_SECRET_ARN",
        "AWS::Events::EventBus": r"EVENT_BUS_NAME",
    }
    unsaid = {"sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"}
    unnamed = {("SweepFunction", "SweepFailuresQueue")}  # Lambda itself sends there, with the function's role
    for function in stack.functions:
        told = {
            logical_id(value)
            for name, value in stack.environment(function).items()
            if any(re.fullmatch(pattern, name) for pattern in kinds.values())
        }
        allowed = {
            target
            for action, target, _ in stack.grants(function)
            if action not in unsaid and stack.resources.get(target, {}).get("Type") in kinds
        }
        for target in sorted(allowed - told):
            if (function, target) not in unnamed:
                yield f"{function} may use {target} and is not told its name"
        for target in sorted(told - allowed):
            yield f"{function} is told of {target} and may not use it"


def no_secret_lies_in_the_open(stack: Stack) -> Iterator[str]:
    for function in stack.functions:
        for name in stack.environment(function):
            if re.search(r"KEY|TOKEN|PASSWORD|SECRET", name) and not name.endswith("_SECRET_ARN"):
                yield f"{function} carries {name} in its environment"
    text = json.dumps(stack.document["Resources"])
    if "{{resolve:secretsmanager" in text or "{{resolve:ssm-secure" in text:
        yield "a secret is resolved into the template"
    for name, secret in stack.of("AWS::SecretsManager::Secret").items():
        if secret.get("SecretString", "{}") != "{}":
            yield f"{name} has its value in the template"
        generated = secret.get("GenerateSecretString")
        if generated is not None and generated.get("PasswordLength", 32) < 43:
            yield f"{name} holds less than 256 bits"
    for name in stack.document["Parameters"]:
        if re.search(r"(Api|Secret)Key|Password|Token", name):
            yield f"the parameter {name} asks for a secret"


# ---------------------------------------------------------------- functions and API


def every_function_stands_on_the_layer(stack: Stack) -> Iterator[str]:
    layers = [{"Ref": name} for name in stack.of("AWS::Lambda::LayerVersion")]
    of_all = [layer for layer in layers if not layer["Ref"].startswith(MEDIA)]
    runtime = stack.document["Parameters"]["Runtime"]["Default"]
    for name, function in stack.functions.items():
        if function.get("Layers") != (layers if name == USES_MEDIA else of_all):
            yield f"{name} does not use the layer, or one that it does not need"
        if function.get("Handler") != "app.handler":
            yield f"{name} is not entered by app.handler"
        if not str(function.get("Runtime")).startswith("python3.") or (len(str(function["Runtime"])) != len(runtime)):
            yield f"{name} has a runtime of its own"
        if function.get("TracingConfig", {}).get("Mode") == "Active":
            yield f"{name} pays for traces that nobody reads"


def logs_are_kept_for_a_while_and_no_longer(stack: Stack) -> Iterator[str]:
    groups = stack.of("AWS::Logs::LogGroup")
    for name, group in groups.items():
        if not group.get("RetentionInDays"):
            yield f"{name} keeps logs for ever"
    wanted = [logical_id(function.get("LoggingConfig", {}).get("LogGroup")) for function in stack.functions.values()]
    for name, group_name in zip(stack.functions, wanted, strict=True):
        if group_name not in groups or wanted.count(group_name) != 1:
            yield f"{name} has no log group of its own"


def the_access_log_tells_nothing_personal(stack: Stack) -> Iterator[str]:
    for name, stage in stack.of("AWS::ApiGatewayV2::Stage").items():
        log = stage.get("AccessLogSettings", {})
        if logical_id(log.get("DestinationArn")) not in stack.of("AWS::Logs::LogGroup"):
            yield f"{name} has no access log"
        fields = set(re.findall(r"\$context\.([A-Za-z0-9.]+)", log.get("Format", "")))
        if "routeKey" not in fields:
            yield f"{name} does not log which route was asked"
        for field in sorted(fields - ACCESS_LOG_FIELDS):
            yield f"{name} logs {field}"


def the_api_throttles(stack: Stack) -> Iterator[str]:
    for name, stage in stack.of("AWS::ApiGatewayV2::Stage").items():
        routes = [stage.get("DefaultRouteSettings", {}), *stage.get("RouteSettings", {}).values()]
        if len(routes) < 2:
            yield f"{name} lets callbacks starve the API"
        for route in routes:
            if not (route.get("ThrottlingRateLimit") and route.get("ThrottlingBurstLimit")):
                yield f"{name} has a route without a throttle"


def the_api_has_the_agreed_routes(stack: Stack) -> Iterator[str]:
    agreed = {
        "post /v1/jobs": "JobsApiFunction",
        "get /v1/jobs": "JobsApiFunction",
        "get /v1/jobs/{id}": "JobsApiFunction",
        "delete /v1/jobs/{id}": "JobsApiFunction",
        "post /v1/jobs/{id}/cancel": "JobsApiFunction",
        "get /v1/vendors": "JobsApiFunction",
        "get /v1/vendors/{name}": "JobsApiFunction",
        "get /v1/voices": "JobsApiFunction",
        "x-amazon-apigateway-any-method /$default": "JobsApiFunction",
        "post /callbacks/creatify/{token}": "VendorCallbackFunction",
    }
    for api in stack.of("AWS::ApiGatewayV2::Api").values():
        found = {
            f"{method} {path}": logical_id(
                {"Fn::Sub": operation["x-amazon-apigateway-integration"]["uri"]["Fn::Sub"].partition("functions/")[2]}
            )
            for path, methods in api["Body"]["paths"].items()
            for method, operation in methods.items()
        }
        for route in sorted(set(agreed) | set(found)):
            if agreed.get(route) != found.get(route):
                yield f"{route} leads to {found.get(route)} and not to {agreed.get(route)}"


def a_worker_is_dead_before_its_lease_ends(stack: Stack) -> Iterator[str]:
    lease = stack.document["Parameters"]["LeaseSeconds"]["Default"]
    vendor = Settings(lease_seconds=lease).vendor_deadline_seconds
    for name in ("StartSegmentFunction", "CheckSegmentFunction"):
        timeout = stack.functions[name]["Timeout"]
        if timeout + MARGIN_SECONDS > lease:
            yield f"{name} may outlive its lease of {lease} seconds"
        if vendor + 10 > timeout:
            yield f"{name} may be cut off in a vendor call of {vendor:.0f} seconds, before it has written anything down"
    if stack.functions["JobsApiFunction"]["Timeout"] >= 30:
        yield "JobsApiFunction may outlive the gateway's 30 seconds"


def alarms_ring_when_work_is_stuck(stack: Stack) -> Iterator[str]:
    watched: set[tuple[str, str]] = set()
    for name, alarm in stack.of("AWS::CloudWatch::Alarm").items():
        if alarm.get("TreatMissingData") != "notBreaching":
            yield f"{name} rings when there is nothing to tell"
        for dimension in alarm.get("Dimensions", []):
            watched.add((alarm["MetricName"], logical_id(dimension["Value"])))
    for name in stack.of("AWS::SQS::Queue"):
        is_end = name == DEAD_LETTERS or name in _failure_destinations(stack)
        metric = "ApproximateNumberOfMessagesVisible" if is_end else "ApproximateAgeOfOldestMessage"
        if (metric, name) not in watched:
            yield f"nobody watches {metric} of {name}"
    for metric in ("JobsPastDeadline", "VendorsOut"):
        if (metric, "AWS::StackName") not in watched:
            yield f"nobody watches {metric}"


# ---------------------------------------------------------------- what others rely on


def every_vendor_has_a_queue_of_its_own(stack: Stack) -> Iterator[str]:
    for vendor in VENDORS:
        queue = f"{vendor.capitalize()}Queue"
        if queue not in stack.of("AWS::SQS::Queue"):
            yield f"{queue} is missing"
        if stack.readers(queue) != ["StartSegmentFunction"]:
            yield f"StartSegmentFunction does not read {queue}"
        for mapping in stack.mappings:
            at_once = capabilities(vendor).concurrency
            read = (mapping["BatchSize"], mapping.get("ScalingConfig", {}).get("MaximumConcurrency"))
            if logical_id(mapping["EventSourceArn"]) == queue and read != (1, at_once):
                yield f"{queue} is not read one by one, {at_once} at once"


def whoever_knows_one_vendor_knows_them_all(stack: Stack) -> Iterator[str]:
    for name, function in stack.functions.items():
        told = function.get("Environment", {}).get("Variables", {})
        for kind in ("QUEUE_URL", "BASE_URL"):
            wanted = [f"{vendor.upper()}_{kind}" for vendor in VENDORS]
            if any(each in told for each in wanted):
                yield from (f"{name} is not told the {each}" for each in wanted if each not in told)
    described = stack.of("AWS::SecretsManager::Secret")["VendorSecret"]["Description"]
    for key in (key for vendor in VENDORS for key in keys_of(vendor)):
        if key not in described:
            yield f"VendorSecret does not say that it wants {key}"


def parameters_and_outputs_are_as_agreed(stack: Stack) -> Iterator[str]:
    parameters = {
        **{f"{vendor.capitalize()}BaseUrl": vendor_class(vendor).base_url for vendor in VENDORS},
        "CallbackBaseUrl": "",
        "DefaultVendor": "voiceai",
        "DefaultVoices": "",
        "JobDeadlineSeconds": 21600,
        "SegmentAttempts": 4,
        "AllowDifyMessageIds": "false",
        "LeaseSeconds": 120,
        "Local": "false",
        "Runtime": "python3.13",
        "Architecture": "x86_64",
        "KmsKeyArn": "",
    }
    for name, default in parameters.items():
        if stack.document["Parameters"].get(name, {}).get("Default") != default:
            yield f"the parameter {name} must be {default!r} unless told otherwise"
    for name in ("ApiUrl", "TextsBucket", "AudioBucket", "JobsTable", "RequestsQueueUrl", "VendorSecretArn"):
        if name not in stack.document["Outputs"]:
            yield f"the output {name} is missing"
    for name, parameter in stack.document["Parameters"].items():
        if "Default" not in parameter:
            yield f"the stack does not deploy as it is: {name} has no default"


RULES: tuple[Rule, ...] = (
    buckets_and_queues_refuse_plain_http,
    buckets_are_closed_to_the_public,
    everything_is_encrypted_at_rest,
    abandoned_uploads_are_aborted,
    texts_and_audio_keep_old_versions_for_a_while,
    working_copies_expire,
    what_cannot_be_made_again_outlives_the_stack,
    the_table_is_as_agreed,
    messages_stay_hidden_for_six_timeouts,
    every_batch_reports_its_failures_alone,
    every_queue_has_a_concurrency_cap,
    every_queue_has_one_reader,
    dead_letters_go_to_one_queue_and_are_kept,
    what_runs_unasked_has_a_place_for_its_failures,
    services_act_only_for_our_own_resources,
    functions_are_called_by_our_own_events,
    nothing_is_there_that_no_rule_knows,
    every_function_has_a_role_of_its_own,
    permissions_name_actions_and_resources,
    nobody_writes_where_a_trigger_listens,
    a_function_is_told_of_what_it_may_use_and_of_nothing_else,
    no_secret_lies_in_the_open,
    every_function_stands_on_the_layer,
    logs_are_kept_for_a_while_and_no_longer,
    the_access_log_tells_nothing_personal,
    the_api_throttles,
    the_api_has_the_agreed_routes,
    a_worker_is_dead_before_its_lease_ends,
    alarms_ring_when_work_is_stuck,
    every_vendor_has_a_queue_of_its_own,
    whoever_knows_one_vendor_knows_them_all,
    parameters_and_outputs_are_as_agreed,
)
