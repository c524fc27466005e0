package sink_test

import (
	"maps"
	"slices"

	"github.com/penstock-cdc/penstock/change"
)

// modelLoad is a snapshot of the model's table that goes on.
type modelLoad struct {
	name    string
	left    []int // keys that are to be read
	partial bool  // it reads some rows alone, and nothing happened unseen
}

// load goes on with a snapshot, or has the table change with nobody looking and begins one.
func (m *model) load() {
	m.table.Lock()
	defer m.table.Unlock()
	l := &m.loading
	switch {
	case l.name == "" && m.rnd.IntN(3) > 0:
	case l.name == "":
		if l.partial = m.rnd.IntN(4) == 0; !l.partial {
			m.unseen()
		}
		m.beginLoad()
	case m.rnd.IntN(12) == 0:
		if m.rnd.IntN(2) == 0 {
			m.s.marker(change.SnapshotAbort, l.name)
			m.logf("snapshot %s is given up", l.name)
		}
		l.partial = false
		m.beginLoad() // what is not read yet is to be read
	default:
		m.readSome(1 + m.rnd.IntN(m.space))
	}
}

func (m *model) beginLoad() {
	l := &m.loading
	m.loads++
	l.name, l.left = itoa(m.loads), slices.Sorted(maps.Keys(m.rows))
	m.rnd.Shuffle(len(l.left), func(i, j int) { l.left[i], l.left[j] = l.left[j], l.left[i] })
	if l.partial {
		l.left = l.left[:m.rnd.IntN(len(l.left)+1)]
	}
	m.s.marker(change.SnapshotBegin, l.name)
	m.logf("snapshot %s begins, partial: %v", l.name, l.partial)
}

// readSome reads rows that are left, and ends the snapshot after the last.
func (m *model) readSome(n int) {
	l := &m.loading
	n = min(n, len(l.left))
	m.s.begin()
	for i, id := range l.left[:n] {
		if r := m.rows[id]; r != nil {
			r.lacks, r.left, r.dark, r.unread = false, r.plan == "test", false, false
			m.s.read(r.row(), i)
			m.logf("read %+v", *r)
		}
	}
	if l.left = l.left[n:]; len(l.left) > 0 {
		return
	}
	for _, id := range slices.Sorted(maps.Keys(m.rows)) { // those that went to another key meanwhile
		if m.rows[id].unread {
			l.left = append(l.left, id)
		}
	}
	if len(l.left) > 0 {
		m.readSome(len(l.left))
		return
	}
	m.s.begin()
	m.s.publish(change.MarkerRecord(m.s.table, change.NewPointID(1, m.s.commit, 1, 0), change.Marker{Kind: change.SnapshotEnd, Snapshot: l.name, Partial: l.partial}))
	m.logf("snapshot %s ends", l.name)
	if !l.partial {
		clear(m.stale)
	}
	*l = modelLoad{}
}

// endLoad reads what a snapshot has not read yet.
func (m *model) endLoad() {
	m.table.Lock()
	defer m.table.Unlock()
	if m.loading.name != "" {
		m.readSome(len(m.loading.left))
	}
}

// unseen does things to the table of which no event tells.
func (m *model) unseen() {
	for range m.rnd.IntN(5) {
		id := 1 + m.rnd.IntN(m.space)
		r := m.rows[id]
		other := m.rows[1+m.rnd.IntN(m.space)]
		switch k := m.rnd.IntN(10); {
		case r == nil:
			m.rows[id] = m.made(id)
			m.rows[id].dark, m.rows[id].unread = true, true
			m.logf("unseen: insert %+v", *m.rows[id])
		case k < 4:
			delete(m.rows, id)
			m.stale[id], m.lost[r.ident] = true, true
			m.logf("unseen: delete %+v", *r)
		case k < 6 && m.byCode && other != nil && other != r:
			r.ver++
			other.ver++
			r.unread, other.unread = true, true
			r.code, other.code = other.code, r.code
			m.logf("unseen: exchange codes of %+v and %+v", *r, *other)
		default:
			r.ver++
			r.dark, r.unread = r.hidden(), true
			r.name, r.plan, r.email = "n"+itoa(m.rnd.IntN(3)), m.plan(), m.email(r)
			m.logf("unseen: update %+v", *r)
		}
	}
}

// truncate empties the table.
func (m *model) truncate() {
	m.table.Lock()
	defer m.table.Unlock()
	m.mu.Lock()
	for _, r := range m.rows {
		m.emptied[itoa(r.ident)] = true
	}
	m.mu.Unlock()
	clear(m.rows)
	m.s.truncate()
	m.logf("truncate")
}

// approve lets through what a guard holds back.
func (m *model) approve() {
	for _, stop := range m.p.engine.Guards() {
		if _, err := m.p.engine.Approve(m.t.Context(), stop); err != nil {
			m.t.Error(err)
		}
	}
}
