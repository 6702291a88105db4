#include "commandline.h"

#include <stddef.h>
#include <string.h>

#define SHORT_FLAGS "aCcdefiqpsuvw"

enum level { RUNTIME, VERB, SHELL };

/* Options that take the next argument where none stands behind `=` (Apptainer 1.4, SingularityCE 4). */
static const char *const of_runtime[] = {"-c", "--config", NULL};
static const char *const of_verb[] = {
	"--add-caps", "--app", "--apply-cgroups", "--arch", "--authfile", "-B", "--bind", "--blkio-weight",
	"--blkio-weight-device", "--cdi-dirs", "--cpu-shares", "--cpus", "--cpuset-cpus", "--cpuset-mems", "--cwd",
	"--device", "--dns", "--docker-host", "--drop-caps", "--env", "--env-file", "--fusemount", "-H", "--home",
	"--hostname", "--keyserver", "--library", "--memory", "--memory-reservation", "--memory-swap", "--mount",
	"--network", "--network-args", "--netns-path", "--no-mount", "-o", "--overlay", "--pem-path", "--pids-limit",
	"--platform", "--proot", "--pwd", "--runscript-timeout", "-S", "--scratch", "--security", "--tmp-sandbox-dir",
	"-W", "--workdir", NULL,
};
/* Further ones of shell; elsewhere -s is the flag --silent. */
static const char *const of_shell[] = {"-s", "--shell", NULL};

static bool is_one_of(const char *word, const char *const list[])
{
	for (; *list; list++)
		if (strcmp(word, *list) == 0)
			return true;
	return false;
}

static bool takes_next(const char *option, enum level level)
{
	if (level == RUNTIME)
		return is_one_of(option, of_runtime);
	return is_one_of(option, of_verb) || (level == SHELL && is_one_of(option, of_shell));
}

/* Whether the first `length` characters are `-` and flags. */
static bool are_flags(const char *option, size_t length)
{
	return length > 1 && option[0] == '-' && strspn(option + 1, SHORT_FLAGS) >= length - 1;
}

/* Whether `-ceB` stands there: flags, and an option whose value comes next. */
static bool ends_with_value(const char *option, enum level level)
{
	size_t length = strlen(option);
	char last[] = {'-', option[length - 1], '\0'};

	return are_flags(option, length - 1) && takes_next(last, level);
}

static bool is_writable(const char *option)
{
	static const char name[] = "--writable";
	const char *value = option + sizeof name - 1;

	if (strncmp(option, name, sizeof name - 1) == 0)
		return *value == '\0' || *value == '='; /* not --writable-tmpfs */
	return are_flags(option, strlen(option)) && strchr(option, 'w');
}

/* The place of the first argument from `at` on that is neither an option nor an option's value. */
static int skip_options(char *const arguments[], int at, enum level level, bool *writable)
{
	while (arguments[at] && arguments[at][0] == '-' && arguments[at][1]) {
		const char *option = arguments[at++];

		if (strcmp(option, "--") == 0)
			break;
		*writable = *writable || is_writable(option);
		if (arguments[at] && (takes_next(option, level) || ends_with_value(option, level)))
			at++;
	}
	return at;
}

bool commandline_read(char *const arguments[], struct commandline *found)
{
	static const char *const staged[] = {"exec", "run", "shell", NULL};
	bool of_none = false;
	int verb = skip_options(arguments, 0, RUNTIME, &of_none);

	if (!arguments[verb] || !is_one_of(arguments[verb], staged))
		return false;
	found->writable = false;
	found->image = skip_options(arguments, verb + 1, strcmp(arguments[verb], "shell") == 0 ? SHELL : VERB,
				    &found->writable);
	return arguments[found->image] != NULL;
}
