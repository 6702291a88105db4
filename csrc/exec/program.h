/* The real runtime: the first in PATH that is not this program under its name. */
#ifndef TIERWISE_PROGRAM_H
#define TIERWISE_PROGRAM_H

#include <limits.h>
#include <stdbool.h>

/* Write the path of the first of `names` (a NULL behind the last) that PATH leads to into `path`. False: there is
 * none. */
bool program_find(const char *const names[], char path[PATH_MAX]);

#endif
