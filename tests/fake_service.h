/*
 * fake_service.h - a service that says what was asked of it.
 *
 * The reply of an action is {"RequestId", "Action", "Principal", "Params":
 * {...}}; but Slow waits first, Fail is refused with 409, and Nothing has no
 * reply.  The access key "testid" has the secret "testsecret", "disabled" is.
 */
#ifndef SEALDISK_FAKE_SERVICE_H
#define SEALDISK_FAKE_SERVICE_H

#include <stdatomic.h>
#include <stdint.h>

#include "service.h"

struct service {
	atomic_uint calls;
	unsigned slow_ms;
	int64_t before; /* up to here an earlier run has served */
};

#endif
