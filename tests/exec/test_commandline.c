/* Where the image stands in what people type. */
#include "commandline.h"

#include "check.h"

enum { MOST = 16 };

/* Read what is typed, a word between two spaces: the image's place, -1 without one. */
static int reads(const char *typed, bool *writable)
{
	char text[128], *arguments[MOST + 1] = {NULL};
	struct commandline found;
	int count = 0;

	CHECK(strlen(typed) < sizeof text);
	strcpy(text, typed);
	for (char *word = strtok(text, " "); word && count < MOST; word = strtok(NULL, " "))
		arguments[count++] = word;
	if (!commandline_read(arguments, &found))
		return -1;
	CHECK(found.image < count);
	*writable = found.writable;
	return found.image;
}

static bool has_image_at(const char *typed, int image)
{
	bool writable = true;

	return reads(typed, &writable) == image && !writable;
}

static bool is_writable(const char *typed)
{
	bool writable = false;

	return reads(typed, &writable) >= 0 && writable;
}

static void images(void)
{
	CHECK(has_image_at("exec I cmd --bind x", 1));
	CHECK(has_image_at("-d exec -B /a --bind /b:/c I sh -c x", 6));
	CHECK(has_image_at("--config /x run --nv -ceB /a I", 6));
	CHECK(has_image_at("exec -B/a --pwd=/b -e -- I -x", 5));
	CHECK(has_image_at("shell -s /bin/bash I", 3));
	CHECK(has_image_at("exec -s I", 2));
	CHECK(has_image_at("exec --env A=1 --fakeroot -H /h:/home I cmd", 6));
	CHECK(has_image_at("exec --writable-tmpfs I -w", 2));
	CHECK(has_image_at("exec - I", 1));
}

static void no_images(void)
{
	static const char *const typed[] = {"", "exec", "--help", "version", "exec -B /a", "pull I", "instance start I n",
					    "exec --", "--config", "-c exec I", "exec -ceB"};
	bool writable;

	for (size_t i = 0; i < sizeof typed / sizeof *typed; i++)
		CHECK(reads(typed[i], &writable) == -1);
	char *const empty_words[] = {"", "exec", "I", NULL};
	struct commandline found;
	CHECK(!commandline_read(empty_words, &found));
	char *const an_empty_image[] = {"exec", "", NULL};
	CHECK(commandline_read(an_empty_image, &found) && found.image == 1);
}

static void written_to(void)
{
	CHECK(is_writable("exec -w I"));
	CHECK(is_writable("exec --writable I"));
	CHECK(is_writable("exec --writable=true I"));
	CHECK(is_writable("run -ew I"));
}

int main(void)
{
	images();
	no_images();
	written_to();
	return 0;
}
