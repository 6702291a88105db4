#include "task.h"

#include "files.h"
#include "further.h"
#include "lines.h"
#include "option.h"
#include "policy.h"
#include "printable.h"
#include "step.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum {
	TASK_DEADLINE_MS = 2000, /* the agent may be making room; it answers at once when it isn't */
	EXIT_DEADLINE_MS = 1000,
};

static uint64_t allocated_memory(spank_t spank)
{
	uint64_t mib = 0;

	if (spank_get_item(spank, S_JOB_ALLOC_MEM, &mib) != ESPANK_SUCCESS || mib > UINT64_MAX >> 20)
		return 0;
	return mib << 20;
}

/* The environment first: slurmstepd leaves S_SLURM_RESTART_COUNT at 0 (seen in 22.05 and 24.11). */
static uint32_t restart_count(spank_t spank)
{
	char text[16];
	uint32_t count = 0;

	if (spank_getenv(spank, "SLURM_RESTART_COUNT", text, sizeof text) == ESPANK_SUCCESS)
		return (uint32_t)strtoul(text, NULL, 10);
	spank_get_item(spank, S_SLURM_RESTART_COUNT, &count);
	return count;
}

static bool ask_about_task(spank_t spank, const struct step *step, const char *directive, bool policy_set,
			   struct answer *answer)
{
	struct lines_request request = {.length = 0};

	step_request(spank, step, "task", &request);
	lines_add(&request, "tier", directive);
	lines_add_number(&request, "mem", allocated_memory(spank));
	lines_add_number(&request, "restart", restart_count(spank));
	lines_add_number(&request, "policy_set", policy_set);
	return step_ask(step, "task_init", &request, TASK_DEADLINE_MS, answer);
}

/* slurm_error is what a step's user sees on their own stderr; slurm_info only goes to slurmd's log. */
static void tell_refusal(const struct step *step, const char *directive, const char *reason)
{
	char text[PRINTABLE_LONG];

	slurm_error("tierwise: job %u: --tier=%s: %s; the step runs under the job's plan", step->job_id, directive,
		    printable(text, sizeof text, *reason ? reason : "refused without a reason"));
}

static void set_policy(const struct step *step, const struct lines_answer *lines)
{
	const char *kind = lines_get(lines, "policy");
	const char *nodes = lines_get(lines, "nodes");
	char kind_text[PRINTABLE_SHORT], nodes_text[PRINTABLE_SHORT], degraded[PRINTABLE_LONG];
	const char *name = NULL;
	struct policy policy;

	printable(kind_text, sizeof kind_text, kind);
	printable(nodes_text, sizeof nodes_text, nodes);
	if (policy_parse(kind, nodes, lines_get(lines, "numa_balancing"), &policy))
		name = policy_apply(&policy);
	if (!step->speaks)
		return;
	if (name)
		slurm_verbose("tierwise: task_init: job %u: memory policy %s on nodes '%s'", step->job_id, name,
			      nodes_text);
	else
		slurm_info("tierwise: task_init: job %u: memory policy '%s' on nodes '%s' not set: %m", step->job_id,
			   kind_text, nodes_text);
	if (*lines_get(lines, "degraded"))
		slurm_verbose("tierwise: task_init: job %u: its plan is degraded: %s", step->job_id,
			      printable(degraded, sizeof degraded, lines_get(lines, "degraded")));
}

static bool is_status(const struct answer *answer, const char *status)
{
	return strcmp(lines_get(&answer->lines, "status"), status) == 0;
}

/* Ask for the task's memory policy and set it. */
static void set_up_memory(spank_t spank, const struct step *step)
{
	struct option option = option_of_task(spank);
	bool policy_set = policy_is_set();
	char reason[PRINTABLE_LONG];
	struct answer answer;

	if (!ask_about_task(spank, step, option.directive, policy_set, &answer))
		return;
	if (*option.directive && is_status(&answer, "refused")) {
		if (option.own && step->speaks)
			tell_refusal(step, option.directive, lines_get(&answer.lines, "reason"));
		if (!ask_about_task(spank, step, "", policy_set, &answer)) /* under the job's plan, then */
			return;
	}
	if (!is_status(&answer, "ok")) {
		if (step->speaks)
			slurm_verbose("tierwise: task_init: job %u: no plan: %s", step->job_id,
				      printable(reason, sizeof reason, lines_get(&answer.lines, "reason")));
	} else if (!policy_set) {
		set_policy(step, &answer.lines);
	}
}

/* For the task prolog, which comes after us: a step's own option is in no environment, else. */
static void show_environment_option(spank_t spank)
{
	char value[VALUE_SIZE];

	further_of_task(spank, FURTHER_ENV, value);
	if (*value)
		spank_setenv(spank, "SLURM_SPANK_TIER_ENV", value, 1);
}

void task_start(spank_t spank, const struct settings *settings)
{
	struct step step;

	show_environment_option(spank);
	if (!step_find(spank, settings, "task_init", &step))
		return;
	set_up_memory(spank, &step); /* an answer that comes too late costs the policy, not the files: they may be waited for */
	spank_setenv(spank, "TIERWISE_SOCKET", step.socket, 1); /* for libtierwise and tierwise-exec */
	files_show(spank, &step);
}

void task_end(spank_t spank, const struct settings *settings)
{
	static uint32_t ended; /* one slurmstepd, one step, one thread that waits for its tasks */
	struct lines_request request = {.length = 0};
	uint32_t tasks = 0;
	struct answer answer;
	struct step step;

	spank_get_item(spank, S_JOB_LOCAL_TASK_COUNT, &tasks);
	if (++ended < tasks || !step_find(spank, settings, "task_exit", &step))
		return;
	step.speaks = true; /* it is the last */
	step_request(spank, &step, "exit", &request);
	step_ask(&step, "task_exit", &request, EXIT_DEADLINE_MS, &answer);
}
