"""Bring up a stack from the template, on this machine, and take it down without a trace.

moto creates buckets, queues, table and event bus; everything else in the template that does something is
done by the modules beside this one.
"""

import asyncio
import fcntl
import json
import os
import shutil
import sys
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import asdict, dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp

from local import schedules, template
from local.gateway import Gateway
from local.intrinsics import NotWired
from local.process import ROOT, Household, plain_environment
from local.queues import Poller, Sqs
from local.runtime import Runtime
from local.template import REGION, STACK, Template, Wiring

if TYPE_CHECKING:
    from collections.abc import Iterator

    from boto3.session import Session

    from speech.policy import Policy

SWEEP_SECONDS = 5.0

VENDOR_SECRET = "VendorSecret"  # noqa: S105 - a logical id of the template
SIGNING_SECRET = "SigningSecret"  # noqa: S105 - a logical id of the template
NO_KEY = "no-key-needed-here"

FROM_ENVIRONMENT: Mapping[str, str] = {
    "DefaultVendor": "DEFAULT_VENDOR",
    "DefaultVoices": "DEFAULT_VOICES",
    "JobDeadlineSeconds": "JOB_DEADLINE_SECONDS",
    "SegmentAttempts": "SEGMENT_ATTEMPTS",
    "LeaseSeconds": "LEASE_SECONDS",
    "CallbackBaseUrl": "CALLBACK_BASE_URL",
    "AllowDifyMessageIds": "DIFY_MESSAGE_IDS",
}
"""Template parameters and the variables that set them."""


class StackFailed(Exception):
    """The laptop cloud cannot run, or can no longer run. The message is for a person."""


@dataclass(frozen=True, slots=True)
class Cloud:
    """What the template came to: it exists, and nothing works in it yet."""

    wiring: Wiring
    endpoint: str
    vendors: Mapping[str, str]
    api_key: str
    servers: Sequence["_Server"]


@dataclass(frozen=True, slots=True)
class Facts:
    """What `stack.json` says."""

    pid: int
    api_url: str
    api_key: str
    aws_endpoint_url: str
    region: str
    texts_bucket: str
    audio_bucket: str
    jobs_table: str
    requests_queue_url: str
    vendors: Mapping[str, str]


def vendor_keys() -> Mapping[str, Sequence[str]]:
    """The vendors there are, each with the names of its entries in the vendor secret."""
    _with_package()
    from speech.vendors import VENDORS, keys_of

    return {vendor: keys_of(vendor) for vendor in VENDORS}


def _with_package() -> None:
    """Let the functions' package be found by whoever starts us."""
    package = str(ROOT / "layers" / "speech")
    if package not in sys.path:
        sys.path.insert(0, package)


@asynccontextmanager
async def running(
    stack_dir: Path, env: Mapping[str, str], *, template_path: Path = ROOT / "template.yaml"
) -> AsyncIterator[Facts]:
    """A stack, from the moment it is ready. Raises StackFailed, also when something in it dies later."""
    try:
        with prepared(stack_dir) as household:
            async with _serving(stack_dir, env, template_path, household) as facts:
                yield facts
    except BaseExceptionGroup as group:
        # Whatever ends one task ends them all; who waits for a stack wants to hear the one reason.
        raise _first(group) from None
    except NotWired as reason:
        raise StackFailed(str(reason)) from None


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    first: BaseException = group
    while isinstance(first, BaseExceptionGroup):
        first = first.exceptions[0]
    return StackFailed(str(first)) if isinstance(first, NotWired) else first


@contextmanager
def prepared(stack_dir: Path) -> "Iterator[Household]":
    """Hold the folder, empty it, and leave it without a trace. The lock ends with us and our guardian."""
    stack_dir.mkdir(parents=True, exist_ok=True)
    with (stack_dir / "lock").open("ab") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StackFailed(f"A stack is already running in {stack_dir}; set STACK_DIR for another.") from None
        leaves = [stack_dir / name for name in ("stack.json", "pids", "tmp")]
        for leaf in (*leaves, stack_dir / "logs"):
            shutil.rmtree(leaf) if leaf.is_dir() else leaf.unlink(missing_ok=True)
        (stack_dir / "logs").mkdir()
        with Household(leaves, lock) as household:
            yield household


@asynccontextmanager
async def _serving(
    stack_dir: Path, env: Mapping[str, str], template_path: Path, household: Household
) -> AsyncIterator[Facts]:
    async with AsyncExitStack() as resources, asyncio.TaskGroup() as background:
        gateway = await resources.enter_async_context(Gateway())
        cloud = await created(stack_dir, env, household, template_path=template_path, api_url=gateway.url)
        wiring, endpoint = cloud.wiring, cloud.endpoint
        http = await resources.enter_async_context(
            aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), timeout=aiohttp.ClientTimeout(total=60))
        )
        runtime = await resources.enter_async_context(
            Runtime(
                stack_dir=stack_dir,
                household=household,
                endpoint=endpoint,
                invocations_log=Path(env["INVOCATIONS_LOG"]) if env.get("INVOCATIONS_LOG") else None,
            )
        )
        sqs = Sqs(http, endpoint)
        pools = {
            name: runtime.pool(
                function, wanted=sum(each.concurrency or 0 for each in wiring.queues if each.function == name)
            )
            for name, function in wiring.functions.items()
        }
        gateway.open(wiring.routes, pools)
        tasks = [background.create_task(Poller(source, pools[source.function], sqs).run()) for source in wiring.queues]
        tasks += [
            background.create_task(schedules.run(schedule, pools[schedule.function], sqs))
            for schedule in _swept(wiring.schedules, env)
        ]
        tasks += [background.create_task(server.outlive()) for server in cloud.servers]
        facts = Facts(
            pid=os.getpid(),
            api_url=gateway.url,
            api_key=cloud.api_key,
            aws_endpoint_url=endpoint,
            region=REGION,
            texts_bucket=wiring.outputs["TextsBucket"],
            audio_bucket=wiring.outputs["AudioBucket"],
            jobs_table=wiring.outputs["JobsTable"],
            requests_queue_url=wiring.outputs["RequestsQueueUrl"],
            vendors=cloud.vendors,
        )
        _publish(stack_dir / "stack.json", facts)
        try:
            yield facts
        finally:
            for task in tasks:
                task.cancel()
            household.close()


async def created(
    stack_dir: Path,
    env: Mapping[str, str],
    household: Household,
    *,
    template_path: Path = ROOT / "template.yaml",
    api_url: str,
) -> Cloud:
    """Start the servers and make in moto what the template describes."""
    policy = _policy(env)
    moto = _Server("moto", [sys.executable, "-m", "local.moto_server"], stack_dir, household)
    await moto.start()
    vendors = _vendors(template_path, env, stack_dir, household)
    for server in vendors.servers:
        await server.start()
    template.import_translator()  # while the servers start
    endpoint = f"http://127.0.0.1:{(await moto.said())['port']}"
    urls = dict(vendors.given)
    for server in vendors.servers:
        urls |= await server.said()
    parameters = _parameters(env, urls, api_url)

    def create() -> Cloud:
        translated = template.load(template_path, parameters, endpoint=endpoint, api_url=api_url)
        session = aws_session()
        arns = _create_secrets(session, translated, endpoint, env)
        wiring = translated.wiring()
        _create_resources(session, translated, endpoint)
        api_key = _make_api_key(session, endpoint, wiring.outputs["JobsTable"], arns[SIGNING_SECRET])
        if policy is not None:
            _put_policy(session, endpoint, wiring.outputs["JobsTable"], policy)
        return Cloud(wiring, endpoint, urls, api_key, (moto, *vendors.servers))

    return await asyncio.to_thread(create)


class _Server:
    """A child that says where it listens in its first line, as JSON, and then serves until the end."""

    def __init__(self, name: str, command: Sequence[str], stack_dir: Path, household: Household) -> None:
        self._name = name
        self._command = command
        self._log = stack_dir / "logs" / f"{name}.log"
        self._household = household
        self._process: asyncio.subprocess.Process

    async def start(self) -> None:
        with self._log.open("ab", buffering=0) as log:
            self._process = await self._household.spawn(
                self._command, cwd=ROOT, env=plain_environment(), log=log, stdout=asyncio.subprocess.PIPE
            )

    async def said(self) -> dict[str, Any]:
        if self._process.stdout is None:
            raise StackFailed(f"{self._name} has no voice.")
        line = await self._process.stdout.readline()
        if not line:
            raise StackFailed(f"{self._name} did not start; see {self._log}.")
        answer: dict[str, Any] = json.loads(line)
        return answer

    async def gone(self) -> int:
        return await self._process.wait()

    async def outlive(self) -> None:
        status = await self.gone()
        raise StackFailed(f"{self._name} ended with status {status}; see {self._log}.")


@dataclass(frozen=True, slots=True)
class _Vendors:
    """Base URLs from outside by vendor, and the server that emulates the others."""

    given: Mapping[str, str]
    servers: Sequence[_Server]


def _vendors(template_path: Path, env: Mapping[str, str], stack_dir: Path, household: Household) -> _Vendors:
    """Emulate every vendor of the template whose base URL is not given, whatever keys are."""
    known = _known_vendors(template_path)
    given = {vendor: env[name].rstrip("/") for vendor in known if env.get(name := f"{vendor.upper()}_BASE_URL")}
    wanted = [vendor for vendor in known if vendor not in given]
    command = [sys.executable, "-m", "local.emulated", *wanted]
    return _Vendors(given, [_Server("emulators", command, stack_dir, household)] if wanted else [])


def _known_vendors(template_path: Path) -> list[str]:
    text = template_path.read_text(encoding="utf-8")
    return [vendor for vendor in vendor_keys() if f"{vendor.title()}BaseUrl:" in text]


def _parameters(env: Mapping[str, str], vendors: Mapping[str, str], api_url: str) -> dict[str, str]:
    given = {parameter: env[name] for parameter, name in FROM_ENVIRONMENT.items() if env.get(name)}
    bases = {f"{vendor.title()}BaseUrl": url for vendor, url in vendors.items()}
    media = "true" if find_spec("av") else "false"
    return {"CallbackBaseUrl": api_url, "MediaLayer": media, **given, **bases, "Local": "true"}


def _swept(wired: Sequence[template.Schedule], env: Mapping[str, str]) -> list[template.Schedule]:
    """Schedules, with the sweep at the laptop's pace: nobody wants to wait a minute to see a retry."""
    try:
        seconds = float(env.get("SWEEP_SECONDS") or SWEEP_SECONDS)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise StackFailed("SWEEP_SECONDS must be a positive number of seconds.")
    return [replace(each, seconds=seconds) if each.function == "sweep" else each for each in wired]


# --- what exists in moto ---


def aws_session() -> "Session":
    """Static credentials, whatever the environment or the user's profile says."""
    import boto3

    return boto3.Session(aws_access_key_id="test", aws_secret_access_key="test", region_name=REGION)  # noqa: S106 - moto


def _client(session: "Session", service: str, endpoint: str) -> Any:
    from botocore.config import Config

    config = Config(retries={"total_max_attempts": 1}, signature_version="v4" if service != "s3" else "s3v4")
    return session.client(service, endpoint_url=endpoint, config=config)  # type: ignore[call-overload]  # any service


def _create_secrets(session: "Session", cloud: Template, endpoint: str, env: Mapping[str, str]) -> dict[str, str]:
    """Make every secret, the vendors' from the environment; the template learns their ARNs."""
    secrets = _client(session, "secretsmanager", endpoint)
    arns = {}
    for logical_id, properties in cloud.resources("AWS::SecretsManager::Secret"):
        if logical_id == VENDOR_SECRET:
            names = [name for keys in vendor_keys().values() for name in keys]
            value = json.dumps({name: env.get(name) or NO_KEY for name in names})
        elif "GenerateSecretString" in properties:
            value = _generated(secrets, properties["GenerateSecretString"])
        else:
            value = properties.get("SecretString", "")
        name = properties.get("Name", f"{STACK}-{logical_id}")
        arns[logical_id] = secrets.create_secret(Name=name, SecretString=value)["ARN"]
        cloud.know(logical_id, arns[logical_id])
    return arns


def _generated(secrets: Any, wanted: dict[str, Any]) -> str:
    key = wanted.pop("GenerateStringKey", None)
    body = json.loads(wanted.pop("SecretStringTemplate", "{}"))
    value: str = secrets.get_random_password(**wanted)["RandomPassword"]
    return value if key is None else json.dumps({**body, key: value})


def _create_resources(session: "Session", cloud: Template, endpoint: str) -> None:
    """Let CloudFormation in moto do what it does, and add what it leaves out."""
    formation = _client(session, "cloudformation", endpoint)
    formation.create_stack(StackName=STACK, TemplateBody=json.dumps(cloud.for_moto()))
    status = formation.describe_stacks(StackName=STACK)["Stacks"][0]["StackStatus"]
    if status != "CREATE_COMPLETE":
        raise StackFailed(f"moto could not create the stack: {status}.")
    s3 = _client(session, "s3", endpoint)
    for logical_id, properties in cloud.resources("AWS::S3::Bucket"):
        bucket = cloud.name(logical_id)
        if "VersioningConfiguration" in properties:
            s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration=properties["VersioningConfiguration"])
        if "NotificationConfiguration" in properties:
            s3.put_bucket_notification_configuration(
                Bucket=bucket, NotificationConfiguration=_notifications(properties["NotificationConfiguration"])
            )
    dynamodb = _client(session, "dynamodb", endpoint)
    for logical_id, properties in cloud.resources("AWS::DynamoDB::Table"):
        if "TimeToLiveSpecification" in properties:
            dynamodb.update_time_to_live(
                TableName=cloud.name(logical_id), TimeToLiveSpecification=properties["TimeToLiveSpecification"]
            )


def _notifications(wanted: Mapping[str, Any]) -> dict[str, Any]:
    """CloudFormation's words for what the API calls otherwise."""
    return {
        "QueueConfigurations": [
            {
                "QueueArn": each["Queue"],
                "Events": [each["Event"]],
                **({"Filter": {"Key": {"FilterRules": each["Filter"]["S3Key"]["Rules"]}}} if "Filter" in each else {}),
            }
            for each in wanted["QueueConfigurations"]
        ]
    }


def _make_api_key(session: "Session", endpoint: str, table: str, signing_secret: str) -> str:
    """An API key for whoever reads stack.json, kept in the table as `make key` would."""
    _with_package()
    from speech.apikeys import new_key
    from speech.aws.dynamo import DynamoJobStore
    from speech.aws.secrets import SecretsKeys

    keys = SecretsKeys(_client(session, "secretsmanager", endpoint), vendor_secret="", signing_secret=signing_secret)
    token, record = new_key(pepper=keys.signing_key(), env="laptop", now=int(time.time() * 1000))
    DynamoJobStore(_client(session, "dynamodb", endpoint), table).put_api_key(record)
    return token


def _policy(env: Mapping[str, str]) -> "Policy | None":
    """The policy of the file that `POLICY` names, if it names one."""
    if not env.get("POLICY"):
        return None
    _with_package()
    from local.configure import read_policy
    from speech.errors import SpeechError

    try:
        return read_policy(Path(env["POLICY"]))
    except SpeechError as error:
        raise StackFailed(f"POLICY={env['POLICY']}: {error.detail}") from error
    except OSError as error:
        raise StackFailed(f"POLICY={env['POLICY']}: {error.strerror}") from error


def _put_policy(session: "Session", endpoint: str, table: str, policy: "Policy") -> None:
    from speech.aws.dynamo import DynamoPolicies

    DynamoPolicies(_client(session, "dynamodb", endpoint), table).put(policy)


def _publish(path: Path, facts: Facts) -> None:
    """Whole or not at all, and for nobody else's eyes: it holds the API key."""
    draft = path.with_suffix(".draft")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w") as file:
        json.dump(asdict(facts), file, indent=2)
    draft.rename(path)
