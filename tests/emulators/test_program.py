"""An emulator as a program."""

import signal
import subprocess
import sys

import httpx


def test_it_prints_its_url_serves_and_ends_on_a_signal() -> None:
    command = [sys.executable, "-m", "local.emulators", "convai", "--port", "0", "--switch", "slashless=serve"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip()

        health = httpx.get(f"{url}/health")
        switches = httpx.get(f"{url}/_emulator/switches").json()
        process.send_signal(signal.SIGTERM)
        status = process.wait(30)

    assert health.status_code == 200
    assert switches["slashless"] == "serve"
    assert status == 0


def test_it_names_a_switch_that_does_not_exist() -> None:
    command = [sys.executable, "-m", "local.emulators", "convai", "--switch", "colour=red"]

    ended = subprocess.run(command, capture_output=True, text=True, check=False)

    assert ended.returncode == 2
    assert "colour" in ended.stderr
