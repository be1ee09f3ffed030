"""Read `template.yaml` as AWS would: parameters, the SAM transform, conditions, intrinsics, and what is wired to what.

Every name and address is chosen here, before anything exists, so the template is resolved down to literals
and nothing needs to be asked back. What the laptop does not wire is refused by name: a resource that is
silently missing would make the laptop a liar.
"""

import importlib
import re
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from local.intrinsics import NotWired, Resolver

ACCOUNT = "123456789012"
REGION = "us-east-1"
STACK = "voicedrop"

IN_MOTO = frozenset({"AWS::S3::Bucket", "AWS::SQS::Queue", "AWS::DynamoDB::Table", "AWS::Events::EventBus"})
"""What moto creates from CloudFormation and then really does."""

WIRED = frozenset(
    {
        "AWS::Lambda::Function",
        "AWS::Lambda::LayerVersion",
        "AWS::Lambda::EventSourceMapping",
        "AWS::Lambda::EventInvokeConfig",
        "AWS::ApiGatewayV2::Api",
        "AWS::ApiGatewayV2::Stage",
        "AWS::Events::Rule",
        "AWS::Scheduler::Schedule",
        "AWS::SecretsManager::Secret",
    }
)
"""What the laptop does itself."""

INERT = frozenset(
    {
        "AWS::IAM::Role",
        "AWS::IAM::Policy",
        "AWS::IAM::ManagedPolicy",
        "AWS::Lambda::Permission",
        "AWS::S3::BucketPolicy",
        "AWS::SQS::QueuePolicy",
        "AWS::SNS::Topic",
        "AWS::SNS::TopicPolicy",
        "AWS::KMS::Key",
        "AWS::KMS::Alias",
        "AWS::Logs::LogGroup",
        "AWS::Logs::MetricFilter",
        "AWS::Logs::QueryDefinition",
        "AWS::CloudWatch::Alarm",
        "AWS::CloudWatch::CompositeAlarm",
        "AWS::CloudWatch::Dashboard",
    }
)
"""What has nothing to do here: permissions are not enforced, alarms ring for nobody, logs are files."""

INVOKERS = frozenset({"apigateway.amazonaws.com", "events.amazonaws.com", "scheduler.amazonaws.com"})
"""Who may be given permission to invoke a function. Any other is an event source that nobody plays here."""

NAMES: Mapping[str, tuple[str, str]] = {
    "AWS::S3::Bucket": ("BucketName", "s3:::{name}"),
    "AWS::SQS::Queue": ("QueueName", "sqs:{place}:{name}"),
    "AWS::DynamoDB::Table": ("TableName", "dynamodb:{place}:table/{name}"),
    "AWS::Events::EventBus": ("Name", "events:{place}:event-bus/{name}"),
    "AWS::Lambda::Function": ("FunctionName", "lambda:{place}:function:{name}"),
    "AWS::Logs::LogGroup": ("LogGroupName", "logs:{place}:log-group:{name}:*"),
    "AWS::SNS::Topic": ("TopicName", "sns:{place}:{name}"),
}
"""Which property names a resource, and its ARN after `arn:aws:`."""

MAPPING_PROPERTIES = frozenset(
    {
        "BatchSize",
        "Enabled",
        "EventSourceArn",
        "FunctionName",
        "FunctionResponseTypes",
        "MaximumBatchingWindowInSeconds",
        "ScalingConfig",
        "Tags",
    }
)

HERE = "here"
"""The bucket that stands for the folder of the template: the SAM transform wants code to lie in S3."""


@dataclass(frozen=True, slots=True)
class Function:
    """A Lambda function. `name` is that of its folder; times are in seconds, `memory` in MB."""

    name: str
    logical_id: str
    arn: str
    folder: Path
    layers: tuple[Path, ...]
    handler: str
    runtime: str
    timeout: float
    memory: int
    environment: Mapping[str, str]
    json_logs: bool
    reserved_concurrency: int | None
    async_retries: int = 2
    on_failure: str | None = None
    """The ARN of the queue that hears of asynchronous invocations that failed for good."""
    dead_letters: str | None = None


@dataclass(frozen=True, slots=True)
class QueueSource:
    """A queue that invokes a function. `window` is in seconds; `concurrency` None means no cap of its own."""

    function: str
    queue_arn: str
    batch_size: int
    window: float
    partial_failures: bool
    concurrency: int | None


@dataclass(frozen=True, slots=True)
class Schedule:
    """A rate at which a function is invoked, in seconds."""

    function: str
    arn: str
    seconds: float
    input: str | None = None


@dataclass(frozen=True, slots=True)
class Route:
    """A route of the HTTP API. `method` may be ANY; `path` is `$default` for what nothing else matches."""

    method: str
    path: str
    function: str

    @property
    def key(self) -> str:
        return self.path if self.path == "$default" else f"{self.method} {self.path}"


@dataclass(frozen=True, slots=True)
class Wiring:
    """What the laptop does itself, all of it literal."""

    functions: Mapping[str, Function]
    queues: tuple[QueueSource, ...]
    schedules: tuple[Schedule, ...]
    routes: tuple[Route, ...]
    outputs: Mapping[str, str]


class Template:
    """The translated template with the names of everything in it."""

    def __init__(
        self, folder: Path, body: dict[str, Any], parameters: Mapping[str, Any], *, endpoint: str, api_url: str
    ) -> None:
        self._folder = folder
        self._body = body
        self._endpoint = endpoint
        self._api_url = api_url
        self._resolver = Resolver(
            parameters=parameters,
            pseudo={
                "AWS::AccountId": ACCOUNT,
                "AWS::Partition": "aws",
                "AWS::Region": REGION,
                "AWS::StackId": f"arn:aws:cloudformation:{REGION}:{ACCOUNT}:stack/{STACK}/{uuid.uuid4()}",
                "AWS::StackName": STACK,
                "AWS::URLSuffix": "amazonaws.com",
            },
            rules=body.get("Conditions", {}),
            mappings=body.get("Mappings", {}),
            api_url=api_url,
        )
        for logical_id, resource in body["Resources"].items():
            kind = resource["Type"]
            if kind not in IN_MOTO | WIRED | INERT:
                raise NotWired(f"{logical_id} is an {kind}, which the laptop cloud neither creates nor wires.")
            if kind != "AWS::SecretsManager::Secret":  # known when it exists
                self._resolver.known[logical_id] = self._names(logical_id, kind, resource.get("Properties", {}))

    # --- resources ---

    def resources(self, *kinds: str) -> Iterator[tuple[str, dict[str, Any]]]:
        """Those of these types that exist here: logical id and resolved properties."""
        for logical_id, resource in self._body["Resources"].items():
            condition = resource.get("Condition")
            if resource["Type"] in kinds and (condition is None or self._resolver.conditions[condition]):
                yield logical_id, self._resolver.resolve(resource.get("Properties", {}))

    def name(self, logical_id: str) -> str:
        """The name of a bucket, queue, table, bus or function."""
        return self._resolver.known[logical_id]["Name"]

    def know(self, logical_id: str, arn: str) -> None:
        """Tell the ARN of a secret: AWS itself makes up a part of it."""
        self._resolver.known[logical_id] = {"Ref": arn, "Id": arn}

    def for_moto(self) -> dict[str, Any]:
        """A plain CloudFormation template of what moto creates, names written in."""
        resources: dict[str, dict[str, Any]] = {}
        for kind in sorted(IN_MOTO):
            for logical_id, properties in self.resources(kind):
                named = {**properties, NAMES[kind][0]: self.name(logical_id)}
                resources[logical_id] = {"Type": kind, "Properties": named}
        # Literal names hide from moto what must exist first: the queues that others redrive to.
        resources = dict(sorted(resources.items(), key=lambda each: "RedrivePolicy" in each[1]["Properties"]))
        return {"AWSTemplateFormatVersion": "2010-09-09", "Resources": resources}

    def _names(self, logical_id: str, kind: str, properties: dict[str, Any]) -> dict[str, str]:
        """What Ref and GetAtt answer."""
        name_property, pattern = NAMES.get(kind, ("", f"{kind.split('::')[1].lower()}:{{place}}:{{name}}"))
        default = f"{STACK}-{logical_id.lower() if kind == 'AWS::S3::Bucket' else logical_id}"
        name = str(self._resolver.resolve(properties.get(name_property, default)))
        arn = "arn:aws:" + pattern.format(place=f"{REGION}:{ACCOUNT}", name=name)
        match kind:
            case "AWS::SQS::Queue":
                url = f"{self._endpoint}/{ACCOUNT}/{name}"
                return {"Ref": url, "QueueUrl": url, "QueueName": name, "Arn": arn, "Name": name}
            case "AWS::ApiGatewayV2::Api":
                return {"Ref": name, "ApiId": name, "ApiEndpoint": self._api_url}
            case "AWS::Lambda::LayerVersion" | "AWS::SNS::Topic":
                return {"Ref": arn, "Arn": arn, "LayerVersionArn": arn, "TopicArn": arn}
        return {"Ref": name, "Name": name, "Arn": arn}

    # --- what is wired to what ---

    def wiring(self) -> Wiring:
        """Everything the laptop does itself. Call it when all secrets are known."""
        self._refuse_unknown_invokers()
        functions = self._functions()
        return Wiring(
            functions={each.name: each for each in functions.values()},
            queues=tuple(self._queues(functions)),
            schedules=tuple(self._schedules(functions)),
            routes=tuple(self._routes(functions)),
            outputs={
                name: str(self._resolver.resolve(output["Value"]))
                for name, output in self._body.get("Outputs", {}).items()
                if self._resolver.conditions.get(output.get("Condition", ""), True)
            },
        )

    def _refuse_unknown_invokers(self) -> None:
        for logical_id, properties in self.resources("AWS::Lambda::Permission"):
            if properties["Principal"] not in INVOKERS:
                raise NotWired(f"{logical_id} lets {properties['Principal']} invoke a function; nobody plays it here.")
        for logical_id, properties in self.resources("AWS::S3::Bucket"):
            other = set(properties.get("NotificationConfiguration", {})) - {"QueueConfigurations"}
            if other:
                raise NotWired(f"{logical_id} notifies through {', '.join(sorted(other))}; only queues are wired.")

    def _functions(self) -> dict[str, Function]:
        """By ARN."""
        layers = {
            self._resolver.known[logical_id]["Ref"]: self._code(logical_id, properties["Content"])
            for logical_id, properties in self.resources("AWS::Lambda::LayerVersion")
        }
        asynchronous = {
            properties["FunctionName"]: properties for _, properties in self.resources("AWS::Lambda::EventInvokeConfig")
        }
        functions: dict[str, Function] = {}
        for logical_id, properties in self.resources("AWS::Lambda::Function"):
            if properties.get("PackageType", "Zip") != "Zip" or not properties["Runtime"].startswith("python"):
                raise NotWired(f"{logical_id} is not a Python function in a folder.")
            folder = self._code(logical_id, properties["Code"])
            if folder.name in {each.name for each in functions.values()}:
                raise NotWired(f"{logical_id} shares the folder {folder.name} with another function.")
            names = self._resolver.known[logical_id]
            retried = asynchronous.get(names["Ref"], {})
            functions[names["Arn"]] = Function(
                name=folder.name,
                logical_id=names["Name"],
                arn=names["Arn"],
                folder=folder,
                layers=tuple(layers[arn] for arn in properties.get("Layers", [])),
                handler=properties["Handler"],
                runtime=properties["Runtime"],
                timeout=float(properties.get("Timeout", 3)),
                memory=int(properties.get("MemorySize", 128)),
                environment={
                    name: str(value) for name, value in properties.get("Environment", {}).get("Variables", {}).items()
                },
                json_logs=properties.get("LoggingConfig", {}).get("LogFormat") == "JSON",
                reserved_concurrency=_optional_int(properties.get("ReservedConcurrentExecutions")),
                async_retries=int(retried.get("MaximumRetryAttempts", 2)),
                on_failure=self._queue_or_none(
                    logical_id, retried.get("DestinationConfig", {}).get("OnFailure", {}).get("Destination")
                ),
                dead_letters=self._queue_or_none(logical_id, properties.get("DeadLetterConfig", {}).get("TargetArn")),
            )
        return functions

    def _queue_or_none(self, logical_id: str, arn: str | None) -> str | None:
        if arn is not None and not arn.startswith("arn:aws:sqs:"):
            raise NotWired(f"{logical_id} sends its failures to {arn}; only queues are wired.")
        return arn

    def _code(self, logical_id: str, content: Any) -> Path:
        if not isinstance(content, dict) or content.get("S3Bucket") != HERE:
            raise NotWired(f"The code of {logical_id} does not lie in this folder.")
        folder: Path = self._folder / content["S3Key"]
        if not folder.is_dir():
            raise NotWired(f"The code of {logical_id} should lie in {content['S3Key']}, which is no folder.")
        return folder

    def _queues(self, functions: Mapping[str, Function]) -> Iterator[QueueSource]:
        for logical_id, properties in self.resources("AWS::Lambda::EventSourceMapping"):
            arn = properties["EventSourceArn"]
            if not arn.startswith("arn:aws:sqs:") or arn.endswith(".fifo"):
                raise NotWired(f"{logical_id} reads from {arn}; only standard queues are wired.")
            other = set(properties) - MAPPING_PROPERTIES
            if other:
                raise NotWired(f"{logical_id} sets {', '.join(sorted(other))}, which is not wired.")
            if not properties.get("Enabled", True):
                continue
            yield QueueSource(
                function=self._target(logical_id, functions, properties["FunctionName"]),
                queue_arn=arn,
                batch_size=int(properties.get("BatchSize", 10)),
                window=float(properties.get("MaximumBatchingWindowInSeconds", 0)),
                partial_failures="ReportBatchItemFailures" in properties.get("FunctionResponseTypes", []),
                concurrency=_optional_int(properties.get("ScalingConfig", {}).get("MaximumConcurrency")),
            )

    def _schedules(self, functions: Mapping[str, Function]) -> Iterator[Schedule]:
        for logical_id, properties in self.resources("AWS::Events::Rule", "AWS::Scheduler::Schedule"):
            if "EventPattern" in properties:
                raise NotWired(f"{logical_id} matches events; only schedules are wired.")
            if properties.get("State", "ENABLED") != "ENABLED":
                continue
            for target in properties.get("Targets") or [properties["Target"]]:
                yield Schedule(
                    function=self._target(logical_id, functions, target["Arn"]),
                    arn=self._resolver.known[logical_id]["Arn"],
                    seconds=_rate(logical_id, properties["ScheduleExpression"]),
                    input=target.get("Input"),
                )

    def _routes(self, functions: Mapping[str, Function]) -> Iterator[Route]:
        for logical_id, properties in self.resources("AWS::ApiGatewayV2::Stage"):
            if properties["StageName"] != "$default":
                raise NotWired(f"{logical_id}: only the $default stage is wired.")
        apis = list(self.resources("AWS::ApiGatewayV2::Api"))
        if len(apis) > 1:
            raise NotWired("Only one HTTP API is wired.")
        for logical_id, properties in apis:
            if "CorsConfiguration" in properties or "x-amazon-apigateway-cors" in properties["Body"]:
                raise NotWired(f"{logical_id} sets CORS, which is not wired.")
            for path, methods in properties["Body"]["paths"].items():
                for method, operation in methods.items():
                    integration = operation["x-amazon-apigateway-integration"]
                    if operation.get("security") or integration.get("payloadFormatVersion") != "2.0":
                        raise NotWired(f"{logical_id} {path}: only payload 2.0 without an authorizer is wired.")
                    arn = integration["uri"].split("/functions/")[-1].removesuffix("/invocations")
                    yield Route(
                        method="ANY" if method == "x-amazon-apigateway-any-method" else method.upper(),
                        path="$default" if path.strip("/") == "$default" else path,
                        function=self._target(logical_id, functions, arn),
                    )

    def _target(self, logical_id: str, functions: Mapping[str, Function], reference: str) -> str:
        for function in functions.values():
            if reference in (function.arn, function.arn.rpartition(":")[2]):
                return function.name
        raise NotWired(f"{logical_id} invokes {reference}, which is no function of this template.")


def _optional_int(value: Any) -> int | None:
    return None if value is None else int(value)


def _rate(logical_id: str, expression: str) -> float:
    match = re.fullmatch(r"rate\((\d+) (minute|hour|day)s?\)", expression)
    if match is None:
        raise NotWired(f"{logical_id} fires at {expression}; only rates are wired.")
    return float(match.group(1)) * {"minute": 60, "hour": 3600, "day": 86400}[match.group(2)]


class _NoManagedPolicies:
    """Permissions are not enforced here, so there is no need to ask IAM for the names of policies."""

    def load(self) -> dict[str, str]:
        return {}


def import_translator() -> None:
    """Import what `load` needs, which takes longer than the translation does."""
    for name in ("boto3", "samtranslator.parser.parser", "samtranslator.translator.translator"):
        importlib.import_module(name)


def load(path: Path, parameters: Mapping[str, str], *, endpoint: str, api_url: str) -> Template:
    """Read and translate a template. Parameters it does not have are left out; the others win over defaults."""
    import boto3
    from samtranslator.parser.parser import Parser
    from samtranslator.translator.translator import Translator
    from samtranslator.yaml_helper import yaml_parse

    raw = yaml_parse(path.read_text(encoding="utf-8"))
    for resource in raw["Resources"].values():
        for name in ("CodeUri", "ContentUri"):
            where = resource.get("Properties", {}).get(name)
            if isinstance(where, str) and "://" not in where:
                resource["Properties"][name] = f"s3://{HERE}/{where.strip('/')}"
    values: dict[str, Any] = {}
    for name, declared in raw.get("Parameters", {}).items():
        if name in parameters:
            values[name] = parameters[name]
        elif "Default" in declared:
            values[name] = declared["Default"]
        else:
            raise NotWired(f"The parameter {name} has no default, and the laptop cloud has no value for it.")
        if declared["Type"] in ("CommaDelimitedList", "List<String>"):
            values[name] = [each.strip() for each in str(values[name]).split(",")]
    session = boto3.Session(region_name=REGION)
    translated = Translator({}, Parser(), boto_session=session).translate(
        raw, values, get_managed_policy_map=_NoManagedPolicies().load
    )
    return Template(path.resolve().parent, translated, values, endpoint=endpoint, api_url=api_url)
