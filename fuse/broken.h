/*
 * broken.h - the worker of a mount whose workers die again and again: it
 * answers EIO, so that nobody waits for ever, until the administrator acts.
 */
#ifndef SEALDISK_BROKEN_H
#define SEALDISK_BROKEN_H

#include "keeper_link.h"

/**
 * broken_serve(l):
 * Until the mount is gone (0; the keeper then tries one more worker), or until
 * an upgrade takes over, of which it does not return.  The mount's own folder
 * can be opened and asked for that: sealdisk/ioctl.h.
 */
int broken_serve(struct keeper_link *l) NONNULL CHECKED;

#endif
