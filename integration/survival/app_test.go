package survival

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"

	"github.com/penstock-cdc/penstock/integration/binary"
)

// appProblems compares the app's contacts with the rows that are there: one live contact
// for each row that belongs into the app, with its values, none for any other; and the
// app's history with the order of versions.
func (r *round) appProblems() []string {
	var problems []string
	complain := func(format string, args ...any) { problems = append(problems, fmt.Sprintf(format, args...)) }
	records, err := r.simulator.Objects("contacts")
	if err != nil {
		return []string{err.Error()}
	}
	contacts := map[string]map[string]string{}
	keyless := 0
	for _, record := range records {
		if record.Archived {
			continue
		}
		properties := map[string]string{}
		for _, f := range record.Fields {
			properties[f.Name] = f.Value
		}
		key := properties["shop_id"]
		if key == "" { // the key was changed and the row is refused: the old key is given up
			keyless++
			continue
		}
		if contacts[key] != nil {
			complain("row %s has two contacts", key)
		}
		contacts[key] = properties
	}
	for _, w := range r.writers {
		for id, row := range w.oracle.rows {
			key := strconv.FormatInt(id, 10)
			in, refused := row.eligible()
			contact := contacts[key]
			delete(contacts, key)
			switch {
			case !in && contact != nil:
				complain("row %s has left the pipeline and has a contact", key)
			case !in || refused != "": // a refused row may have the contact of an earlier version
			case contact == nil:
				complain("row %s, version %d, has no contact", key, row.version)
			default:
				want := map[string]string{"email": row.email, "firstname": row.name, "plan": row.plan, "note": row.note, "version": fmt.Sprint(row.version)}
				for name, value := range want {
					if value == null {
						value = ""
					}
					if contact[name] != value {
						complain("row %s: field %s is %.60q, the row says %.60q", key, name, contact[name], value)
					}
				}
			}
		}
	}
	if most := r.movedAndRefused(); keyless > most {
		complain("%d contacts have no key, and only %d rows could be why", keyless, most)
	}
	for key := range contacts {
		if !r.formerKey(key) {
			complain("a contact of row %s, which is not there", key)
		}
	}
	return append(problems, r.historyProblems()...)
}

// movedAndRefused counts the rows that are refused and once had another key.
func (r *round) movedAndRefused() (n int) {
	for _, w := range r.writers {
		moved := map[int64]bool{}
		for _, t := range w.oracle.committed {
			for _, o := range t.ops {
				if o.former != 0 {
					moved[o.id] = true
				}
			}
		}
		for id, row := range w.oracle.rows {
			if _, refused := row.eligible(); refused != "" && moved[id] {
				n++
			}
		}
	}
	return n
}

// formerKey tells whether a key was changed into one whose row is refused now: then the
// contact still has it.
func (r *round) formerKey(key string) bool {
	for _, w := range r.writers {
		now := map[int64]int64{} // former id to the next one
		for _, t := range w.oracle.committed {
			for _, o := range t.ops {
				if o.former != 0 {
					now[o.former] = o.id
				}
			}
		}
		id, err := strconv.ParseInt(key, 10, 64)
		if err != nil {
			return false
		}
		for range 1000 {
			next, moved := now[id]
			if !moved {
				break
			}
			id = next
		}
		if row, there := w.oracle.rows[id]; there && strconv.FormatInt(id, 10) != key {
			in, refused := row.eligible()
			return in && refused != ""
		}
	}
	return false
}

// historyProblems follows each contact through the app's history: its version may only
// rise, and never be one that was rolled back.
func (r *round) historyProblems() []string {
	var problems []string
	never := map[int64]bool{}
	for _, w := range r.writers {
		for version := range w.oracle.never {
			never[version] = true
		}
	}
	last := map[string]int64{} // by the contact's id
	for n, c := range r.simulator.History("contacts") {
		for _, f := range c.Fields {
			if f.Name != "version" {
				continue
			}
			version, err := strconv.ParseInt(f.Value, 10, 64)
			if err != nil {
				problems = append(problems, fmt.Sprintf("change %d of the app: version %q", n, f.Value))
			}
			if version < last[c.ID] {
				problems = append(problems, fmt.Sprintf("change %d of the app: contact %s gets version %d after %d", n, c.ID, version, last[c.ID]))
			}
			if never[version] {
				problems = append(problems, fmt.Sprintf("change %d of the app: contact %s gets version %d, which was rolled back", n, c.ID, version))
			}
			last[c.ID] = version
		}
	}
	return problems
}

// commandProblems compares what penstock says of itself: the quarantine with the rows
// that must be in it, and the ledgers with the stream and the app.
func (r *round) commandProblems() []string {
	var problems []string
	complain := func(format string, args ...any) { problems = append(problems, fmt.Sprintf(format, args...)) }
	want, inSync := map[string]string{}, 0
	for _, w := range r.writers {
		for id, row := range w.oracle.rows {
			if in, refused := row.eligible(); refused != "" {
				want[strconv.FormatInt(id, 10)] = refused
			} else if in {
				inSync++
			}
		}
	}
	err := r.ask(func(line []byte) error {
		var entry struct {
			Type, Reason string
			Key          struct{ ID json.Number }
		}
		if err := json.Unmarshal(line, &entry); err != nil || entry.Type != "quarantined" {
			return err
		}
		key := entry.Key.ID.String()
		if want[key] != entry.Reason {
			complain("row %s is in quarantine for %s, want %q", key, entry.Reason, want[key])
		}
		delete(want, key)
		return nil
	}, "dlq", "list", "--output", "json", r.dir)
	if err != nil {
		complain("%v", err)
	}
	rejected := 0
	for _, w := range r.writers {
		for id, row := range w.oracle.rows {
			if _, refused := row.eligible(); refused != "" {
				rejected++
				if want[strconv.FormatInt(id, 10)] != "" {
					complain("row %d is refused for %s, and not in quarantine", id, refused)
				}
			}
		}
	}
	return append(problems, r.ledgerProblems(inSync, rejected)...)
}

// ledgerProblems adds up both ledgers of the pipeline.
func (r *round) ledgerProblems(inSync, rejected int) []string {
	var problems []string
	complain := func(format string, args ...any) { problems = append(problems, fmt.Sprintf(format, args...)) }
	events := 0
	all, err := r.readTopic()
	if err != nil {
		complain("%v", err)
	}
	for _, messages := range all {
		for _, m := range messages {
			if m.op != 0 {
				events++
			}
		}
	}
	live := 0
	records, err := r.simulator.Objects("contacts")
	if err != nil {
		complain("%v", err)
	}
	for _, record := range records {
		if !record.Archived {
			live++
		}
	}
	seen := false
	err = r.ask(func(line []byte) error {
		var p struct {
			Type         string
			Events, Keys map[string]int
			Lag          int `json:"lag_events"`
		}
		var kind struct{ Type string }
		if err := json.Unmarshal(line, &kind); err != nil || kind.Type != "pipeline" {
			return err
		}
		if err := json.Unmarshal(line, &p); err != nil {
			return err
		}
		seen = true
		sum := 0
		for name, n := range p.Events {
			if name != "taken_in" {
				sum += n
			}
		}
		// Beside the stream's there are penstock's own: keys given up by rows that are refused, and rows that a
		// snapshot taken again did not find. Each has a delete in the oracle.
		if sum != p.Events["taken_in"] || sum < events || sum > events+r.deletes() {
			complain("the ledger of events: %d taken in, %d accounted for, %d are in the stream: %v", p.Events["taken_in"], sum, events, p.Events)
		}
		for name, want := range map[string]int{"in_sync": inSync, "rejected": rejected, "pending": 0, "unknown": 0, "held": 0, "waiting": 0, "in_app": live} {
			if p.Keys[name] != want {
				complain("the ledger of keys: %d %s, want %d: %v", p.Keys[name], name, want, p.Keys)
			}
		}
		if p.Lag != 0 {
			complain("%d events are not taken in", p.Lag)
		}
		return nil
	}, "status", "--output", "json", r.dir)
	if err != nil {
		complain("%v", err)
	}
	if !seen {
		complain("status says nothing of the pipeline")
	}
	return problems
}

// deletes counts what was deleted, changed keys included.
func (r *round) deletes() (n int) {
	for _, w := range r.writers {
		for _, t := range w.oracle.committed {
			for _, o := range t.ops {
				if o.kind == 'd' {
					n++
				}
			}
		}
	}
	return n
}

// ask runs a query and hands over each line of its answer.
func (r *round) ask(each func(line []byte) error, args ...string) error {
	stdout, stderr, code, err := binary.Output(r.env, args...)
	if err != nil {
		return err
	}
	if code != 0 {
		return fmt.Errorf("penstock %v ended with %d: %s", args, code, stderr)
	}
	for dec := json.NewDecoder(bytes.NewReader([]byte(stdout))); ; {
		var line json.RawMessage
		if err := dec.Decode(&line); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return fmt.Errorf("read the answer of penstock %v: %w", args, err)
		}
		if err := each(line); err != nil {
			return err
		}
	}
}
