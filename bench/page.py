"""docs/figures.md: what each benchmark found when it last ran (`make figures`)."""

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


def sections(text: str) -> dict[str, str]:
    """The sections of a page by name, each from its `## NAME` on."""
    return {section.split("\n", 1)[0]: f"## {section.rstrip()}\n" for section in f"\n{text}".split("\n## ")[1:]}


def main() -> None:
    """Benchmarks that did not run here keep the section that they have: it says when and where they ran."""
    found = {path.stem: path.read_text() for path in BUILD.glob("*.md") if not path.stem.endswith("-part")}
    if not found:
        sys.exit(f"{BUILD} has no figures yet: run a benchmark, e.g. make bench-submit")
    before = sections(PAGE.read_text()) if PAGE.exists() else {}
    PAGE.write_text("\n".join([HEAD, *(section for _, section in sorted({**before, **found}.items()))]))
    print(f"{PAGE}: {', '.join(sorted(found))} anew")


if __name__ == "__main__":
    main()
