"""What goes into the layer: locked, for the target and not for the builder, under licences that we may pass on."""

import importlib.metadata
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from layers.speech.slim import slim
from layers.speech.target_lock import target_lock
from tests.template.translated import TEMPLATE, sam_template

LAYER = TEMPLATE.parent / "layers" / "speech"
LOCK = (LAYER / "requirements.txt").read_text(encoding="utf-8")
RUNTIMES = sam_template()["Parameters"]["Runtime"]["AllowedValues"]
MACHINES = {"x86_64": "x86_64", "arm64": "aarch64"}


def names_in(lock: str) -> list[str]:
    return re.findall(r"^([A-Za-z0-9._-]+)==", lock, re.MULTILINE)


@pytest.mark.parametrize("machine", MACHINES.values())
@pytest.mark.parametrize("runtime", RUNTIMES)
def test_the_lock_of_a_target_names_every_package_once_with_hashes_and_no_markers(runtime: str, machine: str) -> None:
    lines = target_lock(LOCK, runtime.removeprefix("python"), machine).splitlines()

    assert len({line.partition("==")[0] for line in lines}) == len(lines)
    assert {line.partition("==")[0] for line in lines} == set(names_in(LOCK))
    assert [line for line in lines if " --hash=sha256:" not in line or ";" in line] == []


def test_markers_are_read_for_the_target_and_not_for_the_python_that_builds() -> None:
    lock = (
        "numpy==1.0 ; python_full_version < '3.12' \\\n    --hash=sha256:aa\n"
        "numpy==2.0 ; python_full_version >= '3.12' \\\n    --hash=sha256:bb \\\n    --hash=sha256:cc\n"
        "colorama==3.0 ; sys_platform == 'win32' \\\n    --hash=sha256:dd\n"
    )

    assert target_lock(lock, "3.11", "x86_64") == "numpy==1.0 --hash=sha256:aa\n"
    assert target_lock(lock, "3.13", "x86_64") == "numpy==2.0 --hash=sha256:bb --hash=sha256:cc\n"


def test_the_layer_brings_neither_what_the_runtime_has_nor_what_only_the_laptop_needs() -> None:
    unwanted = {"boto3", "botocore", "s3transfer", "moto", "espeakng-loader", "av", "pytest"}

    assert unwanted & set(names_in(LOCK)) == set()


def licences_of(name: str) -> Iterator[str]:
    metadata = importlib.metadata.metadata(name)
    for field in ("License-Expression", "License", "Classifier"):
        for value in metadata.get_all(field) or []:
            if field != "Classifier" or value.startswith("License ::"):
                yield value.splitlines()[0] if value else ""


@pytest.mark.parametrize("name", sorted(set(names_in(LOCK))))
def test_nothing_in_the_layer_is_under_the_gpl(name: str) -> None:
    licences = list(licences_of(name))

    assert licences or name == "typing_extensions", f"{name} does not say what licence it has"
    # The LGPL of soxr is met: its library stands in the layer as a file of its own, to be replaced at will.
    assert [each for each in licences if re.search(r"(?<!L)(?<!Lesser )(A?GPL|General Public)", each)] == []


def test_the_makefile_builds_for_what_the_template_deploys_unless_told_otherwise() -> None:
    parameters = sam_template()["Parameters"]
    plan = ["make", "-n", "-f", str(LAYER / "Makefile"), "build-SpeechLayer", "ARTIFACTS_DIR=/tmp"]

    by_default = subprocess.run(plan, capture_output=True, text=True, check=True, env={"PATH": "/usr/bin:/bin"}).stdout
    told = subprocess.run(
        plan,
        capture_output=True,
        text=True,
        check=True,
        env={"PATH": "/usr/bin:/bin", "RUNTIME": "python3.12", "ARCH": "arm64"},
    ).stdout

    assert f"{parameters['Runtime']['Default']} on {parameters['Architecture']['Default']}" in by_default
    assert "python3.12 on arm64" in told
    assert "manylinux_2_28_aarch64" in told
    assert "--require-hashes" in told


def test_slimming_keeps_code_and_licences(tmp_path: Path) -> None:
    for name in (
        "numpy/core.py",
        "numpy/tests/test_core.py",
        "numpy/core.pyi",
        "numpy/include/numpy.h",
        "bin/f2py",
        "numpy-2.0.dist-info/RECORD",
        "numpy-2.0.dist-info/METADATA",
        "numpy-2.0.dist-info/licenses/LICENSE.txt",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()

    slim(tmp_path)

    assert sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()) == [
        "numpy-2.0.dist-info/METADATA",
        "numpy-2.0.dist-info/licenses/LICENSE.txt",
        "numpy/core.py",
    ]


MEDIA = TEMPLATE.parent / "layers" / "media"


def plan_of_the_media_layer(**environment: str) -> str:
    plan = ["make", "-n", "-f", str(MEDIA / "Makefile"), "build-FfmpegLayer", "ARTIFACTS_DIR=/tmp"]
    told = {"PATH": "/usr/bin:/bin", **environment}
    return subprocess.run(plan, capture_output=True, text=True, check=True, env=told).stdout


def test_the_media_layer_is_built_for_the_target_from_its_lock_where_it_is_asked_for() -> None:
    told = plan_of_the_media_layer(MEDIA_LAYER="true", RUNTIME="python3.12", ARCH="arm64")

    assert "--require-hashes" in told
    assert "manylinux_2_28_aarch64" in told
    assert "--python-version 3.12" in told
    assert "pip" not in plan_of_the_media_layer()


def test_the_media_layer_holds_ffmpeg_alone_and_the_parameter_is_off_by_default() -> None:
    lock = (MEDIA / "requirements.txt").read_text(encoding="utf-8")

    assert names_in(lock) == ["av"]
    assert ";" not in lock  # nothing to be decided for the target
    assert sam_template()["Parameters"]["MediaLayer"]["Default"] == "false"


@pytest.mark.parametrize(
    ("said", "wanted"),
    [([], "false"), (["MEDIA=1"], "true"), (["OVERRIDES=MediaLayer=true"], "true"), (["OVERRIDES=A=b"], "false")],
)
def test_who_deploys_with_the_media_layer_builds_it(said: list[str], wanted: str) -> None:
    plan = subprocess.run(
        ["make", "-n", "deploy", *said], cwd=TEMPLATE.parent, capture_output=True, text=True, check=True
    ).stdout

    assert f"MEDIA_LAYER={wanted} " in plan
    assert plan.count(f"MediaLayer={wanted}") >= 2
