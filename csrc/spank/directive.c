#include "directive.h"

#include "number.h"

#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

enum { CLASSES = 4 };
static const char *const class_names[CLASSES] = {"lat", "bw", "cap", "shl"};

enum code {
	VALID,
	EMPTY,
	TOO_LONG,
	BAD_CHARACTER,
	UNKNOWN_CLASS,
	DUPLICATE_CLASS,
	BAD_SIZE,
	ZERO_SIZE,
	SIZE_TOO_BIG,
	BAD_PERCENT,
	PERCENT_SUM,
	TWO_OPEN,
};

/* The words of library/tierwise/directive.py: tests/library/test_directive.py compares them. */
static const struct {
	const char *code;
	const char *reason;
} refusals[] = {
	[EMPTY] = {"empty", "nothing given: use --tier=CLASS[:SIZE],… with lat, bw, cap or shl, or auto or off"},
	[TOO_LONG] = {"too-long", "longer than 128 bytes"},
	[BAD_CHARACTER] = {"bad-character", "only letters, digits, ':', ',' and '%' may stand in it"},
	[UNKNOWN_CLASS] = {"unknown-class", "unknown class: use lat, bw, cap or shl (auto and off stand alone)"},
	[DUPLICATE_CLASS] = {"duplicate-class", "this class was given before"},
	[BAD_SIZE] = {"bad-size", "not a size: use a whole number with K, M, G or T, or a percentage"},
	[ZERO_SIZE] = {"zero-size", "a size must be more than zero"},
	[SIZE_TOO_BIG] = {"size-too-large", "a size can't be more than 8 EiB"},
	[BAD_PERCENT] = {"bad-percent", "a percentage lies between 1 and 100"},
	[PERCENT_SUM] = {"percent-sum", "the percentages add up to more than 100"},
	[TWO_OPEN] = {"two-open", "only one class may leave out its size"},
};

/* A part of the directive: no NUL at its end. */
struct slice {
	const char *start;
	size_t length;
};

/* One class of a request: its size in bytes, or in percent of the job's memory, or neither (the rest). */
struct item {
	unsigned memory_class;
	uint64_t size;
	unsigned percent;
};

/* Locale-free: <ctype.h> asks the locale of whoever loaded us. */
static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static char lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

static bool is_letter(char c)
{
	return lower(c) >= 'a' && lower(c) <= 'z';
}

static bool is_word(struct slice text, const char *word)
{
	if (text.length != strlen(word))
		return false;
	for (size_t i = 0; i < text.length; i++)
		if (lower(text.start[i]) != word[i])
			return false;
	return true;
}

static bool all_allowed(struct slice text)
{
	for (size_t i = 0; i < text.length; i++) {
		char c = text.start[i];
		if (!is_letter(c) && !is_digit(c) && c != ':' && c != ',' && c != '%')
			return false;
	}
	return true;
}

static enum code parse_percent(struct slice text, unsigned *percent)
{
	if (!number_is(text.start, text.length - 1))
		return BAD_SIZE;
	uint64_t value = number_value(text.start, text.length - 1);
	if (value < 1 || value > 100)
		return BAD_PERCENT;
	*percent = (unsigned)value;
	return VALID;
}

static enum code parse_size(struct slice text, uint64_t *size)
{
	static const enum code codes[] = {
		[SIZE_VALID] = VALID, [SIZE_BAD] = BAD_SIZE, [SIZE_ZERO] = ZERO_SIZE, [SIZE_TOO_LARGE] = SIZE_TOO_BIG,
	};

	return codes[number_size(text.start, text.length, size)];
}

static enum code parse_item(struct slice text, struct item *item)
{
	const char *colon = memchr(text.start, ':', text.length);
	struct slice name = {text.start, colon ? (size_t)(colon - text.start) : text.length};

	*item = (struct item){.memory_class = 0};
	while (!is_word(name, class_names[item->memory_class]))
		if (++item->memory_class == CLASSES)
			return UNKNOWN_CLASS;
	if (!colon)
		return VALID;
	struct slice size = {colon + 1, text.length - name.length - 1};
	if (size.length > 0 && size.start[size.length - 1] == '%')
		return parse_percent(size, &item->percent);
	return parse_size(size, &item->size);
}

static bool is_open(const struct item *item)
{
	return item->size == 0 && item->percent == 0;
}

/* Whether `items[n]` goes with `items[0..n)` before it. */
static enum code check_item(const struct item *items, size_t n)
{
	unsigned percent = items[n].percent;

	for (size_t i = 0; i < n; i++)
		if (items[i].memory_class == items[n].memory_class)
			return DUPLICATE_CLASS;
	for (size_t i = 0; i < n; i++) {
		if (is_open(&items[i]) && is_open(&items[n]))
			return TWO_OPEN;
		percent += items[i].percent;
	}
	return percent > 100 ? PERCENT_SUM : VALID;
}

static void write_canonical(const struct item *items, size_t n, char canonical[DIRECTIVE_CANONICAL_SIZE])
{
	size_t used = 0;

	for (size_t i = 0; i < n; i++) {
		const char *name = class_names[items[i].memory_class];
		const char *comma = i ? "," : "";
		size_t room = DIRECTIVE_CANONICAL_SIZE - used;
		int wrote;

		if (items[i].percent)
			wrote = snprintf(canonical + used, room, "%s%s:%u%%", comma, name, items[i].percent);
		else if (items[i].size)
			wrote = snprintf(canonical + used, room, "%s%s:%" PRIu64, comma, name, items[i].size);
		else
			wrote = snprintf(canonical + used, room, "%s%s", comma, name);
		used += (size_t)wrote; /* never more than room: four different classes, 19 digits each */
	}
}

static bool refuse(struct directive_error *error, enum code code, unsigned item)
{
	*error = (struct directive_error){refusals[code].code, refusals[code].reason, item};
	return false;
}

bool directive_parse(const char *text, size_t length, char canonical[DIRECTIVE_CANONICAL_SIZE],
		     struct directive_error *error)
{
	struct slice rest = {text, length};
	struct item items[CLASSES + 1]; /* a fifth is always a duplicate: refused before a sixth is read */
	size_t n = 0;

	if (length == 0)
		return refuse(error, EMPTY, 0);
	if (length > DIRECTIVE_MAX_LENGTH)
		return refuse(error, TOO_LONG, 0);
	if (!all_allowed(rest))
		return refuse(error, BAD_CHARACTER, 0);
	if (is_word(rest, "auto") || is_word(rest, "off")) {
		strcpy(canonical, is_word(rest, "auto") ? "auto" : "off");
		return true;
	}
	for (;;) {
		const char *comma = memchr(rest.start, ',', rest.length);
		struct slice text_of_item = {rest.start, comma ? (size_t)(comma - rest.start) : rest.length};
		enum code code = parse_item(text_of_item, &items[n]);

		if (code == VALID)
			code = check_item(items, n);
		n++;
		if (code != VALID)
			return refuse(error, code, (unsigned)n);
		if (!comma)
			break;
		rest = (struct slice){comma + 1, rest.length - text_of_item.length - 1};
	}
	write_canonical(items, n, canonical);
	return true;
}
