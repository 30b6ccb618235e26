"""chunks.py - the order of chunk file, map page and root page, discard and rewrite, removal and merge of format.md, explored exhaustively.

One chunk index of two blocks in a child and a parent layer. Run: python3 chunks.py w=4 c=3 cr=2, and with merge=1 or merge=2: no violation.
merge=1 is the order of format.md, in which the parent's entry is dropped before the child has the grandparent. merge=2 is that of merge.c: the parent
keeps its entry, and the sweep spares what its heir's map names in either copy. Mutations that are caught: zeroinit=0, mapearly=1, merge=1 badorder=1,
merge=1 badorder=2, merge=2 noheirs=1.
die=1: the process may die and the next one go on in its session, by the ring of what was not committed (resume.c): it knows what is in the map and
the pages, not what of them is durable, so its first commit begins by making all durable. Mutations: die=1 nosettle=1, die=1 merge=2 nosettle=1, die=1 nomap=1.
"""
import sys, itertools
from collections import deque
opt=dict(a.split('=') if '=' in a else (a,'1') for a in sys.argv[1:]); O=lambda k,d=0:int(opt.get(k,d))
NB=2
# reg = (dur, view, frozenset(pend))
def R(v): return (v,v,frozenset())
def put(r,v): return (r[0],v,r[2]|{v}) if not(r[1]==v and not r[2]) else r
def sy(r): return (r[1],r[1],frozenset())
# state: dict-> tuple. files: tuple of (salt, exists reg, content reg) ; content = tuple block states: 'a','z',ver
# map: C.map reg value: 'a','z',salt ; root reg bit; P.map reg ; parent durable flag
# mem: None or (mapcur, mapdur, files_dirty frozenset{salt}, contentmem dict tuple, queue tuple, phase, snap)
from collections import namedtuple
S=namedtuple('S','files cm root pm par mem allow ver nw nc ncr salt merge')
M=namedtuple('M','cur cont dirty phase snap post queue oldcm loaded')
start=S(files=((1,R(True),R(('p','p'))),), cm=R('a'), root=R(0), pm=R(1), par=1, mem=None, allow=(frozenset(['p']),)*NB, ver=0,nw=0,nc=0,ncr=0,salt=1,merge=0)
viol={}
par_={}
def tr(s,a,v):
    viol[v]=viol.get(v,0)+1
    if viol[v]==1:
        t=[a]
        while par_[s] is not None: s,x=par_[s]; t.append(x)
        print('VIOLATION',v,'\n   ','; '.join(reversed(t)))
def F(s): return {f[0]:(f[1],f[2]) for f in s.files}
def mk(d): return tuple(sorted((k,)+v for k,v in d.items()))
def mapview(s): return s.cm[1] if s.root[1] else 'a'
def parentval(s,f,b):
    if not s.par or s.pm[1]=='a': return 'z'
    x=s.pm[1]
    if x not in f or not f[x][0][1]: return 'ALARM'
    c=f[x][1][1][b]; return 'z' if c in('a','z') else c
def val(s,f,cur,cont,b):
    if cur=='z': return 'z'
    if cur!='a':
        if cur not in f or not f[cur][0][1]: return 'ALARM'
        c=cont[b]
        if c=='z': return 'z'
        if c!='a': return c
        # absent in chunk: ask parent, but not the same moved chunk
        if s.par and s.pm[1]==cur: return 'z'
    return parentval(s,f,b)
def succ(s):
    out=[]; f=F(s)
    if s.mem is None:
        # attach; first-open sync of map, chunks
        d=dict(f); t=s
        if not O('nosync'):
            t=t._replace(cm=sy(s.cm),root=sy(s.root),pm=sy(s.pm)); d={k:(v[0],sy(v[1])) for k,v in d.items()}
            if O('dirsync',1): d={k:(sy(v[0]),v[1]) for k,v in d.items()}
        cur=mapview(t); named={cur, t.pm[1] if t.par else None}
        if not t.root[1] and t.cm[1] not in('a','z') : pass
        # orphan GC
        for k in list(d):
            if k not in named and d[k][0][1]: d[k]=(put(d[k][0],False),d[k][1])
        d={k:v for k,v in d.items() if v[0]!=R(False)}
        cont=None
        if cur not in('a','z'):
            if cur not in d or not d[cur][0][1]: tr(s,'attach','map names a chunk that is not there'); return out
            cont=d[cur][1][1]
            if cont=='torn': tr(s,'attach','map names a torn chunk'); return out
        t=t._replace(files=mk(d))
        for b in range(NB):
            v=val(t,d,cur,cont,b)
            if v not in t.allow[b]: tr(s,'attach','PROMISE/ALARM block %s'%('ALARM' if v=='ALARM' else 'has wrong content (%s)'%('parent data resurrected' if v=='p' else 'old'))); return out
        m=M(cur,cont,frozenset(),0,None,(frozenset(),)*NB,(),cur,1)
        return [('attach',t._replace(mem=m))]
    m=s.mem
    # a death without a cut: what was acknowledged is still there, how far the commit had come and what was to be unlinked is not
    if O('die') and s.ncr<O('cr',2):
        old=mapview(s); cur,cont=(m.cur,m.cont) if not O('nomap') else (old,f[old][1][1] if old in f else None)
        di=frozenset([cur]) if cur in f and f[cur][1][1]!=cont else frozenset()
        t=s._replace(ncr=s.ncr+1,mem=m._replace(cur=cur,cont=cont,dirty=di,phase=0,snap=None,queue=(),oldcm=old,loaded=0))
        for b in range(NB):
            x,y=val(s,f,m.cur,m.cont,b),val(t,f,cur,cont,b)
            if x!=y: tr(s,'DIE','after a death block is %s, was %s'%(y,x)); break
        else: out.append(('DIE',t))
    # crashes
    if s.ncr<O('cr',2):
        out.append(('KILL',s._replace(mem=None,ncr=s.ncr+1)))
        regs=[]
        for nm,r in (('cm',s.cm),('root',s.root),('pm',s.pm)): regs.append([(nm,v) for v in {r[0]}|r[2]])
        for k,(e,c) in f.items():
            regs.append([(('e',k),v) for v in {e[0]}|e[2]])
            regs.append([(('c',k),v) for v in {c[0]}|c[2]])
        for combo in itertools.product(*regs):
            d=dict(combo); nf={}
            for k in f:
                if d[('e',k)]: nf[k]=(R(True),R(d[('c',k)]))
            out.append(('POWER{cm=%s root=%s files=%s}'%(d['cm'],d['root'],sorted(nf)),s._replace(files=mk(nf),cm=R(d['cm']),root=R(d['root']),pm=R(d['pm']),mem=None,ncr=s.ncr+1)))
    # client ops
    if s.nw<O('w',3):
        for b in range(NB):
            v='v%d'%(s.ver+1); cur,cont,d,salt=m.cur,m.cont,dict(f),s.salt; dirty=m.dirty
            if cur in('a','z'):
                salt+=1; base='a' if cur=='a' or not O('zeroinit',1) else 'z'
                cont=(base,)*NB; d[salt]=((False,True,frozenset([True])),('torn','torn',frozenset())); cur=salt
                d[salt]=(d[salt][0],put(d[salt][1],cont))
            cont=cont[:b]+(v,)+cont[b+1:]; dirty=dirty|{cur}
            al=list(s.allow); al[b]=al[b]|{v}; po=list(m.post); po[b]=po[b]|{v}
            t=s._replace(files=mk(d),salt=salt,ver=s.ver+1,nw=s.nw+1,allow=tuple(al),mem=m._replace(cur=cur,cont=cont,dirty=dirty,post=tuple(po)))
            # immediate read-back check of the *other* block
            for x in range(NB):
                y=val(t,F(t),cur,cont,x)
                if y not in t.allow[x]: tr(s,'write b%d'%b,'live read after write: other block wrong (%s)'%('parent data resurrected' if y=='p' else y)); break
            else: out.append(('write b%d'%b,t))
        # discard whole chunk
        hasp=bool(s.par and s.pm[1]!='a')
        nz='z' if hasp or O('alwayszero') else 'a'
        if m.cur!=nz:
            al=tuple(x|{'z'} for x in s.allow); po=tuple(x|{'z'} for x in m.post)
            out.append(('discard->%s'%nz,s._replace(nw=s.nw+1,allow=al,mem=m._replace(cur=nz,cont=None,dirty=m.dirty-{m.cur},post=po))))
    # commit
    ph=m.phase
    if ph==0 and not m.loaded and not O('nosettle'):
        out.append(('settle',s._replace(files=mk({k:(sy(v[0]),sy(v[1])) for k,v in f.items()}),cm=sy(s.cm),root=sy(s.root),pm=sy(s.pm),mem=m._replace(loaded=1))))
    elif ph==0 and s.nc<O('c',2) and (m.dirty or m.cur!=m.oldcm or not m.loaded):
        d=dict(f)
        for k in m.dirty:
            if k==m.cur: d[k]=(d[k][0],put(d[k][1],m.cont))
        vals=tuple(val(s,f,m.cur,m.cont,b) for b in range(NB))
        out.append(('commit:pages',s._replace(files=mk(d),nc=s.nc+1,mem=m._replace(phase=1,snap=(m.cur,vals,m.dirty),dirty=frozenset(),post=(frozenset(),)*NB))))
    if ph==1:
        d={k:((sy(v[0]),sy(v[1])) if k in m.snap[2] or k==m.snap[0] else v) for k,v in f.items()}
        if O('maplate'): pass
        out.append(('commit:sync chunks',s._replace(files=mk(d),mem=m._replace(phase=2))))
        if O('mapearly'): out.append(('commit:map early',s._replace(cm=put(s.cm,m.snap[0]),root=put(s.root,1),mem=m._replace(phase=1.5))))
    if ph==2:
        if m.snap[0]!=m.oldcm: out.append(('commit:map write',s._replace(cm=put(s.cm,m.snap[0]),mem=m._replace(phase=3))))
        else: out.append(('commit:-',s._replace(mem=m._replace(phase=5))))
    if ph==3: out.append(('commit:map sync',s._replace(cm=sy(s.cm),root=sy(s.root),mem=m._replace(phase=4 if not s.root[1] else 5))))
    if ph==4: out.append(('commit:root',s._replace(root=put(s.root,1),mem=m._replace(phase=4.5))))
    if ph==4.5: out.append(('commit:root sync',s._replace(root=sy(s.root),cm=sy(s.cm),mem=m._replace(phase=5))))
    if ph==5:
        al=tuple(frozenset([m.snap[1][b]])|m.post[b] for b in range(NB)); q=m.queue
        for k in f:
            if f[k][0][1] and k!=m.snap[0] and k!=m.cur and (k!=s.pm[1] or not s.par): q=q+(k,) if k not in q else q
        out.append(('flush-done',s._replace(allow=al,mem=m._replace(phase=0,snap=None,oldcm=m.snap[0],queue=q))))
    if m.queue:
        k=m.queue[0]; d=dict(f)
        if k in d: d[k]=(put(d[k][0],False),d[k][1])
        out.append(('unlink %d'%k,s._replace(files=mk(d),mem=m._replace(queue=m.queue[1:]))))
    if O('merge')==2 and not s.par and s.pm[1]!='a':
        x=s.pm[1]; named={s.cm[1],s.cm[0]}|s.cm[2]
        d=dict(f)
        if x in d and d[x][0][1] and x not in named:
            d[x]=(put(d[x][0],False),d[x][1])
            out.append(('sweep removes %s'%x,s._replace(files=mk(d))))
        if O('noheirs') and x in d and d[x][0][1]:
            d[x]=(put(d[x][0],False),d[x][1]); out.append(('sweep removes (no heirs) %s'%x,s._replace(files=mk(d))))
    # merge of parent into child
    if O('merge') and s.par:
        if ph==0 and s.merge==0 and m.cur=='a' and s.pm[1]!='a':
            c=f[s.pm[1]][1][1]
            out.append(('merge:child names %s'%s.pm[1],s._replace(merge=1,mem=m._replace(cur=s.pm[1],cont=c,dirty=m.dirty|{s.pm[1]}))))
        if s.pm[1]!='a' and m.cur!='a' and (m.cur==s.pm[1] or m.cur=='z' ) and (O('badorder')==1 or (m.oldcm==m.cur and ph==0 and (m.loaded or O('nosettle')))) :
            if O('badorder')!=2 and O('merge')==1: out.append(('merge:parent map drops',s._replace(pm=sy(put(s.pm,'a')))))
        if O('merge')==2:
            # finish() of merge.c commits first, and by that settles
            if s.pm[1]!='a' and m.oldcm==m.cur and ph==0 and (m.loaded or O('nosettle')) and m.cur in (s.pm[1],'z'):
                out.append(('merge:relink',s._replace(par=0)))
        elif ((s.pm[1]=='a') or (O('badorder')==2 and m.oldcm==m.cur and m.cur==s.pm[1] and ph==0)):
            d=dict(f)
            x=s.pm[1]
            if x!='a' and x in d: d[x]=(put(d[x][0],False),d[x][1])   # removal of a layer deletes what its map names
            if s.pm[1]=='a' or O('badorder')==2:
                out.append(('merge:relink, remove parent%s'%('' if x=='a' else ' and the chunks its map names'),s._replace(par=0,files=mk(d))))
    return out
q=deque([start]); par_[start]=None; n=0; LIM=O('max',1500000)
while q and n<LIM:
    s=q.popleft(); n+=1
    for a,t in succ(s):
        if t not in par_:
            par_[t]=(s,a); q.append(t)
print(opt,'states',n,'(LIMIT)' if q else '(exhausted)'); print('  violations:',viol or 'none')
