#include "say.h"

#include <limits.h>
#include <stdarg.h>
#include <stdio.h>

void say(const char *format, ...)
{
	char text[PATH_MAX + 512]; /* one write: others may write to the same terminal or file */
	va_list values;

	va_start(values, format);
	vsnprintf(text, sizeof text, format, values);
	va_end(values);
	fprintf(stderr, "tierwise-exec: %s\n", text);
}
