/*
 * Preloaded into a test's server (lib/names.py): takes the place of the resolver, and sees each
 * connection that the server's processes make to an address.
 *
 * In the folder TEST_NAMES the file NAME has the answers for a name, a line for each look-up, and the
 * last line stays: addresses, or "stall". Other names than localhost and addresses do not exist.
 * "look-up NAME" and "connect ADDRESS PORT" are written to the file log there. Only 127.0.0.1 is
 * connected to; any other address is taken for 127.0.0.1 with the port that the file redirect has,
 * and cannot be reached without that file. So no test reaches a network.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static FILE *open_file(const char *name, const char *mode)
{
    const char *folder = getenv("TEST_NAMES");
    char path[4096];

    if (folder == NULL || strchr(name, '/') != NULL || strlen(name) > 255)
        return NULL;
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    return fopen(path, mode);
}

static void write_log(const char *format, ...)
{
    FILE *log = open_file("log", "ae");
    va_list arguments;

    if (log == NULL)
        return;
    va_start(arguments, format);
    vfprintf(log, format, arguments);
    va_end(arguments);
    fclose(log);
}

/* How often this line was written before. */
static int count_in_log(const char *wanted)
{
    FILE *log = open_file("log", "re");
    char line[1024];
    int count = 0;

    if (log == NULL)
        return 0;
    while (fgets(line, sizeof(line), log) != NULL)
        count += strcmp(line, wanted) == 0;
    fclose(log);
    return count;
}

int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints, struct addrinfo **result)
{
    int (*next)(const char *, const char *, const struct addrinfo *, struct addrinfo **) = dlsym(RTLD_NEXT, "getaddrinfo");
    char wanted[512], line[4096], *rest, *word;
    unsigned char address[16];
    struct addrinfo numeric = {0}, **end = result;
    FILE *file;
    int turn;

    /* Postgres reads the addresses in pg_hba.conf in this way, without a look-up. */
    if (node == NULL || getenv("TEST_NAMES") == NULL || (hints != NULL && (hints->ai_flags & AI_NUMERICHOST)))
        return next(node, service, hints, result);
    snprintf(wanted, sizeof(wanted), "look-up %.400s\n", node);
    turn = count_in_log(wanted);
    write_log("%s", wanted);
    file = open_file(node, "re");
    if (file == NULL) {
        if (strcmp(node, "localhost") == 0 || inet_pton(AF_INET, node, address) == 1 || inet_pton(AF_INET6, node, address) == 1)
            return next(node, service, hints, result);
        return EAI_NONAME;
    }
    for (*line = 0; turn >= 0 && fgets(line, sizeof(line), file) != NULL; turn--) {}
    fclose(file);
    if (strncmp(line, "stall", 5) == 0) {
        sleep(30);
        return EAI_AGAIN;
    }
    if (hints != NULL)
        numeric = *hints;
    numeric.ai_flags = (numeric.ai_flags & ~AI_ADDRCONFIG) | AI_NUMERICHOST;
    *result = NULL;
    for (word = strtok_r(line, " \n", &rest); word != NULL; word = strtok_r(NULL, " \n", &rest)) {
        if (next(word, service, &numeric, end) != 0)
            continue;
        while (*end != NULL)
            end = &(*end)->ai_next;
    }
    return *result == NULL ? EAI_NONAME : 0;
}

int connect(int fd, const struct sockaddr *to, socklen_t length)
{
    int (*next)(int, const struct sockaddr *, socklen_t) = dlsym(RTLD_NEXT, "connect");
    const struct sockaddr_in *v4 = (const struct sockaddr_in *) to;
    const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *) to;
    char text[INET6_ADDRSTRLEN] = "";
    FILE *file;
    int port = 0;

    if (getenv("TEST_NAMES") == NULL || (to->sa_family != AF_INET && to->sa_family != AF_INET6))
        return next(fd, to, length);
    if (to->sa_family == AF_INET)
        inet_ntop(AF_INET, &v4->sin_addr, text, sizeof(text));
    else
        inet_ntop(AF_INET6, &v6->sin6_addr, text, sizeof(text));
    write_log("connect %s %d\n", text, ntohs(v4->sin_port)); /* at the same place for both */
    if (strcmp(text, "127.0.0.1") == 0)
        return next(fd, to, length);
    file = open_file("redirect", "re");
    if (file == NULL || fscanf(file, "%d", &port) != 1)
        port = 0;
    if (file != NULL)
        fclose(file);
    if (port == 0) {
        errno = ENETUNREACH;
        return -1;
    }
    if (to->sa_family == AF_INET) {
        struct sockaddr_in here = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr = {htonl(INADDR_LOOPBACK)}};

        return next(fd, (struct sockaddr *) &here, sizeof(here));
    } else {
        struct sockaddr_in6 here = {.sin6_family = AF_INET6, .sin6_port = htons(port)};

        inet_pton(AF_INET6, "::ffff:127.0.0.1", &here.sin6_addr);
        return next(fd, (struct sockaddr *) &here, sizeof(here));
    }
}
