"""What a person sees while the lab works: one live line on a terminal, plain lines elsewhere. All on stderr."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape

console = Console(stderr=True, highlight=False)
Say = Callable[[str], None]
"""Replaces the detail behind a step's name: the last line of what a program printed, for instance."""


@contextmanager
def step(what: str) -> Iterator[Say]:
    """Show that `what` is being done, then how long it took. Yields a function that shows a detail meanwhile."""
    start = time.monotonic()
    if console.is_terminal:
        with console.status(escape(what)) as status:

            def say(detail: str) -> None:
                room = max(console.width - len(what) - 12, 10)
                status.update(f"{escape(what)} [dim]{escape(detail[:room])}")

            yield say
    else:
        console.print(f"{what} …", markup=False, soft_wrap=True)
        yield lambda detail: None
    console.print(f"{what}: {time.monotonic() - start:.0f} s", markup=False, soft_wrap=True)
