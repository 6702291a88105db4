"""A topology file becomes QEMU's options; a wrong one is refused with the reason."""

from __future__ import annotations

from pathlib import Path

import pytest

from tierwise_lab import topology
from tierwise_lab.daemons import LabError

TWO_SOCKETS = """
[[tier]]
name = "dram"
size = "1G"
cpus = 2
latency_ns = 80
bandwidth = "200G"
distances = [10, 20, 17]

[[tier]]
name = "dram"
size = "512M"
cpus = 1
latency_ns = 80
bandwidth = "200G"
distances = [20, 10, 28]

[[tier]]
name = "cxl"
size = "2G"
latency_ns = 300
bandwidth = "30G"
distances = [17, 28, 10]
"""


def write(folder: Path, text: str) -> str:
    (folder / "t.toml").write_text(text)
    return str(folder / "t.toml")


def test_the_options_say_what_the_file_says(tmp_path: Path) -> None:
    options = topology.qemu_options(topology.load(write(tmp_path, TWO_SOCKETS)))
    given = list(zip(options[::2], options[1::2], strict=True))
    assert ("-smp", "3") in given
    assert ("-m", "3584M") in given
    assert [value for option, value in given if option == "-object"] == [
        "memory-backend-ram,size=1024M,id=tier0",
        "memory-backend-ram,size=512M,id=tier1",
        "memory-backend-ram,size=2048M,id=tier2",
    ]
    numa = [value for option, value in given if option == "-numa"]
    assert numa[:3] == [
        "node,nodeid=0,memdev=tier0,initiator=0,cpus=0-1",
        "node,nodeid=1,memdev=tier1,initiator=1,cpus=2-2",
        "node,nodeid=2,memdev=tier2,initiator=0",
    ]
    assert numa[3:6] == ["dist,src=0,dst=1,val=20", "dist,src=0,dst=2,val=17", "dist,src=1,dst=2,val=28"]
    of_cxl = "hmat-lb,initiator=0,target=2,hierarchy=memory"
    assert f"{of_cxl},data-type=access-latency,latency=300" in numa
    assert f"{of_cxl},data-type=access-bandwidth,bandwidth=30720M" in numa


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("cpus", "#cpus", "no tier has cpus"),
        ('size = "2G"', 'size = "2000K"', "not in whole MiB"),
        ('size = "2G"', 'size = "lots"', "not a size"),
        ('size = "2G"', "size = 2", "Expected `str`"),
        ("[17, 28, 10]", "[17, 28]", "needs 3 distances"),
        ("[17, 28, 10]", "[17, 28, 11]", "10 to itself"),
        ("[17, 28, 10]", "[18, 28, 10]", "differ by direction"),
        ("[20, 10, 28]", "[10, 10, 28]", "more than 10"),
        ("latency_ns = 300", "", "latency_ns"),
        ("latency_ns = 300", "latency_ns = 300\ncolour = 1", "colour"),
        ("[[tier]]", "[[tier", "t.toml"),
    ],
)
def test_a_wrong_topology_is_refused_with_the_reason(tmp_path: Path, old: str, new: str, reason: str) -> None:
    with pytest.raises(LabError, match=reason):
        topology.load(write(tmp_path, TWO_SOCKETS.replace(old, new)))


def test_an_unknown_name_is_answered_with_those_there_are() -> None:
    with pytest.raises(LabError, match=r"no-such.*small, three-tiers"):
        topology.load("no-such")


@pytest.mark.parametrize("path", sorted(topology.FOLDER.glob("*.toml")), ids=lambda path: path.stem)
def test_every_topology_that_we_ship_loads(path: Path) -> None:
    assert topology.load(path.stem).cpus > 0
