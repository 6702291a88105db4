/* What the runtime is called with. */
#include "arguments.h"

#include "check.h"

/* The words with a space behind each, as one text. */
static char *joined(char **words)
{
	static char text[1024];

	CHECK(words);
	*text = '\0';
	for (char **word = words; *word; word++) {
		CHECK(strlen(text) + strlen(*word) + 2 < sizeof text);
		strcat(strcat(text, *word), " ");
	}
	free(words);
	return text;
}

static const char *staged(const char *copy, const char *binds)
{
	char *const arguments[] = {"exec", "-e", "I", "sh", "I", NULL};

	return joined(arguments_staged(arguments, 2, copy, binds));
}

static void copies(void)
{
	CHECK(strcmp(staged("", ""), "exec -e I sh I ") == 0);
	CHECK(strcmp(staged("/c", ""), "exec -e /c sh I ") == 0);
	CHECK(strcmp(staged("/c", "/x:/a"), "exec -e --bind /x:/x:ro --bind /x:/a:ro /c sh I ") == 0);
	CHECK(strcmp(staged("", "/x:/a,/y:/b"),
		     "exec -e --bind /x:/x:ro --bind /x:/a:ro --bind /y:/y:ro --bind /y:/b:ro I sh I ") == 0);
	CHECK(strcmp(staged("", ",a,:,"), "exec -e --bind ::ro --bind ::ro I sh I ") == 0);
}

static void folders(void)
{
	setenv("TIERWISE_SCRATCH", "/run/scratch", 1);
	setenv("TIERWISE_STAGE", "/run/links", 1);
	CHECK(strcmp(staged("/c", "/x:/a"), "exec -e --bind /run/scratch --bind /run/links:/run/links:ro"
					    " --bind /x:/x:ro --bind /x:/a:ro /c sh I ") == 0);
	setenv("TIERWISE_SCRATCH", "", 1);
	setenv("TIERWISE_STAGE", "", 1);
	CHECK(strcmp(staged("", ""), "exec -e I sh I ") == 0);
}

int main(void)
{
	unsetenv("TIERWISE_SCRATCH");
	unsetenv("TIERWISE_STAGE");
	copies();
	folders();
	return 0;
}
