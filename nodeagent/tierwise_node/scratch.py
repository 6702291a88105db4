"""Scratch: a private tmpfs for each job that asked for one, on the slowest memory tier, gone with the job.

Its pages are the job's own: the kernel charges them to the job's cgroup, so the job's memory has to hold them too.
"""

import contextlib
import logging
import re
from collections.abc import Callable
from pathlib import Path

from tierwise.tiers import Tier
from tierwise.units import format_size
from tierwise_node.staging.mounts import make_own, mount_tmpfs, mounted, unmount
from tierwise_node.staging.source import StageError, user

log = logging.getLogger(__name__)


class Scratch:
    """All scratch folders of this node, below `folder`, each named by its job."""

    def __init__(self, folder: Path, tiers: Callable[[], tuple[Tier, ...]]) -> None:
        self._folder, self._tiers = folder, tiers

    def make(self, job_id: int, uid: int, size: int) -> Path:
        """The job's folder of at most `size` bytes; the one that is there already, if so. Raises StageError."""
        place = self._folder / str(job_id)
        if mounted(place):
            return place
        tier = self._tiers()[-1]
        if size > (all_there_is := sum(each.capacity for each in self._tiers())):
            raise StageError(
                f"--tier-scratch={format_size(size)}: this node has {format_size(all_there_is)} of memory in all"
            )
        who = user(uid)
        try:
            make_own(self._folder.parent)
            for folder in (self._folder, place):
                folder.mkdir(exist_ok=True)
                folder.chmod(0o755)  # our umask would say no; the mount itself is the user's alone
        except OSError as error:
            raise StageError(f"could not make {place}: {error.strerror}") from None
        mount_tmpfs(place, size, tier.numa_nodes, 0o700, who.uid, who.gid)
        log.info("job %d has %s of scratch on %s", job_id, format_size(size), tier.name)
        return place

    def remove(self, job_id: int) -> None:
        """The job has ended: its scratch goes, whatever processes it left behind. Raises StageError."""
        place = self._folder / str(job_id)
        unmount(place)
        with contextlib.suppress(OSError):
            place.rmdir()

    def keep_only(self, lives: Callable[[int], bool]) -> None:
        """Remove the scratch of jobs that ended while nobody told us."""
        if not self._folder.is_dir():
            return
        for place in self._folder.iterdir():
            if re.fullmatch(r"\d+", place.name) and not lives(int(place.name)):
                try:
                    self.remove(int(place.name))
                except StageError as error:
                    log.error("%s", error)
