#define _GNU_SOURCE /* program_invocation_short_name */
#include "terminal.h"

#include "printable.h"

#include <errno.h>
#include <stdbool.h>
#include <stdint.h> /* before spank.h: it uses uint32_t without saying so */
#include <stdlib.h>
#include <string.h>

#include <slurm/spank.h>

/* Whether this program only submits: nothing has been sent or allocated yet, and nobody's text is in an editor. */
static bool only_submits(void)
{
	static const char *const programs[] = {"sbatch", "salloc", "srun"};

	for (size_t i = 0; i < sizeof programs / sizeof *programs; i++)
		if (strcmp(program_invocation_short_name, programs[i]) == 0)
			return true;
	return false;
}

int terminal_refuse(const char *option, const char *argument, unsigned item, const char *reason)
{
	char echo[PRINTABLE_SHORT];

	printable(echo, sizeof echo, argument);
	if (item)
		slurm_error("tierwise: --%s=%s: item %u: %s", option, echo, item, reason);
	else
		slurm_error("tierwise: --%s=%s: %s", option, echo, reason);
	if (only_submits())
		exit(1);
	return -1;
}
