/* The option --tier: where it is typed, its grammar is checked; where the task runs, its value is found again. */
#ifndef TIERWISE_OPTION_H
#define TIERWISE_OPTION_H

#include "directive.h"
#include "settings.h"

#include <stdbool.h>
#include <stdint.h>

#include <slurm/spank.h>

/* Register --tier with the plugin stack. Only from slurm_spank_init. False if Slurm refuses; logged. */
bool option_register(spank_t spank, const struct settings *settings);

/* Hand the directive that was typed to job_submit, prolog and epilog: TIER in the job control environment, which they
 * see as SPANK_TIER and the job's own steps as SLURM_SPANK_TIER. Only in the local and allocator contexts. */
void option_publish(spank_t spank);

/* What a task starts under. */
struct option {
	char directive[DIRECTIVE_CANONICAL_SIZE]; /* "" without one, or where it is not in the grammar */
	bool own;                                 /* typed for this step: srun --tier inside a job */
};

/* The directive of the job or step whose task is being started. Only in slurmstepd's task functions. */
struct option option_of_task(spank_t spank);

#endif
