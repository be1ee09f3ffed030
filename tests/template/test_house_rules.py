"""What no line of the product may do, beside what ruff forbids (`S` and its kin in pyproject.toml) (T21)."""

import ast
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.template.translated import TEMPLATE

ROOT = TEMPLATE.parent
PRODUCT = sorted([*(ROOT / "layers" / "speech" / "speech").rglob("*.py"), *(ROOT / "functions").rglob("*.py")])
EVERYTHING = sorted(
    path
    for folder in ("layers", "functions", "local", "tests", "bench", "docs")
    for path in (ROOT / folder).rglob("*.py")
    if ".aws-sam" not in path.parts
)

UNSAFE = re.compile(
    r"(pickle|marshal|shelve|dill|subprocess|ctypes|telnetlib|ftplib|smtplib|urllib\.request|http\.client|xml(\..*)?)"
)
"""What reads code out of data, starts programs, or reaches the world past the guard of outgoing addresses."""

ALLOWED = {"layers/speech/speech/audio/opus.py: line 3 imports ctypes"}
"""libopus takes samples and gives packets by pointers: bytes that we measured, in buffers that we made."""

SLEEPS = {("time", "sleep"), ("asyncio", "sleep")}
RUNS = {"eval", "exec", "compile", "__import__"}
SYSTEM = {("os", "system"), ("os", "popen"), ("os", "fork")}
PROOFS = re.compile(r"(^|_)(mac|hmac|signature|secret_hash|hashed)($|_)")

Rule = Callable[[ast.AST], Iterator[str]]


def named(node: ast.AST) -> tuple[str, str]:
    """`("time", "sleep")` for `time.sleep`; empty words for what is no such thing."""
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
        return node.value.id, node.attr
    return "", node.id if isinstance(node, ast.Name) else ""


def nothing_unsafe_is_imported(node: ast.AST) -> Iterator[str]:
    names: list[str] = []
    if isinstance(node, ast.Import):
        names = [alias.name for alias in node.names]
    elif isinstance(node, ast.ImportFrom):
        names = [node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)]
    yield from (f"imports {name}" for name in names if UNSAFE.fullmatch(name))


def no_text_is_run(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Call):
        module, name = named(node.func)
        if (not module and name in RUNS) or (module, name) in SYSTEM:
            yield f"calls {name}"
        if any(word.arg == "shell" for word in node.keywords):
            yield "calls a shell"


def nobody_sleeps(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Call) and named(node.func) in SLEEPS:
        yield "sleeps: a function that waits is paid for waiting"


def certificates_are_verified(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Call):
        for word in node.keywords:
            if word.arg in ("verify", "check_hostname") and getattr(word.value, "value", None) is False:
                yield f"says {word.arg}=False"
    if isinstance(node, ast.Attribute) and node.attr in ("CERT_NONE", "_create_unverified_context"):
        yield f"uses {node.attr}"


def http_clients_follow_nobody(node: ast.AST) -> Iterator[str]:
    """Proxies from the environment and redirects would lead past the guard of outgoing addresses."""
    if isinstance(node, ast.Call) and named(node.func)[0] == "httpx":
        name = named(node.func)[1]
        said = {word.arg: getattr(word.value, "value", None) for word in node.keywords}
        if name in ("Client", "AsyncClient") and (said.get("trust_env"), said.get("follow_redirects")) != (
            False,
            False,
        ):
            yield f"makes an httpx.{name} without trust_env=False and follow_redirects=False"
        if name in ("get", "post", "put", "delete", "patch", "head", "options", "request", "stream"):
            yield f"calls httpx.{name}, which has neither a total deadline nor the guard"


def proofs_are_compared_in_constant_time(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Compare) and any(isinstance(each, ast.Eq | ast.NotEq) for each in node.ops):
        for side in (node.left, *node.comparators):
            name = side.attr if isinstance(side, ast.Attribute) else named(side)[1]
            if PROOFS.search(name):
                yield f"compares {name} with ==: take hmac.compare_digest"


RULES: tuple[Rule, ...] = (
    nothing_unsafe_is_imported,
    no_text_is_run,
    nobody_sleeps,
    certificates_are_verified,
    http_clients_follow_nobody,
    proofs_are_compared_in_constant_time,
)

BROKEN = {
    "nothing_unsafe_is_imported": ("import pickle", "from xml import sax", "from subprocess import run"),
    "no_text_is_run": ("eval(text)", "os.system(text)", "run(text, shell=True)"),
    "nobody_sleeps": ("time.sleep(1)", "asyncio.sleep(1)"),
    "certificates_are_verified": ("client(verify=False)", "context.verify_mode = ssl.CERT_NONE"),
    "http_clients_follow_nobody": ("httpx.Client(trust_env=False)", "httpx.Client()", "httpx.get(url)"),
    "proofs_are_compared_in_constant_time": ("mac == theirs", "theirs != record.secret_hash"),
}


def breaches(source: str, rule: Rule) -> list[str]:
    return [
        f"line {getattr(node, 'lineno', 0)} {breach}" for node in ast.walk(ast.parse(source)) for breach in rule(node)
    ]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_t21_the_product_keeps_the_rule(rule: Rule) -> None:
    assert [
        found
        for path in PRODUCT
        for breach in breaches(path.read_text(encoding="utf-8"), rule)
        if (found := f"{path.relative_to(ROOT)}: {breach}") not in ALLOWED
    ] == []


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_rule_notices_every_way_of_breaking_it(rule: Rule) -> None:
    assert [line for line in BROKEN[rule.__name__] if not breaches(line, rule)] == []


def test_whoever_silences_a_checker_says_why() -> None:
    """A bare `noqa` or `type: ignore` hides the next mistake too."""
    silenced = re.compile(r"#\s*(noqa|type:\s*ignore)(?P<rest>.*)")
    reason = re.compile(r"(: [A-Z]+[0-9]+(, [A-Z]+[0-9]+)*|\[[a-z, -]+\])\s*(-|#)\s*\S.*")

    assert [
        f"{path.relative_to(ROOT)}:{number}"
        for path in EVERYTHING
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if path != Path(__file__) and (found := silenced.search(line)) and not reason.fullmatch(found["rest"])
    ] == []


SECRETS = re.compile(
    r"""
    (?<![A-Za-z0-9])(AKIA|ASIA)[A-Z0-9]{16}(?![A-Za-z0-9])          # AWS
    | -----BEGIN[ A-Z]*PRIVATE[ ]KEY-----\s+[A-Za-z0-9+/]{20}
    | (?<![A-Za-z0-9])(ghp|gho|ghs|github_pat|glpat|xox[abpr]|npm|pypi)[_-][A-Za-z0-9_-]{20,}
    | (?<![A-Za-z0-9])(sk|rk|pk)[_-](live|proj|ant)?[_-]?[A-Za-z0-9]{24,}
    | eyJ[A-Za-z0-9_-]{15,}\.eyJ[A-Za-z0-9_-]{15,}                    # JSON Web Tokens
    | (?<![A-Za-z0-9])vk_[0-9a-f]{32,}                               # Voice.ai
    | (?<![A-Za-z0-9])app-[A-Za-z0-9]{24}(?![A-Za-z0-9])             # Dify
    | (?<![A-Za-z0-9])tts_[a-z]+_[0-9a-f]{16}_[A-Za-z0-9_-]{32,}     # our own
    | whsec_[A-Za-z0-9+/=]{40,}
    """,
    re.VERBOSE,
)
"""What keys look like that somebody has given out. Locks are not read: they are hashes."""


def tracked() -> list[Path]:
    """Every file of the repository that is text."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True, text=True).stdout
    return [ROOT / name for name in listed.split("\0") if name and not name.endswith("requirements.txt")]


def test_t7_no_secret_lies_in_the_repository() -> None:
    found = []
    for path in tracked():
        if not path.is_file() or path.stat().st_size > 2_000_000 or path.parent.name == "requirements":
            continue
        text = path.read_bytes().decode("utf-8", "replace")
        found += [f"{path.relative_to(ROOT)}: {match[0][:12]}…" for match in SECRETS.finditer(text)]

    assert found == []


@pytest.mark.parametrize(
    "secret",
    [
        "AKIA" + "ABCDEFGH23456789",
        "-----BEGIN RSA " + "PRIVATE KEY-----\n" + "MIIEowIBAAKCAQEA" * 2,
        "ghp_" + "a1B2" * 9,
        "sk-proj-" + "a1B2" * 8,
        "eyJhbGciOiJIUzI1NiJ9.".replace(".", "AAAA.") + "eyJzdWIiOiIxMjM0NTY3ODkwIn0",
        "tts_prod_0123456789abcdef_" + "a1B2" * 10,
        "vk_" + "0a1b" * 10,
    ],
)
def test_a_secret_would_be_noticed(secret: str) -> None:
    assert SECRETS.search(f'KEY = "{secret}"')
