"""Run one emulator as a program: print its URL, serve until SIGINT or SIGTERM."""

import argparse
import signal
import sys
import threading

from pydantic import ValidationError

from local.emulators import EMULATORS


def main() -> int:
    """Serve one vendor."""
    parser = argparse.ArgumentParser(prog="python -m local.emulators", description=__doc__)
    parser.add_argument("vendor", choices=sorted(EMULATORS))
    parser.add_argument("--port", type=int, default=0, help="0, the default, takes a free one")
    parser.add_argument(
        "--switch", action="append", default=[], metavar="NAME=VALUE", help="where the documents leave a choice"
    )
    arguments = parser.parse_args()
    switches = dict(switch.partition("=")[::2] for switch in arguments.switch)
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    try:
        emulator = EMULATORS[arguments.vendor](port=arguments.port, **switches)
    except ValidationError as error:
        parser.error(str(error))
    with emulator:
        print(emulator.url, flush=True)
        stop.wait()
    return 0


if __name__ == "__main__":
    sys.exit(main())
