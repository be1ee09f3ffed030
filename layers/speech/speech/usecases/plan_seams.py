"""Say what is to be heard between the segments of a job, from what lies between them in its text."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from speech.jobs import Job, Spec
from speech.manifest import ranges
from speech.segments import Segment

if TYPE_CHECKING:
    from speech.audio.seams import Seam


def plan_seams(job: Job, spec: Spec, rows: Sequence[Segment], text: bytes) -> "list[Seam]":
    """Before, between and after the segments, whose rows count in the bytes of the whole stored text.

    Where only the opening is spoken, what follows it in the text is not heard.
    """
    from speech.audio.seams import Seam
    from speech.text.seams import Between, seams

    found = seams(text.decode(), list(ranges(rows, text)))
    if job.preview:
        found[-1] = Between("end")
    return [Seam(between.kind, between.seconds, trims=spec.trim_silence) for between in found]
