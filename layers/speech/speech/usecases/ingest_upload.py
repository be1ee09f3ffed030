"""Make a job of every file that is dropped in the texts bucket; what is no text becomes a failed job."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from speech.errors import FieldError, InputGone, InvalidRequest, NotJson, ProcessingFailed, SpeechError, TextTooLong
from speech.ids import derived_job_id
from speech.intake import Upload, uploads_in
from speech.jobs import Source
from speech.observability import count, logger
from speech.ports import InputObject, InputStore, JobStore
from speech.settings import Settings
from speech.usecases.accept_job import UPLOAD, AcceptJob, Arrival

if TYPE_CHECKING:
    from speech.requests import JobRequest

MAX_INPUT_BYTES = 5_000_000
MAX_OPTIONS_BYTES = 64 * 1024
MAX_FOLDERS = 32
"""How far up an options file is looked for: each folder is a request to S3, and keys may have hundreds."""

OPTIONS_FILE = "voicedrop.json"
LEXICON_FILE = "lexicon.csv"
METADATA_PREFIX = "voicedrop-"


@dataclass(frozen=True, slots=True)
class IngestUpload:
    inputs: InputStore
    store: JobStore
    accept: AcceptJob
    settings: Settings

    def __call__(self, body: str) -> None:
        """Take the body of one message of the uploads queue. Raises only what is worth another delivery."""
        uploads = self._inputs_in(body)
        if not uploads:
            count("UploadsIgnored")
        for upload in uploads:
            self._ingest(upload)

    def give_up(self, body: str) -> None:
        """A message that failed every time: its files become failed jobs, unless they are jobs already."""
        for upload in self._inputs_in(body):
            described = None if upload.version_id else self.inputs.describe(upload.bucket, upload.key, None)
            arrival = _arrival(upload, described)
            self._remember(upload, described, arrival)
            if self.accept.find(arrival) is None:
                error = ProcessingFailed("The file could not be taken in, although it was tried several times.")
                self.accept.refuse(arrival, error)

    def _inputs_in(self, body: str) -> list[Upload]:
        # Only the texts bucket has inputs: a result must never come back in, however a trigger is wired.
        return [each for each in uploads_in(body) if each.bucket == self.settings.texts_bucket and each.is_input]

    def _ingest(self, upload: Upload) -> None:
        if upload.version_id:
            arrival = _arrival(upload, None)
            if self.accept.find(arrival) is not None:
                self._remember(upload, None, arrival)
                return
        described = self.inputs.describe(upload.bucket, upload.key, upload.version_id)
        arrival = _arrival(upload, described)
        # Before there is a job: one that ended before it was known to be the newest would publish elsewhere.
        self._remember(upload, described, arrival)
        request: JobRequest | None = None
        try:
            text, request = self._read(upload, described, arrival)
            accepted = self.accept(arrival, request, text, looked=bool(upload.version_id))
            job, outcome = accepted.job, "UploadsAccepted" if accepted.created else "UploadsRepeated"
        except SpeechError as error:
            if error.retryable:
                raise
            job, outcome = self.accept.refuse(arrival, error, request), "UploadsRefused"
        count(outcome)
        logger.info("upload ingested", extra={"job_id": job.id, "key": upload.key, "outcome": outcome})

    def _read(self, upload: Upload, described: InputObject | None, arrival: Arrival) -> tuple[str, "JobRequest"]:
        if described is None:
            raise InputGone("The file was deleted or replaced before it could be read.")
        if described.size > MAX_INPUT_BYTES:
            raise _too_large(described.size)
        from speech.text.reading import read_text, split_front_matter

        layers = [*self._options_file(upload), _from_metadata(described.metadata)]
        data = self.inputs.read(upload.bucket, upload.key, arrival.source.version_id, MAX_INPUT_BYTES + 1)
        if data is None:
            raise InputGone("The file was deleted or replaced before it could be read.")
        if len(data) > MAX_INPUT_BYTES:
            raise _too_large(len(data))
        front, text = split_front_matter(read_text(data))
        request = merged([*layers, _from_front_matter(front)])
        rows = [*self._lexicon(upload), *(request.lexicon or [])]
        return text, request.model_copy(update={"lexicon": rows}) if rows else request

    def _options_file(self, upload: Upload) -> list["Layer"]:
        """The nearest options file: of the file's own folder, or of the first one upwards that has one."""
        for folder in _folders(upload.key)[:MAX_FOLDERS]:
            name = folder + OPTIONS_FILE
            data = self.inputs.read(upload.bucket, name, None, MAX_OPTIONS_BYTES + 1)
            if data is not None:
                return [_from_file(name, data)]
        return []

    def _lexicon(self, upload: Upload) -> list[dict[str, Any]]:
        """The rows of the nearest lexicon, looked for as the options file is."""
        for folder in _folders(upload.key)[:MAX_FOLDERS]:
            name = folder + LEXICON_FILE
            data = self.inputs.read(upload.bucket, name, None, MAX_INPUT_BYTES)
            if data is not None:
                from speech.text import lexicon

                return [entry._asdict() for entry in lexicon.read_csv(name, data)]
        return []

    def _remember(self, upload: Upload, described: InputObject | None, arrival: Arrival) -> None:
        """Results lie under the file's name, so the newest version of the file must be known."""
        order = upload.sequencer.upper().ljust(32, "0")
        if not upload.sequencer:
            # S3 always sends one, emulators may not: the object's own time has to do.
            modified = described.last_modified if described else 0
            order = f"{modified:016d}-{upload.happened_at:016d}"
        job_id = derived_job_id(arrival.tenant, arrival.kind, *arrival.identity)
        self.store.advance_upload(arrival.tenant, upload.bucket, upload.key, order=order, job_id=job_id)


class Layer(NamedTuple):
    """Options from one place. `called` names an option as the sender wrote it there."""

    options: Mapping[str, Any]
    called: Callable[[str], str]


def merged(layers: list[Layer]) -> "JobRequest":
    """The options of all places, later ones winning. Raises InvalidRequest naming place and option."""
    from speech.requests import JobRequest, Way, invalid

    options: dict[str, Any] = {}
    errors: list[FieldError] = []
    for layer in layers:
        try:
            options |= JobRequest.parse(layer.options, Way.UPLOAD).model_dump(exclude_none=True)
        except InvalidRequest as error:
            errors += [FieldError(layer.called(each.field), each.message) for each in error.errors]
    if errors:
        raise invalid(errors)
    return JobRequest.parse(options, Way.UPLOAD)


def _arrival(upload: Upload, described: InputObject | None) -> Arrival:
    version = upload.version_id or (described.version_id if described else None)
    if version in (None, "null"):
        # An unversioned bucket: every write has its own sequencer, or at least its own time.
        when = upload.sequencer or str(described.last_modified if described else upload.happened_at)
        identity: tuple[str, ...] = (upload.bucket, upload.key, "unversioned", when)
    else:
        identity = (upload.bucket, upload.key, str(version))
    source = Source(type=UPLOAD, bucket=upload.bucket, key=upload.key, version_id=version)
    return Arrival(kind=UPLOAD, source=source, identity=identity)


def _folders(key: str) -> list[str]:
    """`a/b/c.txt` → `a/b/`, `a/`, and the root, which is empty. Keys are opaque: `..` is a name like any other."""
    parts = key.split("/")[:-1]
    return ["".join(f"{part}/" for part in parts[:depth]) for depth in range(len(parts), -1, -1)]


def _from_file(name: str, data: bytes) -> Layer:
    from speech.requests import invalid
    from speech.strictjson import strict_json

    if len(data) > MAX_OPTIONS_BYTES:
        raise invalid([FieldError(name, f"is larger than {MAX_OPTIONS_BYTES} bytes")])
    try:
        options = strict_json(data)
    except NotJson as error:
        raise invalid([FieldError(name, f"is not JSON: {error.detail.rstrip('.')}")]) from error
    if not isinstance(options, dict):
        raise invalid([FieldError(name, "must be a JSON object with options")])
    return Layer(options, lambda option: f"{name}: {option}")


def _from_metadata(metadata: Mapping[str, str]) -> Layer:
    """`x-amz-meta-voicedrop-<option>`: S3 keeps names in lower case and has no underscores."""
    from speech.requests import OPTIONS, STRINGS, invalid
    from speech.strictjson import strict_json

    def called(option: str) -> str:
        return f"x-amz-meta-{METADATA_PREFIX}{option.replace('_', '-')}"

    options: dict[str, Any] = {}
    for name, raw in metadata.items():
        if not name.lower().startswith(METADATA_PREFIX):
            continue
        option = name.lower().removeprefix(METADATA_PREFIX).replace("-", "_")
        value = raw.strip()
        if option in STRINGS:
            options[option] = value
            continue
        try:
            options[option] = strict_json(value.encode("utf-8", "surrogatepass"))
        except NotJson as error:
            if option not in OPTIONS:
                options[option] = value  # no option of ours: what is wrong is its name
                continue
            raise invalid([FieldError(called(option), f"must be JSON: {error.detail.rstrip('.')}")]) from error
    return Layer(options, called)


def _from_front_matter(options: Mapping[str, object]) -> Layer:
    return Layer(options, lambda option: f"front matter: voicedrop.{option}")


def _too_large(size: int) -> TextTooLong:
    return TextTooLong(
        f"The file has {size:,} bytes; a text may have at most {MAX_INPUT_BYTES:,}. Split it into several files."
    )
