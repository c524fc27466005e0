package sink_test

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"

	"github.com/penstock-cdc/penstock/change"
	"github.com/penstock-cdc/penstock/sink"
	"github.com/penstock-cdc/penstock/state"
)

// barred tells for each row whether its key is forgotten.
func (m *model) barred() map[int]bool {
	hashes, ids := map[[32]byte]bool{}, map[int]bool{}
	if err := m.p.store.View(m.t.Context(), func(tx state.Tx) error {
		return tx.Forgotten(1, func(h [32]byte) { hashes[h] = true })
	}); err != nil {
		m.t.Fatal(err)
	}
	for id := range m.rows {
		ids[id] = hashes[sha256.Sum256(fmt.Appendf(nil, `{"id":%d}`, id))]
	}
	return ids
}

// archive does what a person may do in the app.
func (m *model) archive() {
	live := m.v.Live()
	if len(live) == 0 {
		return
	}
	keys := slices.Sorted(maps.Keys(live))
	have := live[keys[m.chance(len(keys))]]
	m.v.Archive(have["id"])
	ident, _ := strconv.Atoi(have["ident"])
	m.gone[ident] = true
	m.mu.Lock()
	delete(m.owner, have["id"])
	m.mu.Unlock()
	m.logf("someone archives %v", have)
}

// quarantined returns the reason that is listed for each key.
func (m *model) quarantined() map[int]string {
	listed := map[int]string{}
	err := m.p.engine.Quarantined(m.t.Context(), sink.QuarantineFilter{}, func(_ string, q *state.Quarantine) error {
		var key struct{ ID int }
		if err := json.Unmarshal(q.Key, &key); err != nil {
			return err
		}
		listed[key.ID] = q.Code
		return nil
	})
	if err != nil {
		m.t.Fatal(err)
	}
	return listed
}

// explained checks that the history of a row's record leads to what the app has.
func (m *model) explained(r *mrow) {
	fields := map[string]string{}
	_, err := m.p.engine.History(m.t.Context(), "crm", fmt.Appendf(nil, `{"id":%d}`, r.id), 1000, func(c sink.RecordChange) error {
		if c.Kind == state.Unanswered {
			return nil
		}
		for _, f := range c.Fields {
			if _, newer := fields[f.Name]; !newer && !f.New.IsUnchanged() {
				fields[f.Name] = f.New.Text()
			}
		}
		return nil
	})
	if err != nil {
		m.t.Fatal(err)
	}
	if fields["email"] != r.email || fields["name"] != r.name || fields["ver"] != itoa(r.ver) || fields["ident"] != itoa(r.ident) {
		m.t.Errorf("row %+v has the history %v", *r, fields)
	}
}

// setTo are the fields of a record whose row is gone, or left: one that the row has, one that the app owns, one that is nobody's.
func setTo(text string) []sink.Field {
	var all []sink.Field
	for _, name := range []string{"name", "stage", "note"} {
		all = append(all, sink.Field{Name: name, Value: change.OfString(text)})
	}
	return all
}

func (m *model) isSet(have map[string]string, fields []sink.Field) bool {
	for _, f := range fields {
		want := f.Value.Text()
		if m.v.Canon != nil {
			want = m.v.Canon(f.Name, want)
		}
		if have[f.Name] != want {
			return false
		}
	}
	return true
}

// check compares the app with the table.
func (m *model) check() {
	live := m.v.Live()
	refused, lacking := 0, 0
	listed := m.quarantined()
	barred := m.barred()
	for id, r := range m.rows {
		have := live[m.key(r)]
		switch {
		case barred[id]:
			for _, have := range live {
				if have["ident"] == itoa(r.ident) {
					m.t.Errorf("row %d is forgotten, and is in the app: %v", id, have)
				}
			}
			if listed[id] != "" {
				m.t.Errorf("row %d is forgotten, and in quarantine", id)
			}
			continue
		case r.plan != "test" && (r.email == "" || m.poison && poisoned(itoa(r.ver))):
			refused++ // the app may have the state before, under this key or its former
			continue
		case r.plan != "test" && r.lacks && listed[r.id] == "needs_reselect":
			lacking++
			if m.rereads {
				m.t.Errorf("row %d was not read again: %+v", id, *r)
			}
			continue
		case r.plan == "test":
			if have != nil && have["ident"] == itoa(r.ident) && (m.p.spec.OnLeave != "set" || !m.isSet(have, m.p.spec.SetOnLeave)) {
				m.t.Errorf("row %d left, and is in the app: %v", id, have)
			}
			continue
		case have == nil:
			m.t.Errorf("row %d is not in the app: %+v", id, *r)
			continue
		}
		name := r.name
		if m.v.Canon != nil {
			name = m.v.Canon("name", name)
		}
		if have["email"] != r.email || have["name"] != name || have["ver"] != itoa(r.ver) || have["ident"] != itoa(r.ident) || have["stage"] != "lead" {
			m.t.Errorf("row %+v is %v in the app", *r, have)
		}
		m.explained(r)
	}
	filtered := slices.ContainsFunc(slices.Collect(maps.Values(m.rows)), func(r *mrow) bool { return r.plan == "test" })
	for key, have := range live {
		if (filtered || refused+lacking > 0) && m.p.spec.OnLeave == "set" && m.isSet(have, m.p.spec.SetOnLeave) {
			continue // a row has its key that is filtered, or was and is refused since: the app has the state before
		}
		if ident, _ := strconv.Atoi(have["ident"]); m.lost[ident] && refused+lacking > 0 {
			continue // another row came to its key before a snapshot did, and is refused
		}
		if !slices.ContainsFunc(slices.Collect(maps.Values(m.rows)), func(r *mrow) bool { return itoa(r.ident) == have["ident"] }) && (m.p.spec.OnDelete != "set" || !m.isSet(have, m.p.spec.SetOnDelete)) {
			m.t.Errorf("the app has %v under %s, which the table has not", have, key)
		}
	}
	l := m.p.ledger()
	if l.Rejected-l.Dropped != int64(refused+lacking) {
		m.t.Errorf("%d rows are refused, the ledger says %d", refused+lacking, l.Rejected-l.Dropped)
	}
	if l.Waiting != 0 || l.Held != 0 {
		m.t.Errorf("ledger at the end: %+v", l)
	}
	if err := m.v.Err(); err != nil {
		m.t.Error(err)
	}
	if m.t.Failed() {
		m.t.Logf("ledger %+v", l)
	}
}
