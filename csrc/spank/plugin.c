/* The SPANK plugin `tierwise`: which of Slurm's calls goes to which part.
 *
 * Fails open: no function returns an error, a job runs as if we were not installed whatever happens here. Only a
 * directive outside the grammar stops something, and that in the user's terminal (option.c).
 */
#include "further.h"
#include "option.h"
#include "settings.h"
#include "task.h"

#include <stdint.h> /* before spank.h: it uses uint32_t without saying so */

#include <slurm/spank.h>

#define EXPORT __attribute__((visibility("default")))

#pragma GCC visibility push(default)
SPANK_PLUGIN(tierwise, 1)
#pragma GCC visibility pop

EXPORT int slurm_spank_init(spank_t spank, int argc, char **argv)
{
	struct settings settings = settings_read(argc, argv);

	if (spank_context() != S_CTX_SLURMD) {
		option_register(spank, &settings);
		further_register(spank, &settings);
	} else if (settings.unknown) {
		slurm_error("tierwise: init: plugstack.conf: '%s' is ignored: use `off` and `socket=/PATH`",
			    settings.unknown);
	}
	return 0;
}

EXPORT int slurm_spank_init_post_opt(spank_t spank, int argc, char **argv)
{
	(void)argc, (void)argv;
	if (spank_context() == S_CTX_LOCAL || spank_context() == S_CTX_ALLOCATOR) {
		option_publish(spank);
		further_publish(spank);
	}
	return 0;
}

EXPORT int slurm_spank_task_init(spank_t spank, int argc, char **argv)
{
	struct settings settings = settings_read(argc, argv);

	if (!settings.off)
		task_start(spank, &settings);
	return 0;
}

EXPORT int slurm_spank_task_exit(spank_t spank, int argc, char **argv)
{
	struct settings settings = settings_read(argc, argv);

	if (!settings.off)
		task_end(spank, &settings);
	return 0;
}
