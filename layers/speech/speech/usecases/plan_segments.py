"""Cut a text into the segments of a job. The same text always gives the same segments."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from speech.ids import segment_key
from speech.jobs import Job, Spec
from speech.prices import at_most
from speech.segments import TAKE, Segment
from speech.vendors.base import INSTEAD_OF_TEXT

if TYPE_CHECKING:
    from speech.text.cutting import Piece


ONE_LATER_MS = 1_000
"""How much later than the one before it a segment is overdue: they wait their turn on the vendor's queue, and a book
that is getting on is not to be sent again as a whole. At this pace five calls at once have five seconds each."""

SPOKEN_A_SECOND = 15.0
"""Characters of a text that is read out, roughly, in any voice and language."""


def speaks_something_else(spec: Spec) -> bool:
    """Whether the vendor has what is to be spoken, so that the job's own text, if any, is not."""
    return bool(INSTEAD_OF_TEXT & spec.vendor_options.keys())


def plan_segments(job: Job, spec: Spec, text: str, *, limit: int, due_at: int, first_byte: int = 0) -> list[Segment]:
    """Pending segments of the take in force, each of at most `limit` characters; `text` begins at `first_byte` of
    the job's stored text.

    What only the vendor knows is one segment of no characters: the options in its key say what it is.
    """
    if speaks_something_else(spec):
        key = segment_key(job.tenant, spec, "")
        return [
            Segment(
                tenant=job.tenant,
                job_id=job.id,
                index=job.take * TAKE,
                start=first_byte,
                end=first_byte,
                characters=0,
                audio_key=key,
                due_at=due_at,
            )
        ]
    from speech.text.reading import spoken_bounds

    rows = []
    for index, (piece, said) in enumerate(_pieces(text, spec, limit)):
        sounds, read_out = spoken_bounds(said)
        rows.append(
            Segment(
                tenant=job.tenant,
                job_id=job.id,
                index=job.take * TAKE + index,
                take=job.take,
                start=first_byte + piece.byte_start,
                end=first_byte + piece.byte_end,
                characters=len(said),
                audio_key=segment_key(job.tenant, spec, said),
                sounds=sounds,
                read_out=read_out,
                due_at=due_at + index * ONE_LATER_MS,
                reserved=at_most(job.price, characters=len(said), read_out=read_out, speed=spec.speed),
            )
        )
    return rows


def preview(job: Job, spec: Spec, whole: list[Segment], text: str) -> tuple[Job, list[Segment]]:
    """The job, which knows now how much of the text is spoken, and the segments of its opening.

    They are cut like the whole, so that the whole has them for nothing later on. Without a preview all is as it was.
    """
    if job.preview is None:
        return job, whole
    from speech.text.script import read_script

    rows = opening(whole, job.preview.seconds, speed=spec.speed)
    heard = text.encode()[: rows[-1].end].decode() if rows else ""
    # The whole text's directions: where the opening ends inside code, what follows says that it is code.
    characters = read_script(text).characters(len(heard))
    return replace(job, preview=replace(job.preview, segments=len(whole)), characters=characters), rows


def opening(rows: list[Segment], seconds: float, *, speed: float | None) -> list[Segment]:
    """The first of a job's segments that take so long together, roughly; the last of them may go on for longer."""
    from speech.text.reading import LETTERS_OF_A_SIGN

    spoken = 0.0
    for number, row in enumerate(rows, start=1):
        # `read_out` is the most that digits and ideographs may come to: they come to three letters or so.
        signs = max((row.read_out or 0) - row.characters, 0) / (LETTERS_OF_A_SIGN - 1)
        spoken += (row.characters + 2 * signs) / SPOKEN_A_SECOND / (speed or 1.0)
        if spoken >= seconds:
            return rows[:number]
    return rows


def _pieces(text: str, spec: Spec, limit: int) -> Iterator[tuple["Piece", str]]:
    """Pieces of the text, each with what is sent for it.

    Cuts are made in the text as it is written, so that an edit of the lexicon moves none; only where respelling makes
    a piece longer than the limit is that piece cut smaller.
    """
    from speech.text.cutting import cut

    spell = speller(spec)
    for piece in cut(text, limit=limit, language=spec.language):
        said = spell(piece.text)
        parts, at_most_written = [(piece, said)], limit * len(piece.text) // max(len(said), 1)
        while any(len(said) > limit for _, said in parts) and at_most_written:
            parts = [
                (_within(piece, part), spell(part.text))
                for part in cut(piece.text, limit=at_most_written, language=spec.language)
            ]
            at_most_written = at_most_written * 3 // 4
        yield from parts


def _within(piece: "Piece", part: "Piece") -> "Piece":
    """A part of a piece, at its place in the text that the piece is of."""
    return replace(
        part,
        start=piece.start + part.start,
        end=piece.start + part.end,
        byte_start=piece.byte_start + part.byte_start,
        byte_end=piece.byte_start + part.byte_end,
    )


def speller(spec: Spec) -> Callable[[str], str]:
    """What makes of a piece of the text what is sent to the vendor."""
    if not spec.lexicon:
        return str
    from speech.text.lexicon import Speller

    return Speller(spec.lexicon)
