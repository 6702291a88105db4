/* The copy of an image on this node: tierwise-exec's line to the agent (docs/protocol.md, *stage*). */
#ifndef TIERWISE_STAGING_H
#define TIERWISE_STAGING_H

#include "lines.h"

/* The agent's last answer. */
struct staging {
	struct lines_answer lines; /* points into `bytes`; no fields where there was no answer, or a refusal */
	char bytes[LINES_MAX_MESSAGE + 1];
};

/* Have the image at `path` staged, if it is a file or a folder, and wait as long as the user said: `path` among the
 * answer's fields is then its copy. What can't be had, and a wait that is felt, is said in one line. */
void staging_ask(const char *path, struct staging *staging);

#endif
