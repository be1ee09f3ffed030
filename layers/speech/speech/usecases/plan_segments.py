"""Cut a text into the segments of a job. The same text always gives the same segments."""

from speech.ids import segment_key
from speech.jobs import Job, Spec
from speech.prices import at_most
from speech.segments import TAKE, Segment
from speech.vendors.base import INSTEAD_OF_TEXT


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
    from speech.text.cutting import cut
    from speech.text.reading import spoken_bounds

    rows = []
    for index, piece in enumerate(cut(text, limit=limit, language=spec.language)):
        sounds, read_out = spoken_bounds(piece.text)
        rows.append(
            Segment(
                tenant=job.tenant,
                job_id=job.id,
                index=job.take * TAKE + index,
                take=job.take,
                start=first_byte + piece.byte_start,
                end=first_byte + piece.byte_end,
                characters=len(piece.text),
                audio_key=segment_key(job.tenant, spec, piece.text),
                sounds=sounds,
                read_out=read_out,
                due_at=due_at,
                reserved=at_most(job.price, characters=len(piece.text), read_out=read_out, speed=spec.speed),
            )
        )
    return rows
