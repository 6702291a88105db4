"""In a job on a virtual node: allocate by each hint, touch all of it, and say where it lies: one JSON line."""

import json
import sys

from tierwise import memory

HINTS = ("lat", "bw", "cap", "shl", "lat,bw", "bw,cap", "lat,cap")


def main() -> None:
    size = int(sys.argv[1])
    found = {}
    for hint in HINTS:
        with memory.allocate(size, hint) as held:
            held.view[::4096] = bytes(size // 4096)
            found[hint] = {"where": memory.where(held), "taken": held.taken.name, "reason": held.reason}
    print(json.dumps(found))


if __name__ == "__main__":
    main()
