"""Which memory of each job is hot: the trackers, the choice among them, their budget, and what they saw."""
