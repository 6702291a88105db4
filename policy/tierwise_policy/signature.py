"""What makes two jobs the same kind: an exact key, and coarser ones for the nearest match (chapter 4, Timeout Manager).

A signature is made twice for each job, at its submission and from what is known once it has ended, and has to come out
the same: so it takes only what both sides know, and looks past what changes from one submission to the next.
"""

import hashlib
import re
from typing import Literal

import msgspec

_NUMBER = re.compile(r"\d+(?:\.\d+)?")
_HEX = re.compile(r"\b(?=[0-9a-f]*\d)[0-9a-f]{8,}\b", re.IGNORECASE)
"""Work directories and digests: eight hexadecimal digits or more, with at least one that is a digit."""
_DIRECTIVE = re.compile(r"^[ \t]*#SBATCH\b.*$", re.MULTILINE)
_BLANKS = re.compile(r"\s+")
_NAMES_OF_SLURM = frozenset(("sbatch", "wrap", "interactive", "bash", "sh"))
"""What jobs are called whose user gave no name: not what makes two of them alike."""
Level = Literal["exact", "same script", "same name"]
"""How near a match is."""
_LEVELS: tuple[Level, ...] = ("exact", "same script", "same name")


class Signature(msgspec.Struct, frozen=True, gc=False):
    """The keys of one kind of job, 16 hexadecimal digits each: `exact`, then what it falls back to.

    `script` is the same user's same script under any name, partition and array flag; `name` the same user's jobs of
    that name. Either is empty where there is nothing to compare (a job without a script, or without a name).
    """

    exact: str
    script: str = ""
    name: str = ""

    @property
    def keys(self) -> tuple[tuple[str, Level], ...]:
        """The keys to look for, nearest first, each with what people call that match."""
        found = zip((self.exact, self.script, self.name), _LEVELS, strict=True)
        return tuple((key, level) for key, level in found if key)


def signature(
    uid: int,
    *,
    script: str = "",
    job_name: str = "",
    command: str = "",
    partition: str = "",
    array: bool = False,
    image: str = "",
) -> Signature:
    """The signature of a job.

    Numbers in the script, the name and the command are looked past, and so are #SBATCH lines: `sample_17` is the same
    kind as `sample_18`, and a job that asks for more memory than last time is still the same job.
    """
    body = normalise(_DIRECTIVE.sub("", script))
    name, run = normalise(job_name), normalise(command)
    what = body or run
    return Signature(
        exact=_key("exact", uid, what, name, partition, int(array), image),
        script=_key("script", uid, what, image) if what else "",
        name=_key("name", uid, name) if name and name not in _NAMES_OF_SLURM else "",
    )


def normalise(text: str) -> str:
    """`text` without what differs between two runs of the same thing: numbers, digests, blanks."""
    return _BLANKS.sub(" ", _NUMBER.sub("#", _HEX.sub("#", text))).strip()


def _key(*parts: object) -> str:
    joined = "\0".join(str(part) for part in parts)
    return hashlib.blake2b(joined.encode(errors="surrogateescape"), digest_size=8).hexdigest()
