#include "value.h"

#include "check.h"

static char canonical[VALUE_SIZE];

/* Whether `text` is good and reads `expected`. */
static int reads(value_check *check, const char *text, const char *expected)
{
	return !check(text, canonical) && strcmp(canonical, expected) == 0;
}

/* Whether `text` is refused, in words for people. */
static int refuses(value_check *check, const char *text)
{
	const char *reason = check(text, canonical);

	return reason && strlen(reason) > 10 && strlen(reason) < 120;
}

static void paths(void)
{
	static char many[4 * (VALUE_MAX_PATHS + 1)], longest[VALUE_SIZE + 1];

	CHECK(reads(value_paths, "/data/ref.fa", "/data/ref.fa"));
	CHECK(reads(value_paths, "/a b/ü,/c/..d/.e/f..,/g/", "/a b/ü,/c/..d/.e/f..,/g/"));
	CHECK(refuses(value_paths, "") && refuses(value_paths, "ref.fa") && refuses(value_paths, "~/x"));
	CHECK(refuses(value_paths, "/a,") && refuses(value_paths, ",/a") && refuses(value_paths, "/a,,/b"));
	CHECK(refuses(value_paths, "/a,b") && refuses(value_paths, "/"));
	CHECK(refuses(value_paths, "/a/../b") && refuses(value_paths, "/..") && refuses(value_paths, "/a/./b"));
	CHECK(refuses(value_paths, "/a/.") && refuses(value_paths, "/a\n") && refuses(value_paths, "/a\x1b[2J"));
	for (int i = 0; i < VALUE_MAX_PATHS; i++)
		strcat(many, i ? ",/a" : "/a");
	CHECK(reads(value_paths, many, many));
	strcat(many, ",/a");
	CHECK(refuses(value_paths, many));
	memset(longest, 'x', VALUE_SIZE - 1);
	longest[0] = '/';
	CHECK(reads(value_paths, longest, longest));
	longest[VALUE_SIZE - 1] = 'x';
	CHECK(refuses(value_paths, longest));
}

int main(void)
{
	paths();
	CHECK(reads(value_seconds, "0", "0") && reads(value_seconds, "3600", "3600") && reads(value_seconds, "007", "7"));
	CHECK(refuses(value_seconds, "") && refuses(value_seconds, "3601") && refuses(value_seconds, "-1"));
	CHECK(refuses(value_seconds, "1m") && refuses(value_seconds, "99999999999999999999999"));
	CHECK(reads(value_size, "1G", "1073741824") && refuses(value_size, "0") && refuses(value_size, "10%"));
	CHECK(refuses(value_size, "many") && refuses(value_size, "9999999T"));
	CHECK(reads(value_rate, "500m", "524288000") && refuses(value_rate, "1G/s") && refuses(value_rate, ""));
	CHECK(reads(value_latency, "50us", "50000") && reads(value_latency, "2MS", "2000000"));
	CHECK(reads(value_latency, "1000ms", "1000000000") && refuses(value_latency, "1001ms"));
	CHECK(refuses(value_latency, "0us") && refuses(value_latency, "50") && refuses(value_latency, "us"));
	CHECK(refuses(value_latency, "50ns") && refuses(value_latency, "99999999999999999999us"));
	CHECK(reads(value_retry, "0", "0") && reads(value_retry, "9", "9"));
	CHECK(refuses(value_retry, "10") && refuses(value_retry, "") && refuses(value_retry, "x"));
	CHECK(reads(value_env, "TF", "tf") && reads(value_env, "torch", "torch") && refuses(value_env, "jax"));
	return 0;
}
