#ifndef ORIGIN_H
#define ORIGIN_H

#include <stdbool.h>
#include <stddef.h>

#define ORIGIN_HOST 254

struct origin {
    char scheme[16];
    char host[ORIGIN_HOST];
    unsigned port;
};

const char *origin_version(void);
unsigned origin_default_port(const char *scheme);
size_t origin_percent_decode(const char *text, size_t size, char *out, size_t room);
bool origin_is_utf8(const unsigned char *text, size_t size);
bool origin_parse(const char *address, struct origin *out);
bool origin_same(const char *one, const char *other);
int origin_format(const struct origin *origin, char *out, size_t room);
#if !defined(RELEASE) || RELEASE >= 2
size_t origin_count_same(const char *lines);
#endif

#endif
