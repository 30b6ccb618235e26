#!/bin/bash
# slow_model.sh - the protocol of one group, every interleaving of it with power
# cuts: the engine's is without fault, and each planted race is found.
# shellcheck source=tests/lib.sh
. "${0%/*}/lib.sh"
require python3

check 'no interleaving loses a block, and what is planted is found' \
	python3 "${0%/*}/model/group.py" --all
