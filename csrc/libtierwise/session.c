/* The session with the node's agent: one connection for each process, opened when first needed and kept, so that the
 * agent sees the process end however it ends. What was granted is remembered here, to be claimed again from an agent
 * that was restarted. */
#define _GNU_SOURCE
#include "internal.h"

#include "claims.h"
#include "wire.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int connection = -1;
static int64_t quiet_until; /* nobody is asked before; `silence` and `silence_reason` say why */
static int silence;
static char silence_reason[REASON];
static struct tier tiers[MAX_TIERS];
static unsigned tier_count;
static struct claims claims;
static struct answer answer = {.descriptor = -1}; /* under the lock: too large for a thread's stack */

static int64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void disconnect(void)
{
	if (connection >= 0)
		close(connection);
	connection = -1;
}

static const char *field(const char *key)
{
	return lines_get(&answer.lines, key);
}

static bool is_ok(void)
{
	return strcmp(field("status"), "ok") == 0;
}

/* One question on the connection. False, and disconnected, if there is no answer. */
static bool exchange(struct lines_request *request)
{
	if (wire_ask(connection, request, &answer))
		return true;
	int error = errno;
	disconnect();
	errno = error;
	return false;
}

static void be_quiet(int status, const char *format, const char *path, const char *why)
{
	quiet_until = now_ms() + RETRY_MS;
	silence = status;
	snprintf(silence_reason, sizeof silence_reason, format, path, why);
	disconnect();
}

static void add_range(struct lines_request *request, const void *start, size_t size)
{
	lines_add_number(request, "at", (uintptr_t)start);
	lines_add_number(request, "size", size);
}

static void ask_for_range(struct lines_request *request, const void *start, size_t size, unsigned hint)
{
	char text[TIER_NAME + 8];

	hint_text(hint, text);
	lines_add(request, "op", "memory_alloc");
	add_range(request, start, size);
	lines_add(request, "hint", text);
}

/* Open the session and claim what an earlier one had been granted. */
static bool begin(void)
{
	struct lines_request request = {.length = 0};
	char path[512], text[MAX_ANSWER];

	if (now_ms() < quiet_until)
		return false;
	wire_path(path, sizeof path);
	lines_add(&request, "op", "memory_session");
	connection = wire_dial(path);
	if (connection < 0 || !lines_close(&request) || !exchange(&request)) {
		be_quiet(TIERWISE_NO_AGENT, "no agent answers at %s: %s", path, strerror(errno));
		return false;
	}
	if (!is_ok()) {
		be_quiet(TIERWISE_REFUSED, "the agent at %s refuses: %s", path, field("reason"));
		return false;
	}
	snprintf(text, sizeof text, "%s", field("tiers"));
	if (!parse_tiers(text, tiers, &tier_count)) {
		be_quiet(TIERWISE_NO_AGENT, "the agent at %s answers %s", path, "what is not in the protocol");
		return false;
	}
	for (size_t i = 0; i < claims.count && connection >= 0; i++) {
		const struct claim *claim = &claims.items[i];
		struct lines_request again = {.length = 0};

		ask_for_range(&again, (const void *)claim->start, claim->end - claim->start, claim->hint);
		if (lines_close(&again))
			exchange(&again);
	}
	return connection >= 0;
}

/* Have a session. False with the reason said, and errno ENOTCONN or EACCES. */
static bool connected(void)
{
	if (connection >= 0 || begin())
		return true;
	say("%s", silence_reason);
	errno = silence == TIERWISE_REFUSED ? EACCES : ENOTCONN;
	return false;
}

/* Ask; once more where the session turns out to have ended: the agent may have been restarted. */
static bool ask(struct lines_request *request)
{
	if (!lines_close(request)) {
		say("the question is too long");
		return false;
	}
	for (int attempt = 0; attempt < 2; attempt++) {
		if (!connected())
			return false;
		if (exchange(request))
			return true;
	}
	be_quiet(TIERWISE_NO_AGENT, "%sno answer from the agent: %s", "", strerror(errno));
	say("%s", silence_reason);
	errno = ENOTCONN;
	return false;
}

static bool read_grant(struct grant *grant)
{
	char text[MAX_ANSWER];

	snprintf(text, sizeof text, "%s", field("parts"));
	*grant = (struct grant){
		.spread = strcmp(field("mode"), "spread") == 0,
		.balanced = strcmp(field("balanced"), "1") == 0,
		.partly = *field("degraded") != '\0',
	};
	return parse_parts(text, grant);
}

/* What became of a hint, from the answer that has come. */
static int taken(struct grant *grant)
{
	if (!is_ok()) {
		say("%s", field("reason"));
		return TIERWISE_REFUSED;
	}
	if (!read_grant(grant)) {
		say("the agent answers what is not in the protocol");
		return TIERWISE_NO_AGENT;
	}
	say("%s", field("degraded"));
	return grant->partly ? TIERWISE_PARTLY : TIERWISE_TAKEN;
}

int session_alloc(const void *start, size_t size, unsigned hint, struct grant *grant)
{
	struct lines_request request = {.length = 0};

	ask_for_range(&request, start, size, hint);
	pthread_mutex_lock(&lock);
	int status = ask(&request) ? taken(grant) : silence;
	if (status == TIERWISE_TAKEN || status == TIERWISE_PARTLY)
		claims_add(&claims, (uintptr_t)start, size, hint);
	pthread_mutex_unlock(&lock);
	return status;
}

void session_free(const void *start, size_t size)
{
	struct lines_request request = {.length = 0};

	pthread_mutex_lock(&lock);
	if (claims_cut(&claims, (uintptr_t)start, size) && connection >= 0) {
		lines_add(&request, "op", "memory_free");
		add_range(&request, start, size);
		if (lines_close(&request))
			exchange(&request); /* if it fails the session has ended, and what it held with it */
	}
	pthread_mutex_unlock(&lock);
}

void session_move(const void *from, const void *to, size_t size)
{
	struct lines_request request = {.length = 0};

	pthread_mutex_lock(&lock);
	if (claims_move(&claims, (uintptr_t)from, (uintptr_t)to, size) && connection >= 0) {
		lines_add(&request, "op", "memory_move");
		add_range(&request, from, size);
		lines_add_number(&request, "to", (uintptr_t)to);
		if (lines_close(&request))
			exchange(&request);
	}
	pthread_mutex_unlock(&lock);
}

/* A refusal's errno, by the word that the agent gives. */
static int refusal(void)
{
	static const struct {
		const char *word;
		int error;
	} words[] = {{"absent", ENOENT}, {"exists", EEXIST}, {"name", EINVAL}, {"quota", EDQUOT}, {"retain", ENOTSUP}};

	for (size_t i = 0; i < sizeof words / sizeof *words; i++)
		if (strcmp(field("error"), words[i].word) == 0)
			return words[i].error;
	return EACCES;
}

/* A question about a region: 0, or -1 with errno. `opened`: the answer must bring a descriptor. */
static int ask_about_region(struct lines_request *request, struct region_answer *opened)
{
	int error = 0;

	pthread_mutex_lock(&lock);
	if (!ask(request)) {
		error = errno;
	} else if (!is_ok()) {
		say("%s", field("reason"));
		error = refusal();
	} else if (opened) {
		opened->descriptor = answer.descriptor;
		opened->size = strtoull(field("size"), NULL, 10);
		opened->created = strcmp(field("created"), "1") == 0;
		opened->status = *field("mode") ? taken(&opened->grant) : TIERWISE_NO_HINT;
		if (answer.descriptor < 0) {
			say("the agent's answer holds no descriptor");
			error = EPROTO;
		}
		answer.descriptor = -1;
	}
	if (answer.descriptor >= 0)
		close(answer.descriptor);
	answer.descriptor = -1;
	pthread_mutex_unlock(&lock);
	errno = error;
	return error ? -1 : 0;
}

int session_region_open(const char *name, size_t size, unsigned hint, unsigned options, struct region_answer *opened)
{
	struct lines_request request = {.length = 0};
	char text[TIER_NAME + 8];

	hint_text(hint, text);
	lines_add(&request, "op", "memory_open");
	lines_add(&request, "name", name);
	lines_add_number(&request, "size", size);
	lines_add(&request, "hint", text);
	lines_add_number(&request, "create", (options & TIERWISE_CREATE) != 0);
	lines_add_number(&request, "exclusive", (options & TIERWISE_EXCL) != 0);
	lines_add_number(&request, "retain", (options & TIERWISE_RETAIN) != 0);
	return ask_about_region(&request, opened);
}

int session_region_grow(const char *name, size_t size, struct region_answer *grown)
{
	struct lines_request request = {.length = 0};

	lines_add(&request, "op", "memory_grow");
	lines_add(&request, "name", name);
	lines_add_number(&request, "size", size);
	return ask_about_region(&request, grown);
}

static int name_alone(const char *op, const char *name)
{
	struct lines_request request = {.length = 0};

	lines_add(&request, "op", op);
	lines_add(&request, "name", name);
	return ask_about_region(&request, NULL);
}

int session_region_close(const char *name)
{
	return name_alone("memory_close", name);
}

int session_region_drop(const char *name)
{
	return name_alone("memory_drop", name);
}

int session_events(void)
{
	struct lines_request request = {.length = 0};
	struct region_answer opened;

	lines_add(&request, "op", "memory_events");
	return ask_about_region(&request, &opened) == 0 ? opened.descriptor : -1;
}

unsigned session_tiers(struct tier copy[MAX_TIERS])
{
	pthread_mutex_lock(&lock);
	bool known = tier_count > 0 || connected();
	unsigned count = known ? tier_count : 0;
	memcpy(copy, tiers, count * sizeof *copy);
	pthread_mutex_unlock(&lock);
	return count;
}

void session_before_fork(void)
{
	pthread_mutex_lock(&lock);
}

/* A child has a session of its own: with the parent's open in it, the agent would not see the parent end. What the
 * parent was granted stays the parent's. */
void session_after_fork(bool child)
{
	if (child) {
		disconnect();
		claims.count = 0;
		quiet_until = 0;
	}
	pthread_mutex_unlock(&lock);
}
