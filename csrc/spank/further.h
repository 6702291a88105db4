/* The options that begin with --tier-: checked where they are typed, found again where the task runs. */
#ifndef TIERWISE_FURTHER_H
#define TIERWISE_FURTHER_H

#include "settings.h"
#include "value.h"

#include <stdint.h> /* before spank.h: it uses uint32_t without saying so */

#include <slurm/spank.h>

/* The order of their rows in further.c. */
enum further {
	FURTHER_STAGE,
	FURTHER_STAGE_WAIT,
	FURTHER_SCRATCH,
	FURTHER_NET,
	FURTHER_LATENCY,
	FURTHER_RETRY,
	FURTHER_ENV,
};

/* Register all of them with the plugin stack. Only from slurm_spank_init. What Slurm refuses is logged. */
void further_register(spank_t spank, const struct settings *settings);

/* Hand what was typed to job_submit, prolog and epilog, each as its variable of the job control environment:
 * TIER_STAGE is SPANK_TIER_STAGE in the prolog and SLURM_SPANK_TIER_STAGE in the job's own steps. Only in the local
 * and allocator contexts. */
void further_publish(spank_t spank);

/* The canonical value of `option` for the task that is being started, "" without one or where it can't be one. */
void further_of_task(spank_t spank, enum further option, char canonical[VALUE_SIZE]);

#endif
