/* Words for ds_status. */
#include "deltaseal.h"

static const char *const texts[] = {
    [DS_OK] = "done",
    [DS_E_ARGUMENT] = "the function was called against its contract",
    [DS_E_MEMORY] = "not enough memory",
    [DS_E_CANCELLED] = "cancelled",
    [DS_E_DELTA] = "the delta is damaged, or made for another revision",
    [DS_E_LIMIT] = "the delta asks for more than the limits allow",
    [DS_E_OLD] = "the old image is not the one the delta was made from",
    [DS_E_DIGEST] = "the bytes made are not the new image",
};

const char *ds_status_text(ds_status status) {
    return (unsigned)status < sizeof texts / sizeof texts[0] ? texts[status] : "unknown status";
}
