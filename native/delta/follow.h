/* The proof of a modelled delta while it is written: a thread applies what is there, and waits for more. */
#ifndef DS_FOLLOW_H
#define DS_FOLLOW_H

#include "codec/relay.h"
#include "delta/container.h"
#include "delta/opened.h"
#include "delta/trace.h"

typedef struct ds_follower ds_follower;

/* `info`: all that the applier is told of a delta beside its coded string, which comes through `relay`; `opened`: the
 * old image. All of it, and the files, must stay, and `opened` is the follower's until it ends. What follows takes
 * memory of its own: seven eighths of what `arena` has left when the first bytes come, with what `opened` holds.
 * DS_E_MEMORY where there is no thread to be had. */
ds_status ds_follower_start(ds_follower **follower, ds_opened *opened, ds_span old_file, ds_span new_file,
                            const ds_delta_info *info, ds_relay *relay, ds_arena *arena);
/* Once the relay has ended: whether the string gave the new image, exactly. False too where memory was short. */
bool ds_follower_end(ds_follower *follower);

/* As ds_apply_traced, behind all checks: the delta that `info` describes, its string from `relay`. */
ds_status ds_apply_followed(const ds_image *old_image, const ds_delta_info *info, ds_relay *relay, ds_sink sink,
                            void *context, ds_arena *arena);

#endif
