"""Named regions: files that live in memory, which processes of one user map.

A region is a memfd of root's, so its state (who, what, how large) is all in the kernel; an agent that was killed finds
it again through the processes that hold it. Who holds it is what the kernel counts: a write lease (fcntl(2),
F_SETLEASE) is given only while nobody else has the file open or mapped. Retained regions are files in a folder on a
persistent tier, and stay when nobody holds them.
"""

import contextlib
import fcntl
import logging
import os
import re
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tierwise.errors import RefusedError
from tierwise.tiers import TierName

log = logging.getLogger(__name__)
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_MEMFD = re.compile(r"/memfd:tierwise/(\d+)/([A-Za-z,:0-9_]*)/([A-Za-z0-9][A-Za-z0-9._-]{0,63}) \(deleted\)")
MOST_PER_USER, MOST = 256, 1024


class RegionRefusedError(RefusedError):
    """No region is given. `error` is the word for the library: absent, exists, name, quota or retain."""

    def __init__(self, error: str, message: str) -> None:
        super().__init__(message)
        self.error = error


@dataclass
class Region:
    """One region. `file` is our descriptor; `job_id` the job that created it, 0 where no longer known.

    `dropped`: its name is taken away. `tiers`: where its bytes were granted.
    """

    uid: int
    name: str
    hint: str
    file: int
    job_id: int = 0
    path: Path | None = None
    dropped: bool = False
    tiers: dict[TierName, int] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """Bytes; a holder may have made the file larger by itself, so the kernel is asked."""
        return os.fstat(self.file).st_size

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
        file = _persistent(path) if path else _memfd(uid, name, hint)
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

    def end_unheld(self) -> list[Region]:
        """End what nobody holds and nobody wants retained; what ended."""
        ended = [region for region in self._regions if not region.retained and not region.is_held()]
        for region in ended:
            log.info("region %s of uid %d has ended with its last holder", region.name, region.uid)
            self._regions.remove(region)
            os.close(region.file)
        return ended

    def find_again(self, pids: Iterable[int]) -> None:
        """After an agent was killed: take over the regions that these processes hold."""
        for pid in pids:
            with contextlib.suppress(OSError):
                for link in os.scandir(f"/proc/{pid}/fd"):
                    with contextlib.suppress(OSError):  # closed meanwhile
                        self._adopt(link.path)

    def _adopt(self, link: str) -> None:
        """A memfd that root made and named so is ours: nobody else can make one of root's."""
        pinned = os.open(link, os.O_PATH | os.O_CLOEXEC)  # its process may put another file there at any time
        try:
            ours = f"/proc/self/fd/{pinned}"
            found = _MEMFD.fullmatch(os.readlink(ours))
            if not found or not _is_roots_and_unlinked(os.fstat(pinned)):
                return
            uid, hint, name = int(found[1]), found[2], found[3]
            with contextlib.suppress(RegionRefusedError):
                self.get(uid, name)
                return
            file = os.open(ours, os.O_RDWR | os.O_CLOEXEC)
        finally:
            os.close(pinned)
        if not _is_memfd(file):
            os.close(file)
            return
        self._regions.append(Region(uid, name, hint, file))
        log.info("region %s of uid %d is taken over", name, uid)

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
                self._regions.append(Region(int(path.parent.name), path.name, "", file, path=path))


def check_name(name: str) -> None:
    """Raises RegionRefusedError for what is no name: a slash, a NUL, anything but letters, digits, `.`, `_`, `-`."""
    if not _NAME.fullmatch(name):
        raise RegionRefusedError(
            "name", "a region's name is letters, digits, '.', '_' and '-', at most 64, a letter or a digit first"
        )


def _memfd(uid: int, name: str, hint: str) -> int:
    """Sealed against shrinking, so that no holder gets SIGBUS from another's truncation."""
    made = os.memfd_create(f"tierwise/{uid}/{hint}/{name}", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        os.fchmod(made, 0o600)
        fcntl.fcntl(made, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK)
        # The first descriptor of a memfd is not counted as a writer, and a lease would never be given on it.
        return os.open(f"/proc/self/fd/{made}", os.O_RDWR | os.O_CLOEXEC)
    finally:
        os.close(made)


def _is_roots_and_unlinked(status: os.stat_result) -> bool:
    return stat.S_ISREG(status.st_mode) and status.st_uid == 0 and status.st_nlink == 0


def _is_memfd(file: int) -> bool:
    """Whether it is sealed as ours are. A name proves nothing: in a mount namespace of their own, users may show any
    file of root's under any name. Only a memfd can have this seal, and a memfd can't be shown elsewhere."""
    try:
        return bool(fcntl.fcntl(file, fcntl.F_GET_SEALS) & fcntl.F_SEAL_SHRINK)
    except OSError:
        return False


def _persistent(path: Path) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise RegionRefusedError("retain", f"could not create {path}: {error.strerror}") from None
