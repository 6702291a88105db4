/* What --tier-stage and --tier-scratch give to a task: TIERWISE_STAGE and TIERWISE_SCRATCH in its environment. */
#ifndef TIERWISE_FILES_H
#define TIERWISE_FILES_H

#include "step.h"

/* Ask the agent for the job's folders and show them to the task that is being started; nothing is asked where the job
 * wants none. Waits at most as long as the job's owner said (--tier-stage-wait). Called as the task's user. What can't
 * be had is said on the job's standard error, and its variable is not set. */
void files_show(spank_t spank, const struct step *step);

#endif
