/* What stands behind the plugin's name in plugstack.conf. */
#ifndef TIERWISE_SETTINGS_H
#define TIERWISE_SETTINGS_H

#include <stdbool.h>
#include <stddef.h>

#define SETTINGS_DEFAULT_SOCKET "/run/tierwise/agent-%n.sock"

struct settings {
	bool off;            /* `off`: options are accepted, nothing else happens */
	const char *socket;  /* `socket=PATH`: the agent's, with %n for the NodeName; points into argv or is static */
	const char *unknown; /* the first argument that is none of these, NULL without one */
};

/* Read the arguments that Slurm hands to each of a plugin's functions. Never fails: see `unknown`. */
struct settings settings_read(int argc, char **argv);

/* Write the path of the agent's socket on `node` into `path` of `size` bytes.
 *
 * False with errno: EINVAL (`node` is empty or can't be a NodeName), ENAMETOOLONG.
 */
bool settings_socket(const struct settings *settings, const char *node, char *path, size_t size);

#endif
