"""The lab: a virtual cluster with real kernels, real tiers and a real Slurm, on any laptop."""
