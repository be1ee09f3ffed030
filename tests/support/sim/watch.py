"""Looks at every effect on the rows and buckets, while nobody else runs, and says which promise it breaks."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from speech.aws.rows import decode
from speech.jobs import TRANSITIONS as JOB_ARROWS
from speech.jobs import Job, JobStatus
from speech.segments import TRANSITIONS as SEGMENT_ARROWS
from speech.segments import Outcome, Segment, SegmentStatus
from tests.support.sim.machine import Worker

Key = tuple[str, str]


class Violated(BaseException):
    """A promise is broken: nothing of ours may catch this. `promise` is its short name."""

    def __init__(self, promise: str, what: str) -> None:
        super().__init__(f"{promise}: {what}")
        self.promise = promise


def require(holds: object, promise: str, what: Callable[[], str] | str) -> None:
    if not holds:
        raise Violated(promise, what if isinstance(what, str) else what())


class Watch:
    """`rows` is what was written last, as decoded rows would be read; `due` is when each comes due."""

    def __init__(self, *, table: str, texts_bucket: str, audio: Callable[[str], bytes | None]) -> None:
        self._table, self._texts_bucket, self._audio = table, texts_bucket, audio
        self.raw: dict[Key, Mapping[str, Any]] = {}
        self.due: dict[Key, int] = {}
        self.ended_at: dict[str, float] = {}
        self.cancelled: set[str] = set()
        """Jobs whose client was told that they are cancelled: nothing begins for them any more."""
        self._stored: dict[str, float] = {}
        self.now: Callable[[], float] = lambda: 0.0
        self.worker: Callable[[], Worker | None] = lambda: None

    def effect(self, service: str, operation: str, params: Mapping[str, Any]) -> None:
        """Called after each call that changed something."""
        if service == "s3":
            self._object(operation, params)
        elif service == "dynamodb":
            self._table_changed(operation, params)

    def _object(self, operation: str, params: Mapping[str, Any]) -> None:
        if operation == "PutObject":
            require(params["Bucket"] != self._texts_bucket, "I16", "a result was written where drops come in")
            self._stored.setdefault(params["Key"], self.now())
        elif operation == "DeleteObject":
            self._stored.pop(params["Key"], None)
        elif operation == "DeleteObjects":
            for each in params["Delete"]["Objects"]:
                self._stored.pop(each["Key"], None)

    def _table_changed(self, operation: str, params: Mapping[str, Any]) -> None:
        if operation == "PutItem":
            self._wrote(params["Item"])
        elif operation == "TransactWriteItems":
            for action in params["TransactItems"]:
                if "Put" in action:
                    self._wrote(action["Put"]["Item"])
                elif "Delete" in action:
                    self._gone(action["Delete"]["Key"])
        elif operation == "DeleteItem":
            self._gone(params["Key"])
        elif operation == "BatchWriteItem":
            for request in params["RequestItems"].get(self._table, ()):
                if "DeleteRequest" in request:
                    self._gone(request["DeleteRequest"]["Key"])

    # --- What the rows say -------------------------------------------------------------------------

    def jobs(self) -> list[Job]:
        return [decode(Job, row) for (_, sort), row in self.raw.items() if sort == "job"]

    def segments(self, job_id: str) -> list[Segment]:
        rows = [
            decode(Segment, row)
            for (part, sort), row in self.raw.items()
            if sort.startswith("segment#") and part.endswith(f"#job#{job_id}")
        ]
        return sorted(rows, key=lambda row: row.start)

    def stored_since(self, job_id: str, index: int) -> float | None:
        """Since when the audio of a segment is in the work bucket, whoever put it there."""
        row = next((row for row in self.segments(job_id) if row.index == index), None)
        return None if row is None else self._stored.get(f"segments/{row.audio_key}")

    def deliveries(self) -> dict[str, Mapping[str, Any]]:
        return {row["job_id"]["S"]: row for (_, sort), row in self.raw.items() if sort == "delivery"}

    def job_status(self, job_id: str) -> str | None:
        row = next((row for (part, sort), row in self.raw.items() if sort == "job" and part.endswith(job_id)), None)
        return None if row is None else row["status"]["S"]

    # --- One write -----------------------------------------------------------------------------------

    def _gone(self, key: Mapping[str, Any]) -> None:
        name = (key["pk"]["S"], key["sk"]["S"])
        self.raw.pop(name, None)
        self.due.pop(name, None)

    def _wrote(self, row: Mapping[str, Any]) -> None:
        name = (row["pk"]["S"], row["sk"]["S"])
        sort = name[1]
        before = self.raw.get(name)
        if sort != "job" and sort != "delivery" and not sort.startswith("segment#"):
            return
        self._follows(name, before, row)
        if sort == "job":
            self._job(before, row)
        elif sort.startswith("segment#"):
            self._segment(name, before, row)
        self.raw[name] = row
        if "due_at" in row:
            self.due[name] = int(row["due_at"]["N"])
        else:
            self.due.pop(name, None)

    def _follows(self, name: Key, before: Mapping[str, Any] | None, row: Mapping[str, Any]) -> None:
        """I7: each write follows the one before it."""
        if before is None:
            return
        old, new = int(before["rev"]["N"]), int(row["rev"]["N"])
        same_write = before["write_id"] == row["write_id"]
        require(same_write or new == old + 1, "I7", lambda: f"{name[1]} went from revision {old} to {new}")

    def _job(self, before: Mapping[str, Any] | None, row: Mapping[str, Any]) -> None:
        status = JobStatus(row["status"]["S"])
        if before is not None:
            old = JobStatus(before["status"]["S"])
            final = not JOB_ARROWS[old]
            require(not final or before["write_id"] == row["write_id"], "I2", f"a {old} job was changed")
            require(final or old is status or status in JOB_ARROWS[old], "I2", f"a job went from {old} to {status}")
        if not JOB_ARROWS[status]:
            self.ended_at.setdefault(row["id"]["S"], self.now())
        if status is JobStatus.COMPLETED:
            self._completed(decode(Job, row))

    def _completed(self, job: Job) -> None:
        result = job.result
        require(result is not None, "I3", "a completed job has no result")
        if result is None:
            return
        data = self._audio(f"{result.key}.{result.format}")
        require(data is not None, "I3", "a job was completed before its audio was there")
        if job.source.type == "upload":
            return  # a later version of the file may have spoken since
        require(data is not None and len(data) == result.bytes, "I3", "the audio is not as long as the job says")
        digest = hashlib.sha256(data or b"").hexdigest()
        require(digest == result.sha256, "I3", "the audio is not what the job says")

    def _segment(self, name: Key, before: Mapping[str, Any] | None, row: Mapping[str, Any]) -> None:
        status = SegmentStatus(row["status"]["S"])
        if before is not None:
            old = SegmentStatus(before["status"]["S"])
            same = before["write_id"] == row["write_id"]
            final = same or SEGMENT_ARROWS[old] or _is_doubted(before, row)
            require(final, "I2", f"{name[1]}, which was {old}, was changed")
            require(same or old is status or status in SEGMENT_ARROWS[old], "I2", f"{name[1]}: {old} to {status}")
        if status is SegmentStatus.CALLING and (before is None or before["status"]["S"] != "calling"):
            self._claimed(name)

    def _claimed(self, name: Key) -> None:
        """I11: whoever began after its job had ended claims nothing."""
        worker, job_id = self.worker(), name[0].rpartition("#")[2]
        require(job_id not in self.cancelled, "I11", f"{name[1]} was claimed for a job that was cancelled")
        ended = self.ended_at.get(job_id)
        if worker is not None and ended is not None:
            require(worker.started_at < ended, "I11", f"{name[1]} was claimed for a job that has ended")


def _is_doubted(before: Mapping[str, Any], row: Mapping[str, Any]) -> bool:
    """I20: a call was made after it had been put down as one that never left, and that is all that was changed."""
    old, new = decode(Segment, before), decode(Segment, row)
    outcomes = [(mine.outcome, its.outcome) for mine, its in zip(old.attempts, new.attempts, strict=True)]
    untold = [replace(each, outcome=None, problem_code=None) for each in new.attempts]
    return (
        replace(new, rev=old.rev, attempts=()) == replace(old, attempts=())
        and untold == [replace(each, outcome=None, problem_code=None) for each in old.attempts]
        and all(mine is its or (mine, its) == (Outcome.RELEASED, Outcome.AMBIGUOUS) for mine, its in outcomes)
    )
