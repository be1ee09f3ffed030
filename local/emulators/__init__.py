"""One server per vendor, written from the vendor's documents, that answers with real speech."""

from typing import Final

from local.emulators.base import Emulator
from local.emulators.convai import ConvaiEmulator
from local.emulators.creatify import CreatifyEmulator
from local.emulators.dify import DifyEmulator
from local.emulators.playht import PlayhtEmulator
from local.emulators.voiceai import VoiceaiEmulator

EMULATORS: Final[dict[str, type[Emulator]]] = {
    emulator.name: emulator
    for emulator in (ConvaiEmulator, VoiceaiEmulator, CreatifyEmulator, DifyEmulator, PlayhtEmulator)
}
