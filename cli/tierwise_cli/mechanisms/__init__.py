"""Doctor's look at Slurm and at our own daemons: one `Mechanism` a row, each with the reason for its state."""
