/* The ground: checked arithmetic, the arena's ceiling, SHA-256. */
#include "base/base.h"
#include "tests/check.h"

static void test_within(void) {
    CHECK(ds_within(0, 0, 0));
    CHECK(ds_within(5, 0, 5));
    CHECK(!ds_within(6, 0, 5));
    CHECK(ds_within(0, UINT64_MAX, UINT64_MAX));
    CHECK(!ds_within(1, UINT64_MAX, UINT64_MAX));
    CHECK(!ds_within(UINT64_MAX, 1, UINT64_MAX));
    CHECK(ds_within(UINT64_MAX, 0, UINT64_MAX));
    CHECK(!ds_within(UINT64_C(1) << 63, UINT64_C(1) << 63, UINT64_MAX));
    CHECK(ds_within(UINT64_C(1) << 32, UINT64_C(1) << 32, UINT64_C(1) << 33));
    CHECK(!ds_within(UINT64_C(1) << 32, (UINT64_C(1) << 32) + 1, UINT64_C(1) << 33));
}

static void test_sums(void) {
    uint64_t out = 7;
    CHECK(ds_add(UINT64_MAX - 1, 1, &out) && out == UINT64_MAX);
    CHECK(!ds_add(UINT64_MAX, 1, &out) && out == UINT64_MAX);
    CHECK(ds_mul(UINT64_C(1) << 32, (UINT64_C(1) << 32) - 1, &out) && out == UINT64_MAX - UINT32_MAX);
    CHECK(!ds_mul(UINT64_C(1) << 32, UINT64_C(1) << 32, &out));
    CHECK(ds_mul(0, UINT64_MAX, &out) && out == 0);
}

static void test_arena(void) {
    ds_arena *arena = ds_arena_open(1000);
    uint8_t *a = ds_arena_alloc(arena, 600), *b = ds_arena_alloc(arena, 400);
    CHECK(a != NULL && b != NULL && ds_arena_peak(arena) == 1000);
    if (a == NULL || b == NULL)
        return;
    CHECK(a[0] == 0 && a[599] == 0);
    CHECK(((uintptr_t)a | (uintptr_t)b) % 16 == 0);
    CHECK(ds_arena_alloc(arena, 1) == NULL);
    CHECK(ds_arena_resize(arena, b, 401) == NULL);
    b[399] = 9; /* still there after a refusal */
    ds_arena_free(arena, a);
    b = ds_arena_resize(arena, b, 1000);
    CHECK(b != NULL && b[399] == 9);
    CHECK(ds_arena_resize(arena, b, 10) != NULL);
    a = ds_arena_alloc(arena, 990);
    CHECK(a != NULL && ds_arena_peak(arena) == 1000);
    CHECK(ds_arena_alloc(arena, 0) != NULL);
    CHECK(ds_arena_alloc(arena, UINT64_MAX) == NULL);
    CHECK(ds_arena_resize(arena, a, UINT64_MAX) == NULL);
    CHECK(ds_arena_resize(arena, a, UINT64_MAX - 500) == NULL);
    ds_arena_free(arena, NULL);
    ds_arena_close(arena); /* what is left goes with it */
    arena = ds_arena_open(UINT64_MAX);
    CHECK(ds_arena_alloc(arena, UINT64_MAX) == NULL);
    CHECK(ds_arena_alloc(arena, UINT64_MAX - 31) == NULL);
    ds_arena_close(arena);
}

static void test_vectors_grow(void) {
    ds_arena *arena = ds_arena_open(1 << 20);
    DS_VEC(uint64_t) list = {0};
    for (uint64_t i = 0; i < 1000; i++) {
        CHECK(DS_VEC_RESERVE(arena, &list, i + 1) == DS_OK);
        list.items[list.count++] = i;
    }
    CHECK(list.items[0] == 0 && list.items[999] == 999 && list.capacity >= 1000);
    CHECK(DS_VEC_RESERVE(arena, &list, UINT64_MAX) == DS_E_MEMORY);
    CHECK(DS_VEC_RESERVE(arena, &list, UINT64_MAX / 8 + 1) == DS_E_MEMORY);
    CHECK(DS_VEC_RESERVE(arena, &list, UINT64_C(1) << 32) == DS_E_MEMORY);
    CHECK(list.items[999] == 999);
    DS_VEC_FREE(arena, &list);
    CHECK(list.items == NULL && list.count == 0);
    ds_arena_close(arena);
}

static bool digest_is(const uint8_t digest[DS_DIGEST_SIZE], const char *hex) {
    for (unsigned i = 0; i < DS_DIGEST_SIZE; i++) {
        char text[3];
        snprintf(text, sizeof text, "%02x", digest[i]);
        if (memcmp(text, hex + (size_t)2 * i, 2) != 0)
            return false;
    }
    return true;
}

/* FIPS 180-4's examples, as NIST publishes them; the last is a million times 'a'. */
static void test_sha256(void) {
    static const struct {
        const char *text, *hex;
    } examples[] = {
        {"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
        {"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
        {"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
         "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"},
        {"abcdefghbcdefghicdefghijdefghijkefghijklfghijklmghijklmnhijklmnoijklmnopjklmnopqklmnopqrlmnopqrsmnopqrstnopqr"
         "stu",
         "cf5b16a778af8380036ce59e7b0492370b249b11e8f07a51afac45037afee9d1"},
    };
    uint8_t digest[DS_DIGEST_SIZE];
    for (size_t i = 0; i < DS_COUNT(examples); i++) {
        ds_sha256((const uint8_t *)examples[i].text, strlen(examples[i].text), digest);
        CHECK(digest_is(digest, examples[i].hex));
    }
    for (unsigned fast = 0; fast < 2; fast++)
        for (unsigned piece = 1; piece < 200; piece += 33) {
            uint8_t many[200];
            ds_sha256_state state;
            ds_sha256_open(&state);
            if (fast == 0)
                state.fast = false; /* the plain way, wherever this runs */
            memset(many, 'a', sizeof many);
            for (unsigned done = 0; done < 1000000; done += piece)
                ds_sha256_add(&state, many, done + piece <= 1000000 ? piece : 1000000 - done);
            ds_sha256_close(&state, digest);
            CHECK(digest_is(digest, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"));
        }
}

int main(void) {
    test_within();
    test_sums();
    test_arena();
    test_vectors_grow();
    test_sha256();
    for (unsigned status = 0; status < 20; status++)
        CHECK(ds_status_text((ds_status)status)[0] != '\0');
    return checks_done();
}
