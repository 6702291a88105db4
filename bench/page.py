"""docs/figures.md: what the benchmarks found when they last ran here (`make figures`)."""

from __future__ import annotations

import sys
from pathlib import Path

from figures import BUILD

PAGE = Path(__file__).parents[1] / "docs" / "figures.md"
HEAD = """<!-- Written by `make figures` from what the benchmarks left in build/bench. -->
# Figures
What each benchmark found when it last ran, budgets missed included. The machine is small and virtual: ratios mean more
than rates. What memory tiering is worth has a page of its own, [tiering.md](tiering.md).
"""


def page(sections: list[Path]) -> str:
    """The page of these sections, in their order."""
    return "\n".join([HEAD, *(section.read_text() for section in sections)])


def main() -> None:
    sections = sorted(path for path in BUILD.glob("*.md") if not path.stem.endswith("-part"))
    if not sections:
        sys.exit(f"{BUILD} has no figures yet: run a benchmark, e.g. make bench-submit")
    PAGE.write_text(page(sections))
    print(f"{PAGE}: {', '.join(path.stem for path in sections)}")


if __name__ == "__main__":
    main()
