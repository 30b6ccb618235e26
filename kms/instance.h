/*
 * instance.h - a dedicated instance: a PKCS#11 token that keeps keys of its own
 * and uses them itself, so that their material is never seen here.
 *
 * Its PIN is asked for by whoever opens a root, see root.h; the errors are
 * those of pkcs11.h.
 */
#ifndef SEALDISK_KMS_INSTANCE_H
#define SEALDISK_KMS_INSTANCE_H

#include <stdbool.h>

#include <sealdisk/cleanup.h>
#include <sealdisk/settings.h>

#include "pkcs11.h"

/**
 * instance_open(s, may_ask, ret):
 * The token of [instance] in ${s}, logged in.
 *
 * -ENXIO  there is none in ${s}
 */
int instance_open(const struct settings *s, bool may_ask, struct pkcs11 **ret)
    NONNULL CHECKED;

#endif
