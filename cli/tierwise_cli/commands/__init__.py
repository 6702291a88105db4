"""tierctl's commands, one a file: ask, then show."""
