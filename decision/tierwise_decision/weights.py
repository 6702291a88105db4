"""The ranking of nodes as Slurm weights, for the partitions where the admin turned them on.

A reconcile loop: what Slurm has is compared with what it should have, so that `scontrol reconfigure`, which resets
weights, and other services, which publish the same, need no special care. The site's own weights are written down
before the first change.
"""

import asyncio
import contextlib
from collections.abc import Iterable, Mapping

from tierwise.errors import UnavailableError
from tierwise_decision.database import selection as tables
from tierwise_decision.database.store import Store
from tierwise_decision.selection import Selection
from tierwise_decision.settings import Settings
from tierwise_decision.slurm_view import SlurmView
from tierwise_policy.bands import BANDS, SCALE, updates, weight, worse
from tierwise_policy.selection import score

EVERY = 15.0


class Weights:
    """Publishes and restores."""

    def __init__(self, settings: Settings, view: SlurmView, selection: Selection, store: Store) -> None:
        self._settings, self._view, self._selection, self._store = settings, view, selection, store
        self.wake = asyncio.Event()
        """Set when it should look again before its time."""
        self._site: dict[str, int] = {}
        """The site's own weight of each node whose weight we have changed."""

    async def run(self) -> None:
        """As long as the service runs."""
        while self._view.installed:
            try:
                self._site = await self._store.read(tables.site_weights)
                break
            except UnavailableError:
                await asyncio.sleep(EVERY)
        while self._view.installed:
            with contextlib.suppress(UnavailableError):  # counted already, and tried again
                await self._publish()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(EVERY):
                    await self.wake.wait()
            self.wake.clear()

    async def restore(self) -> None:
        """Give back the site's weights: the service stops. Raises UnavailableError."""
        if not self._site and self._view.installed:  # stopped before `run` has read what a killed service gave
            self._site = await self._store.read(tables.site_weights)
        if self._site:
            await self._view.look()
            present = {name: node.weight for name, node in self._view.nodes.items()}
            site = {name: self._site[name] for name in self._site if self._is_ours(name, present.get(name, -1))}
            await self._update(site, present)

    async def _publish(self) -> None:
        if not self._settings.config.service.weights and not self._site:
            return
        await self._view.look()
        present = {name: node.weight for name, node in self._view.nodes.items()}
        ranked = self._ranked()
        for name in ranked:
            if not self._is_ours(name, present[name]) and self._site.get(name) != present[name]:
                self._site[name] = present[name]
                self._store.pending.selection.site_weights[name] = present[name]
        if self._store.pending.selection.site_weights and not await self._store.committed():
            return  # whoever is killed now must be able to restore them
        avoided = await asyncio.to_thread(self._worse, ranked, present)  # thousands of nodes: the hook does not wait
        wanted = {name: weight(self._site[name], name in avoided) for name in ranked}
        dropped = {name for name in self._site if name not in ranked and name in present}
        wanted |= {name: self._site[name] for name in dropped if self._is_ours(name, present[name])}
        await self._update(wanted, present)

    def _ranked(self) -> list[str]:
        """The nodes of the partitions that have weights."""
        turned_on = set(self._settings.config.service.weights)
        return [name for name, node in self._view.nodes.items() if turned_on & set(node.partitions)]

    def _worse(self, ranked: Iterable[str], present: Mapping[str, int]) -> set[str]:
        """The nodes to be avoided. One that is not known well enough is a node like others."""
        known = self._selection.lasting(ranked)
        before = {node.name for node in known if present[node.name] == weight(self._site[node.name], 1)}
        return worse({node.name: score(node) for node in known}, before) | {n.name for n in known if n.straggler}

    def _is_ours(self, name: str, present: int) -> bool:
        """Whether a weight is one that we gave, we or another service on this database."""
        site = self._site.get(name)
        return site is not None and present // SCALE == site and present % SCALE < BANDS

    async def _update(self, wanted: Mapping[str, int], present: Mapping[str, int]) -> None:
        """`present`: what `wanted` was made from. A weight that somebody has changed since is seen next time."""
        changed = updates(wanted, present)
        if changed:
            await self._view.look()
        for value, names in changed.items():
            same = [name for name in names if (node := self._view.nodes.get(name)) and node.weight == present.get(name)]
            if same:
                await self._view.ask(lambda client, names=same, value=value: client.set_weight(names, value))  # type: ignore[misc]
