"""`make live VENDOR=…`: a vendor's real service, asked a few times with your own keys. `python -m local.live`

Says what it will spend and waits for a yes; `YES=1` is one. Environment: VENDOR, its keys by the names they have in
the vendor secret, `<VENDOR>_BASE_URL` for a server of your own, VOICE.
"""

import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from local.process import ROOT
from speech.errors import SpeechError
from speech.vendors import capabilities, check_request, keys_of, vendor_class
from speech.vendors.base import SynthesisRequest, Vendor
from speech.vendors.http import VendorClient

TEXT = "This sentence was spoken to see whether everything works."
SUITE = "tests/live/live_contract.py"


class NotReady(Exception):
    """Something is missing. The message is for a person."""


def ways(vendor: str) -> list[dict[str, Any]]:
    """The options of one request for each way in which the vendor delivers."""
    for option in capabilities(vendor).options:
        if option.name == "delivery":
            return [{"delivery": choice} for choice in option.choices]
        if option.name == "streaming":
            return [{"streaming": False}, {"streaming": True}]
    return [{}]


@dataclass(frozen=True)
class Target:
    """Whom to ask, as whom, and in which voice."""

    vendor: str
    base_url: str
    keys: Mapping[str, str]
    voice: str | None
    is_given: bool
    text: str = TEXT

    @classmethod
    def from_env(cls, env: Mapping[str, str] = os.environ) -> "Target":
        """Raises NotReady, or UnknownVendor."""
        vendor = env.get("VENDOR", "")
        names, known = keys_of(vendor), capabilities(vendor)
        missing = [name for name in names if not env.get(name)]
        if known.voice_required and not known.lists_voices and not env.get("VOICE"):
            missing.append("VOICE")
        if missing:
            raise NotReady(f"Set {' and '.join(missing)} to ask {known.title}.")
        given = env.get(f"{vendor.upper()}_BASE_URL", "").rstrip("/")
        keys = {name: env[name] for name in names}
        return cls(vendor, given or vendor_class(vendor).base_url, keys, env.get("VOICE") or None, bool(given))

    def adapter(self, *, key: str | None = None) -> Vendor:
        """The adapter as functions have it, with your keys or with one that is wrong."""
        client = VendorClient(self.vendor, self.base_url, local=self.is_given, deadline_seconds=70)
        return vendor_class(self.vendor)(client, dict.fromkeys(self.keys, key) if key else self.keys)

    def request(self, **options: Any) -> SynthesisRequest:
        """The sentence. A voice that is needed and was not named is the first of the vendor's list."""
        voice = self.voice
        if voice is None and capabilities(self.vendor).voice_required:
            voice = next((each.id for each in self.adapter().voices()), None)
        return SynthesisRequest(self.text, voice, options=check_request(self.vendor, voice=voice, options=options))


def plan(target: Target) -> str:
    """What will be asked for, and what that may cost."""
    known = capabilities(target.vendor)
    times = len(ways(target.vendor))
    left = f"\n  The account has {target.adapter().credits_left():g} credits left." if known.reports_credits else ""
    notes = "".join(f"\n  {note}" for note in known.notes)
    return (
        f"{known.title} at {target.base_url}, with your {' and '.join(target.keys)}:\n"
        f"  {times} {'request' if times == 1 else 'requests'} for speech of {len(target.text)} characters each, "
        f"about 4 seconds of audio. You pay for them.\n"
        f"  One more with a wrong key, and questions about voices and credits, which cost nothing.{left}{notes}"
    )


def main() -> int:
    """Warn, ask, run. Returns the exit status."""
    try:
        target = Target.from_env()
        print(plan(target), flush=True)
    except (NotReady, SpeechError) as problem:
        print(f"{problem.detail if isinstance(problem, SpeechError) else problem}", file=sys.stderr)
        return 2
    if not os.environ.get("YES"):
        try:
            answer = input("Type yes to go on: ")
        except EOFError:
            answer = ""
        if answer.strip().lower() != "yes":
            print("Nothing was asked for.", file=sys.stderr)
            return 1
    command = [sys.executable, "-m", "pytest", "-v", "-s", "-p", "no:cacheprovider", "-p", "no:xdist", SUITE]
    return subprocess.run([*command, "-o", "timeout=900"], cwd=ROOT, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
