"""tierwise-exec: `apptainer exec` (and run, shell) with the image on fast memory. Only the standard library, and little
of it, is imported here: what this adds to a container's start is felt at every start."""
