/* Tasks on several threads; see pool.h. */
#include "base/pool.h"

#include <pthread.h>
#include <stdatomic.h>

#define THREADS_MAX 64

typedef struct pool {
    ds_task task;
    void *context;
    uint64_t count;
    atomic_uint_fast64_t next;
    pthread_mutex_t lock; /* over the two below */
    uint64_t failed;      /* lowest index that failed */
    ds_status status;
} pool;

static void *work(void *argument) {
    pool *p = argument;
    for (;;) {
        uint64_t index = atomic_fetch_add(&p->next, 1);
        if (index >= p->count)
            return NULL;
        ds_status status = p->task(p->context, index);
        if (status == DS_OK)
            continue;
        pthread_mutex_lock(&p->lock);
        if (index < p->failed) {
            p->failed = index;
            p->status = status;
        }
        pthread_mutex_unlock(&p->lock);
    }
}

ds_status ds_pool_run(unsigned threads, uint64_t count, ds_task task, void *context) {
    pool p = {
        .task = task, .context = context, .count = count, .lock = PTHREAD_MUTEX_INITIALIZER, .failed = UINT64_MAX};
    pthread_t helpers[THREADS_MAX];
    unsigned started = 0, wanted = threads < THREADS_MAX ? threads : THREADS_MAX;
    while (started + 1 < wanted && started + 1 < count && pthread_create(&helpers[started], NULL, work, &p) == 0)
        started++;
    work(&p);
    for (unsigned i = 0; i < started; i++)
        pthread_join(helpers[i], NULL);
    pthread_mutex_destroy(&p.lock);
    return p.status;
}
