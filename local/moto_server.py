"""The moto server, mended, on a free port. `python -m local.moto_server`"""

import json
import logging
import os
import sys

from moto.moto_server.werkzeug_app import MotoRequestHandler
from werkzeug.serving import make_server

from local.moto_mended import Application, mend


class Handler(MotoRequestHandler):
    """Head and body of an answer leave together."""

    wbufsize = -1

    def handle_expect_100(self) -> bool:
        """Go on at once: who asks before sending a body waits a second for the answer, then sends it anyhow."""
        super().handle_expect_100()
        self.wfile.flush()
        del self.headers["Expect"]  # or werkzeug answers once more
        return True


def main() -> None:
    """Serve until killed. Prints one line of JSON with the port as soon as the port listens."""
    mend()
    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # request lines hold signatures
    sys.setswitchinterval(0.001)  # many threads that wait, and now and then one that computes
    server = make_server("127.0.0.1", 0, Application(), threaded=True, request_handler=Handler)
    print(json.dumps({"port": server.server_address[1]}), flush=True)
    os.dup2(2, 1)  # nobody reads the pipe from here on
    server.serve_forever()


if __name__ == "__main__":
    main()
