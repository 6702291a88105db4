"""The agent's answers about staging and scratch (docs/protocol.md, *stage*): each checks who asks."""

from collections.abc import Callable
from pathlib import Path

import msgspec

from tierwise.errors import ProtocolError
from tierwise.lines import number, user_id
from tierwise.messages import StagedCopy
from tierwise.tiers import TierName
from tierwise_node.server import Peer
from tierwise_node.staging.copies import Copy
from tierwise_node.staging.source import StageError, checked_path
from tierwise_node.staging.stage import Making, Stage, process_holder
from tierwise_node.staging.wishes import Wish, Wishes

Fields = dict[str, str]
Reply = dict[str, str | int]
DEFAULT_WAIT, LONGEST_WAIT = 5, 3600
"""Seconds that a job waits for what it stages, without --tier-stage-wait and at most."""
MOST_PATHS, MOST_SCRATCH = 16, 1 << 50


class StageAnswers:
    """The operations whose names begin with `stage`. `job_of` says which job a process is in, `tiers` where a job's
    copies should lie (0: no job's), `refusal` why a peer may not ask for a job's files (empty: it may), and `ended`
    hears of epilogs."""

    def __init__(
        self,
        node: str,
        stage: Stage,
        wishes: Wishes,
        job_of: Callable[[int], int | None],
        tiers: Callable[[int], tuple[TierName, ...]],
        refusal: Callable[[Peer, int, int], str],
        ended: Callable[[int], None],
    ) -> None:
        self._node, self._stage, self._wishes = node, stage, wishes
        self._job_of, self._tiers, self._refusal, self._ended = job_of, tiers, refusal, ended
        self.operations = {
            "stage": self._ask,
            "stage_job": self._job,
            "stage_list": self._list,
            "stage_drop": self._drop,
            "stage_pin": self._pin,
        }

    async def prolog(self, job_id: int, uid: int, fields: Fields) -> None:
        """Begin what the prolog told of. Raises ProtocolError."""
        paths, scratch = _paths(fields), _at_most(fields, "scratch", MOST_SCRATCH)
        if paths or scratch:
            await self._wishes.begin(job_id, uid, paths, scratch)

    async def epilog(self, job_id: int) -> None:
        """The job has ended."""
        self._ended(job_id)
        await self._wishes.end(job_id)

    async def _job(self, peer: Peer, fields: Fields) -> Reply:
        """A task that starts: where its files are, once they are there or its owner has waited enough."""
        job_id, uid = number(fields, "job_id"), user_id(fields)
        if reason := self._refusal(peer, job_id, uid):
            return _refused(reason)
        wait = _at_most(fields, "stage_wait", LONGEST_WAIT) if fields.get("stage_wait") else DEFAULT_WAIT
        wish = await self._wishes.begin(job_id, uid, _paths(fields), _at_most(fields, "scratch", MOST_SCRATCH))
        whole = await self._wishes.wait(wish, wait)
        late = [] if whole else [f"not all is staged after {wait} s: the originals are read meanwhile"]
        return {
            "status": "ok",
            "scratch": str(wish.scratch or ""),
            "stage": str(wish.links.shown if wish.links else ""),
            "notice": "; ".join([*wish.notices, *late])[:2000],
        }

    async def _ask(self, peer: Peer, fields: Fields) -> Reply:
        """One image or data set for whoever asks, held by its job, else by its process (`hold=0`: by nobody)."""
        job_id = self._job_of(peer.pid)
        holder = f"job:{job_id}" if job_id is not None else process_holder(peer.pid)
        if fields.get("hold") == "0":
            holder = ""
        seen = tuple(number(fields, key) for key in ("device", "inode", "mtime_ns") if key in fields)
        tiers = [fields["tier"]] if fields.get("tier") else self._tiers(job_id or 0)
        try:
            found = await self._stage.ask(peer.uid, fields.get("path", ""), tiers, holder, seen)
            copy = await self._stage.wait(found, peer.uid, _at_most(fields, "wait", LONGEST_WAIT))
        except StageError as error:
            return _refused(str(error))
        binds = self._binds(job_id, peer.uid)
        if copy is None:
            assert isinstance(found, Making)
            reply: Reply = {"state": "copying", "copied": found.copied, "size": found.source.size, "tier": found.tier}
        else:
            reply = {"state": "ready", "path": str(self._stage.path(copy)), "size": copy.size, "tier": copy.tier}
        return {"status": "ok", "binds": binds, **reply}

    def _binds(self, job_id: int | None, uid: int) -> str:
        """COPY:SOURCE,… of what the peer's job has staged: a container sees the copies where the sources were."""
        wish = self._wishes.of(job_id) if job_id is not None else None
        if wish is None or wish.uid != uid:
            return ""
        return ",".join(f"{copy}:{source}" for source, copy in wish.staged.items() if ":" not in source)

    # --- people's side ----------------------------------------------------------------------------------------------

    async def _list(self, peer: Peer, fields: Fields) -> Reply:
        rows = [self._row(copy, peer) for copy in self._stage.copies.values() if self._may_see(copy, peer)]
        for making in self._stage.making.values():
            if peer.uid in (0, making.owner):
                rows.append(self._row_of_making(making))
        return {"status": "ok", "json": msgspec.json.encode(rows).decode()}

    async def _drop(self, peer: Peer, fields: Fields) -> Reply:
        try:
            for copy in self._named(peer, fields):
                await self._stage.drop(copy)
        except StageError as error:
            return _refused(str(error))
        return {"status": "ok"}

    async def _pin(self, peer: Peer, fields: Fields) -> Reply:
        try:
            for copy in self._named(peer, fields):
                self._stage.pin(copy, fields.get("pinned") == "1")
        except StageError as error:
            return _refused(str(error))
        return {"status": "ok"}

    def _named(self, peer: Peer, fields: Fields) -> list[Copy]:
        """The peer's own copies of a source, or any copies of it for root. Raises StageError."""
        path = checked_path(fields.get("path", ""))
        found = [
            copy
            for copy in self._stage.copies.values()
            if peer.uid in (0, copy.owner) and path in {source.path for source in copy.sources}
        ]
        if not found:
            raise StageError(f"no copy of {path} here is yours (`tierctl stage list` shows them)")
        return found

    def _may_see(self, copy: Copy, peer: Peer) -> bool:
        return peer.uid in (0, copy.owner) or any(self._is_own(holder, peer) for holder in copy.holders)

    def _row(self, copy: Copy, peer: Peer) -> StagedCopy:
        return StagedCopy(
            node=self._node, tier=copy.tier, source=copy.sources[-1].path, path=str(self._stage.path(copy)),
            size=copy.size, copied=copy.size, owner=copy.owner, public=copy.public, pinned=copy.pinned, hits=copy.hits,
            used=copy.used, held=len(copy.holders),
            holders=tuple(sorted(_short(holder) for holder in copy.holders if self._is_own(holder, peer))),
        )  # fmt: skip

    def _row_of_making(self, making: Making) -> StagedCopy:
        return StagedCopy(
            node=self._node, tier=making.tier, source=making.source.path, path="", size=making.source.size,
            copied=min(making.copied, max(making.source.size - 1, 0)), owner=making.owner, public=False, pinned=False,
            hits=0, used=0, held=len(making.holders), holders=(),
        )  # fmt: skip

    def _is_own(self, holder: str, peer: Peer) -> bool:
        kind, _, rest = holder.partition(":")
        number = int(rest.partition(":")[0])
        if peer.uid == 0:
            return True
        if kind == "job":
            wish: Wish | None = self._wishes.of(number)
            return wish is not None and wish.uid == peer.uid
        try:
            return Path(f"/proc/{number}").stat().st_uid == peer.uid
        except OSError:
            return False


def _short(holder: str) -> str:
    return ":".join(holder.split(":")[:2])


def _paths(fields: Fields) -> tuple[str, ...]:
    """The sources that a job named. Raises ProtocolError."""
    paths = tuple(path for path in fields.get("stage", "").split(",") if path)
    if len(paths) > MOST_PATHS:
        raise ProtocolError(f"stage holds more than {MOST_PATHS} paths")
    return paths


def _at_most(fields: Fields, key: str, most: int) -> int:
    """A whole number, 0 where there is none. Raises ProtocolError."""
    found = number(fields, key, 0)
    if found > most:
        raise ProtocolError(f"{key} must be at most {most}")
    return found


def _refused(reason: str) -> Reply:
    return {"status": "refused", "reason": reason}
