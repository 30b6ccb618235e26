# postgres.sh - a PostgreSQL cluster on ext4, under pgbench, which logs what was
# committed.
# shellcheck shell=bash
# shellcheck disable=SC2154 # soak.sh has the rest

# shellcheck source=tests/lib_postgres.sh
. "$here/lib_postgres.sh"
bench=''

postgres_needs() {
	has_postgres || { echo 'PostgreSQL and its user' && return 1; }
}

postgres_unit() {
	echo 'transactions, those of before each time again'
}

postgres_make() {
	mkdir -p "$FS" "$CLONE"
	[ -d "$RUN" ] || make_run
	rm -f "$RUN"/acked* "$RUN"/bench.*
	: >"$RUN/acked"
	sd create d --size 512M
	dev=$(sd attach d)
	mkfs.ext4 -q "$dev"
	mount "$dev" "$FS"
	make_data "$FS"
	make_cluster "$FS" 'restart_after_crash = off' 'wal_init_zero = off'
	start_pg "$FS"
	sql 'CREATE DATABASE bench' postgres
	quiet pg pgbench -h "$RUN" -i -q -s 1 bench
	sql 'CREATE TABLE soak (round int, client int, n int,
		PRIMARY KEY (round, client, n))'
	# What pgbench does by default, and the number of it.
	cat >"$RUN/script" <<-'END'
		\set aid random(1, 100000)
		\set tid random(1, 10)
		\set delta random(-5000, 5000)
		\set n :n + 1
		BEGIN;
		UPDATE pgbench_accounts SET abalance = abalance + :delta WHERE aid = :aid;
		UPDATE pgbench_tellers SET tbalance = tbalance + :delta WHERE tid = :tid;
		UPDATE pgbench_branches SET bbalance = bbalance + :delta WHERE bid = 1;
		INSERT INTO pgbench_history (tid, bid, aid, delta, mtime)
			VALUES (:tid, 1, :aid, :delta, CURRENT_TIMESTAMP);
		INSERT INTO soak VALUES (:round, :client_id, :n);
		COMMIT;
	END
}

postgres_attach() {
	dev=$(sd attach d)
}

numbered() {
	sql 'SELECT count(*) FROM soak'
}

postgres_acked() {
	[ -z "${1:-}" ] || numbered
}

has_numbered() {
	[ "$(numbered)" -gt "$1" ]
}

postgres_start() {
	local before

	before=$(numbered)
	postmaster=$(head -n 1 "$FS/data/postmaster.pid")
	pg pgbench -h "$RUN" -n -c 4 -T 600 -l --log-prefix="$RUN/bench" \
		-f "$RUN/script" -D n=0 -D "round=$round" bench \
		>"$T/bench" 2>&1 &
	bench=$!
	wait_for 20 has_numbered "$before" && return
	cat "$T/bench"
	return 1
}

postgres_trim() {
	fstrim "$FS"
}

# note_acked: of each client, how many transactions pgbench saw committed.
note_acked() {
	cat "$RUN"/bench.* 2>/dev/null | awk -v round="$round" '
		$3 ~ /^[0-9]+$/ { n[$1]++ }
		END { for (c in n) print round "\t" c "\t" n[c] }' >>"$RUN/acked"
	rm -f "$RUN"/bench.*
}

has_gone() {
	! [ -e "/proc/$1" ]
}

# Ends the server at once, wherever it is.
end_server() {
	kill -QUIT "$postmaster" 2>/dev/null || :
	if ! wait_for 10 has_gone "$postmaster"; then
		mapfile -t all < <(processes_of "$postmaster")
		kill -KILL "${all[@]}" 2>/dev/null || :
	fi
}

# end_bench: of itself, when it has no server any more: only then all of its log
# is there.
end_bench() {
	[ -n "$bench" ] || return 0
	wait "$bench" 2>/dev/null || :
	note_acked
	bench=''
}

postgres_stop() {
	stop_pg "$FS" || :
	end_bench
	umount "$FS"
}

postgres_crash() {
	kill_mount
}

postgres_ended() {
	! mountpoint -q "$FS" || end_server
	end_bench
	leave_fs "$FS"
}

# all_committed: none is missing of all rounds, and of none is more than the one
# transaction there that each client had under way.
all_committed() {
	local got

	got=$(
		{
			echo 'CREATE TEMP TABLE acked (round int, client int, n int);'
			echo 'COPY acked FROM STDIN;'
			cat "$RUN/acked"
			echo '\.'
			cat <<-'END'
				SELECT count(*), coalesce(sum(n), 0) FROM acked a
				WHERE n <> (SELECT count(*) FROM soak s
					WHERE s.round = a.round AND s.client = a.client
					AND s.n <= a.n)
				OR (SELECT max(n) FROM soak s WHERE s.round = a.round
					AND s.client = a.client) > n + 1;
				SELECT coalesce(sum(n), 0) FROM acked;
			END
		} | pg psql -h "$RUN" -X -A -t -q -v ON_ERROR_STOP=1 bench
	) || return
	if ! [[ $got =~ ^0\|0$'\n'([0-9]+)$ ]]; then
		note "missing in how many, of how many transactions: $got"
		cat "$RUN/acked"
		sql 'SELECT round, client, count(*), min(n), max(n) FROM soak
			GROUP BY round, client'
		return 1
	fi
	n_verified=$((n_verified + BASH_REMATCH[1]))
}

postgres_verify() {
	must 'its file system is whole' whole_fs "$FS" || return
	rm -f "$FS/data/postmaster.pid"
	must 'it starts' start_pg "$FS" || return
	must 'its sums agree' sums_are_one
	must 'what was committed is there' all_committed || return
	[ $((round % 5)) -ne 0 ] || must 'tables and indices are whole' quiet \
		pg pg_amcheck -h "$RUN" --install-missing --heapallindexed bench
}

postgres_verify_snapshot() {
	with_clone "$1" look_at_cluster "${snap_from[$1]}"
}

# look_at_cluster N: it starts, and has at least N transactions.  For this the
# other one must not run.
look_at_cluster() {
	local again='' r=0

	if mountpoint -q "$FS"; then
		again=yes
		stop_pg "$FS" || return
	fi
	whole_fs "$CLONE" && rm -f "$CLONE/data/postmaster.pid" &&
		start_pg "$CLONE" || r=1
	if [ "$r" -eq 0 ]; then
		must 'its sums agree' sums_are_one || r=1
		must "it has $1 transactions" has_numbered $(($1 - 1)) || r=1
		stop_pg "$CLONE" || r=1
	fi
	leave_fs "$CLONE"
	[ -z "$again" ] || start_pg "$FS" || r=1
	return "$r"
}
