"""Real speech for the emulators: espeak-ng behind one call, and encoders for what vendors answer with."""

import ctypes
import hashlib
import io
import threading
from dataclasses import dataclass
from typing import Final

import numpy
import soundfile
from numpy.typing import NDArray

LANGUAGES: Final = ("en", "ca", "sv", "es", "fr", "de", "it", "pt", "pl", "ru", "nl")

# Variants that come with the engine's data and are easy to follow. espeak-ng accepts a variant it does not have
# without a word, so only these are ever asked for.
VARIANTS: Final = ("f2", "m3", "f5", "m7", "Annie", "max", "linda", "Mario", "belinda", "adam", "steph", "edward")

_AUDIO_OUTPUT_SYNCHRONOUS: Final = 2
_BUFFER_MILLISECONDS: Final = 1000  # short buffers make every call into Python the bottleneck
_DO_NOT_EXIT: Final = 0x8000
_CHARS_UTF8: Final = 1
_POSITION_CHARACTER: Final = 1
_PARAMETER_RATE: Final = 1
_WORDS_PER_MINUTE: Final = 175

_SYNTH_CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)
_engine_lock = threading.Lock()  # the engine keeps its state in globals of the library


class VoiceError(ValueError):
    """The engine cannot speak this."""


@dataclass(frozen=True)
class Speech:
    """Sixteen-bit mono samples at `sample_rate` Hz."""

    pcm: NDArray[numpy.int16]
    sample_rate: int

    @property
    def seconds(self) -> float:
        """How long it lasts."""
        return len(self.pcm) / self.sample_rate

    def at(self, sample_rate: int) -> "Speech":
        """The same speech at another sample rate."""
        if sample_rate == self.sample_rate:
            return self
        import soxr

        return Speech(numpy.asarray(soxr.resample(self.pcm, self.sample_rate, sample_rate), numpy.int16), sample_rate)


class Speaker:
    """Speaks text: the same text, language and voice give the same samples, in every process and thread."""

    def speak(self, text: str, *, language: str = "en", voice_name: str = "", rate: float = 1.0) -> Speech:
        """Speech at 22,050 Hz. `language` is a BCP 47 tag, `rate` a factor of normal speed."""
        voice = f"{spoken_language(language)}+{variant_of(voice_name)}"
        # The engine reads a C string, so a NUL would end the text; a lone surrogate has no UTF-8.
        encoded = text.replace("\0", " ").encode("utf-8", "replace")
        with _engine_lock:
            return _speak(encoded, voice, round(_WORDS_PER_MINUTE * rate))


def spoken_language(tag: str) -> str:
    """The one of LANGUAGES that a BCP 47 tag means."""
    language = tag.replace("_", "-").split("-")[0].lower()
    if language not in LANGUAGES:
        raise VoiceError(f"There is no voice for the language {tag!r}.")
    return language


def variant_of(voice_name: str) -> str:
    """The variant that stands for a vendor's voice: named by it, or picked by its hash."""
    if voice_name in VARIANTS:
        return voice_name
    return VARIANTS[int.from_bytes(hashlib.sha256(voice_name.encode()).digest()[:4], "big") % len(VARIANTS)]


def _speak(text: bytes, voice: str, words_per_minute: int) -> Speech:
    import _ctypes

    import espeakng_loader

    chunks: list[bytes] = []

    def collect(samples: "ctypes._Pointer[ctypes.c_short]", count: int, _events: int) -> int:
        if samples and count > 0:
            chunks.append(ctypes.string_at(samples, count * 2))
        return 0

    # A library that has spoken once speaks the same text with slightly other samples the next time; only loading it
    # anew (under 3 ms) and seeding it help, and only together. Its built-in data path is the builder's, hence ours.
    library = ctypes.CDLL(espeakng_loader.get_library_path())
    try:
        data_path = espeakng_loader.get_data_path().encode()
        sample_rate: int = library.espeak_Initialize(
            _AUDIO_OUTPUT_SYNCHRONOUS, _BUFFER_MILLISECONDS, data_path, _DO_NOT_EXIT
        )
        if sample_rate <= 0:
            raise VoiceError("The speech engine did not start.")
        library.espeak_ng_SetRandSeed(ctypes.c_long(1))  # breath and flutter are seeded with the time of day
        callback = _SYNTH_CALLBACK(collect)
        library.espeak_SetSynthCallback(callback)
        if library.espeak_SetVoiceByName(voice.encode()) != 0:
            raise VoiceError(f"The speech engine has no voice {voice!r}.")
        library.espeak_SetParameter(_PARAMETER_RATE, words_per_minute, 0)
        library.espeak_Synth(text, ctypes.c_size_t(len(text) + 1), 0, _POSITION_CHARACTER, 0, _CHARS_UTF8, None, None)
        library.espeak_Terminate()
    finally:
        _ctypes.dlclose(library._handle)
    return Speech(numpy.frombuffer(b"".join(chunks), numpy.int16), sample_rate)


@dataclass(frozen=True)
class Encoding:
    """How audio is written: a container, a sample rate, and a bit rate where the container has one."""

    container: str
    sample_rate: int
    kilobits: int | None = None

    @property
    def content_type(self) -> str:
        """The media type that belongs to the container."""
        return _CONTENT_TYPES[self.container]


_CONTENT_TYPES: Final = {
    "wav": "audio/wav",
    "mp3": "audio/mpeg",
    "flac": "audio/flac",
    "ogg": "audio/ogg",
    "opus": "audio/ogg",
    "pcm": "audio/pcm",
    "ulaw": "audio/basic",
    "alaw": "audio/x-alaw-basic",
}

_SOUNDFILE: Final = {
    "wav": ("WAV", "PCM_16"),
    "mp3": ("MP3", "MPEG_LAYER_III"),
    "flac": ("FLAC", "PCM_16"),
    "ogg": ("OGG", "VORBIS"),
    "opus": ("OGG", "OPUS"),
    "pcm": ("RAW", "PCM_16"),
    "ulaw": ("RAW", "ULAW"),
    "alaw": ("RAW", "ALAW"),
}


def encode(speech: Speech, encoding: Encoding) -> bytes:
    """The speech as one complete file (or raw samples) in that encoding."""
    container, subtype = _SOUNDFILE[encoding.container]
    resampled = speech.at(encoding.sample_rate)
    file = io.BytesIO()
    with soundfile.SoundFile(
        file,
        "w",
        samplerate=resampled.sample_rate,
        channels=1,
        format=container,
        subtype=subtype,
        endian="LITTLE" if encoding.container == "pcm" else None,
        **_bit_rate(encoding),
    ) as out:
        # libsndfile 1.2.2 overflows its stack on very long single writes of some codecs.
        for start in range(0, len(resampled.pcm), encoding.sample_rate):
            out.write(resampled.pcm[start : start + encoding.sample_rate])
    return file.getvalue()


def _bit_rate(encoding: Encoding) -> dict[str, object]:
    """libsndfile's compression level that gives the bit rate; it counts from the highest rate to the lowest."""
    if encoding.kilobits is None:
        return {}
    if encoding.container == "opus":
        return {"compression_level": (256 - encoding.kilobits) / (256 - 6)}
    highest, lowest = (320, 32) if encoding.sample_rate >= 32000 else (160, 8)
    return {
        "bitrate_mode": "CONSTANT",
        "compression_level": min((highest - encoding.kilobits) / (highest - lowest), 0.99),
    }


def silence_like(speech: Speech) -> Speech:
    """As long as the speech, and not a sound in it."""
    return Speech(numpy.zeros_like(speech.pcm), speech.sample_rate)


def noise_like(speech: Speech) -> Speech:
    """As long as the speech, and nothing but noise; the same noise each time."""
    noise = numpy.random.default_rng(0).normal(0, 4000, len(speech.pcm))
    return Speech(numpy.clip(noise, -32768, 32767).astype(numpy.int16), speech.sample_rate)


def with_placeholder_sizes(wav: bytes) -> bytes:
    """A WAV as streaming vendors write it: sizes that were not known when the header went out."""
    unknown = b"\xff\xff\xff\xff"
    data = wav.index(b"data")
    return wav[:4] + unknown + wav[8 : data + 4] + unknown + wav[data + 8 :]


def without_info_frame(mp3: bytes) -> bytes:
    """An MP3 as streaming vendors write it: no first frame that tells the length of the rest."""
    for tag in (b"Info", b"Xing"):
        if mp3.find(tag, 0, 64) > 0:
            return mp3[_frame_length(mp3) :]
    return mp3


def _frame_length(mp3: bytes) -> int:
    mpeg1 = mp3[1] >> 3 & 3 == 3
    kilobits = (_MPEG1_KILOBITS if mpeg1 else _MPEG2_KILOBITS)[mp3[2] >> 4]
    sample_rate = (44100, 48000, 32000)[mp3[2] >> 2 & 3] // (1 if mpeg1 else 2 if mp3[1] >> 3 & 3 == 2 else 4)
    return (144000 if mpeg1 else 72000) * kilobits // sample_rate + (mp3[2] >> 1 & 1)


_MPEG1_KILOBITS: Final = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
_MPEG2_KILOBITS: Final = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
