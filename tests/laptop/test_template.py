"""The template is read as AWS would read it, and what the laptop cloud does not wire is refused by name."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from samtranslator.yaml_helper import yaml_parse
from yaml import safe_dump

from local.intrinsics import NotWired
from local.process import ROOT
from local.template import Template, Wiring, load
from tests.laptop.probe import APP

MOTO = "http://127.0.0.1:4000"
API = "http://127.0.0.1:5000"


def read(path: Path, **parameters: str) -> tuple[Template, Wiring]:
    cloud = load(path, {"Local": "true", **parameters}, endpoint=MOTO, api_url=API)
    for logical_id in ("VendorSecret", "SigningSecret"):
        cloud.know(logical_id, f"arn:secret:{logical_id}")
    return cloud, cloud.wiring()


@pytest.fixture
def changed(tmp_path: Path) -> Callable[[Callable[[Any], None]], Path]:
    """The fixture's template with something else in it."""

    def write(change: Callable[[Any], None]) -> Path:
        body = yaml_parse((APP / "template.yaml").read_text())
        change(body["Resources"])
        for name in ("functions", "layer"):
            (tmp_path / name).symlink_to(APP / name)
        path = tmp_path / "template.yaml"
        path.write_text(safe_dump(body))
        return path

    return write


def test_the_environment_of_a_function_is_resolved_to_literals() -> None:
    cloud, wiring = read(APP / "template.yaml", DefaultVendor="somebody")

    function = wiring.functions["probe"]
    assert function.environment == {
        "VENDOR": "somebody",
        "CALLBACKS": "none",
        "CONVAI_BASE_URL": "https://convai.invalid",
        "QUEUE_URL": f"{MOTO}/123456789012/voicedrop-OrdersQueue",
        "TEXTS": f"{cloud.name('TextsBucket')}/voicedrop-OrdersQueue",
        "SECRET_ARN": "arn:secret:VendorSecret",
        "OWN_URL": API,
    }
    assert function.layers == (APP / "layer",)
    assert function.timeout == 5
    assert wiring.outputs["ApiUrl"] == API


def test_conditions_decide_what_exists() -> None:
    near, _ = read(APP / "template.yaml")
    far, wiring = read(APP / "template.yaml", Local="false", CallbackBaseUrl="https://far.example")

    assert "FarBucket" not in near.for_moto()["Resources"]
    assert "FarBucket" in far.for_moto()["Resources"]
    assert wiring.functions["probe"].environment["FAR"] == "yes"
    assert wiring.functions["probe"].environment["CALLBACKS"] == "https://far.example"


def test_queues_that_others_redrive_to_come_first() -> None:
    cloud, _ = read(APP / "template.yaml")

    names = list(cloud.for_moto()["Resources"])

    assert names.index("DeadLetterQueue") < names.index("OrdersQueue")


def test_moto_gets_nothing_but_literals() -> None:
    cloud, _ = read(ROOT / "template.yaml")

    text = str(cloud.for_moto())

    assert "'Ref'" not in text
    assert "Fn::" not in text


def test_queues_schedules_and_routes_are_found() -> None:
    _, wiring = read(APP / "template.yaml")

    (queue,) = wiring.queues
    assert (queue.function, queue.batch_size, queue.partial_failures, queue.concurrency) == ("probe", 5, True, 2)
    (schedule,) = wiring.schedules
    assert (schedule.function, schedule.seconds) == ("sweep", 60)
    assert wiring.functions["sweep"].async_retries == 0
    assert wiring.functions["sweep"].on_failure == "arn:aws:sqs:us-east-1:123456789012:voicedrop-DeadLetterQueue"
    assert {each.key for each in wiring.routes} == {"$default", "GET /status/{code}"}


def test_the_template_that_is_deployed_is_wired_whole() -> None:
    _, wiring = read(ROOT / "template.yaml")

    invoked = {each.function for each in wiring.queues}
    invoked |= {each.function for each in wiring.schedules}
    invoked |= {each.function for each in wiring.routes}
    assert invoked == set(wiring.functions) == {each.name for each in (ROOT / "functions").iterdir() if each.is_dir()}


def with_event(kind: str, **properties: Any) -> Callable[[Any], None]:
    def change(resources: Any) -> None:
        resources["ProbeFunction"]["Properties"]["Events"] = {"Other": {"Type": kind, "Properties": properties}}

    return change


def with_resource(kind: str, **properties: Any) -> Callable[[Any], None]:
    def change(resources: Any) -> None:
        resources["Other"] = {"Type": kind, "Properties": properties}

    return change


ORDERS = {"Fn::GetAtt": ["OrdersQueue", "Arn"]}


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (with_resource("AWS::StepFunctions::StateMachine", DefinitionString="{}", RoleArn="r"), "Other"),
        (with_resource("AWS::Lambda::Url", AuthType="NONE", TargetFunctionArn="a"), "Other"),
        (with_event("SNS", Topic="arn:aws:sns:us-east-1:1:t"), "SNS"),
        (with_event("S3", Bucket={"Ref": "AudioBucket"}, Events="s3:ObjectCreated:*"), "s3.amazonaws.com"),
        (with_event("DynamoDB", Stream="arn:aws:dynamodb:x:1:table/t/stream/s", StartingPosition="LATEST"), "dynamodb"),
        (with_event("Kinesis", Stream="arn:aws:kinesis:x:1:stream/s", StartingPosition="LATEST"), "kinesis"),
        (with_event("EventBridgeRule", Pattern={"source": ["x"]}), "matches events"),
        (with_event("CloudWatchLogs", LogGroupName="g", FilterPattern=""), "SubscriptionFilter"),
        (with_event("Api", Path="/", Method="get"), "ApiGateway"),
        (with_event("AlexaSkill"), "alexa"),
        (with_event("Schedule", Schedule="cron(0 9 * * ? *)"), "cron"),
        (with_event("SQS", Queue="arn:aws:sqs:us-east-1:1:q.fifo"), "fifo"),
        (with_event("SQS", Queue=ORDERS, FilterCriteria={"Filters": [{"Pattern": "{}"}]}), "FilterCriteria"),
        (with_event("HttpApi", ApiId={"Ref": "HttpApi"}, PayloadFormatVersion="1.0"), "payload 2.0"),
    ],
)
def test_what_is_not_wired_is_refused_by_name(
    change: Callable[[Any], None], named: str, changed: Callable[[Callable[[Any], None]], Path]
) -> None:
    path = changed(change)

    with pytest.raises(NotWired, match=named):
        read(path)


def test_an_event_source_that_sam_does_not_know_is_refused(changed: Callable[..., Path]) -> None:
    path = changed(with_event("Telegram"))

    with pytest.raises(Exception, match="Telegram"):
        read(path)


def test_a_bucket_that_notifies_a_function_itself_is_refused(changed: Callable[..., Path]) -> None:
    def change(resources: Any) -> None:
        target = {"Fn::GetAtt": ["ProbeFunction", "Arn"]}
        resources["AudioBucket"]["Properties"] = {
            "NotificationConfiguration": {"LambdaConfigurations": [{"Event": "s3:ObjectCreated:*", "Function": target}]}
        }

    with pytest.raises(NotWired, match="AudioBucket"):
        read(changed(change))


def test_a_function_without_its_code_is_refused(changed: Callable[..., Path]) -> None:
    def change(resources: Any) -> None:
        resources["ProbeFunction"]["Properties"]["CodeUri"] = "functions/nowhere"

    with pytest.raises(NotWired, match="functions/nowhere"):
        read(changed(change))
