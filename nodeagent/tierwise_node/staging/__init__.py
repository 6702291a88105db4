"""Read-only copies of images and data on fast memory, shared by the jobs of this node.

Each tier has a tmpfs of its own (`mounts`), which nobody but root can write to. A small process with the owner's uid
(`copying`) makes a copy under a private name, and only a whole and verified one gets its name from its content
(`copies`). `stage` decides who gets which: quotas, holders, leases; `links` shows a job what it asked for.
"""
