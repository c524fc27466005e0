package state

import "github.com/penstock-cdc/penstock/change"

func (w *writer) shadow(s *Shadow) []byte {
	w.start()
	w.flags(s.Excluded, s.Rejected, s.Deleted, s.Leaving, s.Marked&1 != 0, s.Marked&2 != 0, len(s.Links) > 0)
	w.byte(byte(s.Standing))
	w.int(int64(s.Partition))
	w.text(s.AppID)
	w.value(s.AppKey)
	w.id(s.Applied)
	w.id(s.Seen)
	w.int(s.Time)
	w.int(int64(s.Layout))
	w.values(s.Sent)
	w.int(int64(len(s.Stored)))
	for _, f := range s.Stored {
		w.int(int64(f.Field))
		w.text(f.Text)
	}
	w.int(s.History)
	if len(s.Links) > 0 {
		w.links(s.Links)
	}
	for _, f := range s.PutBack {
		w.int(int64(f.Field))
		w.text(f.Sent)
		w.text(f.Found)
		w.int(int64(f.Times))
	}
	return w.seal(s.ID, s.Key)
}

func (w *writer) links(all []Link) {
	w.int(int64(len(all)))
	for _, l := range all {
		w.text(l.Name)
		w.text(l.To)
	}
}

func (r *reader) links() (all []Link) {
	n := r.int()
	for i := int64(0); i < n && !r.bad; i++ {
		all = append(all, Link{r.text(), r.text()})
	}
	return all
}

func readShadow(id int64, key, row []byte) *Shadow {
	var r reader
	if !r.open(id, key, row) {
		return nil
	}
	s := &Shadow{ID: id, Key: key}
	f := r.byte()
	s.Excluded, s.Rejected, s.Deleted, s.Leaving = f&1 != 0, f&2 != 0, f&4 != 0, f&8 != 0
	s.Marked = Mark(f >> 4 & 3)
	s.Standing = Standing(r.byte())
	s.Partition = int(r.int())
	s.AppID = r.text()
	s.AppKey = r.value()
	s.Applied, s.Seen = r.id(), r.id()
	s.Time = r.int()
	s.Layout = int(r.int())
	s.Sent = r.values()
	n := r.int()
	for i := int64(0); i < n && !r.bad; i++ {
		s.Stored = append(s.Stored, Stored{int(r.int()), r.text()})
	}
	if r.s != "" { // rows of schema version 2 end before
		s.History = r.int()
	}
	if f&64 != 0 {
		s.Links = r.links()
	}
	for r.s != "" && !r.bad {
		s.PutBack = append(s.PutBack, PutBack{int(r.int()), r.text(), r.text(), int(r.int())})
	}
	if !r.ok() {
		return nil
	}
	return s
}

// pendingBody writes all but Record, Queue, Seq and Due, which have columns or places of their own.
func (w *writer) pendingBody(p *Pending) {
	w.flags(p.Unknown, p.RemovalSent, len(p.Links) > 0, p.Since > 0)
	w.byte(byte(p.Want | p.Over<<4))
	w.byte(byte(p.Cause))
	w.int(int64(p.Attempts))
	w.id(p.EventID)
	w.int(p.Time)
	w.text(p.Fingerprint)
	w.value(p.Key)
	w.value(p.Match)
	w.int(int64(p.Layout))
	w.values(p.Fields)
	w.bytes(p.Event)
	w.text(p.Error)
	if len(p.Links) > 0 {
		w.links(p.Links)
	}
	if p.Since > 0 {
		w.int(p.Since)
	}
}

func (r *reader) pendingBody(p *Pending) {
	f := r.byte()
	p.Unknown, p.RemovalSent = f&1 != 0, f&2 != 0
	want := Want(r.byte())
	p.Want, p.Over = want&15, want>>4
	p.Cause = Cause(r.byte())
	p.Attempts = int(r.int())
	p.EventID = r.id()
	p.Time = r.int()
	p.Fingerprint = r.text()
	p.Key, p.Match = r.value(), r.value()
	p.Layout = int(r.int())
	p.Fields = r.values()
	p.Event = r.bytes()
	p.Error = r.text()
	if f&4 != 0 {
		p.Links = r.links()
	}
	if f&8 != 0 {
		p.Since = r.int()
	}
}

func (w *writer) pending(p *Pending) []byte {
	w.start()
	w.pendingBody(p)
	return w.seal(p.Record, nil)
}

func readPending(p *Pending, row []byte) bool {
	var r reader
	if !r.open(p.Record, nil, row) {
		return false
	}
	r.pendingBody(p)
	return r.ok()
}

func (w *writer) intent(in *Intent) []byte {
	w.start()
	w.text(in.App)
	w.int(int64(len(in.Items)))
	for _, p := range in.Items {
		w.int(p.Record)
		w.byte(byte(p.Queue))
		w.int(p.Seq)
		w.pendingBody(p)
	}
	return w.seal(in.ID, nil)
}

func readIntent(id int64, row []byte) *Intent {
	var r reader
	if !r.open(id, nil, row) {
		return nil
	}
	in := &Intent{ID: id, App: r.text()}
	n := r.int()
	for i := int64(0); i < n && !r.bad; i++ {
		p := &Pending{Record: r.int(), Queue: Queue(r.byte()), Seq: r.int()}
		r.pendingBody(p)
		in.Items = append(in.Items, p)
	}
	if !r.ok() {
		return nil
	}
	return in
}

func (w *writer) quarantine(q *Quarantine) []byte {
	w.start()
	w.flags(q.ByApp)
	w.id(q.EventID)
	w.int(int64(q.Partition))
	w.int(q.Offset)
	w.text(q.Message)
	w.int(q.Time)
	w.text(q.Fingerprint)
	w.bytes(q.Event)
	w.int(int64(q.Layout))
	w.values(q.Request)
	return w.seal(q.ID, q.Key)
}

func readQuarantine(q *Quarantine, row []byte) bool {
	var r reader
	if !r.open(q.ID, q.Key, row) {
		return false
	}
	q.ByApp = r.byte()&1 != 0
	q.EventID = r.id()
	q.Partition = int(r.int())
	q.Offset = r.int()
	q.Message = r.text()
	q.Time = r.int()
	q.Fingerprint = r.text()
	q.Event = r.bytes()
	q.Layout = int(r.int())
	q.Request = r.values()
	return r.ok()
}

func (w *writer) position(pipeline int64, p *Position) []byte {
	w.start()
	w.id(p.LastID)
	w.text(p.Snapshot)
	w.id(p.Begin)
	w.int(p.Offset)
	if !p.End.IsZero() {
		w.id(p.Unseen)
		w.id(p.End)
	}
	return w.seal(pipeline, []byte(p.Topic))
}

func readPosition(pipeline int64, p *Position, row []byte) bool {
	var r reader
	if !r.open(pipeline, []byte(p.Topic), row) {
		return false
	}
	p.LastID = r.id()
	p.Snapshot = r.text()
	p.Begin = r.id()
	offset := r.int()
	if r.s != "" {
		p.Unseen, p.End = r.id(), r.id()
	}
	return p.Offset == offset && r.ok()
}

func (w *writer) move(m *Move) []byte {
	w.start()
	w.flags(m.Displaced)
	w.int(m.Record)
	w.int(m.Time)
	w.bytes(m.Key)
	return w.seal(0, m.Token[:])
}

func readMove(token, row []byte) *Move {
	var r reader
	if len(token) != change.IDSize || !r.open(0, token, row) {
		return nil
	}
	m := &Move{Token: change.ID(token)}
	m.Displaced = r.byte()&1 != 0
	m.Record = r.int()
	m.Time = r.int()
	m.Key = r.bytes()
	if !r.ok() {
		return nil
	}
	return m
}

func (w *writer) deferred(d *Deferred) []byte {
	w.start()
	w.bytes(d.Key)
	w.int(int64(d.Partition))
	w.int(d.Time)
	w.bytes(d.Event)
	return w.seal(d.ID, nil)
}

func readDeferred(id int64, row []byte) *Deferred {
	var r reader
	if !r.open(id, nil, row) {
		return nil
	}
	d := &Deferred{ID: id, Key: r.bytes(), Partition: int(r.int()), Time: r.int(), Event: r.bytes()}
	if !r.ok() {
		return nil
	}
	return d
}

func (w *writer) guard(pipeline int64, g *Guard) []byte {
	w.start()
	w.flags(g.Tripped)
	w.int(g.Since)
	w.int(g.Base)
	w.int(int64(len(g.Sent)))
	for _, m := range g.Sent {
		w.int(m.At)
		w.int(m.N)
	}
	return w.seal(pipeline, nil)
}

func readGuard(pipeline int64, row []byte) (g Guard, ok bool) {
	var r reader
	if !r.open(pipeline, nil, row) {
		return g, false
	}
	g.Tripped = r.byte()&1 != 0
	g.Since, g.Base = r.int(), r.int()
	n := r.int()
	for i := int64(0); i < n && !r.bad; i++ {
		g.Sent = append(g.Sent, Minute{r.int(), r.int()})
	}
	return g, r.ok()
}

func (w *writer) delivery(pipeline int64, d *Delivery) []byte {
	w.start()
	for _, n := range []int64{d.Paused, d.Started, d.Ended, d.Since} {
		w.int(n)
	}
	w.text(d.Backfilled)
	w.text(d.Approved)
	return w.seal(pipeline, nil)
}

func readDelivery(pipeline int64, row []byte) (d Delivery, ok bool) {
	var r reader
	if !r.open(pipeline, nil, row) {
		return d, false
	}
	for _, n := range []*int64{&d.Paused, &d.Started, &d.Ended, &d.Since} {
		*n = r.int()
	}
	d.Backfilled, d.Approved = r.text(), r.text()
	return d, r.ok()
}

func (w *writer) verify(pipeline int64, v *Verify) []byte {
	w.start()
	w.text(v.Target)
	w.text(v.Cursor)
	for _, n := range []int64{v.Began, v.Ended, v.Looked, v.Edited, v.Gone, v.Left} {
		w.int(n)
	}
	return w.seal(pipeline, nil)
}

func readVerify(pipeline int64, row []byte) (v Verify, ok bool) {
	var r reader
	if !r.open(pipeline, nil, row) {
		return v, false
	}
	v.Target, v.Cursor = r.text(), r.text()
	for _, n := range []*int64{&v.Began, &v.Ended, &v.Looked, &v.Edited, &v.Gone, &v.Left} {
		*n = r.int()
	}
	return v, r.ok()
}

func (w *writer) pipeline(p *Pipeline) []byte {
	w.start()
	w.text(p.Fingerprint)
	w.int(int64(len(p.Layouts)))
	for _, l := range p.Layouts {
		w.int(int64(len(l)))
		for _, name := range l {
			w.text(name)
		}
	}
	for _, n := range p.Ledger.counts() {
		w.int(*n)
	}
	return w.seal(p.ID, []byte(p.Name))
}

func readPipeline(p *Pipeline, row []byte) bool {
	var r reader
	if !r.open(p.ID, []byte(p.Name), row) {
		return false
	}
	p.Fingerprint = trimmed(r.text())
	n := r.int()
	for i := int64(0); i < n && !r.bad; i++ {
		l := make([]string, 0, 16)
		m := r.int()
		for j := int64(0); j < m && !r.bad; j++ {
			l = append(l, trimmed(r.text()))
		}
		p.Layouts = append(p.Layouts, l)
	}
	for _, c := range p.Ledger.counts() {
		*c = r.int()
	}
	return r.ok()
}
