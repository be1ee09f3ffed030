"""The template and the code agree: folders, environments, vendors and defaults."""

import ast
import json
import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from speech import vendors
from speech.policy import BUILT_IN
from speech.settings import Settings
from tests.template.rules import Stack, logical_id
from tests.template.translated import TEMPLATE, decided, sam_template, translate

ROOT = TEMPLATE.parent
PACKAGE = ROOT / "layers" / "speech" / "speech"
FUNCTIONS = sorted(folder.name for folder in (ROOT / "functions").iterdir() if (folder / "app.py").exists())

NEVER_REACHED = {
    # resumes jobs, accepts none
    "sweep": {"default_vendor", "default_voices", "dify_message_ids", "media_layer", "job_deadline_seconds", "local"},
    # refuses, and has no request
    "close_failed_job": {
        "default_vendor",
        "default_voices",
        "dify_message_ids",
        "media_layer",
        "local",
        "work_bucket",
        "audio_bucket",
    },
    "jobs_api": {"vendor_secret_arn"},  # these three only sign, or check what was signed
    "vendor_callback": {"vendor_secret_arn"},
    "deliver_event": {"vendor_secret_arn"},
}
"""What stands in a module that a function uses, in a part of it that it does not use."""


@cache
def the_stack() -> Stack:
    return Stack(decided(translate(sam_template())))


def logical_name(folder: str) -> str:
    return "".join(part.capitalize() for part in folder.split("_")) + "Function"


def environment_of(folder: str) -> dict[str, str]:
    """The environment once AWS has resolved it; for a resource its logical id does."""
    return {
        name: "https://id.execute-api.us-east-1.amazonaws.com" if "https://" in json.dumps(value) else logical_id(value)
        for name, value in the_stack().environment(logical_name(folder)).items()
    }


@cache
def parts_of_bootstrap() -> dict[str, str]:
    """The source of each part that a function may ask for."""
    source = (PACKAGE / "bootstrap.py").read_text(encoding="utf-8")
    return {
        node.name: ast.get_source_segment(source, node) or ""
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.FunctionDef) and node.name not in ("__init__", "services")
    }


def settings_read_by(folder: str) -> set[str]:
    """The settings that the code behind a function reads, as far as its parts and their modules tell."""
    parts = parts_of_bootstrap()
    app = (ROOT / "functions" / folder / "app.py").read_text(encoding="utf-8")
    waiting = re.findall(r"services\(\)\.(\w+)", app)
    reached: set[str] = set()
    while waiting:
        name = waiting.pop()
        if name in parts and name not in reached:
            reached.add(name)
            waiting += re.findall(r"self\.(\w+)", parts[name])
    sources = [parts[name] for name in reached]
    modules: set[str] = set()
    for source in sources:  # which grows by the modules that are found
        found = set(re.findall(r"from (speech\.usecases\.\w+) import", source)) - modules
        modules |= found
        sources += [(PACKAGE.parent / Path(*module.split("."))).with_suffix(".py").read_text() for module in found]
    return {name for source in sources for name in re.findall(r"settings\.(\w+)", source)}


def test_every_folder_of_functions_is_a_function_of_the_stack() -> None:
    written = {name: resource for name, resource in sam_template()["Resources"].items() if name.endswith("Function")}

    assert {name: resource["Properties"]["CodeUri"] for name, resource in written.items()} == {
        logical_name(folder): f"functions/{folder}/" for folder in FUNCTIONS
    }


@pytest.mark.parametrize("folder", FUNCTIONS)
def test_the_environment_of_a_function_satisfies_the_settings_it_reads(folder: str) -> None:
    environment = environment_of(folder)
    variables = {
        "vendor_deadline_seconds": {"LEASE_SECONDS"},
        "base_urls": {f"{vendor.upper()}_BASE_URL" for vendor in vendors.VENDORS},
        "queue_urls": set[str](),  # which of them is settled by what the role may send to
    }

    Settings.from_env(environment)
    missing = {
        variable
        for name in settings_read_by(folder) - NEVER_REACHED.get(folder, set())
        for variable in variables.get(name, {name.upper()})
        if variable not in environment
    }

    assert missing == set()


@pytest.mark.parametrize("folder", FUNCTIONS)
def test_a_function_is_told_nothing_that_it_does_not_read(folder: str) -> None:
    read = {name.upper() for name in settings_read_by(folder)} - {"QUEUE_URLS", "BASE_URLS"}

    unread = [
        name
        for name in environment_of(folder)
        if name not in read and not re.fullmatch(r"\w+_(QUEUE|BASE)_URL|POWERTOOLS_\w+", name)
    ]

    assert unread == []


@pytest.mark.parametrize("folder", ["start_segment", "check_segment"])
@pytest.mark.parametrize("lease", [30.0, 120.0, 3_600.0])
def test_b15_our_own_deadline_comes_before_the_end_of_the_function(folder: str, lease: float) -> None:
    timeout = the_stack().functions[logical_name(folder)]["Timeout"]
    vendor = Settings(lease_seconds=lease).vendor_deadline_seconds

    assert vendor + 10 <= timeout
    assert vendor < lease


def test_the_defaults_of_the_template_are_those_of_the_settings() -> None:
    parameters: dict[str, Any] = {name: each["Default"] for name, each in sam_template()["Parameters"].items()}
    settings = Settings()

    for vendor in vendors.VENDORS:
        assert parameters[f"{vendor.capitalize()}BaseUrl"] == vendors.vendor_class(vendor).base_url
    assert parameters["DefaultVendor"] == settings.default_vendor
    assert parameters["JobDeadlineSeconds"] == settings.job_deadline_seconds
    assert parameters["SegmentAttempts"] == settings.segment_attempts
    assert parameters["LeaseSeconds"] == settings.lease_seconds
    assert parameters["Local"] == "false"


@pytest.mark.parametrize("vendor", BUILT_IN)
def test_who_sends_work_to_a_vendor_that_has_closed_knows_whether_somebody_serves_in_its_place(vendor: str) -> None:
    name = vendor.upper()
    senders = [folder for folder in FUNCTIONS if f"{name}_QUEUE_URL" in environment_of(folder)]

    assert [folder for folder in senders if f"{name}_BASE_URL" not in environment_of(folder)] == []
    assert {"ingest_upload", "ingest_message", "jobs_api"} <= set(senders)
