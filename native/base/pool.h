/* Tasks on several threads. Work is cut by data, never by the number of threads, so that any number gives
 * the same bytes. */
#ifndef DS_POOL_H
#define DS_POOL_H

#include "base/base.h"

typedef ds_status (*ds_task)(void *context, uint64_t index);

/* Run task(context, 0 … count - 1), each once, on at most `threads` threads, the caller's among them. Returns
 * when all have ended: the status of the lowest index that failed. Where the host refuses a thread, fewer run. */
ds_status ds_pool_run(unsigned threads, uint64_t count, ds_task task, void *context);

#endif
