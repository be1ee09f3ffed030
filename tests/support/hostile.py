"""Inputs that mean harm, made from a seed: requests, messages and dropped files, each of a named kind.

The same seed and number give the same input, whatever was made before it.
"""

import base64
import bz2
import gzip
import io
import json
import lzma
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from random import Random
from typing import Any, TypeVar

from speech.requests import JobRequest
from speech.vendors import VENDORS
from tests.support.edge import event

T = TypeVar("T")
Made = TypeVar("Made")

# --- Pieces ----------------------------------------------------------------------------------

CONTROLS = "".join(map(chr, [*range(32), 0x7F, *range(0x80, 0xA0)]))
MARKS = "\u200b\u200d\u200e\u200f\u202a\u202e\u2066\u2069\ufeff\ufffe\uffff\u2028\u2029\u0300\u0489\u115f\u3164"
WORDS = (
    *("../../etc/passwd", "..\\..\\boot.ini", "%2e%2e%2f", "%00", "a%20b+c", "/", "//", ".", "..", "con", "nul"),
    *("' OR 1=1 --", '"; DROP TABLE jobs; --', "${jndi:ldap://x.example/a}", "{{7*7}}", "$(id)", "`id`", "|id", ";id"),
    *("<script>alert(1)</script>", "<!--", "]]>", "<![CDATA[", "<!DOCTYPE x>", "<speak><break/></speak>"),
    *("a\r\nX-Injected: 1", "a\nb", "a\x00b", "\r\n\r\n<html>", "WEBVTT\n\n00:00.000 --> 99:00.000\nx"),
    *("1\n00:00:00,000 --> 1", "__proto__", "null", "undefined", "NaN", "-0", "1e999", "0x1F", "١٢٣", "𝟙𝟚", "ﷺ"),
    *("Z̸̢̛a̴͝l̷͠g̵͘o̶̕", "\u202etxt.exe", "İ", "ß", "ﬁ", "K", "\ud83d\ude00", "job_01JD0000000000000000000000", "default#job#x"),
    *("🏳️‍🌈", "e\u0301" * 9, "#job#", "segment#000000", "s3://bucket/key", "file:///etc/passwd", "data:,x", "*"),
)  # fmt: skip
ADDRESSES = (
    *("http://169.254.169.254/latest/meta-data/", "https://127.0.0.1/", "https://[::1]/", "https://2130706433/"),
    *("https://0x7f.1/", "https://[::ffff:10.0.0.1]/", "https://user:pw@example.com/", "https://example.com:22/"),
    *("https://example.com\\@127.0.0.1/", "ftp://example.com/", "javascript:x", "https://example.com/\r\nHost: x"),
    *("https://", "//example.com", "https://exa mple.com/", "https://example.com./", "https://ⓛocalhost/", "gopher://x"),
    *("https://[fe80::1%25eth0]/", "https://[64:ff9b::7f00:1]/", "https://example.com/" + "x" * 3000, "https://[::1"),
)  # fmt: skip
GOOD_TEXT = "The sun is up, and the birds are singing."


def a_string(rng: Random) -> str:
    """A string that somebody may choke on; sometimes long."""
    kind = rng.randrange(9)
    if kind == 0:
        return rng.choice(WORDS)
    if kind == 1:
        return "".join(rng.choices(CONTROLS + MARKS + "ab ", k=rng.randrange(1, 40)))
    if kind == 2:
        return rng.choice(ADDRESSES)
    if kind == 3:
        return rng.choice("aé漢😀\u0301\u202e\x00\n\\\"'<`|%") * rng.choice((1, 63, 65, 129, 201, 1_001, 1_025, 3_000))
    if kind == 4:
        return "".join(chr(rng.choice((rng.randrange(0xD800), rng.randrange(0xE000, 0x110000)))) for _ in range(20))
    if kind == 5:
        return chr(rng.randrange(0xD800, 0xE000)) + rng.choice(WORDS)
    if kind == 6:
        return ""
    if kind == 7:
        return " " * rng.randrange(1, 50)
    return rng.choice(WORDS) + rng.choice(WORDS)


def a_number(rng: Random) -> Any:
    return rng.choice(
        (0, -1, 1, 2**31, 2**53 + 1, 2**63, -(2**63) - 1, 10**18, 10**19, 10**400, 0.1, -0.0, 1e308, 5e-324, 24_000)
    )


def a_value(rng: Random, depth: int = 3) -> Any:
    """Anything that JSON knows."""
    kind = rng.randrange(8 if depth else 5)
    if kind < 2:
        return a_string(rng)
    if kind == 2:
        return a_number(rng)
    if kind == 3:
        return rng.choice((None, True, False))
    if kind == 4:
        return rng.choice(([], {}, "", 0, GOOD_TEXT))
    if kind < 7:
        return {a_string(rng)[:300]: a_value(rng, depth - 1) for _ in range(rng.randrange(5))}
    return [a_value(rng, depth - 1) for _ in range(rng.randrange(5))]


def a_text(rng: Random) -> str:
    """A text that may be spoken, and is hard to cut, to count or to show."""
    return rng.choice(_TEXTS)(rng)


_TEXTS: tuple[Callable[[Random], str], ...] = (
    lambda rng: a_string(rng),
    lambda rng: GOOD_TEXT + a_string(rng),
    lambda rng: "".join(rng.choices("ab1 .\n", k=rng.randrange(1, 1_500))),
    lambda rng: rng.choice("aé漢😀1.-\u0301\u200d") * rng.randrange(1, 1_500),
    lambda rng: "\n" * rng.randrange(1, 3_000) + "a",
    lambda rng: " ".join(["(" * 40 + "word" + "“" * 40] * rng.randrange(1, 20)),
    lambda rng: "a" + "\u0300" * rng.randrange(1, 3_000) + " end.",
    lambda rng: "👨‍👩‍👧‍👦" * rng.randrange(1, 600) + " family",
    lambda rng: "مرحبا \u202eabc\u202c " * rng.randrange(1, 100),
    lambda rng: "<speak>" + "<prosody rate='9'>" * rng.randrange(1, 200) + "hi</speak>",
    lambda rng: "1. " * rng.randrange(1, 300) + "Dr. Mr. e.g. i.e. U.S.A. end",
    lambda rng: "WEBVTT\n\n1\n00:00:00.000 --> 00:00:09.000\n<b>Hello</b> & good-bye\n\n" * rng.randrange(1, 20),
    lambda rng: "".join(chr(rng.randrange(0x20, 0xD800)) for _ in range(rng.randrange(1, 400))),
    lambda rng: "\ufeff" + GOOD_TEXT + "\x1a",
    lambda rng: "---\nvoicedrop: {format: wav}\n---\n" + GOOD_TEXT,
    lambda rng: GOOD_TEXT,
)


def _dumped(value: Any, rng: Random) -> str:
    return json.dumps(value, ensure_ascii=rng.random() < 0.7)


# --- Bodies: what a request or a message says -------------------------------------------------

FIELDS = tuple(JobRequest.model_fields)


def _nested(rng: Random) -> str:
    depth = rng.choice((2, 31, 32, 33, 100, 1_000, 20_000))
    opening, closing = rng.choice((("[", "]"), ('{"a":', "}"), ('[{"text":', "}]"), ("[ ", "")))
    core = rng.choice(("", "1", '"x"', '{"text": "Hello."}'))
    return opening * depth + core + closing * depth * rng.choice((0, 1, 1, 1))


def _numbers(rng: Random) -> str:
    number = rng.choice(
        (
            "9" * rng.choice((18, 19, 20, 400, 5000)),
            "1e999",
            "-1e999",
            "NaN",
            "Infinity",
            "-Infinity",
            "1e-999",
            "-0",
            "0.1" + "0" * 5000,
            "1" + "0" * 300 + ".5",
            "01",
            "+1",
            ".5",
            "1.",
            "0x10",
            "1_000",
            "١",
        )
    )
    return f'{{"text": "Hello.", "{rng.choice(("sample_rate", "speed", "metadata", "x"))}": {number}}}'


def _twice(rng: Random) -> str:
    name = rng.choice((*FIELDS, "\\u0074ext", ""))
    return f'{{"text": "Hello.", "{name}": "a", "{name}": "b"}}'


def _wrong_type(rng: Random) -> str:
    return _dumped({"text": GOOD_TEXT, rng.choice(FIELDS): a_value(rng)}, rng)


def _unknown(rng: Random) -> str:
    names = {a_string(rng)[:400] or "x" for _ in range(rng.choice((1, 3, 60, 2_000)))}
    return _dumped({"text": GOOD_TEXT, **{name: a_value(rng, 1) for name in names}}, rng)


def _strange_text(rng: Random) -> str:
    return _dumped({"text": a_text(rng), **_some_options(rng)}, rng)


def _some_options(rng: Random) -> dict[str, Any]:
    options: dict[str, Any] = {
        "vendor": rng.choice((*VENDORS, "auto", "voiceai")),
        "voice": a_string(rng),
        "language": rng.choice(("en", "de-CH", "xx", a_string(rng), "x-" + "a" * 100)),
        "format": rng.choice(("mp3", "wav", "ogg", "flac", "m4b", a_string(rng))),
        "sample_rate": rng.choice((8_000, 48_000, 22_050, a_number(rng))),
        "speed": rng.choice((1.0, 0.5, a_number(rng))),
        "webhook_url": rng.choice(("https://example.com/hook", *ADDRESSES)),
        "metadata": {a_string(rng)[:130]: a_string(rng)[:1_030] for _ in range(rng.randrange(4))},
        "vendor_options": {rng.choice((*VENDOR_OPTIONS, a_string(rng))): a_value(rng, 1) for _ in range(2)},
    }
    return {name: options[name] for name in rng.sample(sorted(options), rng.choice((0, 0, 1, 1, 2, 9)))}


VENDOR_OPTIONS = ("encoding", "filename", "user", "streaming", "message_id", "delivery", "seed", "quality")


def _surrogates(rng: Random) -> str:
    half = rng.choice(("\\ud800", "\\udfff", "\\ud83d\\ud83d", "\\udc00\\ud800", "\\uD800x"))
    place = rng.choice(('{{"text": "a{}"}}', '{{"text": "a", "{}": 1}}', '{{"text": "a", "metadata": {{"{}": "b"}}}}'))
    return place.format(half)


def _mutated(rng: Random) -> str:
    whole = list(json.dumps({"text": GOOD_TEXT, "format": "wav", "metadata": {"a": "b"}, "vendor": "voiceai"}))
    for _ in range(rng.randrange(1, 6)):
        at = rng.randrange(len(whole))
        what = rng.randrange(3)
        if what == 0:
            del whole[at]
        elif what == 1:
            whole.insert(at, rng.choice('{}[]",:\\\x00\n\ufeffé1eE.-'))
        else:
            whole[at] = rng.choice('{}[]",:\\\x00\n\ufeffé1eE.-')
    return "".join(whole[: rng.choice((len(whole), len(whole), rng.randrange(len(whole))))])


def _metadata(rng: Random) -> str:
    sign = rng.choice(("\x00", "😀", "é", '"', "a", "\x7f"))
    entries = rng.choice((1, 8, 50, 51, 300))
    return _dumped({"text": GOOD_TEXT, "metadata": {f"{n}{sign * 10}": sign * 100 for n in range(entries)}}, rng)


def _hooks(rng: Random) -> str:
    return _dumped({"text": GOOD_TEXT, "webhook_url": rng.choice(ADDRESSES) + rng.choice(("", a_string(rng)))}, rng)


def _options_of_vendors(rng: Random) -> str:
    vendor = rng.choice(VENDORS)
    options = {
        rng.choice((*VENDOR_OPTIONS, a_string(rng)[:90])): a_value(rng, 2) for _ in range(rng.choice((1, 5, 200)))
    }
    return _dumped({"text": GOOD_TEXT, "vendor": vendor, "voice": a_string(rng), "vendor_options": options}, rng)


def _not_json(rng: Random) -> str:
    return rng.choice(
        ("", " ", "null", "[]", "5", '"x"', "text=Hello", "<xml/>", "{", "}", "\x00", "\ufeff{}", "{}", a_string(rng))
    )


def _many_mistakes(rng: Random) -> str:
    sign = rng.choice(("😀", "\u0001", "é", "`", "<"))
    return json.dumps({sign * 190 + str(number): None for number in range(rng.choice((40, 60, 5_000)))})


def _huge(rng: Random) -> str:
    what = rng.randrange(6)
    if what == 0:
        return json.dumps({"text": rng.choice(("a ", "é", "漢", "😀")) * rng.choice((250_000, 400_000))})
    if what == 1:
        return json.dumps({"text": "a" * 1_000_001})
    if what == 2:
        return '{"text": "' + "\\n" * 1_900_000 + '"}'
    if what == 3:
        return '"' + "\\" * 3_900_000
    if what == 4:
        return json.dumps({"text": "Hi.", "x": [[]] * 400_000})
    return " " * 4_100_000


BODIES: Mapping[str, Callable[[Random], str]] = {
    "nested": _nested,
    "numbers": _numbers,
    "twice": _twice,
    "wrong-type": _wrong_type,
    "unknown-fields": _unknown,
    "strange-text": _strange_text,
    "surrogates": _surrogates,
    "mutated": _mutated,
    "metadata": _metadata,
    "webhooks": _hooks,
    "vendor-options": _options_of_vendors,
    "not-json": _not_json,
    "many-mistakes": _many_mistakes,
    "huge": _huge,
}

# --- Requests --------------------------------------------------------------------------------


@dataclass
class Request:
    """An HTTP request as it reaches the gateway. `raw` changes what the gateway makes of it."""

    kind: str
    method: str = "POST"
    path: str = "/v1/jobs"
    query: Mapping[str, str] | None = None
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    has_key: bool = True
    raw: Mapping[str, Any] = field(default_factory=dict)

    def event(self, token: str) -> dict[str, Any]:
        """What the gateway hands to the function."""
        sample = event("api_post_job")
        headers = {"content-type": "application/json", "host": "x.example", **self.headers}
        if self.has_key:
            headers["authorization"] = f"Bearer {token}"
        sample["headers"] = headers
        http = sample["requestContext"]["http"]
        http["method"], http["path"], sample["rawPath"] = self.method, self.path, self.path
        sample["routeKey"] = sample["requestContext"]["routeKey"] = "$default"
        if self.query is not None:
            sample["queryStringParameters"] = dict(self.query)
        try:
            sample["body"], sample["isBase64Encoded"] = self.body.decode(), False
        except UnicodeDecodeError:
            sample["body"], sample["isBase64Encoded"] = base64.b64encode(self.body).decode(), True
        return {**sample, **self.raw}


def _body_of(kind: str, rng: Random) -> bytes:
    return BODIES[kind](rng).encode("utf-8", "surrogatepass")


def _posted(kind: str) -> Callable[[Random], Request]:
    return lambda rng: Request(kind, body=_body_of(kind, rng))


def _encoded(rng: Random) -> Request:
    text = json.dumps({"text": "Grüße, 漢字."}, ensure_ascii=False)
    codec = rng.choice(("utf-16", "utf-16-le", "utf-32", "latin-1", "utf-7", "utf-8-sig", "cp500"))
    body = text.encode(codec, "replace")
    if rng.random() < 0.3:
        body = rng.randbytes(rng.randrange(1, 200))
    elif rng.random() < 0.3:
        body = body.replace(b"G", rng.choice((b"\xc0\xaf", b"\xed\xa0\x80", b"\xf5\x80\x80\x80", b"\xff", b"\x00")))
    return Request("encodings", body=body)


def _wrapped(rng: Random) -> Request:
    body = rng.choice(("%%%", "abc", "é", "////", "e30", "e30=\n", "", "=" * 50, "e30==", "\ud800"))
    return Request("base64", raw={"body": body, "isBase64Encoded": True})


def _typed(rng: Random) -> Request:
    typed = rng.choice(
        (
            "",
            "text/plain",
            "application/x-www-form-urlencoded",
            "application/json; charset=utf-16",
            "a/b/c; ;;=",
            "é",
            "application/json;" * 500,
            "multipart/form-data; boundary=x",
            "application/json\x00",
            "APPLICATION/JSON ;x=y",
        )
    )
    headers = {"content-type": typed}
    if rng.random() < 0.5:
        headers["content-encoding"] = rng.choice(("gzip", "br", "identity", "x" * 5_000, "\x00", "gzip, gzip"))
    body = rng.choice((b'{"text": "Hello."}', gzip.compress(b"[" * 1_000_000, mtime=0), b"\x1f\x8b"))
    return Request("content-types", headers=headers, body=body)


def _with_headers(rng: Random) -> Request:
    headers = {
        name: rng.choice((a_string(rng)[:8_000], "", "x" * 9_000))
        for name in rng.sample(
            (
                "idempotency-key",
                "accept",
                "x-forwarded-for",
                "host",
                "content-length",
                "x-http-method-override",
                "cookie",
                "transfer-encoding",
                "expect",
                "origin",
                "referer",
                "x-amzn-trace-id",
                "x-" + "y" * 900,
                "accept-encoding",
            ),
            k=rng.randrange(1, 5),
        )
    }
    return Request("headers", headers=headers, body=b'{"text": "Hello."}')


def _keys(rng: Random) -> Request:
    said = rng.choice(
        (
            "",
            "Bearer",
            "Bearer  ",
            "Basic dXNlcg==",
            "bearer " + "x" * 9000,
            a_string(rng),
            "Bearer " + a_string(rng),
            "Bearer tts_test_0123456789abcdef_" + "0" * 64,
            "Bearer tts_test_" + "é" * 16 + "_" + "0" * 64,
            "\x00",
            "Bearer tts_test_0123456789abcdef_" + "0" * 64 + "\n",
            "Bearer tts_" + "a" * 17 + "_0123456789abcdef_" + "f" * 64,
        )
    )
    return Request("keys", has_key=False, headers={"authorization": said}, body=b'{"text": "Hello."}')


def _addressed(rng: Random) -> Request:
    name = rng.choice(WORDS) if rng.random() < 0.7 else a_string(rng)
    place = rng.choice(("/v1/jobs/", "/v1/vendors/", "/", "/v1/", "/callbacks/creatify/", "/v1/voices/", "/v1/jobs//"))
    path = place + name[:9_000] + rng.choice(("", "", "/cancel", "/"))
    method = rng.choice(
        ("GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "BREW", "get", a_string(rng)[:20])
    )
    return Request("addresses", method=method, path=path, body=rng.choice((b"", b"{}", rng.randbytes(30))))


def _asked(rng: Random) -> Request:
    names = ("request_id", "vendor", "language", "next", a_string(rng))
    query = {rng.choice(names): a_string(rng) for _ in range(rng.randrange(4))}
    path = rng.choice(("/v1/jobs", "/v1/voices", "/v1/vendors"))
    return Request("queries", method=rng.choice(("GET", "GET", "HEAD")), path=path, query=query or None)


def _idempotent(rng: Random) -> Request:
    key = rng.choice(("", " ", "x" * 128, "x" * 129, "a\tb", "é", a_string(rng), "same"))
    return Request(
        "idempotency", headers={"idempotency-key": key}, body=_body_of(rng.choice(("mutated", "strange-text")), rng)
    )


REQUESTS: Mapping[str, Callable[[Random], Request]] = {
    **{kind: _posted(kind) for kind in BODIES if kind != "huge"},
    "encodings": _encoded,
    "base64": _wrapped,
    "content-types": _typed,
    "headers": _with_headers,
    "keys": _keys,
    "addresses": _addressed,
    "queries": _asked,
    "idempotency": _idempotent,
}

# --- Messages --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Message:
    """The body of a message on the requests queue, under the name that SQS gave it."""

    kind: str
    body: str
    message_id: str


def _named(rng: Random) -> str:
    request = {"text": GOOD_TEXT, "request_id": rng.choice((a_value(rng), a_string(rng), "x" * 128, "x" * 129, "same"))}
    return _dumped(request, rng)


def _ours(rng: Random) -> str:
    """What looks like our own messages, or those of others."""
    return rng.choice(
        (
            '{"v": 1, "tenant": "default", "job_id": "job_01JD0000000000000000000000", "segment": 0}',
            '{"v": 1, "tenant": "other", "job_id": "../..", "segment": -1}',
            json.dumps({"Records": [{"eventSource": "aws:s3", "eventName": "ObjectCreated:Put", "s3": a_value(rng)}]}),
            json.dumps({"Type": "Notification", "Message": '{"text": "Hello."}', "TopicArn": "arn:aws:sns:x"}),
            json.dumps({"detail-type": "Object Created", "source": "aws.s3", "detail": a_value(rng)}),
            json.dumps({"Service": "Amazon S3", "Event": "s3:TestEvent"}),
        )
    )


MESSAGES: Mapping[str, Callable[[Random], str]] = {
    **{kind: make for kind, make in BODIES.items() if kind != "huge"},
    "request-ids": _named,
    "others": _ours,
}

# --- Drops -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Drop:
    """A file for the texts bucket, and an options file beside it or above."""

    kind: str
    key: str
    data: bytes
    metadata: Mapping[str, str] = field(default_factory=dict)
    options_file: bytes | None = None


def a_key(rng: Random) -> str:
    """A key that S3 takes: at most 1,024 bytes of UTF-8."""
    kind = rng.randrange(5)
    if kind == 0:
        key = "/".join(a_string(rng).replace("\x00", "0")[:100] for _ in range(rng.randrange(1, 5)))
    elif kind == 1:
        key = rng.choice(("a/", "é/", "../", "/", "./")) * rng.choice((1, 2, 3, 9, 300)) + "b.txt"
    elif kind == 2:
        key = rng.choice(("x", "漢", "😀", "%", "+", "&", "<", '"')) * rng.randrange(1, 1_024) + ".txt"
    elif kind == 3:
        key = rng.choice(WORDS)
    else:
        key = f"plain/{rng.randrange(10**9)}.txt"
    encoded = key.encode("utf-8", "replace").replace(b"\x00", b"0")[:1_000]
    return encoded.decode("utf-8", "ignore").rstrip("/") or "x"


def _front(rng: Random) -> bytes:
    inner = rng.choice(_FRONT)(rng)
    return f"---\n{inner}\n---\n{GOOD_TEXT}".encode("utf-8", "surrogatepass")


_FRONT: tuple[Callable[[Random], str], ...] = (
    lambda rng: (
        "voicedrop: " + rng.choice(("[" * 20_000, "{" * 20_000, "- " * 9_000, "? " * 9_000, "'", '"', "|", "!!x"))
    ),
    lambda rng: (
        "a: &a [x,x]\n" + "".join(f"a{n}: &a{n} [{'*a,' * 9}*a]\n" for n in range(30)) + "voicedrop: {voice: *a29}"
    ),
    lambda rng: "voicedrop: &v {a: *v}",
    lambda rng: "voicedrop:\n  <<: {voice: a}\n  <<: {voice: b}",
    lambda rng: f"voicedrop:\n  voice: !!{rng.choice(('python/object/apply:os.getcwd []', 'binary aGk=', 'set {a}'))}",
    lambda rng: f'voicedrop:\n  voice: "{chr(92)}{rng.choice(("ud800", "UFFFFFFFF", "0", "x0d"))}"',
    lambda rng: f"voicedrop: {json.dumps(a_value(rng))}",
    lambda rng: f"voicedrop:\n  {rng.choice(FIELDS)}: {json.dumps(a_value(rng))}",
    lambda rng: f"voicedrop:\n  metadata: {json.dumps({a_string(rng)[:90]: a_string(rng)[:90]})}",
    lambda rng: (
        f"voicedrop:\n  speed: {rng.choice(('.inf', '.nan', '1e999', '9' * 5_000, '0x' + 'f' * 900, '1:1:1', '~'))}"
    ),
    lambda rng: "voicedrop:\n" + "".join(f"  k{n}: v\n" for n in range(rng.choice((3, 5_000)))),
    lambda rng: "x: " + "y" * 70_000 + "\nvoicedrop: {format: wav}",
    lambda rng: "%YAML 9.9\n---\nvoicedrop: {format: wav}",
    lambda rng: "voicedrop: {format: wav}\n" + "\t" * rng.randrange(9) + a_string(rng),
    lambda rng: "\x00\x07\u2028voicedrop: {}",
)


@cache
def _bomb(kind: str) -> bytes:
    zeros = bytes(4_000_000)
    if kind == "zip":
        archive = io.BytesIO()
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
            for number in range(20):
                file.writestr(f"../{number}.txt", zeros)
        return archive.getvalue()
    packed = {
        "gzip": lambda: gzip.compress(zeros, mtime=0),
        "bz2": lambda: bz2.compress(zeros),
        "xz": lambda: lzma.compress(zeros),
    }
    return packed[kind]()


XML_BOMB = (
    '<?xml version="1.0"?><!DOCTYPE l [<!ENTITY a "ha">'
    + "".join(f'<!ENTITY a{n} "{f"&a{n - 1 or chr(0)};".replace(chr(0), "") * 10}">' for n in range(1, 20))
    + '<!ENTITY x SYSTEM "file:///etc/passwd">]><l>&a19;&x;</l>'
).encode()


def _archive(rng: Random) -> bytes:
    bomb = _bomb(rng.choice(("zip", "gzip", "bz2", "xz")))
    return rng.choice((bomb, bomb[: len(bomb) // 2], b"\xef\xbb\xbf" + bomb, XML_BOMB, b"text first\n" + bomb))


def _binary(rng: Random) -> bytes:
    heads = (
        b"%PDF-1.7\n",
        b"{\\rtf1",
        b"\x89PNG\r\n\x1a\n",
        b"\x7fELF",
        b"MZ",
        b"ID3",
        b"RIFF",
        b"\x00" * 8,
        b"OggS",
        b"GIF8",
        b"",
    )
    return rng.choice(heads) + rng.randbytes(rng.randrange(0, 5_000))


def _in_encoding(rng: Random) -> bytes:
    codec = rng.choice(
        ("utf-16", "utf-16-be", "utf-32", "utf-8-sig", "latin-1", "cp1251", "shift_jis", "utf-7", "cp500", "gb18030")
    )
    data = rng.choice((a_text(rng), "Grüße, Jürgen. Добрый день.", GOOD_TEXT)).encode(codec, "replace")
    if rng.random() < 0.5 and data:
        at = rng.randrange(len(data))
        data = data[:at] + rng.randbytes(rng.randrange(3)) + data[at + rng.randrange(2) :]
    return rng.choice((data, b"\xff\xfe" + data, b"\x00\x00\xfe\xff" + data, data + b"\x00", b"\xed\xa0\x80" + data))


def _large(rng: Random) -> bytes:
    return rng.choice((b"a ", b"\n", b"\x00", "é".encode(), b"\xff\xfea\x00")) * rng.choice((1_000_001, 2_600_000))


def _spoken(rng: Random) -> bytes:
    return a_text(rng).encode("utf-8", rng.choice(("surrogatepass", "replace")))


def _told(rng: Random) -> Mapping[str, str]:
    """Object metadata as S3 keeps it: ASCII, at most 2 KB."""
    words = (
        "=?utf-8?Q?=80?= =?x?B?!!?=",
        "=?undefined?Q?a?=",
        "=?idna?Q?xn--a=ff?=",
        "=?unicode_escape?Q?=5cud800?=",
        "=?utf-16?B?2AA=?=",
        "=?" + "a" * 500,
        "=?\x01?Q?a?=",
        "=?zlib?B?eJw=?=",
    )
    entries = {}
    for _ in range(rng.randrange(1, 5)):
        name = rng.choice((*FIELDS, "x", "VOICE", "--", "constructor", "1", "request-id")).replace("_", "-")
        value = rng.choice((*words, json.dumps(a_value(rng, 1)), a_string(rng), "[" * 900, "1e999", '{"a":1,"a":2}'))
        entries[f"voicedrop-{name}"] = value.encode("ascii", "ignore").decode().translate(_NO_CONTROLS)[:300].strip()
    return entries


_NO_CONTROLS = dict.fromkeys([*range(32), 127])


def _options(rng: Random) -> bytes:
    kind = rng.choice((*BODIES, "options", "bytes", "long"))
    if kind == "options":
        return json.dumps(_some_options(rng)).encode()
    if kind == "bytes":
        return rng.randbytes(rng.randrange(90))
    if kind in ("long", "huge"):
        return b" " * 70_000
    return _body_of(kind, rng)


DROPS: Mapping[str, Callable[[Random], Drop]] = {
    "front-matter": lambda rng: Drop("front-matter", a_key(rng), _front(rng)),
    "archives": lambda rng: Drop("archives", a_key(rng), _archive(rng)),
    "binaries": lambda rng: Drop("binaries", a_key(rng), _binary(rng)),
    "encodings": lambda rng: Drop("encodings", a_key(rng), _in_encoding(rng)),
    "texts": lambda rng: Drop("texts", a_key(rng), _spoken(rng)),
    "metadata": lambda rng: Drop("metadata", a_key(rng), GOOD_TEXT.encode(), _told(rng)),
    "options-files": lambda rng: Drop("options-files", a_key(rng), GOOD_TEXT.encode(), {}, _options(rng)),
    "everything": lambda rng: Drop(
        "everything", a_key(rng), rng.choice((_front, _spoken))(rng), _told(rng), _options(rng)
    ),
}


def a_notification_of_nothing(rng: Random) -> str:
    """What may lie on the uploads queue and is no notification that S3 would send of an object."""
    record = {
        "eventSource": "aws:s3",
        "eventName": "ObjectCreated:Put",
        "eventTime": rng.choice(("0001-01-01T00:00:00", "9999-12-31T23:59:59Z", a_value(rng, 1))),
        "s3": {
            "bucket": {"name": "voicedrop-texts"},
            "object": {
                "key": rng.choice(
                    ("x" * 1_025, "", "\ud800", "a" * 90_000, "%ED%A0%80" * 400, a_value(rng) or 1, "a/")
                ),
                "versionId": rng.choice((None, "v", "é" * 90, a_value(rng))),
                "sequencer": rng.choice(("", "zz", "F" * 65, a_value(rng))),
            },
        },
    }
    kind = rng.randrange(4)
    if kind == 0:
        return json.dumps({"Records": [record, a_value(rng)]})
    if kind == 1:
        return json.dumps({"Records": a_value(rng), **a_dict(rng)})
    if kind == 2:
        spoilt = dict(record)
        spoilt[rng.choice(tuple(record))] = a_value(rng)
        if isinstance(spoilt["s3"], dict) and rng.random() < 0.7:
            spoilt["s3"] = {"bucket": a_value(rng), "object": a_value(rng)}
        return json.dumps({"Records": [spoilt] * rng.choice((1, 50))})
    return rng.choice(MESSAGES_OF_OTHERS)(rng)


def a_dict(rng: Random) -> dict[str, Any]:
    return {a_string(rng): a_value(rng) for _ in range(rng.randrange(4))}


MESSAGES_OF_OTHERS: tuple[Callable[[Random], str], ...] = (_ours, _nested, _not_json, _numbers, lambda _: "[" * 200_000)

# --- All of them -----------------------------------------------------------------------------


def made(kinds: Mapping[str, Callable[[Random], Made]], seed: str, number: int) -> tuple[str, Made]:
    """The input of that number: the kinds take turns."""
    names: Sequence[str] = tuple(kinds)
    kind = names[number % len(names)]
    return kind, kinds[kind](Random(f"{seed}/{kind}/{number}"))
