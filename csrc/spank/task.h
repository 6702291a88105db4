/* What the plugin does on a node: at the start of each task, and at the end of a step. */
#ifndef TIERWISE_TASK_H
#define TIERWISE_TASK_H

#include "settings.h"

#include <stdint.h>

#include <slurm/spank.h>

/* Ask the agent about this task's job and set the memory policy that it answers. Called in the task's own process, as
 * its user, after Slurm's --mem-bind. Whatever fails is logged once per step and node, and the task starts with the
 * kernel's default policy. */
void task_start(spank_t spank, const struct settings *settings);

/* Tell the agent, when the last task of this node's part of a step has ended, to look at the job's cgroup once more.
 * Called as root after each task. Not in slurm_spank_exit: a job's memory cgroup is gone by then (seen in 22.05). */
void task_end(spank_t spank, const struct settings *settings);

#endif
