"""Take away what is left of a job that was erased, or that ended while it was being published."""

from dataclasses import dataclass, field, replace
from itertools import islice

from speech.observability import count
from speech.ports import Cleanup, Clock, JobStore, ResultStore, SegmentStore, TextStore


@dataclass(frozen=True, slots=True)
class CleanUp:
    store: JobStore
    texts: TextStore
    audio: SegmentStore
    results: ResultStore
    clock: Clock

    def __call__(self, cleanup: Cleanup, *, most: int, is_last: bool) -> None:
        """Take away what is there, of at most `most` segments; safe to do twice, also at once.

        `is_last`: nobody can put anything back any more, so the rows go as well; what is too much for one time
        comes due again at once. Otherwise the row stays as it is, for the sweep.
        """
        for key in cleanup.keys:
            self.results.erase(key, cleanup.job_id)
        if cleanup.erases:
            self.texts.erase_texts(cleanup.tenant, cleanup.job_id)
            if self._erase_segments(cleanup, most, drop=is_last) and is_last:
                self.store.save_cleanup(replace(cleanup, rev=cleanup.rev + 1, due_at=self.clock.now()))
                return
        if is_last:
            self.store.drop_cleanup(cleanup)
            count("JobsErased" if cleanup.erases else "ResultsTakenBack")

    def _erase_segments(self, cleanup: Cleanup, most: int, *, drop: bool) -> bool:
        """Whether there are more of them."""
        tenant, job_id = cleanup.tenant, cleanup.job_id
        found = list(islice(self.store.audio_of(tenant, job_id), most + 1))
        rows = found[:most]
        living = _Living(self.store)
        unshared = [
            key
            for key in dict.fromkeys(key for _, key in rows if key)
            if not any(living.has(*user) for user in self.store.users_of(key) if user != (tenant, job_id))
        ]
        self.audio.erase_audio(unshared)
        if drop:
            self.store.drop_claims(tenant, job_id, list(dict.fromkeys(key for _, key in rows if key)))
            # Last of all: the rows are what says which audio there is.
            self.store.drop_segments(tenant, job_id, [index for index, _ in rows])
        return len(found) > most


@dataclass(frozen=True, slots=True)
class _Living:
    """Which jobs are there and not erased. Of two that are erased at once, neither keeps what only they share."""

    store: JobStore
    _known: dict[tuple[str, str], bool] = field(default_factory=dict)

    def has(self, tenant: str, job_id: str) -> bool:
        if (tenant, job_id) not in self._known:
            job = self.store.get(tenant, job_id)
            self._known[tenant, job_id] = job is not None and job.erased_at is None
        return self._known[tenant, job_id]
