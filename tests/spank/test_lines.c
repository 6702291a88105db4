#include "lines.h"

#include "check.h"

static void requests(void)
{
	struct lines_request request = {.length = 0};

	lines_add(&request, "op", "task");
	lines_add(&request, "tier", "lat:30%,bw:1,\n=\xff");
	lines_add_number(&request, "mem", UINT64_MAX);
	CHECK(lines_close(&request));
	static const char expected[] = "op=task\ntier=lat:30%25,bw:1,%0A%3D%FF\nmem=18446744073709551615\n\n";
	CHECK(request.length == sizeof expected - 1 && memcmp(request.text, expected, request.length) == 0);
}

static void request_too_long(void)
{
	struct lines_request request = {.length = 0};

	for (int i = 0; i < LINES_MAX_REQUEST; i++)
		lines_add(&request, "k", "%");
	CHECK(!lines_close(&request) && errno == EMSGSIZE);
	CHECK(request.length <= LINES_MAX_REQUEST);
}

/* Decode a copy in memory of exactly the size that lines_decode may use. */
static char *held;

static bool decodes(const char *message, size_t length, struct lines_answer *answer)
{
	free(held);
	held = malloc(length + 1);
	memcpy(held, message, length);
	errno = 0;
	bool good = lines_decode(held, length, answer);
	CHECK(good || errno == EPROTO);
	return good;
}

#define DECODES(literal) decodes(literal, sizeof(literal) - 1, &answer)

static void answers(void)
{
	struct lines_answer answer;

	CHECK(DECODES("status=ok\nnodes=0,1\ndegraded=full%3a%20a%0ab\nempty=\n\n"));
	CHECK(answer.count == 4);
	CHECK(strcmp(lines_get(&answer, "status"), "ok") == 0);
	CHECK(strcmp(lines_get(&answer, "nodes"), "0,1") == 0);
	CHECK(strcmp(lines_get(&answer, "degraded"), "full: a\nb") == 0);
	CHECK(strcmp(lines_get(&answer, "empty"), "") == 0);
	CHECK(strcmp(lines_get(&answer, "absent"), "") == 0);
	CHECK(DECODES("a=1") && strcmp(lines_get(&answer, "a"), "1") == 0);
	CHECK(DECODES("a==%=%4%zz%41") && strcmp(lines_get(&answer, "a"), "=%=%4%zzA") == 0);
}

static void junk(void)
{
	struct lines_answer answer;

	CHECK(!DECODES(""));
	CHECK(!DECODES("\n\n"));
	CHECK(!DECODES("status"));
	CHECK(!DECODES("=ok"));
	CHECK(!DECODES("Status=ok"));
	CHECK(!DECODES("9a=ok"));
	CHECK(!DECODES("a=1\n\nb=2\n\n"));
	CHECK(!DECODES("a=1\na=2\n\n"));
	CHECK(!DECODES("a=1\0b=2"));
	CHECK(!DECODES("a=\xff"));
	CHECK(!DECODES("a=%00"));
	CHECK(!DECODES("abcdefghijklmnopqrstuvwxyz0123456=1"));
	CHECK(DECODES("abcdefghijklmnopqrstuvwxyz012345=1"));
}

static void limits(void)
{
	static char message[LINES_MAX_MESSAGE + 1];
	struct lines_answer answer;
	size_t length = 0;

	for (int i = 0; i < LINES_MAX_KEYS; i++)
		length += (size_t)sprintf(message + length, "k%d=\n", i);
	CHECK(decodes(message, length, &answer) && answer.count == LINES_MAX_KEYS);
	length += (size_t)sprintf(message + length, "more=\n");
	CHECK(!decodes(message, length, &answer));
	memset(message, 'a', sizeof message);
	message[1] = '=';
	CHECK(decodes(message, LINES_MAX_MESSAGE, &answer));
	CHECK(!decodes(message, LINES_MAX_MESSAGE + 1, &answer));
}

int main(void)
{
	requests();
	request_too_long();
	answers();
	junk();
	limits();
	free(held);
	return 0;
}
