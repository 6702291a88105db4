"""Named regions: files that live in memory, which processes of one user map.

A region is a memfd of root's, so its state (who, what, how large) is all in the kernel; an agent that was killed finds
it again through the processes that hold it. Who holds it is what the kernel counts: a write lease (fcntl(2),
F_SETLEASE) is given only while nobody else has the file open or mapped. Retained regions are files in a folder on a
persistent tier, and stay when nobody holds them. Against a holder that shrinks one there is no seal on a file of a disk
(fcntl(2), F_ADD_SEALS): it harms its own user's processes alone.
"""

import contextlib
import fcntl
import itertools
import logging
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tierwise.errors import RefusedError
from tierwise.tiers import TierName
from tierwise_node.memory import memfd

log = logging.getLogger(__name__)
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
MOST_PER_USER, MOST = 256, 1024
MOST_LOOKS = 1 << 16
"""Processes and descriptors of one user that are looked at for regions, while nobody is served yet."""
BLOCKS = 1 << 20
"""Bytes of a retained file that may be its file system's own."""


class RegionRefusedError(RefusedError):
    """No region is given. `error` is the word for the library: absent, exists, name, quota or retain."""

    def __init__(self, error: str, message: str) -> None:
        super().__init__(message)
        self.error = error


@dataclass
class Region:
    """One region. `file` is our descriptor; `job_id` the job that created it, 0 where no longer known.

    `granted`: its bytes, as we made it. `dropped`: its name is taken away. `tiers`: where its bytes were granted.
    """

    uid: int
    name: str
    hint: str
    file: int
    job_id: int = 0
    path: Path | None = None
    granted: int = 0
    dropped: bool = False
    tiers: dict[TierName, int] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """Bytes; a holder may have made the file larger by itself, so the kernel is asked."""
        return os.fstat(self.file).st_size

    def cut_back(self) -> bool:
        """Take away what holders have added to a retained file, which is in no job's memory limit; whether they had.

        What we granted stays; who uses more of the file than that gets SIGBUS.
        """
        status = os.fstat(self.file)
        if self.path is None or (status.st_size <= self.granted and status.st_blocks * 512 <= self.granted + BLOCKS):
            return False
        os.ftruncate(self.file, self.granted)  # to the same size, too: blocks behind it go
        return True

    @property
    def retained(self) -> bool:
        """Whether it stays when nobody holds it."""
        return self.path is not None and not self.dropped

    def descriptor(self) -> int:
        """A descriptor for one more holder: opened anew, so that the kernel counts it."""
        return os.open(f"/proc/self/fd/{self.file}", os.O_RDWR | os.O_CLOEXEC)

    def is_held(self) -> bool:
        """Whether anybody has it open or mapped, or its descriptor is on its way to somebody."""
        try:
            fcntl.fcntl(self.file, fcntl.F_SETLEASE, fcntl.F_WRLCK)
        except OSError:
            return True
        fcntl.fcntl(self.file, fcntl.F_SETLEASE, fcntl.F_UNLCK)
        return False


class Regions:
    """All regions of this node."""

    def __init__(self) -> None:
        self.quota, self.retain = 0, ""
        self._regions: list[Region] = []

    def use(self, quota: int, retain: str) -> None:
        """What holds from now on: `quota` bytes for each user; the folder on a persistent tier, empty for none."""
        self.quota = quota
        if retain != self.retain:
            self.retain = retain
            self._find_retained()

    def __iter__(self) -> Iterator[Region]:
        return iter(self._regions)

    def get(self, uid: int, name: str) -> Region:
        """A user's region. Raises RegionRefusedError."""
        check_name(name)
        for region in self._regions:
            if (region.uid, region.name) == (uid, name) and not region.dropped:
                return region
        raise RegionRefusedError("absent", f"uid {uid} has no region {name!r} on this node")

    def create(self, uid: int, name: str, size: int, hint: str, job_id: int, retain: bool) -> Region:
        """A new region. Raises RegionRefusedError."""
        check_name(name)
        if size <= 0:
            raise RegionRefusedError("name", f"region {name!r} is not there: a new one needs a size")
        if retain and not self.retain:
            raise RegionRefusedError("retain", "no persistent tier here: agent.retain can name a folder on one")
        self._check_quota(uid, size)
        path = self._path(uid, name) if retain else None
        file = _persistent(path) if path else memfd.make(uid, name, hint)
        region = Region(uid, name, hint, file, job_id, path)
        try:
            self._resize(region, size)
        except RegionRefusedError:
            self._remove(region)
            raise
        self._regions.append(region)
        return region

    def grow(self, region: Region, size: int) -> int:
        """Make it at least so large; by how much it grew. Raises RegionRefusedError."""
        more = size - region.size
        if more <= 0:
            return 0
        self._check_quota(region.uid, more, new=False)
        self._resize(region, size)
        return more

    def drop(self, region: Region) -> None:
        """Take its name away: it ends with its last holder."""
        region.dropped = True
        if region.path:
            with contextlib.suppress(OSError):
                region.path.unlink()
        self.end_unheld()

    def cut_back(self) -> None:
        """No holder makes a retained file larger by itself: the quota would not be one."""
        for region in self._regions:
            if region.cut_back():
                log.warning(
                    "region %s of uid %d was made larger by a holder: cut back to %d bytes",
                    *(region.name, region.uid, region.granted),
                )

    def end_unheld(self) -> list[Region]:
        """End what nobody holds and nobody wants retained; what ended."""
        ended = [region for region in self._regions if not region.retained and not region.is_held()]
        for region in ended:
            log.info("region %s of uid %d has ended with its last holder", region.name, region.uid)
            self._regions.remove(region)
            os.close(region.file)
        return ended

    def find_again(self, pids: Iterable[int]) -> None:
        """After an agent was killed: take over the regions that these processes hold. MOST_LOOKS for each user."""
        looks: Counter[int] = Counter()
        for pid in pids:
            with contextlib.suppress(OSError):
                uid = os.stat(f"/proc/{pid}").st_uid
                for link in itertools.islice(os.scandir(f"/proc/{pid}/fd"), max(MOST_LOOKS - looks[uid], 0)):
                    looks[uid] += 1
                    with contextlib.suppress(OSError):  # closed meanwhile
                        self._adopt(link.path)
                looks[uid] += 1
        for uid in (uid for uid, count in looks.items() if count > MOST_LOOKS):
            log.error("uid %d has more than %d descriptors in jobs: its regions may not all be found", uid, MOST_LOOKS)

    def _adopt(self, link: str) -> None:
        """Take over the region behind a descriptor, unless there is none, or it is known."""
        if not (found := memfd.find(link)):
            return
        with contextlib.suppress(RegionRefusedError):
            self.get(found.uid, found.name)
            os.close(found.file)
            return
        self._regions.append(Region(found.uid, found.name, found.hint, found.file))
        log.info("region %s of uid %d is taken over", found.name, found.uid)

    def _check_quota(self, uid: int, more: int, new: bool = True) -> None:
        own = [region for region in self._regions if region.uid == uid]
        used = sum(region.size for region in own)
        if used + more > self.quota or (new and (len(own) >= MOST_PER_USER or len(self._regions) >= MOST)):
            raise RegionRefusedError(
                "quota",
                f"uid {uid} has {len(own)} regions with {used} bytes on this node, of {MOST_PER_USER} with "
                f"{self.quota}: {more} more are too many (tierctl shared list shows them)",
            )

    def _resize(self, region: Region, size: int) -> None:
        try:
            os.ftruncate(region.file, size)
            if region.path and os.major(os.fstat(region.file).st_dev):  # pages of a tmpfs would count as the agent's
                os.posix_fallocate(region.file, 0, size)
        except OSError as error:
            raise RegionRefusedError(
                "quota", f"could not make region {region.name} so large: {error.strerror}"
            ) from None
        region.granted = size

    def _remove(self, region: Region) -> None:
        os.close(region.file)
        if region.path:
            region.path.unlink(missing_ok=True)

    def _path(self, uid: int, name: str) -> Path:
        folder = Path(self.retain) / str(uid)
        folder.mkdir(mode=0o700, exist_ok=True)
        return folder / name

    def _find_retained(self) -> None:
        known = {region.path for region in self._regions}
        for path in sorted(Path(self.retain).glob("*/*")) if self.retain else ():
            if path.parent.name.isdigit() and _NAME.fullmatch(path.name) and path not in known and path.is_file():
                try:
                    file = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
                except OSError as error:  # a read-only file system, say: no reason for the agent not to start
                    log.error("retained region %s: %s", path, error.strerror)
                    continue
                size = os.fstat(file).st_size
                self._regions.append(Region(int(path.parent.name), path.name, "", file, path=path, granted=size))


def check_name(name: str) -> None:
    """Raises RegionRefusedError for what is no name: a slash, a NUL, anything but letters, digits, `.`, `_`, `-`."""
    if not _NAME.fullmatch(name):
        raise RegionRefusedError(
            "name", "a region's name is letters, digits, '.', '_' and '-', at most 64, a letter or a digit first"
        )


def _persistent(path: Path) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise RegionRefusedError("retain", f"could not create {path}: {error.strerror}") from None
