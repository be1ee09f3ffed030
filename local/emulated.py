"""All emulated vendors in one process. `python -m local.emulated NAME…` prints a line of JSON: name → base URL."""

import json
import os
import signal
import sys
from contextlib import ExitStack

from local.emulators import EMULATORS


def main(names: list[str]) -> None:
    """Serve those of the named vendors that have an emulator, until killed."""
    with ExitStack() as running:
        urls = {name: running.enter_context(EMULATORS[name]()).url for name in names if name in EMULATORS}
        print(json.dumps(urls), flush=True)
        os.dup2(2, 1)  # nobody reads the pipe from here on
        signal.pause()


if __name__ == "__main__":
    main(sys.argv[1:])
