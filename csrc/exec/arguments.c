#include "arguments.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The list that is being written; the text of new words is behind it, in the same memory. */
struct list {
	char **words;
	size_t count;
	char *text, *end;
};

/* Append --bind with a value as of printf(3). There is room for all: see make(). */
__attribute__((format(printf, 2, 3))) static void bind(struct list *list, const char *format, ...)
{
	static char option[] = "--bind";
	va_list values;

	va_start(values, format);
	int length = vsnprintf(list->text, (size_t)(list->end - list->text), format, values);
	va_end(values);
	if (length < 0 || length >= list->end - list->text)
		abort();
	list->words[list->count++] = option;
	list->words[list->count++] = list->text;
	list->text += length + 1;
}

/* Append what COPY:SOURCE,… says; what is no pair is left out. */
static void bind_pairs(struct list *list, const char *binds)
{
	for (const char *pair = binds; *pair;) {
		int length = (int)strcspn(pair, ","), copy = (int)strcspn(pair, ":,");

		if (copy < length) {
			bind(list, "%.*s:%.*s:ro", copy, pair, copy, pair);
			bind(list, "%.*s:ro", length, pair);
		}
		pair += length + (pair[length] == ',');
	}
}

/* Memory for `words` words and for the values of new ones. */
static struct list make(size_t words, const char *scratch, const char *links, const char *binds, size_t pairs)
{
	enum { MORE = sizeof "::ro" };
	size_t text = strlen(scratch) + 2 * strlen(links) + 3 * strlen(binds) + (2 + 2 * pairs) * MORE;
	char **memory = malloc((words + 1) * sizeof *memory + text);
	char *behind = memory ? (char *)(memory + words + 1) : NULL;

	return (struct list){memory, 0, behind, memory ? behind + text : NULL};
}

static const char *from_environment(const char *name)
{
	const char *value = getenv(name);

	return value ? value : "";
}

char **arguments_staged(char *const arguments[], int image, const char *copy, const char *binds)
{
	const char *scratch = from_environment("TIERWISE_SCRATCH"), *links = from_environment("TIERWISE_STAGE");
	size_t count = 0, pairs = 1;

	while (arguments[count])
		count++;
	for (const char *comma = binds; (comma = strchr(comma, ',')); comma++)
		pairs++;
	struct list list = make(count + 2 * (2 + 2 * pairs), scratch, links, binds, pairs);
	if (!list.words)
		return NULL;
	for (int i = 0; i < image; i++)
		list.words[list.count++] = arguments[i];
	if (*scratch)
		bind(&list, "%s", scratch);
	if (*links)
		bind(&list, "%s:%s:ro", links, links);
	bind_pairs(&list, binds);
	list.words[list.count++] = *copy ? (char *)copy : arguments[image];
	while (arguments[image++])
		list.words[list.count++] = arguments[image];
	return list.words;
}
