"""From a drop to its audio and back again: the edge and the inside on the same fakes, so that a file can be edited."""

import json
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Any

from speech import vendors
from speech.jobs import Job, JobStatus
from speech.settings import Settings
from speech.usecases.accept_job import AcceptJob
from speech.usecases.ingest_upload import IngestUpload
from speech.vendors.base import Capabilities
from tests.support.edge import BUCKET, Edge, a_notification, s3_encoded
from tests.support.world import World


class ShortLimits:
    """The vendors' own rules, but for how much they take at once: a long text of many segments is a short one."""

    VENDORS = vendors.VENDORS
    check_request = staticmethod(vendors.check_request)

    def __init__(self, limit: int) -> None:
        self.limit = limit

    def capabilities(self, name: str) -> Capabilities:
        return replace(vendors.capabilities(name), character_limit=self.limit, other_limits=())


def an_editing_world(**changes: Any) -> World:
    settings = Settings(texts_bucket=BUCKET, callback_base_url="https://speech.example", lease_seconds=120)
    return World(settings=settings, **changes)


@dataclass
class Desk:
    """Where somebody drops a file, listens, changes it and drops it again."""

    limit: int = 60
    world: World = field(default_factory=an_editing_world)

    def __post_init__(self) -> None:
        world = self.world
        self.edge = Edge(
            settings=world.settings,
            clock=world.clock,
            store=world.store,
            texts=world.texts,
            audio=world.audio,
            results=world.results,
            dispatcher=world.dispatcher,
            keys=world.keys,
            policies=world.policies,
        )
        self.accept = AcceptJob(
            world.store,
            world.texts,
            world.dispatcher,
            world.clock,
            world.settings,
            ShortLimits(self.limit),
            world.policies,
            self.edge.inputs,
        )
        self._ingest = IngestUpload(self.edge.inputs, world.store, self.accept, world.settings)
        self._sequence = count(1)

    def place(self, key: str, text: str) -> None:
        """Put something in the bucket that is no input."""
        self.edge.inputs.drop(BUCKET, key, text.encode())

    def drop(self, text: str, key: str = "book.txt", **options: str) -> Job:
        """Drop a version of a file; the job that it became, its messages on their queues."""
        before = {job.id for job in self.world.store.jobs()}
        metadata = {f"voicedrop-{name}": value for name, value in options.items()}
        placed = self.edge.inputs.drop(BUCKET, key, text.encode(), metadata={"voicedrop-format": "wav", **metadata})
        sequencer = f"{next(self._sequence):016X}"
        self._ingest(a_notification(s3_encoded(key), versionId=placed.version_id, sequencer=sequencer))
        (made,) = [job for job in self.world.store.jobs() if job.id not in before]
        return made

    def speak(self, text: str, key: str = "book.txt", **options: str) -> Job:
        """Drop a file and wait for its audio."""
        made = self.drop(text, key, **options)
        self.world.run_with_sweeps(seconds=600)
        done = self.world.job(made.id)
        assert done.status is JobStatus.COMPLETED, done.problem
        return done

    def manifest(self, key: str = "book.txt") -> dict[str, Any]:
        """The manifest under the file's name."""
        loaded: dict[str, Any] = json.loads(self.world.results.objects[f"{key}.manifest.json"].data)
        return loaded

    def subtitles(self, key: str = "book.txt") -> str:
        return self.world.results.objects[f"{key}.vtt"].data.decode()

    @property
    def sent(self) -> list[str]:
        """Every text that the scripted vendor was asked to speak, oldest first."""
        return [request.text for request in self.world.vendor.requests]
