"""The part that runs on the virtual node: environments, jobs, and the programs that are measured."""
