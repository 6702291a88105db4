#include "value.h"

#include "number.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

enum { MAX_WAIT = 3600, MAX_LATENCY_NS = 1000000000 };

static const char *write_number(uint64_t value, char canonical[VALUE_SIZE])
{
	snprintf(canonical, VALUE_SIZE, "%" PRIu64, value);
	return NULL;
}

/* Whether `..` or `.` is a component of `path`: what it names then depends on more than its text. */
static bool has_dots(const char *path, size_t length)
{
	for (size_t start = 0; start < length;) {
		const char *slash = memchr(path + start, '/', length - start);
		size_t end = slash ? (size_t)(slash - path) : length;

		if ((end - start == 1 && path[start] == '.') || (end - start == 2 && memcmp(path + start, "..", 2) == 0))
			return true;
		start = end + 1;
	}
	return false;
}

static const char *check_path(const char *path, size_t length)
{
	if (length == 0 || path[0] != '/')
		return "each path must begin with / and none may be empty: use --tier-stage=/PATH[,/PATH...]";
	if (length == 1)
		return "/ itself can't be staged";
	if (has_dots(path, length))
		return "a path may not hold . or .. as a component";
	for (size_t i = 0; i < length; i++)
		if ((unsigned char)path[i] < ' ' || path[i] == 0x7f)
			return "a path may not hold control characters";
	return NULL;
}

const char *value_paths(const char *text, char canonical[VALUE_SIZE])
{
	unsigned paths = 0;

	if (strlen(text) >= VALUE_SIZE)
		return "longer than 2048 bytes";
	for (const char *path = text;;) {
		size_t length = strcspn(path, ",");
		const char *wrong = check_path(path, length);

		if (wrong)
			return wrong;
		if (++paths > VALUE_MAX_PATHS)
			return "more than 16 paths: name their folder";
		if (path[length] == '\0')
			break;
		path += length + 1;
	}
	strcpy(canonical, text);
	return NULL;
}

const char *value_seconds(const char *text, char canonical[VALUE_SIZE])
{
	if (!number_is(text, strlen(text)) || number_value(text, strlen(text)) > MAX_WAIT)
		return "not a time to wait: use whole seconds between 0 and 3600";
	return write_number(number_value(text, strlen(text)), canonical);
}

static const char *check_size(const char *text, char canonical[VALUE_SIZE], const char *bad)
{
	uint64_t size = 0;

	switch (number_size(text, strlen(text), &size)) {
	case SIZE_VALID: return write_number(size, canonical);
	case SIZE_ZERO: return "it must be more than zero";
	case SIZE_TOO_LARGE: return "it can't be more than 8 EiB";
	default: return bad;
	}
}

const char *value_size(const char *text, char canonical[VALUE_SIZE])
{
	return check_size(text, canonical, "not a size: use a whole number of bytes with K, M, G or T");
}

const char *value_rate(const char *text, char canonical[VALUE_SIZE])
{
	return check_size(text, canonical, "not a rate: use a whole number of bytes per second with K, M, G or T");
}

const char *value_latency(const char *text, char canonical[VALUE_SIZE])
{
	size_t digits = strspn(text, "0123456789");
	uint64_t unit = strcasecmp(text + digits, "us") == 0 ? 1000 : strcasecmp(text + digits, "ms") == 0 ? 1000000 : 0;
	uint64_t value = number_value(text, digits);

	if (digits == 0 || unit == 0)
		return "not a latency: use a whole number with us or ms";
	if (value == 0 || value > MAX_LATENCY_NS / unit)
		return "a latency lies between 1us and 1000ms";
	return write_number(value * unit, canonical);
}

const char *value_retry(const char *text, char canonical[VALUE_SIZE])
{
	if (strlen(text) != 1 || !number_is(text, 1))
		return "not a number of retries: use 0 to 9";
	return write_number(number_value(text, 1), canonical);
}

const char *value_env(const char *text, char canonical[VALUE_SIZE])
{
	static const char *const names[] = {"tf", "torch"};

	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		if (strcasecmp(text, names[i]) == 0) {
			strcpy(canonical, names[i]);
			return NULL;
		}
	return "unknown: use tf or torch";
}
