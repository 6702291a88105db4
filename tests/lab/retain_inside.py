"""The part of test_boot's test of retained regions that runs in the virtual node, with an NVDIMM at FOLDER.

    retain_inside.py FOLDER

A region's data outlives its holder, its job, the agent (kill -9) and a mount of the device anew.
"""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "nodeagent"))
from handmade import hand_made, running_agent, until
from memory_jobs import Job, Process, regions

NODE, SIZE = "retain", 8 << 20


def main() -> None:
    folder = Path(sys.argv[1])
    mount = ["mount", "-t", "ext4", "-o", "dax=always", "/dev/pmem0", str(folder)]
    subprocess.run(mount, check=True)
    settings = {"retain": str(folder)}
    with contextlib.contextmanager(hand_made)(NODE) as cgroups, running_agent(NODE, settings) as agent:
        job = Job(agent, cgroups, 1).begin()
        process = Process(agent, job)
        process(f"!r = memory.open_region('model', {SIZE}, create=True, retain=True); r.view[:] = b'w' * {SIZE}")
        assert process("r.taken.name") == "'TAKEN'", process("r.taken")
        process.kill()
        job.end()
        agent.end(signal.SIGKILL)
        subprocess.run(["umount", folder], check=True)
        subprocess.run(mount, check=True)
        agent.start()
        later = Job(agent, cgroups, 2).begin()
        other = Process(agent, later)
        other("!r = memory.open_region('model')")
        assert other(f"r.size, bytes(r.view) == b'w' * {SIZE}") == f"({SIZE}, True)"
        other("!memory.drop_region('model'); r.close()")
        until(lambda: not regions(agent), "the dropped region to end", 60)
        later.end()
    print("retained")


if __name__ == "__main__":
    main()
