"""`make up`: the laptop cloud in the foreground, until SIGINT or SIGTERM. `python -m local.up`

Environment: STACK_DIR, <VENDOR>_BASE_URL and the vendors' keys, CALLBACK_BASE_URL, DEFAULT_VENDOR, DEFAULT_VOICES,
JOB_DEADLINE_SECONDS, SEGMENT_ATTEMPTS, LEASE_SECONDS, SWEEP_SECONDS; POLICY names the file of a policy, INVOCATIONS_LOG
one that gets a line of JSON for every invocation.
"""

import argparse
import asyncio
import os
import signal
import sys
from pathlib import Path

from local.process import ROOT
from local.stack import Facts, StackFailed, running


async def up(template_path: Path) -> int:
    stop = asyncio.current_task()
    if stop is not None:
        for each in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(each, stop.cancel)
    stack_dir = Path(os.environ.get("STACK_DIR") or ".local").absolute()  # noqa: ASYNC240 - once, before anything runs
    try:
        async with running(stack_dir, os.environ, template_path=template_path) as facts:
            print(_greeting(facts, stack_dir), flush=True)
            await asyncio.Event().wait()
    except asyncio.CancelledError:
        pass
    except StackFailed as failure:
        print(f"The laptop cloud stopped: {failure}", file=sys.stderr)
        return 1
    return 0


def _greeting(facts: Facts, stack_dir: Path) -> str:
    vendors = "\n".join(f"  {name:<9} {url}" for name, url in facts.vendors.items())
    return (
        f"The laptop cloud is up. Addresses and the API key are in {stack_dir / 'stack.json'}, logs in "
        f"{stack_dir / 'logs'}.\n"
        f"API        {facts.api_url}\n"
        f"AWS        {facts.aws_endpoint_url} (credentials test/test, region {facts.region})\n"
        f"Drop       s3://{facts.texts_bucket}/\n"
        f"Audio      s3://{facts.audio_bucket}/\n"
        f"Requests   {facts.requests_queue_url}\n"
        f"Vendors\n{vendors}\n"
        f"Ctrl-C stops it."
    )


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(prog="python -m local.up", description=__doc__.splitlines()[0])
    arguments.add_argument("--template", type=Path, default=ROOT / "template.yaml")
    sys.exit(asyncio.run(up(arguments.parse_args().template)))
