"""Huge pages come from where their memory belongs, or small ones do.

A program that asks for huge pages (madvise(2), MADV_HUGEPAGE, as numpy does) gets them by the kernel's default from
any node that has a free one: from a slow tier, while a faster one has all the room it needs in small pages. With
`defer` a fault takes a huge page of the preferred node only, else small pages there, and the kernel makes huge pages of
them in the background (Documentation/admin-guide/mm/transhuge.rst; alloc_pages_mpol in mm/mempolicy.c).
"""

import re
from pathlib import Path

from tierwise_node.host_settings import HostSettings

SYSFS = Path("/sys/kernel/mm/transparent_hugepage")
LOCK = Path("/run/lock/tierwise-huge-pages")
DEFER = "defer"
_FILE = "defrag"
_CHOSEN = re.compile(r"\[([^]]+)\]")


class HugePages(HostSettings):
    """Owns how page faults look for huge pages between `take` and `restore`."""

    def __init__(self, sysfs: Path = SYSFS, lock: Path = LOCK) -> None:
        super().__init__(sysfs, lock, "how huge pages are looked for")

    def take(self) -> None:
        """Keep page faults from taking huge pages of slower tiers, unless the kernel has no huge pages, or another
        agent sees to it."""
        if not self._current():
            self.state = "the kernel has no transparent huge pages"
        elif self._acquire():
            self._write(_FILE, DEFER)
            self.state = "defer: no page fault takes a huge page of a slower tier"

    def _current(self) -> dict[str, str]:
        try:
            chosen = _CHOSEN.search((self._sysfs / _FILE).read_text())
        except OSError:
            return {}
        return {_FILE: chosen[1]} if chosen else {}
