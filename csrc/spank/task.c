#include "task.h"

#include "agent.h"
#include "lines.h"
#include "option.h"
#include "policy.h"
#include "printable.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

enum {
	TASK_DEADLINE_MS = 2000, /* the agent may be making room; it answers at once when it isn't */
	EXIT_DEADLINE_MS = 1000,
	MAX_ANSWER = 8 * 1024, /* on the stack, which a user's ulimit may keep small */
};

/* Who asks. */
struct step {
	uint32_t job_id;
	uint32_t step_id;
	bool speaks; /* one task of this node logs for all */
	char socket[sizeof((struct sockaddr_un *)0)->sun_path];
};

/* An answer's fields and the bytes that they point into. */
struct answer {
	struct lines_answer lines;
	char bytes[MAX_ANSWER + 1];
};

/* slurmstepd has its NodeName in its own environment, where no job can change it (seen in 22.05, 24.11 and 26.05). */
static bool find_step(spank_t spank, const struct settings *settings, const char *phase, struct step *step)
{
	const char *node = getenv("SLURMD_NODENAME");
	int task = 0;

	if (spank_get_item(spank, S_JOB_ID, &step->job_id) != ESPANK_SUCCESS ||
	    spank_get_item(spank, S_JOB_STEPID, &step->step_id) != ESPANK_SUCCESS) {
		slurm_info("tierwise: %s: Slurm does not say which job this is", phase);
		return false;
	}
	step->speaks = spank_get_item(spank, S_TASK_ID, &task) != ESPANK_SUCCESS || task == 0;
	if (settings_socket(settings, node ? node : "", step->socket, sizeof step->socket))
		return true;
	if (step->speaks)
		slurm_info("tierwise: %s: job %u: no path for the agent's socket from %s and NodeName '%s': %m", phase,
			   step->job_id, settings->socket, node ? node : "");
	return false;
}

/* True: `answer` holds what the agent said. False: nothing useful, and that is logged. */
static bool ask(const struct step *step, const char *phase, struct lines_request *request, int deadline_ms,
		struct answer *answer)
{
	ssize_t length = -1;

	if (lines_close(request))
		length = agent_ask(step->socket, request->text, request->length, answer->bytes, MAX_ANSWER, deadline_ms);
	if (length >= 0 && lines_decode(answer->bytes, (size_t)length, &answer->lines))
		return true;
	if (step->speaks)
		slurm_info("tierwise: %s: job %u: asked the agent at %s in vain: %m", phase, step->job_id, step->socket);
	return false;
}

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
	uid_t uid = 0;

	spank_get_item(spank, S_JOB_UID, &uid);
	lines_add(&request, "op", "task");
	lines_add_number(&request, "job_id", step->job_id);
	lines_add_number(&request, "step", step->step_id);
	lines_add_number(&request, "uid", uid);
	lines_add(&request, "tier", directive);
	lines_add_number(&request, "mem", allocated_memory(spank));
	lines_add_number(&request, "restart", restart_count(spank));
	lines_add_number(&request, "policy_set", policy_set);
	return ask(step, "task_init", &request, TASK_DEADLINE_MS, answer);
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

void task_start(spank_t spank, const struct settings *settings)
{
	struct option option = option_of_task(spank);
	bool policy_set = policy_is_set();
	char reason[PRINTABLE_LONG];
	struct answer answer;
	struct step step;

	if (!find_step(spank, settings, "task_init", &step) ||
	    !ask_about_task(spank, &step, option.directive, policy_set, &answer))
		return;
	if (*option.directive && is_status(&answer, "refused")) {
		if (option.own && step.speaks)
			tell_refusal(&step, option.directive, lines_get(&answer.lines, "reason"));
		if (!ask_about_task(spank, &step, "", policy_set, &answer)) /* under the job's plan, then */
			return;
	}
	if (!is_status(&answer, "ok")) {
		if (step.speaks)
			slurm_verbose("tierwise: task_init: job %u: no plan: %s", step.job_id,
				      printable(reason, sizeof reason, lines_get(&answer.lines, "reason")));
		return;
	}
	if (!policy_set)
		set_policy(&step, &answer.lines);
}

void task_end(spank_t spank, const struct settings *settings)
{
	static uint32_t ended; /* one slurmstepd, one step, one thread that waits for its tasks */
	struct lines_request request = {.length = 0};
	uint32_t tasks = 0;
	struct answer answer;
	struct step step;

	spank_get_item(spank, S_JOB_LOCAL_TASK_COUNT, &tasks);
	if (++ended < tasks || !find_step(spank, settings, "task_exit", &step))
		return;
	step.speaks = true; /* it is the last */
	lines_add(&request, "op", "exit");
	lines_add_number(&request, "job_id", step.job_id);
	lines_add_number(&request, "step", step.step_id);
	ask(&step, "task_exit", &request, EXIT_DEADLINE_MS, &answer);
}
