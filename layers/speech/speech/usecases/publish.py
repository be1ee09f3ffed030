"""Put the results of a job in their place, and never over those of a newer version of its file.

Which version is the newest is said by a row, and what lies in the bucket by its tag. Each write is made on
condition that the tag is what it was *before* the row was read: whoever was overtaken in between is refused.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from speech.errors import ObjectChanged, StoreUnavailable
from speech.jobs import Job
from speech.observability import count
from speech.ports import JobStore, Over, ResultStore
from speech.results import is_latest, own_base, result_base

TRIES = 8
"""How often to look again at a place where others write at the same time."""


class Overtaken(Exception):
    """A newer version of the file has taken this place."""


@dataclass(slots=True)
class Publication:
    """Results under `base`, one after another. Raises Overtaken when they belong somewhere else by now."""

    store: JobStore
    results: ResultStore
    job: Job
    base: str
    versions: dict[str, str] = field(default_factory=dict)
    _replaces: bool = False
    """Whether there was something under this base: then the next one is looked at before it is written."""

    @classmethod
    def begin(cls, store: JobStore, results: ResultStore, job: Job) -> "Publication":
        """Where an overtaken drop keeps its audio, it disturbs nobody: not in the place of the newer one's."""
        return cls(store, results, job, result_base(job) if is_latest(store, job) else own_base(job))

    def put_file(self, suffix: str, path: Path, content_type: str, progress: Callable[[], None]) -> None:
        self._put(
            suffix,
            lambda key, over: self.results.put_file(
                key, path, content_type=content_type, metadata=self._metadata, over=over, progress=progress
            ),
        )

    def put_bytes(self, suffix: str, data: bytes, content_type: str) -> None:
        self._put(
            suffix,
            lambda key, over: self.results.put_bytes(
                key, data, content_type=content_type, metadata=self._metadata, over=over
            ),
        )

    def replace_bytes(self, suffix: str, data: bytes, content_type: str) -> None:
        """As `put_bytes`, but only in the place of what an earlier version of the file left there."""
        if self._replaces and self.results.tag(f"{self.base}.{suffix}") is not None:
            self.put_bytes(suffix, data, content_type)

    def confirm(self) -> None:
        """The last word: what looked unchanged may have been changed twice."""
        if self._replaces and not is_latest(self.store, self.job):
            raise Overtaken

    @property
    def _metadata(self) -> dict[str, str]:
        return {"job-id": self.job.id}

    def _put(self, suffix: str, put: Callable[[str, Over | None], str | None]) -> None:
        key = f"{self.base}.{suffix}"
        if self.base == own_base(self.job):
            self._keep(suffix, put(key, None))
            return
        over = self._look(key) if self._replaces else Over(None)
        for _ in range(TRIES):
            try:
                self._keep(suffix, put(key, over))
            except ObjectChanged:
                self._replaces = True
                over = self._look(key)
            else:
                return
        count("PublishingContended")
        raise StoreUnavailable("Others write in the place of these results; try again shortly.")

    def _look(self, key: str) -> Over:
        """What lies there, and only then whether it is ours to replace."""
        over = Over(self.results.tag(key))
        if not is_latest(self.store, self.job):
            raise Overtaken
        return over

    def _keep(self, suffix: str, version: str | None) -> None:
        if version is not None:
            self.versions[suffix] = version
