"""The speech engine behind the emulators."""

import hashlib
import io
import subprocess
import sys
import threading
import time

import numpy
import pytest
import soundfile
from numpy.typing import NDArray

from local.emulators.voice import (
    LANGUAGES,
    VARIANTS,
    Encoding,
    Speaker,
    VoiceError,
    encode,
    noise_like,
    silence_like,
    variant_of,
    with_placeholder_sizes,
    without_info_frame,
)

TEXT = "In the quiet of the morning she walked along the path lined with blooming flowers. "


def test_every_language_is_spoken_at_a_plausible_speed() -> None:
    text = (TEXT * 7)[:500]

    seconds = {language: Speaker().speak(text, language=language).seconds for language in LANGUAGES}

    assert all(10 < len(text) / spoken < 25 for spoken in seconds.values()), seconds
    assert len(set(seconds.values())) == len(LANGUAGES)


def test_the_same_text_gives_the_same_samples_in_another_process() -> None:
    ours = hashlib.sha256(Speaker().speak(TEXT, language="sv", voice_name="f2").pcm.tobytes()).hexdigest()

    program = (
        "import hashlib; from local.emulators.voice import Speaker;"
        f"print(hashlib.sha256(Speaker().speak({TEXT!r}, language='sv', voice_name='f2').pcm.tobytes()).hexdigest())"
    )
    theirs = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.strip()

    assert ours == theirs


def test_what_was_spoken_before_does_not_change_what_comes_after() -> None:
    speaker = Speaker()
    first = speaker.speak(TEXT, language="en", voice_name="f2").pcm

    for language in LANGUAGES:
        speaker.speak("Something else.", language=language)

    assert numpy.array_equal(first, speaker.speak(TEXT, language="en", voice_name="f2").pcm)


def test_threads_do_not_mix_their_speech() -> None:
    speaker = Speaker()
    texts = [f"This is sentence number {number}." for number in range(12)]
    alone = [speaker.speak(text).pcm for text in texts]

    together: dict[int, NDArray[numpy.int16]] = {}

    def say(number: int) -> None:
        together[number] = speaker.speak(texts[number]).pcm

    threads = [threading.Thread(target=say, args=(number,)) for number in range(len(texts))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert all(numpy.array_equal(alone[number], together[number]) for number in range(len(texts)))


def test_every_variant_is_a_voice_of_its_own() -> None:
    spoken = {Speaker().speak("Good morning.", voice_name=variant).pcm.tobytes() for variant in VARIANTS}

    assert len(spoken) == len(VARIANTS)


def test_a_vendor_voice_always_has_the_same_variant() -> None:
    assert variant_of("m3") == "m3"
    assert variant_of("s3://voices/x/manifest.json") == variant_of("s3://voices/x/manifest.json")
    assert variant_of("s3://voices/x/manifest.json") in VARIANTS


def test_speech_has_the_loudness_of_speech() -> None:
    samples = Speaker().speak(TEXT).pcm.astype(float) / 32768

    decibels = 20 * numpy.log10(numpy.sqrt((samples**2).mean()))
    assert -35 < decibels < -10


def test_a_regional_tag_speaks_its_language() -> None:
    speaker = Speaker()

    assert numpy.array_equal(speaker.speak("Olá.", language="pt-BR").pcm, speaker.speak("Olá.", language="pt").pcm)


def test_a_language_without_a_voice_is_refused() -> None:
    with pytest.raises(VoiceError, match="xx"):
        Speaker().speak("Hello.", language="xx")


@pytest.mark.parametrize("text", ["Before\0after the NUL.", "Before \ud800 after.", "", "…", "👨‍👩‍👧 family"])
def test_odd_text_is_spoken_without_a_fault(text: str) -> None:
    speech = Speaker().speak(text)

    assert speech.sample_rate == 22050
    if "after" in text:
        assert speech.seconds > Speaker().speak("Before").seconds


def test_five_hundred_characters_take_a_moment() -> None:
    text = (TEXT * 7)[:500]
    Speaker().speak(text)

    started = time.process_time()
    Speaker().speak(text)

    assert time.process_time() - started < 0.1


@pytest.mark.parametrize(
    ("encoding", "container"),
    [
        (Encoding("wav", 22050), "WAV"),
        (Encoding("wav", 16000), "WAV"),
        (Encoding("mp3", 24000, 64), "MP3"),
        (Encoding("mp3", 44100, 192), "MP3"),
        (Encoding("flac", 24000), "FLAC"),
        (Encoding("ogg", 24000), "OGG"),
        (Encoding("opus", 48000, 32), "OGG"),
    ],
)
def test_encoded_speech_decodes_to_its_own_length(encoding: Encoding, container: str) -> None:
    speech = Speaker().speak(TEXT)

    with soundfile.SoundFile(io.BytesIO(encode(speech, encoding))) as file:
        samples = file.read()

    assert file.format == container
    assert file.samplerate == encoding.sample_rate
    assert abs(len(samples) / encoding.sample_rate - speech.seconds) < 0.12


@pytest.mark.parametrize(("container", "width"), [("pcm", 2), ("ulaw", 1), ("alaw", 1)])
def test_raw_encodings_are_the_samples_and_nothing_else(container: str, width: int) -> None:
    speech = Speaker().speak(TEXT)

    raw = encode(speech, Encoding(container, 8000))

    assert len(raw) == len(speech.at(8000).pcm) * width


def test_a_bit_rate_is_kept() -> None:
    speech = Speaker().speak(TEXT)

    sizes = {rate: len(encode(speech, Encoding("mp3", 44100, rate))) for rate in (32, 64, 128, 192)}

    for rate, size in sizes.items():
        assert size * 8 / speech.seconds / 1000 == pytest.approx(rate, rel=0.1)


def test_silence_and_noise_last_as_long_as_the_speech() -> None:
    speech = Speaker().speak(TEXT)

    assert not silence_like(speech).pcm.any()
    assert len(silence_like(speech).pcm) == len(noise_like(speech).pcm) == len(speech.pcm)
    assert numpy.array_equal(noise_like(speech).pcm, noise_like(speech).pcm)


def test_placeholder_sizes_change_only_the_sizes() -> None:
    wav = encode(Speaker().speak(TEXT), Encoding("wav", 22050))

    streamed = with_placeholder_sizes(wav)

    assert streamed[4:8] == streamed[40:44] == b"\xff\xff\xff\xff"
    assert streamed[44:] == wav[44:]


def test_a_streamed_mp3_has_no_frame_about_its_length() -> None:
    mp3 = encode(Speaker().speak(TEXT), Encoding("mp3", 44100, 64))

    streamed = without_info_frame(mp3)

    assert b"Info" in mp3[:64] or b"Xing" in mp3[:64]
    assert b"Info" not in streamed[:64]
    assert streamed[:2] == mp3[:2]
    assert mp3.endswith(streamed)
