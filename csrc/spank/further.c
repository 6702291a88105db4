#include "further.h"

#include "terminal.h"

#include <string.h>

static int check(int value, const char *argument, int remote);

/* All of them. `val` is a row's own number: Slurm hands it to check. */
static struct row {
	struct spank_option option;
	const char *variable;
	value_check *check;
	char typed[VALUE_SIZE];
} rows[] = {
	[FURTHER_STAGE] = {
		{.name = "tier-stage", .arginfo = "PATH[,PATH...]",
		 .usage = "files and folders that the job reads: copied once per node to fast memory, see $TIERWISE_STAGE"},
		"TIER_STAGE", value_paths, ""},
	[FURTHER_STAGE_WAIT] = {
		{.name = "tier-stage-wait", .arginfo = "SECONDS",
		 .usage = "wait at most so long for --tier-stage before the job reads the originals (default 5)"},
		"TIER_STAGE_WAIT", value_seconds, ""},
	[FURTHER_SCRATCH] = {
		{.name = "tier-scratch", .arginfo = "SIZE",
		 .usage = "a private folder of this size per node on the slower memory, in $TIERWISE_SCRATCH"},
		"TIER_SCRATCH", value_size, ""},
	[FURTHER_NET] = {
		{.name = "tier-net", .arginfo = "RATE",
		 .usage = "network rate that the job needs per node, in bytes/s (500M)"},
		"TIER_NET", value_rate, ""},
	[FURTHER_LATENCY] = {
		{.name = "tier-latency", .arginfo = "TIME",
		 .usage = "network latency that the job tolerates (50us, 2ms)"},
		"TIER_LATENCY", value_latency, ""},
	[FURTHER_RETRY] = {
		{.name = "tier-retry", .arginfo = "N",
		 .usage = "requeue the job up to N times (0 to 9) with a mended request"},
		"TIER_RETRY", value_retry, ""},
	[FURTHER_ENV] = {
		{.name = "tier-env", .arginfo = "tf|torch",
		 .usage = "environment to set up: tf for TensorFlow, torch for PyTorch"},
		"TIER_ENV", value_env, ""},
};
enum { ROWS = sizeof rows / sizeof *rows };

static bool off; /* an option's callback gets neither a handle nor arguments */

void further_register(spank_t spank, const struct settings *settings)
{
	off = settings->off;
	for (int i = 0; i < ROWS; i++) {
		rows[i].option.has_arg = 1;
		rows[i].option.val = i;
		rows[i].option.cb = check;
		spank_err_t error = spank_option_register(spank, &rows[i].option);
		if (error != ESPANK_SUCCESS)
			slurm_error("tierwise: init: could not register --%s: %s", rows[i].option.name,
				    spank_strerror(error));
	}
}

/* See check in option.c: the same calls, for each of these options. */
static int check(int value, const char *argument, int remote)
{
	if (off || remote || value < 0 || value >= ROWS)
		return 0;
	const char *wrong = rows[value].check(argument, rows[value].typed);
	return wrong ? terminal_refuse(rows[value].option.name, argument, 0, wrong) : 0;
}

void further_publish(spank_t spank)
{
	for (int i = 0; i < ROWS; i++) {
		if (!*rows[i].typed)
			continue;
		spank_err_t error = spank_job_control_setenv(spank, rows[i].variable, rows[i].typed, 1);
		if (error != ESPANK_SUCCESS)
			slurm_error("tierwise: init_post_opt: could not hand --%s to the job: %s; it runs without",
				    rows[i].option.name, spank_strerror(error));
	}
}

void further_of_task(spank_t spank, enum further option, char canonical[VALUE_SIZE])
{
	char name[64] = "SLURM_SPANK_", text[VALUE_SIZE];
	char *typed_here = NULL;

	strcat(name, rows[option].variable);
	if (spank_option_getopt(spank, &rows[option].option, &typed_here) == ESPANK_SUCCESS && typed_here) {
		if (rows[option].check(typed_here, canonical))
			*canonical = '\0';
		return;
	}
	if (spank_getenv(spank, name, text, sizeof text) != ESPANK_SUCCESS || rows[option].check(text, canonical))
		*canonical = '\0';
}
