# lib_postgres.sh - a PostgreSQL cluster of a test's own, below $T, that listens
# on a socket there alone.  Read after lib.sh by tests that have one.
# shellcheck shell=bash

PG=$(find /usr/lib/postgresql -maxdepth 2 -name bin 2>/dev/null | sort -V |
	tail -n 1)
RUN=$T/run

# has_postgres: whether this machine has all of it.
has_postgres() {
	local tool

	for tool in initdb pg_ctl psql pgbench pg_amcheck pg_checksums; do
		[ -x "$PG/$tool" ] || return 1
	done
	id postgres >/dev/null 2>&1 && command -v setpriv >/dev/null
}

# make_run: its folder for sockets and logs.  It runs as another user, which has
# to get there.
make_run() {
	chmod 711 "$T"
	mkdir "$RUN"
	chown postgres: "$RUN"
	cd "$RUN" || return
}

# pg TOOL ARGS...
pg() (
	tool=$1
	shift
	exec setpriv --reuid postgres --regid postgres --init-groups \
		"$PG/$tool" "$@"
)

# sql QUERY [DATABASE]
sql() {
	pg psql -h "$RUN" -X -A -t -q -v ON_ERROR_STOP=1 -c "$1" "${2:-bench}"
}

# start_pg DIR: and its log is $RUN/log from its beginning.
start_pg() {
	rm -f "$RUN/log"
	quiet pg pg_ctl -D "$1/data" -l "$RUN/log" -w -t 30 start && return
	tail -n 20 "$RUN/log"
	return 1
}

stop_pg() {
	quiet pg pg_ctl -D "$1/data" -m fast -w -t 30 stop
}

# make_data DIR: where a cluster, or its log, may lie in it.
make_data() {
	mkdir "$1/data"
	chown postgres: "$1/data"
	chmod 700 "$1/data"
}

# make_cluster DIR [SETTING...]
make_cluster() {
	local dir=$1/data

	shift
	quiet pg initdb -k -A trust -U postgres -D "$dir" || return
	printf '%s\n' "listen_addresses = ''" \
		"unix_socket_directories = '$RUN'" 'shared_buffers = 16MB' \
		'max_wal_size = 64MB' 'checkpoint_timeout = 30s' "$@" \
		>>"$dir/postgresql.conf"
	# What initdb has written is synced by itself.
	sync "$dir/postgresql.conf"
}

# pgbench moves an amount in three tables at once, and notes it in a fourth.
sums_are_one() {
	local got

	got=$(sql 'SELECT (SELECT sum(abalance) FROM pgbench_accounts),
		(SELECT sum(bbalance) FROM pgbench_branches),
		(SELECT sum(tbalance) FROM pgbench_tellers),
		(SELECT coalesce(sum(delta), 0) FROM pgbench_history)')
	[[ $got =~ ^(-?[0-9]+)\|(-?[0-9]+)\|(-?[0-9]+)\|(-?[0-9]+)$ ]] &&
		[ "${BASH_REMATCH[1]}" = "${BASH_REMATCH[2]}" ] &&
		[ "${BASH_REMATCH[1]}" = "${BASH_REMATCH[3]}" ] &&
		[ "${BASH_REMATCH[1]}" = "${BASH_REMATCH[4]}" ]
}
