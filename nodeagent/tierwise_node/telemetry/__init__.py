"""What the node is busy with, measured at a rate that adapts, kept on disk until the decision service has it."""
