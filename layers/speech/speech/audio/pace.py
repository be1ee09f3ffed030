"""How fast each voice speaks, as heard by this process: what is far from that is most likely damaged."""

from collections import OrderedDict
from collections.abc import Hashable
from math import log, sqrt

JUDGED_FROM = 100
"""Characters below which speech is too uneven to be judged, or learned from."""

KNOWN_FROM = 8
"""After how many segments a voice is known."""

FASTER, SLOWER = 2.0, 3.0
"""Within these factors of its usual pace, at least, a voice is never suspected: good audio refused is bought twice."""

DEVIATIONS = 6
MOST_VOICES = 256


class Paces:
    """The usual pace of voices, each under a key that holds everything which may change it.

    Only in memory: it costs no call, and a process that has not heard enough judges by the wide limits alone.
    """

    def __init__(self) -> None:
        self._voices: OrderedDict[Hashable, _Voice] = OrderedDict()

    def is_unusual(self, key: Hashable, *, characters: int, at_most: int, seconds: float) -> bool:
        """Whether `seconds` are far too few for `characters`, or far too many for `at_most`, in this voice."""
        voice = self._voices.get(key)
        if voice is None or voice.count < KNOWN_FROM or characters < JUDGED_FROM or seconds <= 0:
            return False
        spread = DEVIATIONS * sqrt(voice.squares / voice.count)
        faster = log(characters / seconds) - voice.mean
        slower = voice.mean - log(max(at_most, characters) / seconds)
        return faster > max(log(FASTER), spread) or slower > max(log(SLOWER), spread)

    def learn(self, key: Hashable, *, characters: int, seconds: float) -> None:
        """Take a segment into account that was found good."""
        if characters < JUDGED_FROM or seconds <= 0:
            return
        voice = self._voices.pop(key, None) or _Voice()
        self._voices[key] = voice
        voice.add(log(characters / seconds))
        if len(self._voices) > MOST_VOICES:
            self._voices.popitem(last=False)


class _Voice:
    """Mean and sum of squared deviations of what was added (Welford's way: nothing is kept)."""

    __slots__ = ("count", "mean", "squares")

    def __init__(self) -> None:
        self.count = 0
        self.mean = self.squares = 0.0

    def add(self, value: float) -> None:
        self.count += 1
        before = value - self.mean
        self.mean += before / self.count
        self.squares += before * (value - self.mean)
