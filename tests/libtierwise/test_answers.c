/* The agent's answers: what is in the protocol is read, and nothing else breaks the program. */
#include "check.h"
#include "claims.h"
#include "internal.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static void test_tiers(void)
{
	static const char *const wrong[] = {"", "dram", "dram:", ":0", "dram:x", "dram:64", "dram:0/", "dram:0,,cxl:",
					    "a_name_that_is_too_long:0", "a:0,b:0,c:0,d:0,e:0,f:0,g:0,h:0,i:0"};
	struct tier tiers[MAX_TIERS];
	char text[64] = "dram:0/1,cxl:63";
	unsigned count;

	CHECK(parse_tiers(text, tiers, &count) && count == 2);
	CHECK(strcmp(tiers[0].name, "dram") == 0 && tiers[0].nodes == 3);
	CHECK(strcmp(tiers[1].name, "cxl") == 0 && tiers[1].nodes == UINT64_C(1) << 63);
	for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
		strcpy(text, wrong[i]);
		CHECK(!parse_tiers(text, tiers, &count));
	}
}

static void test_parts(void)
{
	static const char *const wrong[] = {"dram", "dram:1", "dram:x:0", "dram::0", "dram:1:", "dram:-1:0",
					    "dram:99999999999999999999999:0"};
	struct grant grant;
	char text[64] = "dram:4096:0,cxl:123:1/2";

	CHECK(parse_parts(text, &grant) && grant.count == 2);
	CHECK(grant.parts[0].size == 4096 && grant.parts[0].nodes == 1);
	CHECK(grant.parts[1].size == 123 && grant.parts[1].nodes == 6);
	CHECK(parse_parts(strcpy(text, ""), &grant) && grant.count == 0);
	for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
		strcpy(text, wrong[i]);
		CHECK(!parse_parts(text, &grant));
	}
}

static void test_claims(void)
{
	struct claims claims = {0};

	for (uintptr_t i = 100; i-- > 0;)
		claims_add(&claims, i * 100, 50, (unsigned)i);
	CHECK(claims.count == 100 && claims.items[7].start == 700 && claims.items[7].hint == 7);
	CHECK(claims_cut(&claims, 710, 10) && claims.count == 101);
	CHECK(claims.items[7].end == 710 && claims.items[8].start == 720 && claims.items[8].end == 750);
	CHECK(!claims_cut(&claims, 750, 50));
	CHECK(claims_cut(&claims, 0, 10000) && claims.count == 0);
	claims_add(&claims, 1000, 100, 3);
	CHECK(claims_move(&claims, 1020, 5000, 30) && claims.count == 3);
	CHECK(claims.items[2].start == 5000 && claims.items[2].end == 5030 && claims.items[2].hint == 3);
	CHECK(!claims_move(&claims, 1040, 7000, 30));
	free(claims.items);
}

/* Answers each connection with the next text, whatever is asked. */
static const char *const texts[] = {
	"",
	"x",
	"\n\n",
	"status=ok\n\n",
	"status=ok\ntiers=\n\n",
	"status=ok\ntiers=dram:99\n\n",
	"status=refused\nreason=go%20away\n\n",
	"status=ok\ntiers=dram:0\n\nstatus=ok\nmode=fill\nparts=dram:1\n\n",
	"status=ok\ntiers=dram:0\n\nstatus=ok\nmode=spread\nparts=\n\n",
	"status=ok\ntiers=dram:0\n\nstatus=ok\nmode=fill\nparts=dram:99999999999:0,dram:5:0\n\n",
	"status=ok\ntiers=dram:0\n\nstatus=ok\nmode=fill\nparts=dram:4096:63\n\n",
	"status=ok\ntiers=dram:0\n\nstatus=maybe\n\n",
	"status=ok\ntiers=dram:0\n\nstatus=ok\nsize=1000000\n\n",
};
enum { TEXTS = sizeof texts / sizeof *texts };
static int listener;
static atomic_uint now;

static void *answer(void *unused)
{
	char question[2048];

	(void)unused;
	for (int peer; (peer = accept(listener, NULL, NULL)) >= 0; close(peer)) {
		if (recv(peer, question, sizeof question, 0) <= 0)
			continue;
		const char *text = texts[atomic_load(&now)], *second = strstr(text, "\n\nstatus");
		send(peer, text, second ? (size_t)(second - text) + 2 : strlen(text), MSG_NOSIGNAL);
		while (second && recv(peer, question, sizeof question, 0) > 0)
			send(peer, second + 2, strlen(second + 2), MSG_NOSIGNAL);
	}
	return NULL;
}

/* As in a new process: no session, and nobody is silent yet. */
static void forget(void)
{
	session_before_fork();
	session_after_fork(true);
}

/* What the library does with one text. */
static void try(void)
{
	char *memory = tierwise_alloc(5 << 20, TIERWISE_LAT), *small = tierwise_alloc(10, TIERWISE_CAP);
	struct tierwise_share shares[8];

	CHECK(memory && small);
	memory[0] = small[0] = 1;
	CHECK(tierwise_hint(memory) >= 0 && tierwise_where(memory, 5 << 20, shares, 8) >= 1);
	CHECK(!tierwise_region_open("region", 4096, 0, TIERWISE_CREATE));
	CHECK(tierwise_events() == -1);
	tierwise_advise(memory, 5 << 20, TIERWISE_BW);
	memory = tierwise_grow(memory, 9 << 20);
	CHECK(memory && memory[0] == 1);
	tierwise_free(memory);
	tierwise_free(small);
}

static void test_junk(void)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	char folder[] = "/tmp/tw-XXXXXX";
	pthread_t thread;

	CHECK(mkdtemp(folder));
	snprintf(address.sun_path, sizeof address.sun_path, "%s/a.sock", folder);
	setenv("TIERWISE_SOCKET", address.sun_path, 1);
	listener = socket(AF_UNIX, SOCK_STREAM, 0);
	CHECK(bind(listener, (struct sockaddr *)&address, sizeof address) == 0 && listen(listener, 16) == 0);
	CHECK(pthread_create(&thread, NULL, answer, NULL) == 0);
	for (unsigned i = 0; i < TEXTS; i++) {
		atomic_store(&now, i);
		forget();
		try();
	}
	forget();
	shutdown(listener, SHUT_RDWR);
	pthread_join(thread, NULL);
	close(listener);
	unlink(address.sun_path);
	rmdir(folder);
}

int main(void)
{
	test_tiers();
	test_parts();
	test_claims();
	test_junk();
	return 0;
}
