/* tierwise-exec: `apptainer exec` (and run, shell) with the image on fast memory. It stages the image, then becomes
 * apptainer or singularity. What can't be had is said in one line, and the plain command runs. */
#include "arguments.h"
#include "commandline.h"
#include "program.h"
#include "say.h"
#include "staging.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { NOT_FOUND = 127, FAILED = 255 }; /* as a shell says it, and as apptainer does */

static const char *const runtimes[] = {"apptainer", "singularity", NULL};

static const char help[] =
	"Usage: tierwise-exec [apptainer|singularity] exec|run|shell [OPTIONS] IMAGE [COMMAND...]\n"
	"\n"
	"Runs a container from a copy of its image on fast memory: the first start on a node copies it there once, the\n"
	"next ones are warm. All options are Apptainer's or Singularity's own (`apptainer exec --help`). Images that are\n"
	"files (SIF, squashfs) or folders are staged; others (docker://...) run as they are. Inside, $TIERWISE_SCRATCH\n"
	"is there too, and files staged by --tier-stage are read from memory under their own names.\n"
	"\n"
	"A symlink named apptainer or singularity in your PATH does the same for existing scripts:\n"
	"  ln -s \"$(command -v tierwise-exec)\" ~/bin/apptainer\n"
	"\n"
	"TIERWISE_STAGE_WAIT=SECONDS waits so long for the copy (0: not at all), else the image is read where it is.\n"
	"Without an agent on this node the plain command runs.\n";

static const char *name_of(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

/* The runtime that `word` names, NULL where it names none. */
static const char *runtime_of(const char *word)
{
	for (int i = 0; word && runtimes[i]; i++)
		if (strcmp(word, runtimes[i]) == 0)
			return runtimes[i];
	return NULL;
}

static bool asks_for_help(char *const arguments[])
{
	const char *first = arguments[0];

	return !first || (!arguments[1] && (strcmp(first, "-h") == 0 || strcmp(first, "--help") == 0 ||
					    strcmp(first, "help") == 0));
}

/* Whether this process has been here before: then the runtime that it found was another tierwise-exec. Remembered in
 * the environment, which execv(2) hands on as the process keeps its id. */
static bool has_called_itself(void)
{
	const char *before = getenv("TIERWISE_EXEC");
	char now[16];

	snprintf(now, sizeof now, "%d", (int)getpid());
	if (before && strcmp(before, now) == 0)
		return true;
	setenv("TIERWISE_EXEC", now, 1);
	return false;
}

/* Whether the environment says --writable. It is a Go program that reads it: strconv.ParseBool has six words for no,
 * and what is blank is not set. */
static bool is_made_writable(void)
{
	static const char *const names[] = {"APPTAINER_WRITABLE", "SINGULARITY_WRITABLE"};

	for (int i = 0; i < 2; i++) {
		const char *value = getenv(names[i]);

		if (value && !strchr("0fF", value[strspn(value, " \t\n")])) /* which finds the end, too */
			return true;
	}
	return false;
}

/* The arguments with the copy of their image in them; as they are where there is nothing to stage. What is returned
 * points into `staging`, and lives until this process is another program. */
static char *const *staged(char *const arguments[], struct staging *staging)
{
	struct commandline line;

	if (!commandline_read(arguments, &line) || line.writable || is_made_writable() ||
	    strstr(arguments[line.image], "://") || access(arguments[line.image], F_OK) != 0)
		return arguments; /* what is wrong with an image, the runtime says in its own words */
	staging_ask(arguments[line.image], staging);
	char **found = arguments_staged(arguments, line.image, lines_get(&staging->lines, "path"),
					lines_get(&staging->lines, "binds"));
	return found ? found : arguments;
}

/* Become `program`, under its own name. Returns only where that fails. */
static void become(const char *program, char *const arguments[])
{
	size_t count = 0;

	while (arguments[count])
		count++;
	char **argv = calloc(count + 2, sizeof *argv);
	if (argv) {
		argv[0] = (char *)name_of(program);
		memcpy(argv + 1, arguments, count * sizeof *argv);
		execv(program, argv);
	}
	say("%s could not be started: %s", program, strerror(errno));
	free(argv);
}

int main(int argc, char **argv)
{
	static struct staging staging;
	const char *wanted[] = {argc > 0 ? runtime_of(name_of(argv[0])) : NULL, NULL};
	char *const *arguments = argv + (argc > 0);
	char program[PATH_MAX];

	if (!*wanted && (*wanted = runtime_of(*arguments)))
		arguments++;
	if (!*wanted && asks_for_help(arguments)) {
		fputs(help, stdout);
		return 0;
	}
	if (has_called_itself()) {
		say("it called itself: another tierwise-exec stands in PATH under the runtime's name");
		return FAILED;
	}
	if (!program_find(*wanted ? wanted : runtimes, program)) {
		say("no %s in PATH", *wanted ? *wanted : "apptainer or singularity");
		return NOT_FOUND;
	}
	become(program, staged(arguments, &staging));
	return FAILED;
}
