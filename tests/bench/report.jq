# report.jq - samples to results: medians, ratios, targets met and missed.
#
# Input: the samples, slurped.  $text: a table for people instead of JSON.

# Issues "Fast, and hard to misuse" and "Snapshots, images, clones": what Sealdisk is to reach, as a ratio to
# passthrough_ll and to the faster of the two encrypted peers.
def targets: {
	"seqwrite-first": { pll: 0.45, peer: 1.3 },
	"seqwrite-again": { pll: 0.6, peer: 1.3 },
	"seqread-cold": { pll: 0.6, peer: 1.5 },
	"seqread-warm": { pll: 0.65, peer: 1.5 },
	"randread": { pll: 0.75, peer: 2.5 },
	"randread-qd1": { pll: 0.8, peer: 1.3 },
	"randwrite": { pll: 2, peer: 3 },
	"mixed": { pll: 2, peer: 3 },
	"fsync1": { pll: 0.7, peer: 1 },
	"fsync32": { pll: 0.8, peer: 1.5 },
	"loop-randread": { pll: 0.8, peer: 2 },
	"loop-randwrite": { pll: 1.2, peer: 2 },
	"smallfiles": { plain: 1.15 },
	"attach-1G": { most: 20 },
	"attach-1T": { most: 20 },
	"attach-16T": { most: 20 },
	"resident-over": { most: 65536 },
	"kms-generate": { least: 10000 },
	"kms-generate-p99": { most: 10 },
	"kms-generate-full": { least: 10000 },
	"kms-generate-full-p99": { most: 10 },
	"kms-decrypt": { least: 10000 },
	"kms-decrypt-p99": { most: 10 },
	"kms-decrypt-full": { least: 10000 },
	"kms-decrypt-full-p99": { most: 10 },
	"kms-embedded": { most: 200 },
	"stall-kill": { most: 50 },
	"stall-upgrade": { most: 100 },
	"snapshot-small": { most: 50 },
	"snapshot-large": { most: 50 },
	"clone-small": { most: 50 },
	"clone-large": { most: 50 },
	"snapshot-growth": { most: 1.5 },
	"snap-randread-ratio": { least: 0.95 },
	"snap-write-ratio": { least: 0.8 },
	"send-ratio": { least: 0.7 }
};

def titles: {
	"seqwrite-first": "sequential write 1M + fsync, first",
	"seqwrite-again": "sequential write 1M + fsync, again",
	"seqread-cold": "sequential read 1M, store cold",
	"seqread-warm": "sequential read 1M, store warm",
	"seqread-aged": "the same after random writes",
	"randread": "random read 4K direct, qd 16",
	"randread-qd1": "random read 4K direct, qd 1",
	"randwrite": "random write 4K direct, qd 16",
	"mixed": "mixed 70/30 4K direct, qd 16",
	"fsync1": "random write 4K, fsync each",
	"fsync32": "random write 4K, fsync every 32",
	"loop-randread": "loop, direct: random read, qd 16",
	"loop-randwrite": "loop, direct: random write, qd 16",
	"loopbuf-randread": "loop, buffered: random read",
	"loopbuf-randwrite": "loop, buffered: random write",
	"buf-write": "buffered write 4K + fsync",
	"buf-randwrite": "buffered random write 4K + fsync",
	"loopbuf-write": "loop, buffered: write 4K + fsync",
	"smallfiles": "ext4 on loop: cp -a 3000 files + sync",
	"attach-1G": "attach a disk of 1 GiB",
	"attach-1T": "attach a disk of 1 TiB",
	"attach-16T": "attach a disk of 16 TiB",
	"detach-1G": "detach a disk of 1 GiB",
	"detach-1T": "detach a disk of 1 TiB",
	"detach-16T": "detach a disk of 16 TiB",
	"attach-memory-1G": "memory for a disk of 1 GiB",
	"attach-memory-1T": "memory for a disk of 1 TiB",
	"attach-memory-16T": "memory for a disk of 16 TiB",
	"resident": "resident memory after all of this",
	"resident-over": "of that, over cache_size",
	"kms-generate": "kmsd: GenerateDataKey, 16 clients",
	"kms-generate-p99": "99 of 100 take at most",
	"kms-generate-full": "with 10,000 keys, 1,000,000 lines",
	"kms-generate-full-p99": "99 of 100 take at most",
	"kms-decrypt": "kmsd: Decrypt, 16 clients",
	"kms-decrypt-p99": "99 of 100 take at most",
	"kms-decrypt-full": "with 10,000 keys, 1,000,000 lines",
	"kms-decrypt-full-p99": "99 of 100 take at most",
	"kms-embedded": "Decrypt by the embedded service",
	"kms-embedded-audit": "the same, its line of audit synced",
	"stall-none": "loop, qd 32: longest write in 2 s",
	"stall-kill": "the same, the worker is killed",
	"stall-upgrade": "the same, another program takes over",
	"snapshot-small": "snapshot of 1 GiB written",
	"snapshot-large": "snapshot of 100 GiB, a block a chunk",
	"clone-small": "clone of 1 GiB written",
	"clone-large": "clone of 100 GiB, a block a chunk",
	"snapshot-growth": "snapshot: 100 GiB / 1 GiB",
	"snap-randread-none": "random read 4K qd 16, no snapshot",
	"snap-randread-many": "random read 4K qd 16, 100 snapshots",
	"snap-randread-ratio": "of that: 100 snapshots / none",
	"snap-rewrite": "random write 4K qd 16, a rewrite",
	"snap-firstwrite": "random write 4K qd 16, after a snapshot",
	"snap-write-ratio": "of that: first write / rewrite",
	"send": "send to a file",
	"send-cp": "cp of that file",
	"send-ratio": "of that: send / cp",
	"scale-one-attach": "one disk: attach",
	"scale-one-ls": "one disk: ls all",
	"scale-one-resident": "one disk: resident memory",
	"scale-snapshot-first": "snapshot 1 to 10 of a disk",
	"scale-snapshot-last": "snapshot 991 to 1,000 of it",
	"scale-snapshots-open": "1,000 snapshots: resident, still open",
	"scale-snapshots-attach": "1,000 snapshots: attach",
	"scale-snapshots-ls": "1,000 snapshots: ls all",
	"scale-snapshots-resident": "1,000 snapshots: resident, detached",
	"scale-create-first": "disk 1 to 10 made",
	"scale-create-last": "disk 991 to 1,000 made",
	"scale-disks-attach": "and 1,000 disks: attach",
	"scale-disks-ls": "and 1,000 disks: ls all",
	"scale-disks-resident": "and 1,000 disks: resident"
};

def median:
	sort | if length == 0 then null
	elif length % 2 == 1 then .[length / 2 | floor]
	else (.[length / 2 - 1] + .[length / 2]) / 2 end;

def round_to($n): if . == null then null else . * $n | round / $n end;

# The ratio of two peers: within each repetition, then the median.
def ratio($a; $b):
	. as $s
	| [ $s[] | .rep ] | unique
	| map(. as $r
		| ([ $s[] | select(.rep == $r and .peer == $a) | .value ] | median) as $x
		| ([ $s[] | select(.rep == $r and .peer == $b) | .value ] | median) as $y
		| if $x == null or $y == null or $y == 0 then empty else $x / $y end)
	| median;

def value($p): [ .[] | select(.peer == $p) | .value ] | median;
def cpu($p): [ .[] | select(.peer == $p and .cpu != null) | .cpu ] | median;

# Of times less is better.
def best_peer($unit):
	[ ("gocryptfs", "qsd") as $p | { p: $p, v: value($p) } | select(.v != null) ]
	| sort_by(.v) | if $unit == "s" then first else last end | .p // null;

def result:
	. as $s
	| first.job as $job | first.unit as $unit
	| (targets[$job] // {}) as $t
	| best_peer($unit) as $best
	| { job: $job, title: (titles[$job] // $job), unit: $unit,
	    best_peer: $best,
	    values: (map(.peer) | unique
		| map({ key: ., value: (. as $p | $s | value($p)) }) | from_entries),
	    cpu_us: (map(.peer) | unique | map(select(. != "plain"))
		| map({ key: ., value: (. as $p | $s | cpu($p)) })
		| map(select(.value != null)) | from_entries),
	    ratios: {
		pll: ($s | ratio("sealdisk"; "pll")),
		peer: (if $best then $s | ratio("sealdisk"; $best) else null end),
		plain: ($s | ratio("sealdisk"; "plain")) },
	    targets: $t }
	| .met = ([
		(if $t.pll and .ratios.pll then .ratios.pll >= $t.pll else empty end),
		(if $t.peer and .ratios.peer then .ratios.peer >= $t.peer else empty end),
		(if $t.plain and .ratios.plain then .ratios.plain <= $t.plain else empty end),
		(if $t.most and .values.sealdisk then .values.sealdisk <= $t.most else empty end),
		(if $t.least and .values.sealdisk then .values.sealdisk >= $t.least else empty end)
	  ] | if length == 0 then null else all end);

# ---- for people ----

def left($n): . + (" " * ([$n - length, 0] | max) // "");
def pad($n): tostring | ((" " * ([$n - length, 0] | max)) // "") + .;

def figure:
	if . == null then "-"
	elif . >= 10000 then "\(. / 1000 | round_to(10))k"
	elif . >= 100 then "\(round)"
	elif . >= 10 then "\(round_to(10))"
	else "\(round_to(100))" end;

def against($ratio; $target; $sign):
	if $ratio == null then "-"
	else "\($ratio | round_to(100))" +
	    if $target then " (\($sign)\($target))" else "" end end;

def verdict: if .met == null then "" elif .met then "met" else "MISSED" end;

def columns: [ "plain", "pll", "gocryptfs", "qsd", "sealdisk", "ocb",
	"sealdisk-alone" ];

def row:
	. as $r
	| (.title | left(38)) + (.unit | pad(5))
	+ ([ columns[] as $p | $r.values[$p] | figure | pad(10) ] | add)
	+ (against(.ratios.pll; .targets.pll; ">=") | pad(14))
	+ (if .targets.plain then against(.ratios.plain; .targets.plain; "<=") | pad(14)
	   else against(.ratios.peer; .targets.peer; ">=") | pad(14) end)
	+ "  " + verdict;

def cpu_row:
	. as $r
	| (.title | left(38)) + ("us" | pad(5))
	+ ([ columns[] as $p | $r.cpu_us[$p] | figure | pad(10) ] | add);

def head($a; $b):
	("job" | left(38)) + ("" | pad(5)) + ([ columns[] | ltrimstr("sealdisk-") | pad(10) ] | add)
	+ ($a | pad(14)) + ($b | pad(14));

def only_sealdisk: .values | keys - [ "qcow2" ] | . == [ "sealdisk" ] or . == [];

def table:
	.results as $all
	| ($all | map(select(only_sealdisk | not))) as $with
	| ($all | map(select(only_sealdisk))) as $alone
	| (if $with == [] then empty else
		head("/ pll"; "/ best peer"), ($with[] | row), "",
		"daemon's CPU an operation (1 MiB, or 4 KiB, or a file)",
		head(""; ""), ($with[] | select(.cpu_us != {}) | cpu_row), "" end),
	  ($with[] | select(.values["sealdisk-wb"] != null)
		| "\(.title | left(38)) with the writeback cache: sealdisk \(
		  .values["sealdisk-wb"] | figure), pll \(
		  .values["pll-wb"] | figure) \(.unit)"),
	  ($alone[] | "\(.title | left(38)) \(.values.sealdisk | figure) \(.unit)\(
		if .targets.most then " (<= \(.targets.most | figure))"
		elif .targets.least then " (>= \(.targets.least | figure))"
		else "" end)  \(verdict)\(
		if .values.qcow2 then "  qcow2: \(.values.qcow2 | figure)" else "" end)"),
	  ([ $all[] | select(.met != null) | .met ]
		| if length > 0 then "\(map(select(.)) | length) of \(length) targets met"
		  else empty end);

(map(select(.about)) | first.about) as $about
| map(select(.job))
| (map(.job) | reduce .[] as $j ([]; if index([$j]) then . else . + [$j] end)) as $order
| . as $samples
| { about: $about,
    results: [ $order[] as $j | $samples | map(select(.job == $j)) | result ] }
| if $text then table else . end
