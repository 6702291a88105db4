#include "settings.h"

#include "check.h"

static struct settings reads(char *first, char *second)
{
	char *argv[] = {first, second, NULL};

	return settings_read(first ? second ? 2 : 1 : 0, argv);
}

static void arguments(void)
{
	struct settings settings = reads(NULL, NULL);
	CHECK(!settings.off && !settings.unknown && strcmp(settings.socket, SETTINGS_DEFAULT_SOCKET) == 0);
	settings = reads("socket=/x/%n", "off");
	CHECK(settings.off && !settings.unknown && strcmp(settings.socket, "/x/%n") == 0);
	settings = reads("OFF", "socket=x");
	CHECK(!settings.off && strcmp(settings.unknown, "OFF") == 0);
	CHECK(strcmp(settings.socket, SETTINGS_DEFAULT_SOCKET) == 0);
}

static void paths(void)
{
	struct settings settings = reads("socket=/run/agent-%n.sock", NULL);
	char path[24];

	CHECK(settings_socket(&settings, "n1", path, sizeof path) && strcmp(path, "/run/agent-n1.sock") == 0);
	CHECK(settings_socket(&settings, "node-12", path, sizeof path));
	CHECK(!settings_socket(&settings, "node-1234", path, sizeof path) && errno == ENAMETOOLONG);
	CHECK(!settings_socket(&settings, "", path, sizeof path) && errno == EINVAL);
	CHECK(!settings_socket(&settings, "../../tmp/x", path, sizeof path) && errno == EINVAL);
	CHECK(!settings_socket(&settings, "a/b", path, sizeof path) && errno == EINVAL);
	CHECK(!settings_socket(&settings, "a%sb", path, sizeof path) && errno == EINVAL);
	settings = reads("socket=/run/%s.sock", NULL);
	CHECK(settings_socket(&settings, "", path, sizeof path) && strcmp(path, "/run/%s.sock") == 0);
}

int main(void)
{
	arguments();
	paths();
	return 0;
}
