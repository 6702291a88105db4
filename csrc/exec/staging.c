#include "staging.h"

#include "agent.h"
#include "number.h"
#include "printable.h"
#include "say.h"
#include "settings.h"

#include <errno.h>
#include <glob.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

enum {
	DEFAULT_WAIT_S = 30, /* without TIERWISE_STAGE_WAIT and --tier-stage-wait */
	LONGEST_WAIT_S = 3600,
	BEAT_S = 1,         /* between two looks at how far the copy is */
	PATIENCE_MS = 5000, /* beside the wait: the agent may be busy */
};

static const char every_socket[] = "/run/tierwise/agent-*.sock";

/* What is asked, and of whom. */
struct question {
	const char *image, *file; /* as it was called, and what that leads to; the caller's */
	struct stat status;
	char socket[PATH_MAX]; /* empty until it is known which of this host's agents answers */
};

static int64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static int longest_wait(void)
{
	static const char *const names[] = {"TIERWISE_STAGE_WAIT", "SLURM_SPANK_TIER_STAGE_WAIT"};

	for (int i = 0; i < 2; i++) {
		const char *text = getenv(names[i]);

		if (text && number_is(text, strlen(text))) {
			uint64_t wait = number_value(text, strlen(text));

			return wait < LONGEST_WAIT_S ? (int)wait : LONGEST_WAIT_S;
		}
	}
	return DEFAULT_WAIT_S;
}

/* Where the agent must be, as the SPANK plugin or the user says, or as this task's node is called. */
static void choose_socket(char socket[PATH_MAX])
{
	const struct settings settings = {.socket = SETTINGS_DEFAULT_SOCKET};
	const char *given = getenv("TIERWISE_SOCKET"), *node = getenv("SLURMD_NODENAME");

	if (given && *given)
		snprintf(socket, PATH_MAX, "%s", given);
	else if (!node || !settings_socket(&settings, node, socket, PATH_MAX))
		*socket = '\0';
}

/* Ask the agent at `socket`, which may wait `wait` seconds for the copy. False with errno: there is no answer. */
static bool ask_at(const char *socket, const struct question *question, int wait, struct staging *staging)
{
	const struct timespec *changed = &question->status.st_mtim;
	struct lines_request request = {.length = 0};

	lines_add(&request, "op", "stage");
	lines_add(&request, "path", question->file);
	lines_add_number(&request, "device", question->status.st_dev);
	lines_add_number(&request, "inode", question->status.st_ino);
	lines_add_number(&request, "mtime_ns", (uint64_t)changed->tv_sec * 1000000000 + (uint64_t)changed->tv_nsec);
	lines_add_number(&request, "wait", (uint64_t)wait);
	if (!lines_close(&request))
		return false;
	ssize_t got = agent_ask(socket, request.text, request.length, staging->bytes, LINES_MAX_MESSAGE,
				wait * 1000 + PATIENCE_MS);
	return got >= 0 && lines_decode(staging->bytes, (size_t)got, &staging->lines);
}

/* Ask this host's agents, one after the other, until one answers: it is the one to ask from now on. */
static bool ask_any(struct question *question, int wait, struct staging *staging)
{
	bool answered = false;
	glob_t found;

	errno = ENOENT;
	if (glob(every_socket, 0, NULL, &found) != 0)
		return false;
	for (size_t i = 0; i < found.gl_pathc && !answered; i++)
		if ((answered = ask_at(found.gl_pathv[i], question, wait, staging)))
			snprintf(question->socket, PATH_MAX, "%s", found.gl_pathv[i]);
	int error = errno;
	globfree(&found);
	errno = error;
	return answered;
}

/* Whether there is an answer that is no refusal; else it is said why. */
static bool ask(struct question *question, int wait, struct staging *staging)
{
	const char *socket = question->socket, *reason = "refused";
	char text[LINES_MAX_REQUEST];

	if (!(*socket ? ask_at(socket, question, wait, staging) : ask_any(question, wait, staging))) {
		if (errno == ENOENT || errno == ECONNREFUSED)
			say("no agent runs here (%s): the plain command runs", *socket ? socket : every_socket);
		else
			say("the agent did not answer (%s): %s is read where it is", strerror(errno), question->image);
		return false;
	}
	if (strcmp(lines_get(&staging->lines, "status"), "ok") == 0)
		return true;
	if (*lines_get(&staging->lines, "reason"))
		reason = printable(text, sizeof text, lines_get(&staging->lines, "reason"));
	say("%s: the plain command runs", reason);
	return false;
}

static bool is_ready(const struct staging *staging)
{
	return strcmp(lines_get(&staging->lines, "state"), "ready") == 0;
}

static uint64_t mebibytes(const struct staging *staging, const char *key)
{
	const char *text = lines_get(&staging->lines, key);

	return number_is(text, strlen(text)) ? number_value(text, strlen(text)) >> 20 : 0;
}

static void say_begin(const struct question *question, const struct staging *staging, int wait)
{
	char tier[PRINTABLE_SHORT];

	printable(tier, sizeof tier, lines_get(&staging->lines, "tier"));
	say("staging %s (%" PRIu64 " MiB) on %s, for at most %d s", question->image, mebibytes(staging, "size"), tier,
	    wait);
}

/* Ask until the copy is whole or the wait is over. False: the agent's answers are none. */
static bool follow(struct question *question, struct staging *staging)
{
	int wait = longest_wait();
	int64_t deadline = now_ms() + wait * 1000;

	if (!ask(question, wait < BEAT_S ? wait : BEAT_S, staging))
		return false;
	if (!is_ready(staging) && now_ms() < deadline)
		say_begin(question, staging, wait);
	while (!is_ready(staging) && now_ms() < deadline)
		if (!ask(question, BEAT_S, staging))
			return false;
	if (!is_ready(staging))
		say("%s is not staged after %d s (%" PRIu64 " of %" PRIu64 " MiB): it is read where it is",
		    question->image, wait, mebibytes(staging, "copied"), mebibytes(staging, "size"));
	return true;
}

void staging_ask(const char *path, struct staging *staging)
{
	struct question question = {.image = path};
	char *file = realpath(path, NULL);
	bool answered = false;

	question.file = file;
	choose_socket(question.socket);
	if (file && stat(file, &question.status) == 0 &&
	    (S_ISREG(question.status.st_mode) || S_ISDIR(question.status.st_mode)))
		answered = follow(&question, staging);
	if (!answered)
		staging->lines.count = 0;
	free(file);
}
