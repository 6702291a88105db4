"""The per-node daemon: it knows the tiers, plans jobs, moves their pages where the plan says, and reports."""
