"""Objects in memory: texts, segment audio, dropped inputs and published results."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

from speech.errors import InputGone, ObjectChanged, UnusableAudio
from speech.ports import InputObject, Over
from speech.segments import SegmentAudio
from tests.fakes.clock import NOW
from tests.fakes.faults import Faulty


class FakeTextStore(Faulty):
    def __init__(self) -> None:
        super().__init__()
        self.texts: dict[tuple[str, str], bytes] = {}

    def put_text(self, tenant: str, text_id: str, text: bytes) -> None:
        with self._call("put_text"):
            self.texts[tenant, text_id] = text

    def read_text(self, tenant: str, text_id: str, start: int, end: int) -> bytes:
        with self._call("read_text"):
            if (tenant, text_id) not in self.texts:
                raise InputGone("The text of this job is no longer stored.")
            return self.texts[tenant, text_id][start:end]

    def erase_texts(self, tenant: str, job_id: str) -> None:
        with self._call("erase_texts"):
            for key in [key for key in self.texts if key[0] == tenant and key[1].startswith(job_id)]:
                del self.texts[key]


class FakeSegmentStore(Faulty):
    def __init__(self) -> None:
        super().__init__()
        self.objects: dict[str, tuple[bytes, SegmentAudio]] = {}

    def find_audio(self, audio_key: str) -> SegmentAudio | None:
        with self._call("find_audio"):
            found = self.objects.get(audio_key)
            return None if found is None else found[1]

    def put_audio(self, audio_key: str, data: bytes, audio: SegmentAudio) -> SegmentAudio:
        with self._call("put_audio"):
            return self.objects.setdefault(audio_key, (data, audio))[1]

    def read_audio(self, audio_key: str) -> bytes:
        with self._call("read_audio"):
            if audio_key not in self.objects:
                raise UnusableAudio("gone", "The audio of a segment is no longer stored.")
            return self.objects[audio_key][0]

    def erase_audio(self, audio_keys: Sequence[str]) -> None:
        with self._call("erase_audio"):
            for key in audio_keys:
                self.objects.pop(key, None)


class FakeInputStore(Faulty):
    """`drop` places an object the way a publisher would."""

    def __init__(self) -> None:
        super().__init__()
        self._versions: dict[tuple[str, str], list[tuple[InputObject, bytes]]] = {}

    def drop(
        self, bucket: str, key: str, data: bytes, *, metadata: Mapping[str, str] | None = None, last_modified: int = NOW
    ) -> InputObject:
        versions = self._versions.setdefault((bucket, key), [])
        described = InputObject(
            bucket=bucket,
            key=key,
            version_id=f"v{len(versions) + 1}",
            size=len(data),
            last_modified=last_modified,
            metadata=dict(metadata or {}),
        )
        versions.append((described, data))
        return described

    def remove(self, bucket: str, key: str) -> None:
        self._versions.pop((bucket, key), None)

    def _find(self, bucket: str, key: str, version_id: str | None) -> tuple[InputObject, bytes] | None:
        versions = self._versions.get((bucket, key), [])
        if version_id is None:
            return versions[-1] if versions else None
        return next((each for each in versions if each[0].version_id == version_id), None)

    def describe(self, bucket: str, key: str, version_id: str | None) -> InputObject | None:
        with self._call("describe"):
            found = self._find(bucket, key, version_id)
            return None if found is None else found[0]

    def read(self, bucket: str, key: str, version_id: str | None, limit: int) -> bytes | None:
        with self._call("read"):
            found = self._find(bucket, key, version_id)
            return None if found is None else found[1][:limit]


@dataclass(frozen=True, slots=True)
class PublishedObject:
    data: bytes
    content_type: str
    version_id: str
    metadata: Mapping[str, str] = field(default_factory=dict)


class FakeResultStore(Faulty):
    """A versioned bucket. `objects` holds the newest version of what was not deleted, `versions` everything."""

    def __init__(self) -> None:
        super().__init__()
        self.objects: dict[str, PublishedObject] = {}
        self.versions: dict[str, list[PublishedObject]] = {}
        self._made = 0

    def put_file(
        self,
        key: str,
        path: Path,
        *,
        content_type: str,
        metadata: Mapping[str, str],
        over: Over | None = None,
        progress: Callable[[], None] | None = None,
    ) -> str | None:
        with self._call("put_file"):
            if progress:
                progress()
            return self._put(key, path.read_bytes(), content_type, metadata, over)

    def put_bytes(
        self, key: str, data: bytes, *, content_type: str, metadata: Mapping[str, str], over: Over | None = None
    ) -> str | None:
        with self._call("put_bytes"):
            return self._put(key, data, content_type, metadata, over)

    def tag(self, key: str) -> str | None:
        with self._call("tag"):
            return self._tag(key)

    def _tag(self, key: str) -> str | None:
        """As in S3, of the content alone: the same bytes again are not told apart."""
        found = self.objects.get(key)
        return None if found is None else hashlib.sha256(found.data).hexdigest()

    def erase(self, key: str, job_id: str) -> None:
        with self._call("erase"):
            kept = [each for each in self.versions.pop(key, []) if each.metadata.get("job-id") != job_id]
            if kept:
                self.versions[key] = kept
            if self.objects.pop(key, None) is not None and kept:
                self.objects[key] = kept[-1]

    def _put(self, key: str, data: bytes, content_type: str, metadata: Mapping[str, str], over: Over | None) -> str:
        if over is not None and over.tag != self._tag(key):
            raise ObjectChanged("Something else lies under this key.")
        versions = self.versions.setdefault(key, [])
        self._made += 1
        new = PublishedObject(data, content_type, f"v{self._made}", dict(metadata))
        versions.append(new)
        self.objects[key] = new
        return new.version_id

    def delete(self, key: str) -> None:
        with self._call("delete"):
            self.objects.pop(key, None)

    def link(self, key: str, *, version_id: str | None, filename: str) -> str:
        with self._call("link"):
            version = "" if version_id is None else f"&versionId={quote(version_id)}"
            return f"https://audio.example/{quote(key)}?X-Amz-Expires=900&filename={quote(filename, safe='')}{version}"
