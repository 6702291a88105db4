"""The Slurm client: what tierwise.slurm.Slurm promises, by Slurm's own commands, one adapter for each release."""
