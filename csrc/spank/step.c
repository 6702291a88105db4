#include "step.h"

#include "agent.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/types.h>

/* slurmstepd has its NodeName in its own environment, where no job can change it (seen in 22.05, 24.11 and 26.05). */
bool step_find(spank_t spank, const struct settings *settings, const char *phase, struct step *step)
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

void step_request(spank_t spank, const struct step *step, const char *op, struct lines_request *request)
{
	uid_t uid = 0;

	spank_get_item(spank, S_JOB_UID, &uid);
	lines_add(request, "op", op);
	lines_add_number(request, "job_id", step->job_id);
	lines_add_number(request, "step", step->step_id);
	lines_add_number(request, "uid", uid);
}

bool step_ask(const struct step *step, const char *phase, struct lines_request *request, int deadline_ms,
	      struct answer *answer)
{
	ssize_t length = -1;

	if (lines_close(request))
		length = agent_ask(step->socket, request->text, request->length, answer->bytes, STEP_MAX_ANSWER, deadline_ms);
	if (length >= 0 && lines_decode(answer->bytes, (size_t)length, &answer->lines))
		return true;
	if (step->speaks)
		slurm_info("tierwise: %s: job %u: asked the agent at %s in vain: %m", phase, step->job_id, step->socket);
	return false;
}
