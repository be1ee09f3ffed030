"""What lies in S3: texts of jobs, verified audio of segments, dropped inputs, published results."""

import re
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from email.errors import MessageError
from email.header import decode_header, make_header
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from botocore.exceptions import ClientError

from speech.aws.faults import code_of, status_of, translated
from speech.errors import InputGone, ObjectChanged, StoreUnavailable, UnusableAudio
from speech.ports import InputObject, Over
from speech.segments import SegmentAudio

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import CompletedPartTypeDef

LINK_SECONDS = 900

OBJECTS_PER_DELETION = 1_000

ONE_PUT_BYTES = PART_BYTES = 16 * 2**20
"""Larger files are sent in parts: one that fails is sent again alone. 10,000 of them hold far more than /tmp."""

_GONE = frozenset({"NoSuchKey", "NoSuchVersion", "404"})


class S3TextStore:
    def __init__(self, client: "S3Client", bucket: str) -> None:
        self._client = client
        self._bucket = bucket

    def put_text(self, tenant: str, text_id: str, text: bytes) -> None:
        with translated():
            self._client.put_object(
                Bucket=self._bucket,
                Key=_text_key(tenant, text_id),
                Body=text,
                ContentType="text/plain; charset=utf-8",
            )

    def read_text(self, tenant: str, text_id: str, start: int, end: int) -> bytes:
        if end <= start:
            return b""
        try:
            with translated():
                answer = self._client.get_object(
                    Bucket=self._bucket, Key=_text_key(tenant, text_id), Range=f"bytes={start}-{end - 1}"
                )
                return answer["Body"].read()
        except ClientError as error:
            if code_of(error) in _GONE or code_of(error) == "InvalidRange":
                raise InputGone("The text of this job is no longer stored.") from error
            raise

    def erase_texts(self, tenant: str, job_id: str) -> None:
        # A text id begins with its job's id. There are several when several requests claimed one identity at once.
        prefix = f"texts/{tenant}/{job_id}"
        with translated():
            found = self._client.list_objects_v2(Bucket=self._bucket, Prefix=prefix).get("Contents", [])
            for each in found:
                self._client.delete_object(Bucket=self._bucket, Key=each["Key"])


def _text_key(tenant: str, text_id: str) -> str:
    return f"texts/{tenant}/{text_id}.txt"


class S3SegmentStore:
    """What is known of the audio is the object's metadata, so that finding it is one HEAD."""

    def __init__(self, client: "S3Client", bucket: str) -> None:
        self._client = client
        self._bucket = bucket

    def find_audio(self, audio_key: str) -> SegmentAudio | None:
        try:
            with translated():
                head = self._client.head_object(Bucket=self._bucket, Key=_segment_key(audio_key))
        except ClientError as error:
            if code_of(error) in _GONE:
                return None
            raise
        if _ends_soon(head.get("Expiration", "")):
            return None
        return _audio_from(head["Metadata"], head["ContentLength"])

    def put_audio(self, audio_key: str, data: bytes, audio: SegmentAudio) -> SegmentAudio:
        try:
            self._put(audio_key, data, audio, {"IfNoneMatch": "*"})
        except ClientError as error:
            if status_of(error) != 412:
                raise
            there = self.find_audio(audio_key)
            if there is not None:
                return there
            # What lies there is of no use or about to expire; left alone, it would be bought again for ever.
            self._put(audio_key, data, audio, {})
        return audio

    def read_audio(self, audio_key: str) -> bytes:
        try:
            with translated():
                return self._client.get_object(Bucket=self._bucket, Key=_segment_key(audio_key))["Body"].read()
        except ClientError as error:
            if code_of(error) in _GONE:
                raise UnusableAudio("gone", "The audio of a segment is no longer stored.") from error
            raise

    def erase_audio(self, audio_keys: Sequence[str]) -> None:
        for first in range(0, len(audio_keys), OBJECTS_PER_DELETION):
            some = audio_keys[first : first + OBJECTS_PER_DELETION]
            with translated():
                answer = self._client.delete_objects(
                    Bucket=self._bucket,
                    Delete={"Objects": [{"Key": _segment_key(each)} for each in some], "Quiet": True},
                )
            if answer.get("Errors"):
                raise StoreUnavailable(f"{len(answer['Errors'])} of {len(some)} objects could not be deleted.")

    def _put(self, audio_key: str, data: bytes, audio: SegmentAudio, condition: Mapping[str, Any]) -> None:
        with translated():
            self._client.put_object(
                Bucket=self._bucket,
                Key=_segment_key(audio_key),
                Body=data,
                ContentType="application/octet-stream",
                Metadata={
                    "container": audio.container,
                    "sample-rate": str(audio.sample_rate),
                    "channels": str(audio.channels),
                    "frames": str(audio.frames),
                    "sha256": audio.sha256,
                    **_verdict(audio),
                },
                **condition,
            )


def _verdict(audio: SegmentAudio) -> dict[str, str]:
    known = {"codec": audio.codec, "loudness": audio.loudness, "pace": audio.pace, "repairs": " ".join(audio.repairs)}
    return {name: str(value) for name, value in known.items() if value not in (None, "")}


def _segment_key(audio_key: str) -> str:
    return f"segments/{audio_key}"


EXPIRY = re.compile(r'expiry-date="([^"]+)"')
MARGIN_BEFORE_EXPIRY = timedelta(days=1)


def _ends_soon(expiration: str) -> bool:
    """Whether the bucket's lifecycle may delete the object before a job that finds it now is assembled."""
    match = EXPIRY.search(expiration)
    return match is not None and parsedate_to_datetime(match[1]) < datetime.now(UTC) + MARGIN_BEFORE_EXPIRY


def _audio_from(metadata: Mapping[str, str], size: int) -> SegmentAudio | None:
    """None when the object was not put there by us."""
    try:
        return SegmentAudio(
            container=metadata["container"],
            sample_rate=int(metadata["sample-rate"]),
            channels=int(metadata["channels"]),
            frames=int(metadata["frames"]),
            bytes=size,
            sha256=metadata["sha256"],
            codec=metadata.get("codec"),
            loudness=float(metadata["loudness"]) if "loudness" in metadata else None,
            pace=float(metadata["pace"]) if "pace" in metadata else None,
            repairs=tuple(metadata.get("repairs", "").split()),
        )
    except (KeyError, ValueError):
        return None


class S3InputStore:
    """Reading only. Telling a missing object from a forbidden one needs s3:ListBucket on the bucket."""

    def __init__(self, client: "S3Client") -> None:
        self._client = client

    def describe(self, bucket: str, key: str, version_id: str | None) -> InputObject | None:
        try:
            with translated():
                head = self._client.head_object(Bucket=bucket, Key=key, **_version(version_id))
        except ClientError as error:
            # A HEAD has no body to say NoSuchVersion in: 400 is a version that cannot be, 405 a delete marker.
            if status_of(error) in (400, 404, 405):
                return None
            raise
        return InputObject(
            bucket=bucket,
            key=key,
            version_id=head.get("VersionId", version_id),
            size=head["ContentLength"],
            last_modified=int(head["LastModified"].timestamp() * 1000),
            metadata={name.lower(): read_header(value) for name, value in head["Metadata"].items()},
        )

    def read(self, bucket: str, key: str, version_id: str | None, limit: int) -> bytes | None:
        try:
            with translated():
                answer = self._client.get_object(
                    Bucket=bucket, Key=key, Range=f"bytes=0-{limit - 1}", **_version(version_id)
                )
                return answer["Body"].read()
        except ClientError as error:
            if code_of(error) == "InvalidRange":
                return b""  # no byte of an empty object can be asked for
            if code_of(error) in _GONE or status_of(error) == 405:
                return None
            raise


def _version(version_id: str | None) -> dict[str, Any]:
    return {} if version_id is None else {"VersionId": version_id}


def read_header(value: str) -> str:
    """Object metadata as its sender meant it.

    S3 hands out what is not ASCII as RFC 2047 words, after taking the sender's UTF-8 bytes for Latin-1
    (docs: "Working with object metadata"); other stores pass the bytes on and http.client reads Latin-1.
    """
    if "=?" in value:
        try:
            said = str(make_header(decode_header(value)))
            said.encode()
        except (MessageError, LookupError, ValueError):  # no such word, no such charset, no such characters in it
            return value
        value = said
    if value.isascii():
        return value
    try:
        return value.encode("latin-1").decode()
    except UnicodeError:
        return value


def write_header(value: str) -> str:
    """ASCII as it is, anything else as one RFC 2047 word: boto3 refuses metadata that is not ASCII."""
    if value.isascii() and value.isprintable():
        return value
    return f"=?UTF-8?B?{b64encode(value.encode(errors='replace')).decode()}?="


class S3ResultStore:
    def __init__(self, client: "S3Client", bucket: str) -> None:
        self._client = client
        self._bucket = bucket

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
        # boto3's upload_file does not say which version it made, nor does it know conditions.
        facts = _facts(content_type, metadata)
        with path.open("rb") as file:
            if path.stat().st_size <= ONE_PUT_BYTES:
                return self._put(key, file, facts, over)
            return self._put_in_parts(key, file, facts, over, progress)

    def put_bytes(
        self, key: str, data: bytes, *, content_type: str, metadata: Mapping[str, str], over: Over | None = None
    ) -> str | None:
        return self._put(key, data, _facts(content_type, metadata), over)

    def tag(self, key: str) -> str | None:
        head = self._head(key)
        return None if head is None else head["ETag"]

    def erase(self, key: str, job_id: str) -> None:
        for version in self._versions(key):
            head = self._head(key, version)
            if head is not None and head["Metadata"].get("job-id") == job_id:
                with translated():
                    self._client.delete_object(Bucket=self._bucket, Key=key, VersionId=version)

    def delete(self, key: str) -> None:
        with translated():
            self._client.delete_object(Bucket=self._bucket, Key=key)

    def link(self, key: str, *, version_id: str | None, filename: str) -> str:
        link = self._client.generate_presigned_url(
            "get_object",
            Params={
                "Bucket": self._bucket,
                "Key": key,
                "ResponseContentDisposition": attachment(filename),
                **_version(version_id),
            },
            ExpiresIn=LINK_SECONDS,
            HttpMethod="GET",
        )
        # A folder called `..` is a folder like any other to S3, but browsers, curl and most libraries take it out
        # of an address, even as %2E%2E. Behind an encoded slash it is no step of the path to them. (S3 itself
        # refuses keys that such steps would lead out of the bucket.)
        parts = urlsplit(link)
        before = f"/{self._bucket}/" if parts.path.startswith(f"/{self._bucket}/") else "/"
        path = before + re.sub(r"/(?=\.\.?(?:/|$))", "%2F", parts.path.removeprefix(before))
        return parts._replace(path=path).geturl()

    def _put(self, key: str, body: bytes | IO[bytes], facts: Mapping[str, Any], over: Over | None) -> str | None:
        with _on_condition(over) as condition:
            answer = self._client.put_object(Bucket=self._bucket, Key=key, Body=body, **facts, **condition)
        return answer.get("VersionId")

    def _put_in_parts(
        self,
        key: str,
        file: IO[bytes],
        facts: Mapping[str, Any],
        over: Over | None,
        progress: Callable[[], None] | None,
    ) -> str | None:
        """Holds one part in memory. Nobody sees anything of it before its end; what dies halfway is taken away by
        the bucket's lifecycle.
        """
        where: dict[str, Any] = {"Bucket": self._bucket, "Key": key}
        with translated():
            begun = self._client.create_multipart_upload(**where, **facts, ChecksumAlgorithm="CRC32")
        where["UploadId"] = begun["UploadId"]
        parts: list[CompletedPartTypeDef] = []
        with ExitStack() as undo:
            undo.callback(self._abort, where)
            while data := file.read(PART_BYTES):
                number = len(parts) + 1
                with translated():
                    part = self._client.upload_part(**where, PartNumber=number, Body=data, ChecksumAlgorithm="CRC32")
                parts.append({"PartNumber": number, "ETag": part["ETag"], "ChecksumCRC32": part["ChecksumCRC32"]})
                if progress:
                    progress()
            with _on_condition(over) as condition:
                answer = self._client.complete_multipart_upload(**where, MultipartUpload={"Parts": parts}, **condition)
            undo.pop_all()
        return answer.get("VersionId")

    def _abort(self, where: Mapping[str, Any]) -> None:
        with suppress(StoreUnavailable, ClientError), translated():  # the lifecycle sees to what cannot be reached now
            self._client.abort_multipart_upload(**where)

    def _head(self, key: str, version_id: str | None = None) -> Any:
        try:
            with translated():
                return self._client.head_object(Bucket=self._bucket, Key=key, **_version(version_id))
        except ClientError as error:
            if status_of(error) in (404, 405):
                return None
            raise

    def _versions(self, key: str) -> Iterator[str]:
        """The versions under exactly this key, which come first among all that begin with it."""
        page: dict[str, Any] = {}
        while True:
            with translated():
                answer = self._client.list_object_versions(Bucket=self._bucket, Prefix=key, **page)
            found = answer.get("Versions", [])
            yield from [each["VersionId"] for each in found if each["Key"] == key]
            if not answer.get("IsTruncated") or answer.get("NextKeyMarker") != key:
                return
            page = {"KeyMarker": key, "VersionIdMarker": answer["NextVersionIdMarker"]}


def _facts(content_type: str, metadata: Mapping[str, str]) -> dict[str, Any]:
    return {
        "ContentType": content_type,
        "Metadata": {name: write_header(value) for name, value in metadata.items()},
    }


@contextmanager
def _on_condition(over: Over | None) -> Iterator[dict[str, Any]]:
    """What to ask for besides; what says no to it is ObjectChanged."""
    try:
        with translated():
            yield {} if over is None else {"IfNoneMatch": "*"} if over.tag is None else {"IfMatch": over.tag}
    except ClientError as error:
        if code_of(error) == "NoSuchUpload":  # ended by somebody else, or by us and the answer got lost
            raise StoreUnavailable("The upload is not there any more; it has to be made again.") from error
        # 404: what it was to replace is gone.
        if over is not None and status_of(error) in (404, 412):
            raise ObjectChanged("Something else lies under this key.") from error
        raise
    except StoreUnavailable as error:
        # 409: somebody else writes under this key at this very moment.
        if over is not None and isinstance(error.__cause__, ClientError) and status_of(error.__cause__) == 409:
            raise ObjectChanged("Something else comes to lie under this key.") from error
        raise


LONGEST_FILENAME = 150


def attachment(filename: str) -> str:
    """A Content-Disposition by RFC 6266: a plain name for old clients, the true one for all others."""
    clean = "".join(each if each.isprintable() and each not in '/\\"' else "_" for each in filename)
    name = clean[-LONGEST_FILENAME:].strip(" .") or "audio"
    plain = "".join(each if each.isascii() and each != "%" else "_" for each in name)
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"
