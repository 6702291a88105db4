"""Who gets which copy: finds one that fits, or has it made; holders, leases, and what goes when.

Everything that counts (quotas, holders, what is being made) changes between two awaits on the one event loop, so that a
hundred requests at once can't have more than one could.
"""

import asyncio
import contextlib
import functools
import logging
import os
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import ParamSpec, TypeVar

from tierwise.config import StageConfig
from tierwise.tiers import Tier, TierName
from tierwise_node.staging.copies import Copies, Copy
from tierwise_node.staging.links import Links
from tierwise_node.staging.maker import make
from tierwise_node.staging.mounts import mounted
from tierwise_node.staging.room import Shelf, place
from tierwise_node.staging.source import STRANGER, Source, StageError, User, checked_path, host_root, look, user
from tierwise_node.staging.turns import Turns

log = logging.getLogger(__name__)
P = ParamSpec("P")
T = TypeVar("T")
AT_ONCE = 2
"""Copies that are made at the same time: more only share the source's bandwidth."""
MOST_PER_USER = 64
"""Copies that one user may wait for."""
LOOKS, LOOKS_PER_USER = 8, 2
"""Sources that are looked at at the same time."""
SWEEP = 5.0
"""Seconds between two looks at holders that have gone and leases that have ended."""


@dataclass(eq=False)
class Making:
    """A copy that is being made, or waits for its turn."""

    source: Source
    tier: TierName
    owner: int
    copied: int = 0
    holders: set[str] = field(default_factory=set)
    task: "asyncio.Task[Copy] | None" = None


class Stage:
    """Staging on one node. `tiers` says how the tiers are now, `job_lives` whether a job is still here."""

    def __init__(
        self,
        folder: Path,
        config: StageConfig,
        tiers: Callable[[], tuple[Tier, ...]],
        job_lives: Callable[[int], bool],
        turns: Turns,
    ) -> None:
        self.folder, self._config, self._tiers, self._job_lives = folder, config, tiers, job_lives
        self._turns = turns
        self._root = host_root()
        self._shelves: dict[TierName, Copies] = {}
        self.copies: dict[tuple[TierName, str], Copy] = {}
        self.making: dict[tuple[object, ...], Making] = {}
        self._at_once = asyncio.Semaphore(AT_ONCE)
        self._missing: set[str] = set()
        self._mounting = asyncio.Lock()
        self._threads = ThreadPoolExecutor(LOOKS, "stage")
        """Of our own: a file system that hangs must not hold up what else the agent does in threads."""
        self._looking: dict[int, asyncio.Semaphore] = {}

    # --- life -------------------------------------------------------------------------------------------------------

    def adopt(self) -> None:
        """Take over what an earlier agent left mounted."""
        for tier in self._tiers():
            if mounted(self.folder / ".work" / tier.name):
                try:
                    self._shelves[tier.name], found = self._mount(tier)
                    self.copies |= found
                except (StageError, OSError) as error:
                    log.error("staging on %s: %s", tier.name, error)

    async def run(self) -> None:
        """Let go of what nobody holds any more, until cancelled."""
        while True:
            await asyncio.sleep(min(SWEEP, self._config.lease))
            try:
                await self.sweep()
            except Exception:
                log.exception("a sweep of staged copies failed")

    async def close(self, stopping: bool) -> None:
        """End what is being made. An agent that stops for good gives back the memory of what nobody holds."""
        tasks = [making.task for making in self.making.values() if making.task]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._threads.shutdown(wait=False, cancel_futures=True)
        os.close(self._root)
        if stopping and not any(self._holders(copy) for copy in self.copies.values()):
            for copies in self._shelves.values():
                try:
                    copies.unmount()
                except StageError as error:
                    log.error("%s", error)

    def _mount(self, tier: Tier) -> tuple[Copies, dict[tuple[TierName, str], Copy]]:
        copies = Copies(self.folder, tier.name)
        copies.mount(max(self._quota(tier), 1 << 20), tier.numa_nodes)
        return copies, {(tier.name, copy.name): copy for copy in copies.adopt()}

    async def prepare(self) -> None:
        """Mount each tier's tmpfs, when they are first needed. Raises StageError."""
        async with self._mounting:
            for tier in self._tiers():
                if tier.name in self._shelves:
                    continue
                try:
                    copies, found = await self._in_thread(self._mount, tier)
                except OSError as error:
                    raise StageError(f"{self.folder} can't be mounted: {error.strerror}") from None
                self.copies |= found
                self._shelves[tier.name] = copies

    def _quota(self, tier: Tier) -> int:
        return int(tier.capacity * self._config.share)

    def links(self, job_id: int, uid: int) -> Links:
        """A job's links, in a folder on the slowest tier; after `prepare`. Raises OSError."""
        shelf = self._shelves[self._tiers()[-1].name]
        return Links(shelf.links / str(job_id), shelf.shown / "jobs" / str(job_id), uid)

    def remove_links(self, ended: Callable[[int], bool]) -> None:
        """Remove the links of jobs that have ended."""
        for shelf in self._shelves.values():
            for folder in shelf.links.iterdir():
                if folder.name.isdigit() and ended(int(folder.name)):
                    shutil.rmtree(folder, ignore_errors=True)

    async def _in_thread(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, functools.partial(call, *args, **kwargs))

    async def _in_slot(self, uid: int, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """In one of the few threads that a user may hold, until it ends: a file system that hangs keeps it, even when
        nobody waits for it any more."""
        loop, slot = asyncio.get_running_loop(), self._looking.setdefault(uid, asyncio.Semaphore(LOOKS_PER_USER))
        await slot.acquire()
        work = self._threads.submit(call, *args, **kwargs)

        def ended(_: object) -> None:
            with contextlib.suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(slot.release)

        work.add_done_callback(ended)
        return await asyncio.wrap_future(work)

    # --- asking -----------------------------------------------------------------------------------------------------

    async def ask(
        self, uid: int, path: str, tiers: Sequence[str], holder: str = "", expected: tuple[int, ...] = ()
    ) -> Making | Copy:
        """The copy of what `uid` finds at `path`, or the making of it. `holder` keeps it from now on.

        A new copy goes to the first of `tiers` that has room; one that is there serves everybody from where it is.
        `expected` are device, inode and mtime_ns of the file as the caller sees it: in a mount namespace of
        their own, the same path may be another file. Raises StageError.
        """
        if self._config.share == 0:
            raise StageError("staging is switched off on this node (agent.stage.share)")
        path = checked_path(path)
        await self.prepare()
        who = await self._in_slot(uid, user, uid)
        source = await self._in_slot(uid, look, self._root, path, who)
        if expected and expected != (source.device, source.inode, source.mtime_ns):
            raise StageError(f"{path} is another file on the node than in your own file tree: it can't be staged")
        if copy := self.find(source, uid):
            return self._taken(copy, source, holder)
        public = await self._in_slot(uid, self._everybody_reads, source)
        if copy := self.find(source, uid):
            return self._taken(copy, source, holder)
        key = (source.device, source.inode, source.mtime_ns, source.ctime_ns, source.tree, None if public else uid)
        making = self.making.get(key) or self._begin(key, source, who, public, tiers)
        if holder:
            making.holders.add(holder)
        return making

    def find(self, source: Source, uid: int) -> Copy | None:
        """A copy of what `uid` has just found there."""
        for copy in self.copies.values():
            if ((copy.public and source.shareable) or copy.owner == uid) and any(map(source.same, copy.sources)):
                return copy
        return None

    async def wait(self, found: "Making | Copy", uid: int, seconds: float | None) -> Copy | None:
        """The copy that `ask` found, or None if it is not whole within `seconds`. Raises StageError."""
        if isinstance(found, Making):
            assert found.task is not None
            await asyncio.wait({found.task}, timeout=seconds)
            if not found.task.done():
                return None
            if found.task.cancelled():
                raise StageError(f"{found.source.path} can't be staged: the agent is stopping")
            found = found.task.result()
        if not found.public and found.owner != uid:
            raise StageError(
                f"{found.sources[-1].path} can't be staged for you: not all of it may be read by everybody"
            )
        return found

    def path(self, copy: Copy) -> Path:
        """Where everybody who may finds it."""
        return self._shelves[copy.tier].path(copy)

    def _taken(self, copy: Copy, source: Source, holder: str) -> Copy:
        copy.used = time.time_ns()
        copy.hits += 1
        if holder:
            copy.holders.add(holder)
        if source.path not in {known.path for known in copy.sources}:
            copy.sources = [*copy.sources[-15:], source]
        self._shelves[copy.tier].save(copy)
        return copy

    def _everybody_reads(self, source: Source) -> bool:
        """Whether a user without any rights finds the same there."""
        if not source.shareable:
            return False
        try:
            return look(self._root, source.path, STRANGER).same(source)
        except StageError:
            return False

    # --- making -----------------------------------------------------------------------------------------------------

    def _begin(self, key: tuple[object, ...], source: Source, who: User, public: bool, wanted: Sequence[str]) -> Making:
        if sum(making.owner == who.uid for making in self.making.values()) >= MOST_PER_USER:
            raise StageError(f"{source.path} can't be staged now: {MOST_PER_USER} copies of yours are being made")
        here = {str(tier.name): tier for tier in self._tiers()}
        tiers = {here[name].name: here[name] for name in wanted if name in here}
        reserved: dict[TierName, Counter[int]] = {name: Counter() for name in tiers}
        for other in self.making.values():
            if other.tier in reserved:
                reserved[other.tier][other.owner] += other.source.size
        shelves = {
            name: Shelf(self._quota(each), int(self._quota(each) * self._config.user_share), each.free, reserved[name])
            for name, each in tiers.items()
        }
        chosen, victims = place(source.path, source.size, who.uid, shelves, self.copies.values(), time.time_ns())
        for copy in victims:
            log.info("staged copy %s of %s makes room", copy.name, copy.sources[-1].path)
            del self.copies[copy.tier, copy.name]
        making = self.making[key] = Making(source, chosen, who.uid)
        making.task = asyncio.create_task(self._make(key, making, who, public, victims))
        making.task.add_done_callback(lambda task: task.cancelled() or task.exception())
        return making

    async def _make(
        self, key: tuple[object, ...], making: Making, who: User, public: bool, victims: Iterable[Copy]
    ) -> Copy:
        shelf, folder = self._shelves[making.tier], None
        try:
            for copy in victims:
                await asyncio.to_thread(shelf.remove, copy)
            async with self._at_once, self._turns.reading(making.source):
                folder = shelf.begin(who.uid)

                def told(size: int) -> None:
                    making.copied = size

                made = await make(self._root, making.source, who, folder, told)
            after = await self._in_slot(who.uid, look, self._root, making.source.path, who)
            if not after.same(making.source):
                raise StageError(f"{making.source.path} can't be staged: it changed while it was being copied")
            public = public and made.public
            now = time.time_ns()
            name = made.digest[:40] + ("" if public else f"-{who.uid}")
            if (making.tier, name) not in self.copies:
                copy = Copy(
                    name, making.tier, made.digest, making.source.size, who.uid, public, [making.source], now, now
                )
                shelf.accept(folder, copy)
                self.copies[making.tier, name] = copy
            copy = self.copies[making.tier, name]
            if making.source not in copy.sources:
                copy.sources.append(making.source)
            copy.holders |= making.holders
            copy.used = now
            shelf.save(copy)
            log.info("staged %s on %s: %d bytes, %s", making.source.path, making.tier, made.size, name)
            return copy
        except OSError as error:
            raise StageError(f"{making.source.path} can't be staged: {error.strerror}") from None
        except StageError as error:
            log.warning("%s", error)
            raise
        finally:
            del self.making[key]
            if folder is not None and folder.exists():
                shelf.abandon(folder)

    # --- holding ----------------------------------------------------------------------------------------------------

    def release(self, holder: str) -> None:
        """A job or a process has ended: what it held stays for its lease."""
        for copy in self.copies.values():
            if holder in copy.holders:
                copy.holders.discard(holder)
                copy.used = time.time_ns()
                self._shelves[copy.tier].save(copy)
        for making in self.making.values():
            making.holders.discard(holder)

    async def drop(self, copy: Copy) -> None:
        """Remove a copy. Raises StageError where somebody holds it."""
        if holders := self._holders(copy):
            raise StageError(f"{copy.sources[-1].path} is held by {', '.join(sorted(holders))}")
        self.copies.pop((copy.tier, copy.name), None)
        await asyncio.to_thread(self._shelves[copy.tier].remove, copy)

    def pin(self, copy: Copy, pinned: bool) -> None:
        """Keep a copy beyond its lease and from eviction, or no more."""
        copy.pinned, copy.used = pinned, time.time_ns()
        self._shelves[copy.tier].save(copy)

    def _holders(self, copy: Copy) -> set[str]:
        return {holder for holder in copy.holders if self._lives(holder)}

    def _lives(self, holder: str) -> bool:
        kind, _, rest = holder.partition(":")
        if kind == "job":
            return self._job_lives(int(rest))
        return holder == process_holder(int(rest.partition(":")[0]))

    async def sweep(self) -> None:
        """Release holders that were gone at two looks, and remove what nobody wants any more."""
        gone = {holder for copy in self.copies.values() for holder in copy.holders if not self._lives(holder)}
        for holder in gone & self._missing:
            self.release(holder)
        self._missing = gone
        ended = time.time_ns() - int(self._config.lease * 1e9)
        for copy in list(self.copies.values()):
            if not copy.holders and not copy.pinned and copy.used < ended:
                await self.drop(copy)


def process_holder(pid: int) -> str:
    """The holder that stands for a process and no later one with its number; empty when it has gone."""
    try:
        started = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()[19]
    except (OSError, IndexError):
        return ""
    return f"pid:{pid}:{started}"
