"""(e) Joining: what it costs beside decoding the parts and encoding the whole once."""

import tempfile
import time
from collections.abc import Callable
from functools import cache
from io import BytesIO
from pathlib import Path

import soundfile

from bench.figures import interleaved, median, table
from local.emulators.voice import Encoding, Speaker, Speech, encode
from speech.audio.join import FORMATS, JoinedAudio, join
from speech.audio.lame import Mp3File
from speech.audio.seams import Seam

TARGET = 1.5
SEGMENTS = 12
SENTENCES = (
    "The harbour master counts the boats at dusk, and writes each name into a book that nobody else has ever read.",
    "When the fog comes in he rings the old bell by hand, slowly, and the fishermen find their way home by the sound.",
    "On clear nights the lamps of the far shore lie on the water like a second street, quieter than the first.",
    "Of these evenings, number {number} was the longest that anyone in the village could remember, and the coldest.",
)


def measure(runs: int) -> str:
    """The section of the report."""
    parts = spoken()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "out"
        seconds = finished(parts, "mp3", path).seconds
        variants: dict[str, Callable[[int], float]] = {
            "decode, encode": lambda _: cpu(lambda: bare(parts, path)),
            "mp3, neither trimmed nor levelled": lambda _: cpu(
                lambda: join(parts, format="mp3", sample_rate=None, path=path)
            ),
            **{f"{name}, finished": _finishing(parts, name, path) for name in FORMATS},
        }
        figures = {name: median(seen) for name, seen in interleaved(min(runs, 3), variants).items()}
    least = figures["decode, encode"]
    rows = [(name, f"{took * 3600 / seconds:.1f}", f"{took / least:.2f}") for name, took in figures.items()]
    return f"""## Joining

{SEGMENTS} segments of speech in MP3 at 22,050 Hz, {seconds / 60:.1f} minutes together, by the engine of the emulators:
decoded, trimmed, levelled to -16 LUFS under a true peak of -1 dB, given pauses, encoded, and the finished file decoded
once more to see that it is whole. Beside it the least there can be: every segment decoded, and one MP3 encoded, by the
same libraries. Cost grows with the length and with nothing else.

{table(["", "CPU seconds for an hour of audio", "ratio"], rows)}

Target: {TARGET:g} for MP3.
"""


@cache
def spoken() -> list[bytes]:
    """Segments as a vendor sends them, no two equally loud."""
    speaker = Speaker()
    parts = []
    for number in range(SEGMENTS):
        text = " ".join(SENTENCES[each % 4].format(number=f"{number} and {each}") for each in range(8))
        speech = speaker.speak(text)
        quieter = Speech((speech.pcm * (0.4 + 0.05 * number)).astype(speech.pcm.dtype), speech.sample_rate)
        parts.append(encode(quieter, Encoding("mp3", speech.sample_rate, 64)))
    return parts


def bare(parts: list[bytes], path: Path) -> None:
    """Decode everything, encode once."""
    file: Mp3File | None = None
    for part in parts:
        samples, rate = soundfile.read(BytesIO(part), dtype="int16")
        file = file or Mp3File(path, rate)
        file.write(samples)
    if file:
        file.close()


def finished(parts: list[bytes], format: str, path: Path) -> JoinedAudio:
    """As a job is."""
    between = [Seam(("sentence", "paragraph")[number % 2]) for number in range(len(parts) - 1)]
    seams = [Seam("beginning"), *between, Seam("end")]
    return join(parts, format=format, sample_rate=None, path=path, seams=seams, loudness=-16.0)


def cpu(work: Callable[[], object]) -> float:
    """Seconds of CPU in this process."""
    started = time.process_time()
    work()
    return time.process_time() - started


def _finishing(parts: list[bytes], format: str, path: Path) -> Callable[[int], float]:
    return lambda _: cpu(lambda: finished(parts, format, path))
