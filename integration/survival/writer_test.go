package survival

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"time"
)

// writer is one connection's share of the workload.
type writer struct {
	number, of int // ids are number modulo of
	url        string
	rand       *rand.Rand
	full       bool // old rows are sent whole: note may be long
	versions   *atomic.Int64
	oracle     *oracle
	session    session
	next       int64
	rolledBack int
	reconnects int
}

// run writes until the time is over, with a transaction every pace.
func (w *writer) run(ctx context.Context, d, pace time.Duration) error {
	tick := time.NewTicker(pace)
	defer tick.Stop()
	defer func() {
		if w.session != nil {
			w.session.close()
		}
	}()
	for end := time.Now().Add(d); time.Now().Before(end); {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
		if err := w.transaction(ctx, 1+w.rand.IntN(5)); err != nil {
			return err
		}
	}
	return nil
}

// transaction makes changes, and commits them or rolls them back. When the connection
// breaks it finds out what became of them.
func (w *writer) transaction(ctx context.Context, changes int) error {
	if err := w.connect(ctx); err != nil {
		return err
	}
	draft := w.oracle.copy()
	var ops []op
	statements := []string{"BEGIN"}
	for range changes {
		if w.rand.IntN(20) == 0 { // a part that is rolled back
			part := draft.copy()
			sql, undone := w.change(part)
			statements = append(append(append(statements, "SAVEPOINT part"), sql...), "ROLLBACK TO SAVEPOINT part")
			w.oracle.rollback(undone)
			continue
		}
		sql, done := w.change(draft)
		statements, ops = append(statements, sql...), append(ops, done...)
	}
	if !visible(ops) { // its fate must be seen by a version
		sql, done := w.insert(draft)
		statements, ops = append(statements, sql...), append(ops, done...)
	}
	for _, sql := range statements {
		if err := w.session.exec(sql); err != nil {
			w.broken()
			w.oracle.rollback(ops)
			return nil
		}
	}
	if w.rand.IntN(10) == 0 {
		w.rolledBack++
		w.oracle.rollback(ops)
		if err := w.session.exec("ROLLBACK"); err != nil {
			w.broken()
		}
		return nil
	}
	if err := w.session.exec("COMMIT"); err != nil {
		w.broken()
		there, err := w.look(ctx, draft, ops)
		if err != nil {
			return err
		}
		if !there {
			w.oracle.rollback(ops)
			return nil
		}
	}
	w.oracle.commit(draft, ops)
	return nil
}

func (w *writer) broken() {
	w.session.close()
	w.session = nil
	w.reconnects++
}

// visible tells whether one of the changes leaves a version in the table.
func visible(ops []op) bool {
	last := map[int64]byte{}
	for _, op := range ops {
		last[op.id] = op.kind
	}
	for _, kind := range last {
		if kind != 'd' {
			return true
		}
	}
	return false
}

// connect connects, as often as it takes.
func (w *writer) connect(ctx context.Context) error {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(time.Minute); w.session == nil; {
		s, err := connect(ctx, w.url)
		if err == nil {
			w.session = s
			return nil
		}
		if ctx.Err() != nil || time.Now().After(end) {
			return fmt.Errorf("workload: connect: %w", errors.Join(err, ctx.Err()))
		}
		<-tick.C
	}
	return nil
}

// look finds out whether a transaction whose commit had no answer took effect.
func (w *writer) look(ctx context.Context, draft *oracle, ops []op) (bool, error) {
	for {
		if err := w.connect(ctx); err != nil {
			return false, err
		}
		for i := len(ops) - 1; i >= 0; i-- {
			r, there := draft.rows[ops[i].id]
			if !there || ops[i].kind == 'd' {
				continue
			}
			rows, err := w.session.query(fmt.Sprintf("SELECT version FROM items WHERE id = %d", r.id))
			if err != nil {
				w.broken()
				break
			}
			return len(rows) == 1 && rows[0][0] == fmt.Sprint(r.version), nil
		}
	}
}

// change is one change of what the draft has, as SQL and as what it does.
func (w *writer) change(d *oracle) ([]string, []op) {
	if len(d.ids) < 20 {
		return w.insert(d)
	}
	r := d.rows[d.ids[w.rand.IntN(len(d.ids))]]
	switch n := w.rand.IntN(100); {
	case n < 25:
		return w.insert(d)
	case n < 33:
		d.remove(r.id)
		d.free = append(d.free, r.id)
		return []string{fmt.Sprintf("DELETE FROM items WHERE id = %d", r.id)}, []op{{kind: 'd', id: r.id}}
	case n < 37: // its old id is never used again
		old := r.id
		d.remove(old)
		r.id, r.version = w.id(), w.versions.Add(1)
		d.put(r)
		return []string{fmt.Sprintf("UPDATE items SET id = %d, version = %d WHERE id = %d", r.id, r.version, old)},
			[]op{{kind: 'd', id: old}, {kind: 'c', id: r.id, row: r, former: old}}
	case n < 45:
		r.active = 1 - r.active
		return w.update(d, r, fmt.Sprintf("active = %d", r.active))
	case n < 53:
		r.email = w.email(r.id)
		return w.update(d, r, "email = "+quoted(r.email))
	case n < 60:
		r.plan = w.plan()
		return w.update(d, r, "plan = "+quoted(r.plan))
	case n < 70:
		r.note = w.note()
		return w.update(d, r, "note = "+quoted(r.note))
	case n < 73:
		r.extra = w.long()
		return w.update(d, r, "extra = "+quoted(r.extra))
	}
	r.name = names[w.rand.IntN(len(names))]
	return w.update(d, r, "name = "+quoted(r.name))
}

var names = []string{"Ada", "Grace", "Alan", "Edsger", "Barbara", "Donald", "Margaret", "Zoë", "Jean-Luc", "山田"}

func (w *writer) update(d *oracle, r row, set string) ([]string, []op) {
	r.version = w.versions.Add(1)
	d.put(r)
	return []string{fmt.Sprintf("UPDATE items SET version = %d, %s WHERE id = %d", r.version, set, r.id)}, []op{{kind: 'u', id: r.id, row: r}}
}

func (w *writer) id() int64 {
	w.next++
	return w.next*int64(w.of) + int64(w.number)
}

// insert makes a row, sometimes one with the id of a deleted one.
func (w *writer) insert(d *oracle) ([]string, []op) {
	var id int64
	if len(d.free) > 0 && w.rand.IntN(4) == 0 {
		id = d.free[len(d.free)-1]
		d.free = d.free[:len(d.free)-1]
	} else {
		id = w.id()
	}
	r := row{id: id, version: w.versions.Add(1), email: w.email(id), name: names[w.rand.IntN(len(names))], plan: w.plan(), active: 1, note: w.note(), extra: w.long()}
	if w.rand.IntN(10) == 0 {
		r.active = 0
	}
	d.put(r)
	return []string{fmt.Sprintf("INSERT INTO items (id, version, email, name, plan, active, note, extra) VALUES (%d, %d, %s, %s, %s, %d, %s, %s)",
		r.id, r.version, quoted(r.email), quoted(r.name), quoted(r.plan), r.active, quoted(r.note), quoted(r.extra))}, []op{{kind: 'c', id: id, row: r}}
}

// email is one that no other row ever has, or none that can be used.
func (w *writer) email(id int64) string {
	switch w.rand.IntN(16) {
	case 0:
		return null
	case 1:
		return "nobody"
	}
	return fmt.Sprintf("c%d.%d@example.com", id, w.rand.IntN(1000))
}

func (w *writer) plan() string {
	switch n := w.rand.IntN(16); {
	case n == 0:
		return null
	case n == 1:
		return "gold" // the app has no such option
	case n <= 8:
		return "paid"
	}
	return "free"
}

func (w *writer) note() string {
	if w.full && w.rand.IntN(3) == 0 {
		return w.long()
	}
	return fmt.Sprintf("note %d", w.rand.IntN(1000))
}

// long is a text that Postgres keeps apart from its row, in one case of three.
func (w *writer) long() string {
	if w.rand.IntN(3) > 0 {
		return "short"
	}
	var b strings.Builder
	for range 200 {
		fmt.Fprintf(&b, "%016x", w.rand.Uint64())
	}
	return b.String()
}
