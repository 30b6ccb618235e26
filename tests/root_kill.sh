#!/bin/bash
# root_kill.sh - soak.sh in short: some rounds of each workload, each time with
# others.
exec "${0%/*}/soak.sh" --rounds "${KILL_ROUNDS:-8}"
