#include "settings.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

struct settings settings_read(int argc, char **argv)
{
	struct settings settings = {.socket = SETTINGS_DEFAULT_SOCKET};

	for (int i = 0; i < argc; i++) {
		if (strcmp(argv[i], "off") == 0)
			settings.off = true;
		else if (strncmp(argv[i], "socket=/", 8) == 0)
			settings.socket = argv[i] + 7;
		else if (!settings.unknown)
			settings.unknown = argv[i];
	}
	return settings;
}

/* A name that stays one component of a path, whoever set it. */
static bool is_node_name(const char *node)
{
	static const char *const allowed = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.";

	return *node && *node != '.' && strspn(node, allowed) == strlen(node);
}

bool settings_socket(const struct settings *settings, const char *node, char *path, size_t size)
{
	const char *mark = strstr(settings->socket, "%n");
	int wrote;

	if (!mark) {
		wrote = snprintf(path, size, "%s", settings->socket);
	} else if (is_node_name(node)) {
		wrote = snprintf(path, size, "%.*s%s%s", (int)(mark - settings->socket), settings->socket, node,
				 mark + 2);
	} else {
		errno = EINVAL;
		return false;
	}
	if (wrote >= 0 && (size_t)wrote < size)
		return true;
	errno = ENAMETOOLONG;
	return false;
}
