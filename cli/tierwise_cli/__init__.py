"""tierctl: what every tier of every node holds, what a job was promised and what it got, and what works here.

`commands` ask the decision service and the local agent, `show` turns their messages into what a person looks at (pure:
values in, rich renderables out), `mechanisms` holds doctor's look at Slurm.
"""
