#!/usr/bin/env python3
"""group.py - commit, slot reuse and cache eviction of one group (format.md, "Commit"; commit.c, group_write.c, cache_page.c, load.c),
every interleaving of a writer, a committer, a mirror and an evictor, with power cuts at every moment: any of what was not synced, torn.

Two blocks, five slots. A step is what the engine does under one hold of the page's lock. Run: python3 tests/model/group.py: no
violation. Options: w=3 writes, c=2 commits, e=1 eviction, m=1 mirror, cuts=2. A race or a wrong order is planted with one of

  evict-inflight   a page is evicted while an image of it is under way
  evict-unchecked  what is evicted is not looked at again after it was mirrored
  mirror-dirty     the mirror is of a table that is not committed
  free-replaced    a slot is free as soon as no entry names it
  free-at-image    the slots of the durable page are free as the next image is taken
  end-unsynced     a commit ends before its sync
  over-newest      an image goes over the newest copy
  settle-unsaved   what a page was settled to is not written

and each of them is found; --all tries that, and is what `make check-slow` runs.
"""
import sys
from collections import namedtuple
from itertools import product

BLOCKS, SLOTS, BAD = 2, 5, "torn"
PLANTED = ("evict-inflight", "evict-unchecked", "mirror-dirty", "free-replaced", "free-at-image", "end-unsynced", "over-newest",
           "settle-unsaved")

# A file is places: 0 and 1 the copies, then the slots; of each (durable, pending versions, oldest first).  A page is (generation,
# table), a table of each block (slot, version) or None, and what lies in a slot verifies under one version alone.
Page = namedtuple("Page", "gen table dirty inflight prot infl same")
State = namedtuple("State", "file page commit evicting safe last left")
Left = namedtuple("Left", "w c e m cuts")


class Violation(Exception):
    pass


def seen(file, i):
    return file[i][1][-1] if file[i][1] else file[i][0]


def put(file, i, what):
    return file[:i] + ((file[i][0], file[i][1] + (what,)),) + file[i + 1:]


def sync(file):
    return tuple((seen(file, i), ()) for i in range(len(file)))


def used(table):
    return frozenset(e[0] for e in table if e)


def verifies(file, e):
    return e is None or seen(file, 2 + e[0]) == e[1]


def load(file, bug):
    """The page from its two copies; the file, where that writes."""
    copies = [seen(file, 0), seen(file, 1)]
    good = [i for i in (0, 1) if copies[i] != BAD]
    if not good:
        raise Violation("neither copy verifies")
    if len(good) == 1:
        gen, table = copies[good[0]]
        if good[0] != gen % 2:
            file = sync(put(file, gen % 2, copies[good[0]]))
        return file, Page(gen, table, False, False, used(table), frozenset(), False)
    if copies[0] == copies[1]:
        gen, table = copies[0]
        return file, Page(gen, table, False, False, used(table), frozenset(), True)
    new = 0 if copies[0][0] > copies[1][0] else 1
    (gen, newer), older = copies[new], copies[1 - new][1]
    table = tuple(a if a == b or verifies(file, a) else b for a, b in zip(newer, older))
    if table != newer and bug != "settle-unsaved":
        gen += 2
        file = sync(put(file, gen % 2, (gen, table)))
    return file, Page(gen, table, False, False, used(table) | used(older), frozenset(), False)


def check(file, table):
    for b, e in enumerate(table):
        if not verifies(file, e):
            raise Violation(f"block {b} does not verify")


def cut(s, bug):
    """What the file may be after a power cut, and what is then read."""
    ways = []
    for i, (durable, pending) in enumerate(s.file):
        torn = (BAD,) if pending else ()
        ways.append(tuple(dict.fromkeys((durable,) + pending + torn)))
    for left in product(*ways):
        file, page = load(tuple((x, ()) for x in left), bug)
        check(file, page.table)
        versions = tuple(e[1] if e else 0 for e in page.table)
        for b, v in enumerate(versions):
            if v < s.safe[b]:
                raise Violation(f"block {b} is older than its last flush")
        yield State(file, page, None, False, versions, s.last, s.left._replace(cuts=s.left.cuts - 1))


def write(s, b, bug):
    p = s.page
    taken = used(p.table)
    if bug != "free-replaced":
        taken |= p.infl | p.prot
    v = s.last + 1
    # Which of the free ones it takes must not matter: the first and the last.
    free = [x for x in range(SLOTS) if x not in taken]
    for slot in dict.fromkeys(free[:1] + free[-1:]):
        table = p.table[:b] + ((slot, v),) + p.table[b + 1:]
        yield s._replace(file=put(s.file, 2 + slot, v), page=p._replace(table=table, dirty=True), last=v,
                         left=s.left._replace(w=s.left.w - 1))


def commit(s, bug):
    """The next step of the committer: image, home, sync, end."""
    p, c = s.page, s.commit
    if c is None:
        if not (p and p.dirty and s.left.c):
            return
        prot = frozenset() if bug == "free-at-image" else p.prot
        yield s._replace(page=p._replace(dirty=False, inflight=True, infl=used(p.table), prot=prot),
                         commit=("home", p.gen + 1, p.table), left=s.left._replace(c=s.left.c - 1))
        return
    step, gen, table = c
    if step == "home":
        home = gen % 2 if bug != "over-newest" else (gen - 1) % 2
        after = "end" if bug == "end-unsynced" else "sync"
        yield s._replace(file=put(s.file, home, (gen, table)), commit=(after, gen, table))
    elif step == "sync":
        yield s._replace(file=sync(s.file), commit=("end", gen, table))
    else:
        safe = tuple(e[1] if e else s.safe[b] for b, e in enumerate(table))
        if p:
            p = p._replace(gen=gen, prot=p.infl, infl=frozenset(), inflight=False, same=False)
        yield s._replace(page=p, commit=None, safe=safe)


def mirror(s, bug):
    p = s.page
    if p.same or p.inflight or (p.dirty and bug != "mirror-dirty"):
        return s
    return s._replace(file=put(s.file, 1 - p.gen % 2, (p.gen, p.table)), page=p._replace(same=True))


def evict(s, bug):
    """First it is mirrored, then it goes, if it is as idle as before."""
    p = s.page
    if s.evicting:
        stays = (p.dirty or p.inflight) and bug != "evict-unchecked"
        yield s._replace(evicting=False, page=p if stays else None)
    elif s.left.e and not p.dirty and (not p.inflight or bug == "evict-inflight"):
        n = mirror(s, bug)._replace(left=s.left._replace(e=s.left.e - 1))
        yield n._replace(page=None) if p.inflight else n._replace(evicting=True)


def steps(s, bug):
    if s.left.cuts:
        yield from cut(s, bug)
    yield from commit(s, bug)
    if s.page is None:
        file, page = load(s.file, bug)
        yield s._replace(file=file, page=page)
        return
    if s.left.w:
        for b in range(BLOCKS):
            yield from write(s, b, bug)
    yield from evict(s, bug)
    if s.left.m and mirror(s, bug) != s:
        yield mirror(s, bug)._replace(left=s.left._replace(m=s.left.m - 1))


def consistent(s):
    """What is read now is what was written last."""
    if s.page:
        check(s.file, s.page.table)


def explore(left, bug):
    table = (None,) * BLOCKS
    file = (((1, table), ()),) * 2 + ((None, ()),) * SLOTS
    first = State(file, Page(1, table, False, False, frozenset(), frozenset(), True), None, False, (0,) * BLOCKS, 0, left)
    known, todo = {first}, [first]
    while todo:
        s = todo.pop()
        consistent(s)
        for n in steps(s, bug):
            if n not in known:
                known.add(n)
                todo.append(n)
    return len(known)


def run(left, bug):
    try:
        print(f"{bug or 'the engine'}: {explore(left, bug)} states, no violation")
        return True
    except Violation as v:
        print(f"{bug or 'the engine'}: {v}")
        return False


def main(args):
    opt = dict(a.split("=") for a in args if "=" in a)
    bug = next((a for a in args if a in PLANTED), None)
    left = Left(*(int(opt.get(k, d)) for k, d in (("w", 3), ("c", 2), ("e", 1), ("m", 1), ("cuts", 2))))
    ok = run(left, bug)
    if "--all" in args:
        ok = ok and not any([run(left, b) for b in PLANTED])
    sys.exit(0 if ok else 1)


main(sys.argv[1:])
