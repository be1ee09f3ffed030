"""Small strict vendor servers that answer in tones, one for each character, so that a text can be heard in its audio.

Written from the vendors' documents alone: they share nothing with the adapters and nothing with the emulators.
"""

import io
import json
import re
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar, Self
from urllib.parse import parse_qs, urlsplit

import httpx
import numpy as np
import soundfile
from numpy.typing import NDArray

Samples = NDArray[np.float32]

# --- tones ---

SYMBOLS = "abcdefghijklmnopqrstuvwxyz0123456789., #"
"""Letters, digits, full stops, commas, white space; `#` is anything else."""

SECONDS_A_SYMBOL = 0.02
LOWEST, STEP = 400.0, 75.0
"""Hertz. The highest tone is 3,325 Hz, so that all of them survive a sample rate of 8,000."""


def as_heard(text: str) -> str:
    """What can be recovered of a text. White space is not: where a text is cut, it is nobody's to speak."""
    return "".join(_symbols(text)).replace(" ", "")


def _symbols(text: str) -> Iterator[str]:
    for each in text.lower():
        yield each if each in SYMBOLS else " " if each.isspace() else "#"


def in_tones(text: str, rate: int) -> Samples:
    """A tone for each character, in order, without a click between them."""
    length = round(SECONDS_A_SYMBOL * rate)
    assert length == SECONDS_A_SYMBOL * rate, "The sample rate must hold whole symbols."
    pitches = np.array([LOWEST + STEP * SYMBOLS.index(each) for each in _symbols(text)])
    phase = np.cumsum(np.repeat(2 * np.pi * pitches / rate, length))
    return (0.5 * np.sin(phase)).astype(np.float32)


def heard(file: bytes) -> str:
    """The text in an audio file, without its white space; silence between segments is as long as some symbols."""
    samples, rate = soundfile.read(io.BytesIO(file), dtype="float32")
    length = SECONDS_A_SYMBOL * rate
    count = round(len(samples) / length)
    # The middle of every symbol: codecs smear its edges. Rates that hold no whole symbols get the nearest sample.
    window = int(length * 0.7)
    starts = np.rint(np.arange(count) * length + (length - window) / 2).astype(int)
    pitches = LOWEST + STEP * np.arange(len(SYMBOLS))
    waves = np.exp(-2j * np.pi * np.outer(np.arange(window) / rate, pitches)).astype(np.complex64)
    said = []
    for first in range(0, count, 2000):
        frames = np.stack([samples[start : start + window] for start in starts[first : first + 2000]])
        levels = np.abs(frames @ waves)
        said += [SYMBOLS[each] for each in levels[levels.max(axis=1) > window / 100].argmax(axis=1)]
    return "".join(said).replace(" ", "")


def encoded(samples: Samples, rate: int, format: str) -> bytes:
    file = io.BytesIO()
    settings: dict[str, Any] = {"WAV": {"subtype": "PCM_16"}, "MP3": {"subtype": "MPEG_LAYER_III"}}[format]
    soundfile.write(file, samples, rate, format=format, **settings)
    return file.getvalue()


# --- servers ---


@dataclass(frozen=True)
class Asked:
    """One request as it arrived."""

    method: str
    path: str
    query: Mapping[str, list[str]]
    headers: Mapping[str, str]
    body: Any


@dataclass(frozen=True)
class Answer:
    status: int
    content_type: str
    body: bytes


class Refused(Exception):
    """The vendor says no, in its own words."""

    def __init__(self, status: int, body: Any) -> None:
        super().__init__(status)
        self.answer = Answer(status, "application/json", json.dumps(body).encode())


class ToneVendor:
    """A vendor on a free port of loopback. `sold` is what it charged for, `refusals` what it refused."""

    name: ClassVar[str]

    def __init__(self) -> None:
        self.sold: list[str] = []
        self.asked: dict[str, Asked] = {}
        """The last request about a text that was sold."""
        self.refusals: list[tuple[Asked, int]] = []
        self.on_sale: Callable[[str], None] = lambda _: None
        """Called with the text after it was charged for, before the answer goes out."""
        self.after_answer: Callable[[Asked], None] = lambda _: None
        self.before_answer: Callable[[Asked], None] = lambda _: None
        vendor = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def _serve(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                raw = self.rfile.read(length)
                parts = urlsplit(self.path)
                try:
                    body = json.loads(raw) if raw else None
                except ValueError:
                    body = raw
                headers = {name.lower(): value for name, value in self.headers.items()}
                asked = Asked(self.command, parts.path, parse_qs(parts.query), headers, body)
                try:
                    answer = vendor.answer(asked)
                except Refused as refused:
                    answer = refused.answer
                    vendor.refusals.append((asked, answer.status))
                vendor.before_answer(asked)
                try:
                    self.send_response(answer.status)
                    self.send_header("Content-Type", answer.content_type)
                    self.send_header("Content-Length", str(len(answer.body)))
                    self.end_headers()
                    self.wfile.write(answer.body)
                    self.wfile.flush()
                except OSError:  # whoever asked is gone
                    self.close_connection = True
                vendor.after_answer(asked)

            do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = _serve  # noqa: N815 - the names http.server calls

            def log_message(self, format: str, *args: object) -> None:
                """Quiet."""

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 64

            def handle_error(self, request: Any, client_address: Any) -> None:
                """A client that was killed in the middle is what some tests are about."""

        self._server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def answer(self, asked: Asked) -> Answer:
        raise NotImplementedError

    def sales(self, marker: str) -> list[str]:
        """The texts that were sold with this in them."""
        return [text for text in self.sold if marker in text]

    def _charge(self, text: str, asked: Asked) -> None:
        self.sold.append(text)
        self.asked[text] = asked
        self.on_sale(text)

    @staticmethod
    def _is_json(asked: Asked) -> bool:
        return asked.headers.get("content-type", "").split(";")[0].strip() == "application/json"


class ToneConvai(ToneVendor):
    """`POST /tts/` with `transcript`, `voice`, `filename`, `encoding`; the file is the answer."""

    name = "convai"
    KEY = "convai-key-5b1e"
    VOICE = "fable_OpenAi_c4d30a32-bcaf-4048-b7b0-0f2bb293205a"

    def answer(self, asked: Asked) -> Answer:
        if (asked.method, asked.path) != ("POST", "/tts/"):
            raise Refused(404, {"ERROR": "Not found."})
        if asked.headers.get("convai-api-key") != self.KEY:
            raise Refused(401, {"ERROR": "The request contains an invalid API key."})
        body = asked.body
        if not self._is_json(asked) or not isinstance(body, dict):
            raise Refused(400, {"ERROR": "Body: JSON required"})
        for name in ("transcript", "voice"):
            if not isinstance(body.get(name), str) or not body[name].strip():
                raise Refused(400, {"ERROR": f"{name}: Field required"})
        unknown = set(body) - {"transcript", "voice", "filename", "encoding"}
        encoding = body.get("encoding", "wav")
        if unknown or encoding not in ("wav", "WAV", "mp3", "MP3") or not isinstance(body.get("filename", ""), str):
            raise Refused(400, {"ERROR": f"Unexpected: {sorted(unknown) or 'encoding'}"})
        if body["voice"] != self.VOICE:
            raise Refused(400, {"ERROR": "Invalid voice."})
        text = body["transcript"]
        self._charge(text, asked)
        if encoding.lower() == "wav":
            return Answer(200, "audio/wav", encoded(in_tones(text, 22_050), 22_050, "WAV"))
        return Answer(200, "audio/mpeg", encoded(in_tones(text, 24_000), 24_000, "MP3"))


class ToneVoiceAi(ToneVendor):
    """`POST /api/v1/tts/speech`; the file is the answer, at 32 kHz unless its format names a rate."""

    name = "voiceai"
    KEY = "vk_8d2c"
    FIELDS: ClassVar[Mapping[str, type | tuple[type, ...]]] = {
        "text": str,
        "voice_id": str,
        "audio_format": str,
        "temperature": (int, float),
        "top_p": (int, float),
        "model": str,
        "language": str,
        "dictionary_id": str,
        "dictionary_version": int,
    }
    FORMATS: ClassVar = {
        "mp3": ("MP3", 32_000),
        "wav": ("WAV", 32_000),
        "wav_16000": ("WAV", 16_000),
        "wav_22050": ("WAV", 22_050),
        "wav_24000": ("WAV", 24_000),
    }
    LANGUAGES = ("en", "ca", "sv", "es", "fr", "de", "it", "pt", "pl", "ru", "nl")
    MOST_CHARACTERS = 500

    def answer(self, asked: Asked) -> Answer:
        if asked.path != "/api/v1/tts/speech":
            raise Refused(404, {"error": "Not found", "detail": None, "code": None})
        if asked.method != "POST":
            raise Refused(405, {"error": "Method not allowed", "detail": None, "code": None})
        if asked.headers.get("authorization") != f"Bearer {self.KEY}":
            raise Refused(401, {"error": "Invalid API key", "detail": None, "code": None})
        body = asked.body
        if not self._is_json(asked) or not isinstance(body, dict):
            raise Refused(422, {"detail": [{"loc": ["body"], "msg": "JSON required", "type": "json_invalid"}]})
        wrong = [name for name in body if name not in self.FIELDS or not isinstance(body[name], self.FIELDS[name])]
        if not str(body.get("text") or "").strip() or len(body["text"]) > self.MOST_CHARACTERS:
            wrong.append("text")
        if body.get("audio_format", "mp3") not in self.FORMATS:
            wrong.append("audio_format")
        if body.get("language", "en") not in self.LANGUAGES:
            wrong.append("language")
        if wrong:
            raise Refused(422, {"detail": [{"loc": ["body", name], "msg": "no", "type": "no"} for name in wrong]})
        self._charge(body["text"], asked)
        container, rate = self.FORMATS[body.get("audio_format", "mp3")]
        media_type = "audio/mpeg" if container == "MP3" else "audio/wav"
        return Answer(200, media_type, encoded(in_tones(body["text"], rate), rate, container))


@dataclass
class ToneJob:
    """A job of Creatify's, and how its webhooks behave."""

    id: str
    script: str
    accent: str | None
    webhook_url: str | None
    manner: str
    created_at: str
    status: str = "pending"
    file: bytes = b""
    credits_used: float = 0
    duration: int = 0
    reads: int = 0
    done: threading.Event = field(default_factory=threading.Event)


@dataclass(frozen=True)
class Told:
    """A webhook that was sent, and what it was answered."""

    job_id: str
    manner: str
    about: str
    status: int


class ToneCreatify(ToneVendor):
    """`POST /api/text_to_speech/` makes a job; webhooks tell of it in the manner that the script names.

    `manners` maps a part of a script to `final` (the default), `early`, `late`, `twice`, `reordered`, `forged`
    or `missing`. A late webhook goes out when the test calls `tell`.
    """

    name = "creatify"
    ID = "creatify-id-77"
    KEY = "creatify-key-e0a9"
    MOST_CHARACTERS = 8000
    MOST_WEBHOOK = 200
    ROUTE = "/api/text_to_speech/"

    def __init__(self) -> None:
        super().__init__()
        self.jobs: dict[str, ToneJob] = {}
        self.manners: dict[str, str] = {}
        self.told: list[Told] = []
        self.trapped: list[str] = []
        """Addresses that only a forged webhook names, and that somebody opened all the same."""
        self.pace = 0.3

    def answer(self, asked: Asked) -> Answer:
        if asked.path.startswith("/trap/"):
            self.trapped.append(asked.path)
            return Answer(200, "audio/mpeg", encoded(in_tones("this is not what you wanted", 16_000), 16_000, "MP3"))
        if asked.path.startswith("/files/"):
            return self._file(asked)
        if asked.headers.get("x-api-id") != self.ID or asked.headers.get("x-api-key") != self.KEY:
            raise Refused(401, {"detail": "Authentication credentials were not provided."})
        if asked.path == self.ROUTE and asked.method == "POST":
            return self._create(asked)
        if asked.path == self.ROUTE and asked.method == "GET":
            return self._list(asked)
        found = re.fullmatch(rf"{self.ROUTE}([0-9a-f-]{{36}})/", asked.path)
        if found and asked.method == "GET" and found[1] in self.jobs:
            job = self.jobs[found[1]]
            job.reads += 1
            return self._json(200, self._resource(job))
        raise Refused(404, {"detail": "Not found."})

    def _create(self, asked: Asked) -> Answer:
        body = asked.body
        if not self._is_json(asked) or not isinstance(body, dict):
            raise Refused(400, {"detail": "JSON parse error"})
        wrong = {name: ["Unexpected field."] for name in set(body) - {"script", "accent", "webhook_url"}}
        script, accent, webhook = body.get("script"), body.get("accent"), body.get("webhook_url")
        if not isinstance(script, str) or not 0 < len(script) <= self.MOST_CHARACTERS:
            wrong["script"] = ["Ensure this field has 1 to 8000 characters."]
        if accent is not None and not self._is_uuid(accent):
            wrong["accent"] = ["Must be a valid UUID."]
        if webhook is not None and not (isinstance(webhook, str) and self._is_webhook(webhook)):
            wrong["webhook_url"] = ["Enter a valid URL of at most 200 characters."]
        if wrong:
            raise Refused(400, wrong)
        script = str(script)
        manner = next((manner for marker, manner in self.manners.items() if marker in script), "final")
        now = datetime.now(UTC).isoformat()
        job = ToneJob(str(uuid.uuid4()), script, accent, webhook, manner, now)
        self.jobs[job.id] = job
        self._charge(script, asked)
        if manner == "early":
            self._finish(job)
            return self._json(201, {**self._resource(job), "status": "pending", "output": ""})
        created = self._resource(job)
        timer = threading.Timer(self.pace, self._finish, (job,))
        timer.daemon = True
        timer.start()
        return self._json(201, created)

    def _list(self, asked: Asked) -> Answer:
        if set(asked.query) - {"ids", "ordering"}:
            raise Refused(400, {"detail": "Unexpected query."})
        ids = set(",".join(asked.query.get("ids", [])).split(",")) - {""}
        newest_first = asked.query.get("ordering", ["-created_at"])[0].startswith("-")
        jobs = [job for job in self.jobs.values() if not ids or job.id in ids]
        return self._json(200, [self._resource(job) for job in (reversed(jobs) if newest_first else jobs)])

    def _file(self, asked: Asked) -> Answer:
        job = self.jobs.get(asked.path.removeprefix("/files/").removesuffix(".mp3"))
        if job is None or job.status != "done" or "x-api-key" in asked.headers:
            raise Refused(403, {"detail": "Access denied."})
        return Answer(200, "audio/mpeg", job.file)

    def _resource(self, job: ToneJob) -> dict[str, Any]:
        return {
            "id": job.id,
            "script": job.script,
            "accent": job.accent,
            "webhook_url": job.webhook_url,
            "output": self._address(job),
            "media_job": None,
            "credits_used": job.credits_used,
            "duration": job.duration,
            "is_hidden": False,
            "status": job.status,
            "failed_reason": "",
            "created_at": job.created_at,
            "updated_at": datetime.now(UTC).isoformat(),
        }

    def _address(self, job: ToneJob) -> str:
        return f"{self.url}/files/{job.id}.mp3" if job.status == "done" else ""

    def _finish(self, job: ToneJob) -> None:
        samples = in_tones(job.script, 16_000)
        job.file = encoded(samples, 16_000, "MP3")
        job.duration = int(len(samples) / 16_000)
        job.credits_used = 1 + job.duration // 30
        if job.manner == "forged":
            self._forge(job)
        job.status = "done"
        job.done.set()
        if job.manner == "twice":
            senders = [threading.Thread(target=self._tell, args=(job, "done"), daemon=True) for _ in range(3)]
            for each in senders:
                each.start()
            for each in senders:
                each.join()
        elif job.manner == "reordered":
            for about in ("done", "running", "pending", "in_queue"):
                self._tell(job, about)
        elif job.manner in ("final", "early"):
            self._tell(job, "done")

    def tell(self, marker: str, about: str = "done") -> list[Told]:
        """Send webhooks now about every job with this in its script; returns what they were answered."""
        before = len(self.told)
        for job in [job for job in self.jobs.values() if marker in job.script]:
            self._tell(job, about)
        return self.told[before:]

    def _tell(self, job: ToneJob, about: str) -> None:
        address = self._address(job) if about == "done" else ""
        self._post(job, about, job.webhook_url or "", self._webhook(job.id, about, address))

    def _forge(self, job: ToneJob) -> None:
        """What somebody might send who has never seen a token, and then somebody who has."""
        genuine, trap = job.webhook_url or "", f"{self.url}/trap/{job.id}.mp3"
        lie = self._webhook(job.id, "done", trap)
        base, _, token = genuine.rpartition("/")
        changed = ("B" if token[10] == "A" else "A").join((token[:10], token[11:]))
        for address in (f"{base}/{changed}", f"{base}/{token[:-4]}", f"{base}/{token}A", f"{base}/AAAA"):
            self._post(job, "no token", address, lie)
        self._post(job, "lie", genuine, lie)
        self._post(job, "lie", genuine, self._webhook(str(uuid.uuid4()), "done", trap))
        self._post(job, "lie", genuine, {**self._webhook(job.id, "failed", ""), "failed_reason": "We say so."})

    @staticmethod
    def _webhook(job_id: str, status: str, address: str) -> dict[str, str]:
        return {"id": job_id, "status": status, "failed_reason": "", "video_output": address}

    def _post(self, job: ToneJob, about: str, address: str, body: Mapping[str, str]) -> None:
        try:
            status = httpx.post(address, json=body, timeout=20, trust_env=False).status_code
        except httpx.HTTPError:
            status = 0
        self.told.append(Told(job.id, job.manner, about, status))

    @staticmethod
    def _is_uuid(value: object) -> bool:
        try:
            return bool(uuid.UUID(str(value))) and isinstance(value, str)
        except ValueError:
            return False

    def _is_webhook(self, address: str) -> bool:
        return len(address) <= self.MOST_WEBHOOK and urlsplit(address).scheme in ("http", "https")

    @staticmethod
    def _json(status: int, body: Any) -> Answer:
        return Answer(status, "application/json", json.dumps(body).encode())


@dataclass(frozen=True)
class ToneVendors:
    convai: ToneConvai
    voiceai: ToneVoiceAi
    creatify: ToneCreatify

    def __iter__(self) -> Iterator[ToneVendor]:
        return iter((self.convai, self.voiceai, self.creatify))

    def __getitem__(self, name: str) -> ToneVendor:
        return next(each for each in self if each.name == name)

    @property
    def environment(self) -> dict[str, str]:
        """What a stack must be told to use these servers."""
        return {
            **{f"{each.name.upper()}_BASE_URL": each.url for each in self},
            "CONVAI_API_KEY": ToneConvai.KEY,
            "VOICEAI_API_KEY": ToneVoiceAi.KEY,
            "CREATIFY_API_ID": ToneCreatify.ID,
            "CREATIFY_API_KEY": ToneCreatify.KEY,
            "DEFAULT_VOICES": f"convai={ToneConvai.VOICE}",
        }


@contextmanager
def tone_vendors() -> Iterator[ToneVendors]:
    """All three, serving."""
    with ExitStack() as serving:
        yield ToneVendors(
            serving.enter_context(ToneConvai()),
            serving.enter_context(ToneVoiceAi()),
            serving.enter_context(ToneCreatify()),
        )
