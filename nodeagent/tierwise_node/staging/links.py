"""What a job sees of staging: a folder of its own with a link for each source that it named.

A link leads to the source until its copy is whole, and to the copy from then on: `$TIERWISE_STAGE/NAME` can be read at
any time. The folder is the user's alone, and nobody can write to it: it is seen through a read-only mount.
"""

import os
from pathlib import Path


class Links:
    """The links of one job. `folder` is the agent's way to them, `shown` everybody's."""

    def __init__(self, folder: Path, shown: Path, uid: int) -> None:
        self._folder, self.shown = folder, shown
        folder.mkdir(exist_ok=True)
        os.chown(folder, uid, 0)
        folder.chmod(0o500)
        self._names: dict[str, str] = {}

    def add(self, source: str) -> None:
        """A link to the source itself; of two sources with the same last component, the second gets a number."""
        name = base = source.rstrip("/").rpartition("/")[2]
        number = 1
        while name in self._names.values() and source not in self._names:
            number += 1
            name = f"{base}-{number}"
        if source not in self._names:
            self._names[source] = name
            self.lead(source, Path(source))

    def has(self, source: str) -> bool:
        """Whether the job named this source before."""
        return source in self._names

    def lead(self, source: str, to: Path) -> None:
        """Let the source's link lead there; whoever opens it meanwhile gets one or the other."""
        new = self._folder / ".new"
        new.unlink(missing_ok=True)
        new.symlink_to(to)
        new.rename(self._folder / self._names[source])
