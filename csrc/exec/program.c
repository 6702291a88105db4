#define _GNU_SOURCE
#include "program.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Whether a program lies at `path` that is not the running one, whatever names both have. */
static bool is_other_program(const char *path)
{
	struct stat found, ours;

	if (stat(path, &found) != 0 || !S_ISREG(found.st_mode) || access(path, X_OK) != 0)
		return false;
	return stat("/proc/self/exe", &ours) != 0 || found.st_dev != ours.st_dev || found.st_ino != ours.st_ino;
}

static bool find_one(const char *name, char path[PATH_MAX])
{
	const char *folder = getenv("PATH");

	if (!folder)
		folder = "/usr/local/bin:/usr/bin:/bin";
	for (;; folder++) {
		int length = (int)(strchrnul(folder, ':') - folder);
		int wrote = snprintf(path, PATH_MAX, "%.*s/%s", length > 0 ? length : 1, length > 0 ? folder : ".", name);

		if (wrote < PATH_MAX && is_other_program(path))
			return true;
		folder += length;
		if (!*folder)
			return false;
	}
}

bool program_find(const char *const names[], char path[PATH_MAX])
{
	for (; *names; names++)
		if (find_one(*names, path))
			return true;
	return false;
}
