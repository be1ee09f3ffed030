"""The laptop cloud comes up from a template, works, and leaves nothing behind, however it ends."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest

from local.process import ROOT
from tests.laptop.probe import APP


def wait_for(condition: Callable[[], Any], *, seconds: float = 60) -> Any:
    """What the condition says as soon as it says something."""
    deadline = time.monotonic() + seconds
    while not (answer := condition()):
        assert time.monotonic() < deadline, "It did not happen in time."
        time.sleep(0.02)  # between two looks at what other processes do
    return answer


@dataclass
class Up:
    """A running `python -m local.up`."""

    process: subprocess.Popen[bytes]
    folder: Path
    facts: dict[str, Any]

    def client(self, service: str) -> Any:
        session = boto3.Session(aws_access_key_id="test", aws_secret_access_key="test", region_name="us-east-1")
        return session.client(service, endpoint_url=self.facts["aws_endpoint_url"])  # type: ignore[call-overload]  # any

    def log(self, function: str) -> str:
        return (self.folder / "logs" / f"{function}.log").read_text()

    def get(self, path: str) -> tuple[int, bytes]:
        try:
            with urllib.request.urlopen(self.facts["api_url"] + path) as answer:  # noqa: S310 - http, ours
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()

    def family(self) -> list[int]:
        """Every process that this stack started, and that they started."""
        found = subprocess.run(["ps", "-eo", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
        parents = {int(pid): int(parent) for pid, parent in map(str.split, found.splitlines())}
        known = {self.process.pid}
        for _ in parents:
            known |= {pid for pid, parent in parents.items() if parent in known}
        return sorted(known - {self.process.pid})


def start(folder: Path, **env: str) -> Up:
    process = subprocess.Popen(
        [sys.executable, "-m", "local.up", "--template", str(APP / "template.yaml")],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        env={"PATH": os.environ["PATH"], "STACK_DIR": str(folder), "CONVAI_BASE_URL": "http://127.0.0.1:9/x/", **env},
    )
    try:
        wait_for(lambda: (folder / "stack.json").exists() or process.poll() is not None)
        return Up(process, folder, json.loads((folder / "stack.json").read_text()))
    except BaseException:  # also when the test is interrupted: the stack must not outlive it
        process.kill()
        raise


def stopped(pids: list[int]) -> bool:
    """Whether these processes are gone, or wait as zombies for whoever adopted them."""

    def state(pid: int) -> str:
        answer = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False)
        return answer.stdout.strip()

    return all(not (found := state(pid)) or found.startswith("Z") for pid in pids)


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    stack = start(tmp_path_factory.mktemp("stack"), SWEEP_SECONDS="0.2", CONVAI_API_KEY="mine")
    yield stack
    stack.process.terminate()
    assert stack.process.wait(30) == 0


def test_stack_json_says_what_others_need(up: Up) -> None:
    assert set(up.facts) == {
        "pid",
        "api_url",
        "api_key",
        "aws_endpoint_url",
        "region",
        "texts_bucket",
        "audio_bucket",
        "jobs_table",
        "requests_queue_url",
        "vendors",
    }
    assert up.facts["pid"] == up.process.pid
    assert up.facts["api_key"].startswith("tts_")
    assert up.facts["vendors"] == {"convai": "http://127.0.0.1:9/x"}
    assert (up.folder / "stack.json").stat().st_mode & 0o077 == 0


def test_vendor_keys_from_the_environment_are_in_the_vendor_secret(up: Up) -> None:
    secrets = up.client("secretsmanager")
    names = {each["Name"] for each in secrets.list_secrets()["SecretList"]}

    keys = json.loads(secrets.get_secret_value(SecretId="voicedrop-VendorSecret")["SecretString"])

    assert names == {"voicedrop-VendorSecret", "voicedrop-SigningSecret"}
    assert keys["CONVAI_API_KEY"] == "mine"
    assert keys["VOICEAI_API_KEY"]


def test_a_request_reaches_the_function_through_its_route(up: Up) -> None:
    status, body = up.get("/anything?a=1")
    teapot, _ = up.get("/status/418")

    assert (status, json.loads(body)["routeKey"]) == (200, "$default")
    assert teapot == 418


def test_a_dropped_object_is_announced_once_as_s3_would(up: Up) -> None:
    s3 = up.client("s3")

    first = s3.put_object(Bucket=up.facts["texts_bucket"], Key="a/b c+ü.txt", Body=b"x", Metadata={"a": "b"})
    second = s3.put_object(Bucket=up.facts["texts_bucket"], Key="a/b c+ü.txt", Body=b"y")
    s3.put_object(Bucket=up.facts["texts_bucket"], Key="ignored.csv", Body=b"z")

    def dropped() -> list[dict[str, Any]]:
        lines = [line for line in up.log("probe").splitlines() if line.startswith("dropped ")]
        return [json.loads(line.removeprefix("dropped ")) for line in lines]

    wait_for(lambda: len(dropped()) >= 2)
    assert [each["key"] for each in dropped()] == ["a/b+c%2B%C3%BC.txt"] * 2
    assert {each["versionId"] for each in dropped()} == {first["VersionId"], second["VersionId"]}
    one, two = sorted(dropped(), key=lambda each: each["sequencer"])
    assert (one["versionId"], two["versionId"]) == (first["VersionId"], second["VersionId"])


def test_a_multipart_upload_is_announced_once(up: Up) -> None:
    s3 = up.client("s3")
    where = {"Bucket": up.facts["texts_bucket"], "Key": "parts.txt"}

    upload = s3.create_multipart_upload(**where)["UploadId"]
    part = s3.upload_part(**where, UploadId=upload, PartNumber=1, Body=b"x")
    s3.complete_multipart_upload(
        **where, UploadId=upload, MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]}
    )
    s3.put_object(Bucket=up.facts["texts_bucket"], Key="after-parts.txt", Body=b"x")

    wait_for(lambda: '"key": "after-parts.txt"' in up.log("probe"))
    assert up.log("probe").count('"key": "parts.txt"') == 1


def test_a_message_is_handled_and_its_failure_reaches_the_dead_letters(up: Up) -> None:
    sqs = up.client("sqs")
    url = up.facts["requests_queue_url"]
    dead_url = url.replace("OrdersQueue", "DeadLetterQueue")

    sqs.send_message(QueueUrl=url, MessageBody='{"print": "obeyed"}')
    sqs.send_message(QueueUrl=url, MessageBody='{"report": true}')

    wait_for(lambda: "obeyed" in up.log("probe"))
    dead = wait_for(lambda: sqs.receive_message(QueueUrl=dead_url).get("Messages"))
    assert [each["Body"] for each in dead] == ['{"report": true}']


def test_the_sweep_fires_at_the_pace_of_the_laptop(up: Up) -> None:
    wait_for(lambda: up.log("sweep").count("swept Scheduled Event") >= 3)


def test_table_and_buckets_are_as_the_template_says(up: Up) -> None:
    ttl = up.client("dynamodb").describe_time_to_live(TableName=up.facts["jobs_table"])["TimeToLiveDescription"]
    buckets = {each["Name"] for each in up.client("s3").list_buckets()["Buckets"]}

    assert ttl == {"TimeToLiveStatus": "ENABLED", "AttributeName": "expires_at"}
    assert buckets == {up.facts["texts_bucket"], up.facts["audio_bucket"]}


def test_a_folder_holds_one_stack_only(up: Up) -> None:
    second = subprocess.run(
        [sys.executable, "-m", "local.up", "--template", str(APP / "template.yaml")],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "STACK_DIR": str(up.folder)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert second.returncode == 1
    assert "already running" in second.stderr
    assert "Traceback" not in second.stderr
    assert (up.folder / "stack.json").exists()


def test_two_stacks_run_side_by_side_and_a_killed_one_leaves_nothing(up: Up, tmp_path: Path) -> None:
    other = start(tmp_path)
    assert other.get("/anything")[0] == 200  # so that a function runs
    family = other.family()
    assert len(family) >= 3

    other.process.kill()
    other.process.wait()

    wait_for(lambda: stopped(family))
    wait_for(lambda: not (tmp_path / "stack.json").exists())
    wait_for(lambda: not (tmp_path / "pids").exists() and not (tmp_path / "tmp").exists())
    assert other.facts["aws_endpoint_url"] != up.facts["aws_endpoint_url"]
    assert up.get("/anything")[0] == 200


def test_an_interrupted_stack_leaves_nothing(tmp_path: Path) -> None:
    stack = start(tmp_path)
    family = stack.family()

    stack.process.send_signal(signal.SIGINT)

    assert stack.process.wait(30) == 0
    assert stopped(family)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["lock", "logs"]


def test_a_stack_whose_aws_dies_says_so_and_ends(tmp_path: Path) -> None:
    stack = start(tmp_path)
    commands = subprocess.run(["ps", "-eo", "pid=,args="], capture_output=True, text=True, check=True).stdout
    (moto,) = [
        int(line.split()[0])
        for line in commands.splitlines()
        if "local.moto_server" in line and int(line.split()[0]) in stack.family()
    ]

    os.kill(moto, signal.SIGKILL)

    assert stack.process.wait(30) == 1
    assert not (tmp_path / "stack.json").exists()


def test_a_template_that_is_not_wired_is_refused_in_one_line(tmp_path: Path) -> None:
    template = tmp_path / "template.yaml"
    template.write_text("Resources: {Odd: {Type: 'AWS::Neptune::DBCluster'}}")

    answer = subprocess.run(
        [sys.executable, "-m", "local.up", "--template", str(template)],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "STACK_DIR": str(tmp_path / "stack")},
        capture_output=True,
        text=True,
        check=False,
    )

    assert answer.returncode == 1
    assert answer.stderr.splitlines() == [
        "The laptop cloud stopped: Odd is an AWS::Neptune::DBCluster, which the laptop cloud neither creates nor wires."
    ]
