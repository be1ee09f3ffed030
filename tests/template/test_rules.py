"""Our template keeps every rule, and every rule notices a template that does not."""

import copy
from collections.abc import Callable
from functools import cache
from typing import Any

import pytest

from tests.template.check import VARIANTS
from tests.template.rules import RULES, Rule, Stack
from tests.template.translated import Document, decided, sam_template, translate

Breaking = Callable[[dict[str, Any]], object]


@cache
def translated() -> Document:
    return translate(sam_template())


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_our_template_keeps_the_rule(rule: Rule, variant: str) -> None:
    """The rules that answer to faults and threats.

    A7, I16, T4: nobody_writes_where_a_trigger_listens. A17: every_queue_has_a_concurrency_cap. B7:
    abandoned_uploads_are_aborted. B15: a_worker_is_dead_before_its_lease_ends. E13: alarms_ring_when_work_is_stuck.
    T3: the_api_throttles, every_queue_has_a_concurrency_cap. T7: no_secret_lies_in_the_open. T8:
    the_access_log_tells_nothing_personal. T9: permissions_name_actions_and_resources,
    every_function_has_a_role_of_its_own. T10: services_act_only_for_our_own_resources,
    functions_are_called_by_our_own_events. T11: buckets_are_closed_to_the_public, everything_is_encrypted_at_rest,
    buckets_and_queues_refuse_plain_http, texts_and_audio_keep_old_versions_for_a_while.
    """
    stack = Stack(decided(translated(), VARIANTS[variant]))

    assert list(rule(stack)) == []


def properties(name: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """A way to the properties of a resource of the document that a fixture breaks."""

    def found(document: dict[str, Any]) -> dict[str, Any]:
        resource: dict[str, Any] = document["Resources"][name]["Properties"]
        return resource

    return found


def put(name: str, **values: Any) -> Breaking:
    return lambda document: properties(name)(document).update(values)


def drop(name: str, *keys: str) -> Breaking:
    return lambda document: [properties(name)(document).pop(key) for key in keys]


def remove(*names: str) -> Breaking:
    return lambda document: [document["Resources"].pop(name) for name in names]


def grant(role: str, action: Any, resource: Any, **more: Any) -> Breaking:
    """One statement more for a role."""
    statement = {"Effect": "Allow", "Action": action, "Resource": resource, **more}

    def add(document: dict[str, Any]) -> None:
        properties(role)(document)["Policies"][0]["PolicyDocument"]["Statement"].append(statement)

    return add


def lifecycle(name: str, without: str) -> Breaking:
    """Lose the lifecycle rules that speak of something."""

    def lose(document: dict[str, Any]) -> None:
        rules = properties(name)(document)["LifecycleConfiguration"]["Rules"]
        rules[:] = [rule for rule in rules if without not in rule]

    return lose


def condition(name: str, statement: int, **value: Any) -> Breaking:
    """Another condition for a statement of a queue's or bucket's policy."""

    def change(document: dict[str, Any]) -> None:
        properties(name)(document)["PolicyDocument"]["Statement"][statement]["Condition"] = value

    return change


def environment(function: str, **variables: Any) -> Breaking:
    return lambda document: properties(function)(document)["Environment"]["Variables"].update(variables)


def untold(function: str, variable: str) -> Breaking:
    return lambda document: properties(function)(document)["Environment"]["Variables"].pop(variable)


def log_more(document: dict[str, Any]) -> None:
    properties("HttpApiApiGatewayDefaultStage")(document)["AccessLogSettings"]["Format"] += " $context.path"


def forget_the_default_route(document: dict[str, Any]) -> None:
    properties("HttpApi")(document)["Body"]["paths"].pop("/$default")


def a_second_reader(document: dict[str, Any]) -> None:
    document["Resources"]["Second"] = copy.deepcopy(document["Resources"]["IngestUploadFunctionUploadsQueue"])


def a_parameter(name: str, **changes: Any) -> Breaking:
    return lambda document: document["Parameters"].setdefault(name, {}).update(changes)


def deletion(name: str, policy: str) -> Breaking:
    return lambda document: document["Resources"][name].update(DeletionPolicy=policy)


def target_without_dead_letters(document: dict[str, Any]) -> None:
    properties("SweepFunctionEveryMinute")(document)["Targets"][0].pop("DeadLetterConfig")


def everybody_may(policy: str, action: str) -> Breaking:
    """One statement more for the policy of a bucket or a queue."""
    statement = {"Effect": "Allow", "Principal": "*", "Action": action, "Resource": "*"}
    return lambda document: properties(policy)(document)["PolicyDocument"]["Statement"].append(statement)


def in_every_role(action: str, resource: Any) -> Breaking:
    """One statement more for the policy that is attached to all roles."""
    statement = {"Effect": "Allow", "Action": action, "Resource": resource}
    return lambda document: properties("OwnKeyPolicy")(document)["PolicyDocument"]["Statement"].append(statement)


def a_resource(kind: str) -> Breaking:
    return lambda document: document["Resources"].update(Another={"Type": kind, "Properties": {}})


def with_everything_set(breaking: Breaking) -> Breaking:
    """A fixture that breaks the stack with a key of its own, not the one by the defaults."""

    def of_the_other(document: dict[str, Any]) -> None:
        document.update(decided(translated(), VARIANTS["with everything set"]))
        document["Resources"] = copy.deepcopy(document["Resources"])
        breaking(document)

    return of_the_other


OF_THE_TABLE = {"Fn::GetAtt": ["JobsTable", "Arn"]}
TEXTS = {"Fn::Sub": "${TextsBucket.Arn}/*"}

BROKEN: dict[str, list[Breaking]] = {
    "buckets_and_queues_refuse_plain_http": [
        remove("WorkBucketPolicy"),
        remove("ChecksQueuePolicy"),
        condition("AudioBucketPolicy", 0, Bool={"aws:SecureTransport": "true"}),
        lambda document: properties("TextsBucketPolicy")(document)["PolicyDocument"]["Statement"][0]["Resource"].pop(),
    ],
    "buckets_are_closed_to_the_public": [
        drop("AudioBucket", "PublicAccessBlockConfiguration"),
        drop("TextsBucket", "OwnershipControls"),
        lambda document: properties("WorkBucket")(document)["PublicAccessBlockConfiguration"].update(
            BlockPublicPolicy=False
        ),
    ],
    "everything_is_encrypted_at_rest": [
        drop("TextsBucket", "BucketEncryption"),
        put("RequestsQueue", SqsManagedSseEnabled=False),
        drop("JobsTable", "SSESpecification"),
        with_everything_set(drop("EventBus", "KmsKeyIdentifier")),
        with_everything_set(drop("SweepFunction", "KmsKeyArn")),
        with_everything_set(drop("SweepLogs", "KmsKeyId")),
        with_everything_set(drop("VendorSecret", "KmsKeyId")),
        with_everything_set(drop("ConvaiQueue", "KmsMasterKeyId")),
    ],
    "abandoned_uploads_are_aborted": [lifecycle("AudioBucket", "AbortIncompleteMultipartUpload")],
    "texts_and_audio_keep_old_versions_for_a_while": [
        drop("TextsBucket", "VersioningConfiguration"),
        lifecycle("AudioBucket", "NoncurrentVersionExpiration"),
        lambda document: properties("TextsBucket")(document)["LifecycleConfiguration"]["Rules"][0].update(
            ExpirationInDays=1
        ),
    ],
    "working_copies_expire": [lifecycle("WorkBucket", "ExpirationInDays")],
    "what_cannot_be_made_again_outlives_the_stack": [
        deletion("JobsTable", "Delete"),
        deletion("AudioBucket", "Delete"),
    ],
    "the_table_is_as_agreed": [
        put("JobsTable", BillingMode="PROVISIONED"),
        drop("JobsTable", "PointInTimeRecoverySpecification"),
        drop("JobsTable", "TimeToLiveSpecification"),
        drop("JobsTable", "GlobalSecondaryIndexes"),
        put("JobsTable", KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}]),
    ],
    "messages_stay_hidden_for_six_timeouts": [
        put("AssemblyQueue", VisibilityTimeout=900),
        put("StartSegmentFunction", Timeout=91),
        drop("UploadsQueue", "VisibilityTimeout"),
    ],
    "every_batch_reports_its_failures_alone": [drop("IngestUploadFunctionUploadsQueue", "FunctionResponseTypes")],
    "every_queue_has_a_concurrency_cap": [
        drop("IngestMessageFunctionRequestsQueue", "ScalingConfig"),
        put("StartSegmentFunctionConvaiQueue", ScalingConfig={"MaximumConcurrency": 1}),
        put("SweepFunction", ReservedConcurrentExecutions=1),
    ],
    "every_queue_has_one_reader": [remove("DeliverEventFunctionDeliveriesQueue"), a_second_reader],
    "dead_letters_go_to_one_queue_and_are_kept": [
        drop("ChecksQueue", "RedrivePolicy"),
        drop("DeadLetterQueue", "MessageRetentionPeriod"),
        put("ChecksQueue", MessageRetentionPeriod=1209600),
        lambda document: properties("ConvaiQueue")(document)["RedrivePolicy"].update(maxReceiveCount=3),
    ],
    "what_runs_unasked_has_a_place_for_its_failures": [
        drop("SweepFunctionEventInvokeConfig", "DestinationConfig"),
        target_without_dead_letters,
    ],
    "services_act_only_for_our_own_resources": [
        condition("UploadsQueuePolicy", 1, StringEquals={"aws:SourceAccount": {"Ref": "AWS::AccountId"}}),
        condition("UploadsQueuePolicy", 1, ArnEquals={"aws:SourceArn": "arn:aws:s3:::texts"}),
        everybody_may("AudioBucketPolicy", "s3:GetObject"),
        everybody_may("DeadLetterQueuePolicy", "sqs:ReceiveMessage"),
    ],
    "functions_are_called_by_our_own_events": [
        drop("SweepFunctionEveryMinutePermission", "SourceArn"),
        put("SweepFunctionEveryMinutePermission", Principal="s3.amazonaws.com"),
        put("SweepFunctionEveryMinutePermission", SourceArn="arn:aws:events:us-east-1:210987654321:rule/theirs"),
        put("SweepFunctionEveryMinutePermission", Action="lambda:*"),
        put("SweepFunctionEveryMinutePermission", Principal="210987654321"),
    ],
    "nothing_is_there_that_no_rule_knows": [
        a_resource("AWS::Lambda::Url"),
        a_resource("AWS::SecretsManager::ResourcePolicy"),
        a_resource("AWS::IAM::User"),
    ],
    "every_function_has_a_role_of_its_own": [
        put("CheckSegmentFunction", Role={"Fn::GetAtt": ["StartSegmentRole", "Arn"]}),
        put("SweepRole", ManagedPolicyArns=["arn:aws:iam::aws:policy/AdministratorAccess"]),
    ],
    "permissions_name_actions_and_resources": [
        grant("SweepRole", "dynamodb:*", OF_THE_TABLE),
        grant("SweepRole", "dynamodb:GetItem", "*"),
        grant("SweepRole", "sqs:SendMessage", {"Fn::Sub": "arn:aws:sqs:*:${AWS::AccountId}:*"}),
        grant("SweepRole", "dynamodb:GetItem", OF_THE_TABLE, NotAction="dynamodb:DeleteTable"),
        grant("SweepRole", "kms:Decrypt", "*"),
        grant("SweepRole", "kms:CreateGrant", "arn:aws:kms:us-east-1:123456789012:key/own"),
        with_everything_set(in_every_role("dynamodb:Scan", "*")),
    ],
    "nobody_writes_where_a_trigger_listens": [
        grant("AssembleAudioRole", "s3:PutObject", TEXTS),
        grant("IngestUploadRole", ["s3:DeleteObject"], TEXTS),
        grant("IngestMessageRole", "sqs:SendMessage", {"Fn::GetAtt": ["RequestsQueue", "Arn"]}),
        put("AudioBucket", NotificationConfiguration={}),
    ],
    "a_function_is_told_of_what_it_may_use_and_of_nothing_else": [
        grant("VendorCallbackRole", "dynamodb:GetItem", OF_THE_TABLE),
        environment("VendorCallbackFunction", JOBS_TABLE={"Ref": "JobsTable"}),
        untold("SweepFunction", "CHECKS_QUEUE_URL"),
    ],
    "no_secret_lies_in_the_open": [
        environment("StartSegmentFunction", VOICEAI_API_KEY="a key"),
        environment("StartSegmentFunction", A="{{resolve:secretsmanager:vendor}}"),
        put("VendorSecret", SecretString='{"VOICEAI_API_KEY": "a key"}'),
        put("SigningSecret", GenerateSecretString={"PasswordLength": 16}),
        a_parameter("VoiceaiApiKey", Default=""),
    ],
    "every_function_stands_on_the_layer": [
        drop("SweepFunction", "Layers"),
        put("SweepFunction", Handler="sweep.main"),
        put("SweepFunction", Runtime="nodejs22.x"),
        put("SweepFunction", TracingConfig={"Mode": "Active"}),
    ],
    "logs_are_kept_for_a_while_and_no_longer": [
        drop("SweepLogs", "RetentionInDays"),
        drop("SweepFunction", "LoggingConfig"),
        put("SweepFunction", LoggingConfig={"LogGroup": {"Ref": "JobsApiLogs"}}),
    ],
    "the_access_log_tells_nothing_personal": [log_more, drop("HttpApiApiGatewayDefaultStage", "AccessLogSettings")],
    "the_api_throttles": [
        drop("HttpApiApiGatewayDefaultStage", "DefaultRouteSettings"),
        drop("HttpApiApiGatewayDefaultStage", "RouteSettings"),
    ],
    "the_api_has_the_agreed_routes": [forget_the_default_route],
    "a_worker_is_dead_before_its_lease_ends": [
        a_parameter("LeaseSeconds", Default=90),
        put("StartSegmentFunction", Timeout=60),
        put("JobsApiFunction", Timeout=60),
    ],
    "alarms_ring_when_work_is_stuck": [
        remove("JobsPastDeadlineAlarm"),
        remove("VendorsOutAlarm"),
        remove("DeadLettersWaitingAlarm"),
        remove("ConvaiAgeAlarm"),
        put("ApiFaultsAlarm", TreatMissingData="breaching"),
    ],
    "every_vendor_has_a_queue_of_its_own": [
        remove("ConvaiQueue"),
        remove("StartSegmentFunctionVoiceaiQueue"),
        put("StartSegmentFunctionDifyQueue", BatchSize=2),
        put("StartSegmentFunctionDifyQueue", ScalingConfig={"MaximumConcurrency": 50}),
    ],
    "whoever_knows_one_vendor_knows_them_all": [
        untold("SweepFunction", "PLAYHT_QUEUE_URL"),
        untold("StartSegmentFunction", "CREATIFY_BASE_URL"),
        put("VendorSecret", Description="A JSON object of keys"),
    ],
    "parameters_and_outputs_are_as_agreed": [
        a_parameter("DefaultVendor", Default="convai"),
        a_parameter("Surprise", Type="String"),
        lambda document: document["Outputs"].pop("ApiUrl"),
        lambda document: document["Parameters"].pop("PlayhtBaseUrl"),
    ],
}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_rule_notices_every_way_of_breaking_it(rule: Rule) -> None:
    for number, breaking in enumerate(BROKEN[rule.__name__]):
        document = copy.deepcopy(decided(translated()))

        breaking(document)

        assert list(rule(Stack(document))), f"fixture {number} of {rule.__name__} went unnoticed"


def test_every_rule_has_a_failing_fixture() -> None:
    assert set(BROKEN) == {rule.__name__ for rule in RULES}
