/* Hints as small numbers, and the reason that the calling thread may ask for. */
#include "internal.h"

#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

static char names[HINTS - FLAGS][TIER_NAME];
static atomic_uint named;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static __thread char reason[REASON];

static bool is_tier(const char *name)
{
	size_t length = name ? strnlen(name, TIER_NAME) : 0;

	return length > 0 && length < TIER_NAME && strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_") == length;
}

static int find(const char *tier, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		if (strcmp(names[i], tier) == 0)
			return (int)(FLAGS + i);
	return -1;
}

int hint_of_tier(const char *tier)
{
	if (!is_tier(tier)) {
		say("not the name of a tier: use dram, pmem or cxl");
		errno = EINVAL;
		return -1;
	}
	int hint = find(tier, atomic_load(&named));
	if (hint >= 0)
		return hint;
	pthread_mutex_lock(&lock);
	unsigned count = atomic_load(&named);
	hint = find(tier, count);
	if (hint < 0 && count < HINTS - FLAGS) {
		strcpy(names[count], tier);
		atomic_store(&named, count + 1);
		hint = (int)(FLAGS + count);
	}
	pthread_mutex_unlock(&lock);
	if (hint < 0) {
		say("more than %d names of tiers", HINTS - FLAGS);
		errno = EINVAL;
	}
	return hint;
}

void hint_text(unsigned hint, char *text)
{
	static const char *const flags[] = {"LAT", "BW", "CAP", "SHL"};

	*text = '\0';
	if (hint >= FLAGS) {
		sprintf(text, "tier:%s", names[hint - FLAGS]);
		return;
	}
	for (unsigned i = 0; i < 4; i++) {
		if (hint & 1u << i) {
			strcat(text, *text ? "," : "");
			strcat(text, flags[i]);
		}
	}
}

void say(const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(reason, sizeof reason, format, arguments);
	va_end(arguments);
}

const char *tierwise_reason(void)
{
	return reason;
}

void hint_before_fork(void)
{
	pthread_mutex_lock(&lock);
}

void hint_after_fork(void)
{
	pthread_mutex_unlock(&lock);
}
