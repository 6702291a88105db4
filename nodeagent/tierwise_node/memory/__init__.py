"""What the user library asks for: memory on the node's tiers, granted within a job's rights, and named regions.

A process has one connection, its `session`; what it was granted (`pieces`) ends with it, however the process ends.
Regions (`regions`) belong to a user, and end when the kernel says that nobody has them open.
"""
