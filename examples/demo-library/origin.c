/* A small library that judges web addresses: it takes them apart and says whether two have the same origin.
 *
 * The demonstration compiles it in three releases where no network is there to fetch real images:
 * RELEASE 1 is where the Neo starts, 2 where the others start, and 3 closes a hole: until then a port
 * with a leading sign or zero, or one above 65535, was taken for another port than it is, so that two origins
 * could be mistaken for one.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "origin.h"

#ifndef RELEASE
#error "say which release: -DRELEASE=1, 2 or 3"
#endif

static const struct {
    const char *scheme;
    unsigned port;
} default_ports[] = {
    {"http", 80},  {"https", 443}, {"ws", 80},    {"wss", 443},  {"ftp", 21},
    {"ssh", 22},   {"ldap", 389},  {"ldaps", 636}, {"imap", 143}, {"imaps", 993},
#if RELEASE >= 2
    {"gopher", 70}, {"rtsp", 554}, {"sip", 5060}, {"sips", 5061},
#endif
};

static int lower(int c) { return c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c; }

static bool is_alpha(int c) { return lower(c) >= 'a' && lower(c) <= 'z'; }

static bool is_digit(int c) { return c >= '0' && c <= '9'; }

static int hex_value(int c) {
    if (is_digit(c)) return c - '0';
    c = lower(c);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

const char *origin_version(void) {
    static char text[64];
    snprintf(text, sizeof text, "origin library, release %d", RELEASE);
    return text;
}

unsigned origin_default_port(const char *scheme) {
    for (size_t i = 0; i < sizeof default_ports / sizeof *default_ports; i++)
        if (strcmp(default_ports[i].scheme, scheme) == 0) return default_ports[i].port;
    return 0;
}

/* RFC 3986, section 3.1: ALPHA *( ALPHA / DIGIT / "+" / "-" / "." ) */
static size_t take_scheme(const char *text, char *scheme, size_t room) {
    size_t length = 0;
    if (!is_alpha((unsigned char)text[0])) return 0;
    while (is_alpha((unsigned char)text[length]) || is_digit((unsigned char)text[length]) ||
           (text[length] && strchr("+-.", text[length]))) {
        if (length + 1 >= room) return 0;
        scheme[length] = (char)lower((unsigned char)text[length]);
        length++;
    }
    scheme[length] = 0;
    return text[length] == ':' ? length + 1 : 0;
}

size_t origin_percent_decode(const char *text, size_t size, char *out, size_t room) {
    size_t at = 0;
    for (size_t i = 0; i < size && at + 1 < room; i++) {
        int high, low;
        if (text[i] == '%' && i + 2 < size && (high = hex_value((unsigned char)text[i + 1])) >= 0 &&
            (low = hex_value((unsigned char)text[i + 2])) >= 0) {
            out[at++] = (char)(high * 16 + low);
            i += 2;
        } else {
            out[at++] = text[i];
        }
    }
    out[at] = 0;
    return at;
}

/* RFC 3629, section 4: no overlong form, no surrogate, nothing above U+10FFFF. */
bool origin_is_utf8(const unsigned char *text, size_t size) {
    for (size_t i = 0; i < size;) {
        unsigned char lead = text[i++];
        size_t more = lead < 0x80 ? 0 : lead >= 0xF0 ? 3 : lead >= 0xE0 ? 2 : 1;
        uint32_t point = more == 0 ? lead : lead & (0x3FU >> more);
        if ((lead >= 0x80 && lead < 0xC2) || lead > 0xF4 || more > size - i) return false;
        for (size_t k = 0; k < more; k++, i++) {
            if ((text[i] & 0xC0) != 0x80) return false;
            point = point << 6 | (text[i] & 0x3FU);
        }
        if ((more == 2 && (point < 0x800 || (point >= 0xD800 && point < 0xE000))) ||
            (more == 3 && (point < 0x10000 || point > 0x10FFFF)))
            return false;
    }
    return true;
}

static bool take_port(const char *text, size_t size, unsigned *port) {
#if RELEASE >= 3
    unsigned value = 0;
    if (size == 0 || size > 5 || (size > 1 && text[0] == '0')) return false;
    for (size_t i = 0; i < size; i++) {
        if (!is_digit((unsigned char)text[i])) return false;
        value = value * 10 + (unsigned)(text[i] - '0');
    }
    if (value > 65535) return false;
    *port = value;
    return true;
#else
    char copy[16] = {0};
    if (size >= sizeof copy) return false;
    memcpy(copy, text, size);
    *port = (unsigned)atoi(copy) & 0xFFFF;
    return true;
#endif
}

static bool take_host(const char *text, size_t size, struct origin *out) {
    char decoded[ORIGIN_HOST];
    size_t length = origin_percent_decode(text, size, decoded, sizeof decoded);
    if (length == 0 || !origin_is_utf8((const unsigned char *)decoded, length)) return false;
#if RELEASE >= 3
    for (size_t i = 0; i < length; i++)
        if ((unsigned char)decoded[i] <= ' ' || strchr("#%/:<>?@[\\]^|", decoded[i])) return false;
#endif
    for (size_t i = 0; i <= length; i++) out->host[i] = (char)lower((unsigned char)decoded[i]);
#if RELEASE >= 2
    if (out->host[length - 1] == '.') out->host[length - 1] = 0;
#endif
    return out->host[0] != 0;
}

bool origin_parse(const char *address, struct origin *out) {
    memset(out, 0, sizeof *out);
    size_t used = take_scheme(address, out->scheme, sizeof out->scheme);
    if (used == 0 || strncmp(address + used, "//", 2) != 0) return false;
    const char *host = address + used + 2;
    size_t size = strcspn(host, "/?#");
    const char *user = memchr(host, '@', size);
    if (user) {
        size -= (size_t)(user + 1 - host);
        host = user + 1;
    }
    const char *colon = memchr(host, ':', size);
    out->port = origin_default_port(out->scheme);
    if (colon) {
        size_t rest = size - (size_t)(colon + 1 - host);
        if (rest > 0 && !take_port(colon + 1, rest, &out->port)) return false;
        size = (size_t)(colon - host);
    }
    return take_host(host, size, out);
}

bool origin_same(const char *one, const char *other) {
    struct origin a, b;
    if (!origin_parse(one, &a) || !origin_parse(other, &b)) return false;
    return strcmp(a.scheme, b.scheme) == 0 && strcmp(a.host, b.host) == 0 && a.port == b.port;
}

int origin_format(const struct origin *origin, char *out, size_t room) {
    if (origin->port == origin_default_port(origin->scheme))
        return snprintf(out, room, "%s://%s", origin->scheme, origin->host);
    return snprintf(out, room, "%s://%s:%u", origin->scheme, origin->host, origin->port);
}

#if RELEASE >= 2
/* How many of the addresses, one a line, have the origin of the first. */
size_t origin_count_same(const char *lines) {
    size_t same = 0;
    char first[512] = "", line[512];
    while (*lines) {
        size_t size = strcspn(lines, "\n");
        size_t kept = size < sizeof line ? size : sizeof line - 1;
        memcpy(line, lines, kept);
        line[kept] = 0;
        if (!*first) strcpy(first, line);
        same += origin_same(first, line);
        lines += size + (lines[size] == '\n');
    }
    return same;
}
#endif
