"""Child processes that never outlive the stack, however the stack ends."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Self

ROOT = Path(__file__).resolve().parent.parent

GUARDIAN = """
import os, shutil, signal, sys
for each in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
    signal.signal(each, signal.SIG_IGN)
sys.stdin.buffer.read()
for path in sys.argv[1:]:
    if os.path.isdir(path):
        shutil.rmtree(path, ignore_errors=True)
    elif os.path.exists(path):
        os.unlink(path)
os.killpg(0, signal.SIGKILL)
"""


class Household:
    """A process group whose members die together as soon as the process that made it is gone.

    Its first member, the guardian, waits on a pipe that only we hold open. The pipe closes when we close
    it and also when we are killed, which no signal handler could notice. Then the guardian removes the
    paths in `leaves` and kills the group. This needs neither Linux nor code inside the members.
    """

    def __init__(self, leaves: Sequence[Path] = (), lock: IO[bytes] | None = None) -> None:
        """The guardian inherits `lock`, so that a lock on that file lasts until the cleaning is done."""
        self._guardian = subprocess.Popen(
            [sys.executable, "-S", "-E", "-c", GUARDIAN, *map(str, leaves)],
            stdin=subprocess.PIPE,
            process_group=0,
            pass_fds=() if lock is None else (lock.fileno(),),
        )

    async def spawn(
        self,
        command: Sequence[str],
        *,
        cwd: Path,
        env: Mapping[str, str],
        log: IO[bytes],
        stdout: int | IO[bytes] | None = None,
    ) -> asyncio.subprocess.Process:
        """Start a member. Its output goes to `log`, which it holds open by itself."""
        return await asyncio.create_subprocess_exec(
            *command,
            cwd=cwd,
            env=dict(env),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=log if stdout is None else stdout,
            stderr=log,
            process_group=self._guardian.pid,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End every member."""
        if self._guardian.stdin is not None:
            self._guardian.stdin.close()
        try:
            self._guardian.wait(timeout=5)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._guardian.pid, signal.SIGKILL)
            self._guardian.wait()


def plain_environment(**more: str) -> dict[str, str]:
    """What every child may see of ours: where programs are, and nothing that identifies or configures anyone."""
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "LC_ALL", "SYSTEMROOT") if name in os.environ}
    return {
        **kept,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
        **more,
    }
