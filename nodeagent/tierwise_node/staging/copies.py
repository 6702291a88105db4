"""The copies on one tier: what lies on its tmpfs is all there is to know, so an agent that was killed loses nothing.

PLACE/TIER/copies/NAME/data        a whole and verified copy; NAME is its digest, with the uid if it is private
PLACE/TIER/copies/NAME/meta.json   who holds it and why (root's)
PLACE/.work/TIER                   the same tmpfs, writable, root's; work/ in it has what is not whole yet
"""

import contextlib
import logging
import os
import secrets
import shutil
from pathlib import Path

import msgspec

from tierwise.tiers import TierName
from tierwise_node.staging.copying import DATA
from tierwise_node.staging.mounts import make_own, mount_tmpfs, show_read_only, unmount
from tierwise_node.staging.source import Source, StageError

log = logging.getLogger(__name__)
META = "meta.json"


class Copy(msgspec.Struct):
    """One copy. `owner` made it, and its quota counts it; with `public` it serves everybody who can read a source.

    `holders` are jobs (`job:ID`) and processes (`pid:PID:STARTTIME`); times are ns since the epoch.
    """

    name: str
    tier: TierName
    digest: str
    size: int
    owner: int
    public: bool
    sources: list[Source]
    made: int
    used: int
    hits: int = 0
    pinned: bool = False
    holders: set[str] = set()


class Copies:
    """The copies on one tier. All calls are quick, but for `remove` of a large folder."""

    def __init__(self, place: Path, tier: TierName) -> None:
        self.tier = tier
        self.shown = place / tier
        self._root = place / ".work" / tier
        self._work, self._copies = self._root / "work", self._root / "copies"
        self.links = self._root / "jobs"

    def mount(self, size: int, nodes: tuple[int, ...]) -> None:
        """Make or adopt the tmpfs. Raises StageError and OSError."""
        make_own(self._root.parent.parent)
        self._root.parent.mkdir(exist_ok=True)
        self._root.parent.chmod(0o700)
        for folder in (self._root, self.shown):
            folder.mkdir(exist_ok=True)
        mount_tmpfs(self._root, size, nodes, 0o755)
        for folder, mode in ((self._work, 0o700), (self._copies, 0o711), (self.links, 0o711)):
            folder.mkdir(exist_ok=True)
            folder.chmod(mode)
        show_read_only(self._root, self.shown)

    def unmount(self) -> None:
        """Give the memory back. Raises StageError."""
        for place in (self.shown, self._root):
            unmount(place)
            with contextlib.suppress(OSError):
                place.rmdir()

    def adopt(self) -> list[Copy]:
        """The copies that are whole; what is half made or can't be read is removed."""
        for left in self._work.iterdir():
            _remove(left)
        found = []
        for folder in self._copies.iterdir():
            try:
                copy = msgspec.json.decode((folder / META).read_bytes(), type=Copy)
                if copy.name != folder.name or not (folder / DATA).exists():
                    raise StageError("it is not what its name says")
                found.append(copy)
            except (OSError, msgspec.DecodeError, StageError) as error:
                log.error("staged copy %s: %s: removed", folder.name, error)
                self._discard(folder)
        return found

    def path(self, copy: Copy) -> Path:
        """Where everybody finds it."""
        return self.shown / "copies" / copy.name / DATA

    def begin(self, uid: int) -> Path:
        """An empty folder for a copy that `uid` will make; nobody can reach it by name but root."""
        folder = self._work / secrets.token_hex(8)
        folder.mkdir(mode=0o700)
        os.chown(folder, uid, -1)
        return folder

    def accept(self, folder: Path, copy: Copy) -> None:
        """Give a whole copy its name. Raises OSError (the tier may be full)."""
        os.chown(folder, 0 if copy.public else copy.owner, 0)
        folder.chmod(0o755 if copy.public else 0o500)
        data = folder / DATA
        if copy.public:
            data.chmod(0o555 if data.is_dir() else data.stat().st_mode & 0o555 | 0o444)
        self._save(folder, copy)
        folder.rename(self._copies / copy.name)

    def save(self, copy: Copy) -> None:
        """Keep what has changed about a copy; a tier without room for a few bytes loses it at the next restart."""
        try:
            self._save(self._copies / copy.name, copy)
        except OSError as error:
            log.error("staged copy %s: %s", copy.name, error.strerror)

    def _save(self, folder: Path, copy: Copy) -> None:
        new = folder / f".{META}"
        with contextlib.suppress(FileNotFoundError):
            new.unlink()
        opened = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        with open(opened, "wb") as file:
            file.write(msgspec.json.encode(copy))
        new.rename(folder / META)

    def remove(self, copy: Copy) -> None:
        """Take it away, at once for whoever looks for it; processes that read it keep what they have open."""
        self._discard(self._copies / copy.name)

    def abandon(self, folder: Path) -> None:
        """Remove a copy that did not become whole."""
        _remove(folder)

    def _discard(self, folder: Path) -> None:
        gone = self._work / secrets.token_hex(8)
        with contextlib.suppress(FileNotFoundError):
            folder.rename(gone)
            _remove(gone)


def _remove(path: Path) -> None:
    """Remove a file or a folder whose owner may have left it without write permission: we are root."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, onerror=lambda _function, name, what: log.error("%s: %s", name, what[1]))
    else:
        path.unlink(missing_ok=True)
