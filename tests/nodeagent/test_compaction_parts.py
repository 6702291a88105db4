"""What the kernel says of free huge pages, on a recorded machine; tests/guest/test_compaction.py makes some."""

from pathlib import Path

from tierwise.units import MIB
from tierwise_node.compaction import free, huge, wanted

BUDDYINFO = """\
Node 0, zone      DMA      0      0      0      0      0      0      0      0      1      2      2
Node 0, zone   Normal   1000      9      8      7      6      5      4      3      2      1      3
Node 2, zone  Movable  51200      0      0      0      0      0      0      0      0      4      0
"""


def machine(top: Path, enabled: str) -> Path:
    """A machine's /sys and /proc in one folder."""
    pages, node = top / "kernel/mm/transparent_hugepage", top / "devices/system/node/node2"
    for folder in (pages, node):
        folder.mkdir(parents=True)
    (pages / "enabled").write_text(enabled)
    (pages / "hpage_pmd_size").write_text(f"{2 * MIB}\n")
    (node / "meminfo").write_text("Node 2 MemTotal:        1048576 kB\nNode 2 MemFree:          212992 kB\n")
    (top / "buddyinfo").write_text(BUDDYINFO)
    return top


def test_free_memory_that_lies_in_huge_pages_is_counted(tmp_path: Path) -> None:
    top = machine(tmp_path, "always [madvise] never\n")
    assert wanted(top)
    assert free([2], top) == 208 * MIB
    assert huge([2], top, top) == 8 * MIB
    assert huge([0, 2], top, top) == (2 * 2 + 2 * 4 + 2 + 3 * 4 + 8) * MIB


def test_where_huge_pages_are_off_nothing_is_compacted(tmp_path: Path) -> None:
    assert not wanted(machine(tmp_path, "always madvise [never]\n"))
    assert not wanted(tmp_path / "none")
