/* The step whose task Slurm is starting or ending, and its node's agent. */
#ifndef TIERWISE_STEP_H
#define TIERWISE_STEP_H

#include "lines.h"
#include "settings.h"

#include <stdbool.h>
#include <stdint.h> /* before spank.h: it uses uint32_t without saying so */
#include <sys/un.h>

#include <slurm/spank.h>

enum { STEP_MAX_ANSWER = 8 * 1024 }; /* on the stack, which a user's ulimit may keep small */

struct step {
	uint32_t job_id;
	uint32_t step_id;
	bool speaks; /* one task of this node logs for all */
	char socket[sizeof((struct sockaddr_un *)0)->sun_path];
};

/* An answer's fields and the bytes that they point into. */
struct answer {
	struct lines_answer lines;
	char bytes[STEP_MAX_ANSWER + 1];
};

/* Fill in `step`. False where Slurm doesn't say which it is, or no socket's path comes of it; logged with `phase`. */
bool step_find(spank_t spank, const struct settings *settings, const char *phase, struct step *step);

/* Begin a request about the step's job: op, job_id, step and the job's uid. */
void step_request(spank_t spank, const struct step *step, const char *op, struct lines_request *request);

/* True: `answer` holds what the agent said. False: nothing useful, and that is logged. */
bool step_ask(const struct step *step, const char *phase, struct lines_request *request, int deadline_ms,
	      struct answer *answer);

#endif
