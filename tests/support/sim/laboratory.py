"""What simulated worlds share in one process, made once: moto, clients, the template, and what is patched."""

import functools
import json
import logging
import os
import random
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from types import SimpleNamespace
from typing import Any

import httpcore
import pytest
from aws_lambda_powertools.metrics.provider.cloudwatch_emf import cloudwatch
from moto.moto_api._internal import mock_random

from local import template
from local.stack import vendor_keys
from speech import observability
from speech.apikeys import new_key
from speech.vendors import base as vendors_base
from tests.fakes.aws import in_process_aws
from tests.support.edge import ROOT
from tests.support.sim.aws import Cloud, Moto, through
from tests.support.sim.clock import VirtualClock
from tests.support.sim.functions import Modules
from tests.support.sim.network import Network
from tests.support.sim.roles import Roles
from tests.support.sim.vendors import ADDRESSES, quick_voices

LIMIT = 60
"""Characters of a segment, whatever the vendor allows: a sentence each."""

CALLBACKS = "https://speech.example"
SIGNING_KEY = "signing-canary-" + "s" * 40
VENDOR_KEY = "vendor-canary-{}"


class Laboratory:
    """`world_is` tells whose calls come in; one world at a time."""

    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.modules = Modules()
        self.cloud: Cloud | None = None
        self.network: Network | None = None
        self.said: list[str] = []
        """What was logged and measured since the world began."""
        self.dice = random.Random(0)
        self.template = _template()
        self.secrets = self._secrets()
        self.wiring = self.template.wiring()
        self.roles = Roles(self.template, self.secrets)
        self.api_token, self.api_record = new_key(
            pepper=SIGNING_KEY.encode(), env="sim", now=int(self.clock.now * 1000)
        )

    def _secrets(self) -> dict[str, str]:
        values = {}
        for logical_id, _ in self.template.resources("AWS::SecretsManager::Secret"):
            arn = f"arn:aws:secretsmanager:{template.REGION}:{template.ACCOUNT}:secret:{logical_id}"
            self.template.know(logical_id, arn)
            keys = {name: VENDOR_KEY.format(name) for names in vendor_keys().values() for name in names}
            values[arn] = SIGNING_KEY if "Signing" in logical_id else json.dumps(keys)
        return values

    def begin(self, seed: int) -> None:
        """A new world: the same seed has the same beginning."""
        self.clock.reset()
        self.said.clear()
        self.dice = random.Random(seed)
        random.seed(seed)  # the jitter of waits
        mock_random.seed(seed)  # moto's own: versions of objects
        self.moto.empty()

    moto: Moto
    clients: Any


@functools.cache
def _translated() -> template.Template:
    urls = {f"{name.title()}BaseUrl": url for name, url in ADDRESSES.items()}
    parameters = {"CallbackBaseUrl": CALLBACKS, "Local": "true", "DefaultVendor": "voiceai", **urls}
    from local.emulators import EMULATORS

    voices = {name: kind.default_voice for name, kind in EMULATORS.items() if kind.default_voice}
    parameters["DefaultVoices"] = ", ".join(f"{name}={voice}" for name, voice in voices.items())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "urandom", bytes)  # the same id of the stack every time: names of buckets hold it
        endpoint = f"https://sqs.{template.REGION}.amazonaws.com"
        return template.load(ROOT / "template.yaml", parameters, endpoint=endpoint, api_url=CALLBACKS)


def _template() -> template.Template:
    return _translated()


class _Stream:
    """Where logs go instead of the terminal."""

    def __init__(self, said: list[str]) -> None:
        self._said = said

    def write(self, text: str) -> None:
        if text.strip():
            self._said.append(text)

    def flush(self) -> None:
        return


@contextmanager
def laboratory() -> Iterator[Laboratory]:
    """A place for worlds, one after the other. Outside of it nothing is as in here."""
    with ExitStack() as stack:
        clients = stack.enter_context(in_process_aws(template.REGION))
        lab = Laboratory()
        lab.clients = clients
        lab.moto = Moto(clients, lab.template)
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        _patch(patch, lab)
        stack.enter_context(quick_voices())
        stack.enter_context(through(lambda: lab.cloud))
        stack.enter_context(lab.clock.told_by_all())
        yield lab


def _patch(patch: pytest.MonkeyPatch, lab: Laboratory) -> None:
    def backend() -> httpcore.NetworkBackend:
        if lab.network is None:
            raise AssertionError("There is no network without a world.")
        return lab.network.backend()

    patch.setattr(httpcore, "SyncBackend", backend)
    # Where randomness comes from in the end: ids, tokens, names of boundaries.
    patch.setattr(os, "urandom", lambda size: lab.dice.randbytes(size))
    patch.setattr(random, "_urandom", lambda size: lab.dice.randbytes(size), raising=False)
    real_limit: Callable[..., int] = vendors_base.Capabilities.limit_for
    patch.setattr(vendors_base.Capabilities, "limit_for", lambda self, options: min(LIMIT, real_limit(self, options)))
    # A process of a function collects garbage as Lambda's would; here it is one process for all of them.
    nothing: Callable[[], None] = lambda: None  # noqa: E731 - three times the same nothing
    patch.setattr(observability, "gc", SimpleNamespace(disable=nothing, enable=nothing, freeze=nothing))
    patch.setattr(observability.logger._logger, "propagate", False)  # nobody else writes it down
    stream = _Stream(lab.said)
    for handler in observability.logger._logger.handlers:
        if isinstance(handler, logging.StreamHandler):
            patch.setattr(handler, "stream", stream)
    patch.setattr(observability.metrics.provider, "namespace", "Voicedrop")
    patch.setattr(cloudwatch, "print", lambda *said, **_: stream.write(" ".join(map(str, said))), raising=False)
