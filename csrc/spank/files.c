#include "files.h"

#include "further.h"
#include "printable.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
	DEADLINE_MS = 3000, /* beside the wait: scratch is mounted, and the agent may be busy */
	DEFAULT_WAIT_S = 5, /* docs/protocol.md, stage_job */
};

/* A folder that the task can't enter is none: a job container may hide what was mounted after its start. */
static void show(spank_t spank, const struct step *step, const char *name, const char *path, int rights)
{
	char text[PRINTABLE_LONG];

	if (*path && access(path, rights) == 0)
		spank_setenv(spank, name, path, 1);
	else if (*path && step->speaks)
		slurm_error("tierwise: job %u: %s is not set: %s can't be entered from this job: %m", step->job_id, name,
			    printable(text, sizeof text, path));
}

void files_show(spank_t spank, const struct step *step)
{
	static const char *const keys[] = {
		[FURTHER_STAGE] = "stage", [FURTHER_STAGE_WAIT] = "stage_wait", [FURTHER_SCRATCH] = "scratch",
	};
	char value[VALUE_SIZE], text[PRINTABLE_LONG];
	struct lines_request request = {.length = 0};
	int wait = DEFAULT_WAIT_S;
	bool wanted = false;
	struct answer answer;

	step_request(spank, step, "stage_job", &request);
	for (int i = 0; i < (int)(sizeof keys / sizeof *keys); i++) {
		further_of_task(spank, (enum further)i, value);
		if (!*value)
			continue;
		lines_add(&request, keys[i], value);
		if (i == FURTHER_STAGE_WAIT)
			wait = atoi(value);
		else
			wanted = true;
	}
	if (!wanted)
		return;
	if (!step_ask(step, "task_init", &request, DEADLINE_MS + wait * 1000, &answer)) {
		if (step->speaks)
			slurm_error("tierwise: job %u: the agent does not answer: nothing is staged, there is no scratch",
				    step->job_id);
		return;
	}
	const char *said = lines_get(&answer.lines, *lines_get(&answer.lines, "reason") ? "reason" : "notice");
	if (*said && step->speaks)
		slurm_error("tierwise: job %u: %s", step->job_id, printable(text, sizeof text, said));
	show(spank, step, "TIERWISE_STAGE", lines_get(&answer.lines, "stage"), R_OK | X_OK);
	show(spank, step, "TIERWISE_SCRATCH", lines_get(&answer.lines, "scratch"), R_OK | W_OK | X_OK);
}
