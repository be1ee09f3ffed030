"""Reduce the lock on stdin to what one target needs, since pip reads markers for the Python that runs it."""

import sys

from pip._vendor.packaging.markers import Marker  # the only packaging library that is surely there, since pip is


def target_environment(version: str, machine: str) -> dict[str, str]:
    """The markers of CPython `version` (as 3.13) on Linux."""
    return {
        "implementation_name": "cpython",
        "implementation_version": f"{version}.0",
        "os_name": "posix",
        "platform_machine": machine,
        "platform_python_implementation": "CPython",
        "platform_system": "Linux",
        "python_full_version": f"{version}.0",
        "python_version": version,
        "sys_platform": "linux",
        "extra": "",
    }


def target_lock(lock: str, version: str, machine: str) -> str:
    """The requirements of `lock` whose markers hold on the target, without their markers and with their hashes."""
    environment = target_environment(version, machine)
    kept = []
    for line in lock.replace("\\\n", " ").splitlines():
        requirement, *hashes = line.split(" --hash=")
        pinned, _, marker = requirement.partition(";")
        if pinned.strip() and not pinned.startswith("#") and (not marker or Marker(marker).evaluate(environment)):
            kept.append(" --hash=".join([pinned.strip(), *(digest.strip() for digest in hashes)]))
    return "\n".join(kept) + "\n"


if __name__ == "__main__":
    sys.stdout.write(target_lock(sys.stdin.read(), sys.argv[1], sys.argv[2]))
