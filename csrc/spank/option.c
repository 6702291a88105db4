#include "option.h"

#include "terminal.h"

#include <string.h>

static int check(int value, const char *argument, int remote);

static struct spank_option tier = {
	.name = "tier",
	.arginfo = "CLASS[:SIZE],...",
	.usage = "memory the job needs: lat, bw, cap or shl, each with a size per node (2G, 30%), one without; auto; off",
	.has_arg = 1,
	.cb = check,
};

/* An option's callback gets neither a handle nor arguments. */
static bool off;
static char typed[DIRECTIVE_CANONICAL_SIZE];

bool option_register(spank_t spank, const struct settings *settings)
{
	off = settings->off;
	spank_err_t error = spank_option_register(spank, &tier);
	if (error == ESPANK_SUCCESS)
		return true;
	slurm_error("tierwise: init: could not register --tier: %s", spank_strerror(error));
	return false;
}

/* Slurm calls this for the option in sbatch, salloc, srun and scrontab, for its echo in their environment, and again
 * (`remote`) in slurmstepd, where it is too late to refuse. */
static int check(int value, const char *argument, int remote)
{
	struct directive_error error;

	(void)value;
	if (off || remote)
		return 0;
	if (directive_parse(argument, strlen(argument), typed, &error))
		return 0;
	return terminal_refuse("tier", argument, error.item, error.reason);
}

void option_publish(spank_t spank)
{
	if (!*typed)
		return;
	spank_err_t error = spank_job_control_setenv(spank, "TIER", typed, 1);
	if (error != ESPANK_SUCCESS)
		slurm_error("tierwise: init_post_opt: could not hand --tier to the job: %s; it runs without",
			    spank_strerror(error));
}

/* `text` in its canonical form, "" where it is not in the grammar: a job can change its environment. */
static void canonicalize(const char *text, char canonical[DIRECTIVE_CANONICAL_SIZE])
{
	struct directive_error error;

	if (!directive_parse(text, strlen(text), canonical, &error))
		*canonical = '\0';
}

/* Steps inherit the job's directive through their srun, but a step with --export=NONE, and a batch script whose sbatch
 * had it, only through what option_publish set. In a het job's step it is the first component's for all. */
struct option option_of_task(spank_t spank)
{
	char variable[DIRECTIVE_MAX_LENGTH + 1], jobs[DIRECTIVE_CANONICAL_SIZE];
	struct option option = {.own = false};
	char *typed_here = NULL;

	if (spank_getenv(spank, "SLURM_SPANK_TIER", variable, sizeof variable) != ESPANK_SUCCESS)
		*variable = '\0';
	canonicalize(variable, jobs);
	if (spank_option_getopt(spank, &tier, &typed_here) == ESPANK_SUCCESS && typed_here)
		canonicalize(typed_here, option.directive);
	else
		strcpy(option.directive, jobs);
	option.own = strcmp(option.directive, jobs) != 0;
	return option;
}
