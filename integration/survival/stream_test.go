package survival

import (
	"fmt"
	"maps"
	"slices"
)

// streamProblems says in what the topic is not what was committed: each change exactly
// once and in order from some point on, and rows of a snapshot, where they stand among the changes of their key, just
// as these have left them; nothing that was rolled back; a tombstone after each delete.
func (r *round) streamProblems() []string {
	all, err := r.readTopic()
	if err != nil {
		return []string{err.Error()}
	}
	var problems []string
	complain := func(format string, args ...any) { problems = append(problems, fmt.Sprintf(format, args...)) }

	keys := map[int64][]message{} // changes and rows of the last snapshot, by key, in order
	for p, messages := range all {
		last, begun, ended := "", 0, 0
		loaded := map[int64]string{} // keys of a snapshot's rows, with the session that read each last
		created := map[int64]bool{}  // a row that came to another key, without the values that did not change, is read once more
		for i := range messages {
			m := &messages[i]
			at := fmt.Sprintf("partition %d offset %d", m.partition, m.offset)
			switch {
			case m.id == "" && m.marker != "fence":
				complain("%s has no id", at)
			case m.tombstone:
				if i == 0 || messages[i-1].op != 'd' || messages[i-1].key != m.key || messages[i-1].id != m.id {
					complain("%s: a tombstone that does not follow its delete", at)
				}
				continue
			case m.marker == "fence":
				continue
			case m.id <= last:
				complain("%s: id %s after id %s: double or out of order", at, m.id, last)
			}
			last = max(last, m.id)
			switch m.op {
			case 0:
				if m.marker != "snapshot_begin" {
					if ended++; begun == 0 {
						complain("%s: a snapshot ends that has not begun", at)
					}
					continue
				}
				begun++ // an earlier one was given up
				for key := range loaded {
					keys[key] = slices.DeleteFunc(keys[key], func(m message) bool { return m.op == 'r' })
				}
				clear(loaded)
			case 'r': // after a crash a piece of a snapshot comes again, under ids of another session
				if loaded[m.key] == m.session() && !created[m.key] && r.database.Scheme != "mysql" {
					complain("%s: row %d comes twice in one reading of the snapshot (%s)", at, m.key, m.id)
				}
				loaded[m.key] = m.session()
				keys[m.key] = append(keys[m.key], *m)
			case 'c', 'u', 'd':
				if m.op == 'd' && (i+1 == len(messages) || !messages[i+1].tombstone) {
					complain("%s: no tombstone after the delete of %d", at, m.key)
				}
				m.late = ended > 0
				created[m.key] = created[m.key] || m.op == 'c'
				keys[m.key] = append(keys[m.key], *m)
			default:
				complain("%s: op %c was not expected", at, m.op)
			}
		}
		// A crash after a piece was written, and before the source's progress was noted, brings it again: the whole
		// snapshot with its beginning, some rows, or the end alone.
		if ended == 0 {
			complain("partition %d: no end of a snapshot", p)
		}
	}
	for _, w := range r.writers {
		w.matchStream(keys, complain)
	}
	return problems
}

// session tells which of a Postgres source's sessions read a row of a snapshot: each has a number of its own in its event ids.
func (m *message) session() string { return m.id[24:32] }

// matchStream compares one writer's rows. A writer's transactions come one after the
// other, so there is one of them from which on the stream has all. Of what was before, and of nothing else, a
// snapshot has to tell, whether it is read at that point or piece by piece while changes are streamed.
func (w *writer) matchStream(keys map[int64][]message, complain func(string, ...any)) {
	streamed := map[string]bool{} // versions
	mine := func(id int64) bool { return int(id%int64(w.of)) == w.number }
	for key, messages := range keys {
		for _, m := range messages {
			if mine(key) && m.op != 'd' && m.op != 'r' {
				streamed[m.values[1]] = true
			}
		}
	}
	for version := range w.oracle.never {
		if streamed[fmt.Sprint(version)] {
			complain("version %d was rolled back, and is in the stream", version)
		}
	}
	// Every transaction has a change with a version.
	first := slices.IndexFunc(w.oracle.committed, func(t transaction) bool {
		return slices.ContainsFunc(t.ops, func(o op) bool { return o.kind != 'd' && streamed[fmt.Sprint(o.row.version)] })
	})
	if first < 0 {
		first = len(w.oracle.committed)
	}
	before := w.oracle.after(first)
	want := map[int64][]op{}
	for _, t := range w.oracle.committed[first:] {
		for _, o := range t.ops {
			want[o.id] = append(want[o.id], o)
		}
	}
	for key := range before {
		all := keys[key]
		if len(all) == 0 || all[0].late && !slices.ContainsFunc(all, func(m message) bool { return m.op == 'r' }) {
			complain("row %d is not in the snapshot, nor in the stream before its end", key)
		}
	}
	for key := range want {
		if len(keys[key]) == 0 {
			keys[key] = nil
		}
	}
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		if !mine(key) {
			continue
		}
		changes := slices.DeleteFunc(slices.Clone(keys[key]), func(m message) bool { return m.op == 'r' })
		if text, wanted := told(changes), toldOps(want[key]); text != wanted {
			complain("row %d has changes %s in the stream, committed were %s", key, text, wanted)
			continue
		}
		now, there := before[key]
		n := 0
		for i := range keys[key] {
			m := &keys[key][i]
			if m.op != 'r' {
				now, there = want[key][n].row, m.op != 'd'
				n++
			}
			switch {
			case m.op == 'd':
			case !there:
				complain("row %d is in the snapshot, and was not there at its time", key)
			default:
				compareRow(m, &now, complain)
			}
		}
	}
}

// told is a row's changes in short: c5 u7 d.
func told(messages []message) (text string) {
	for _, m := range messages {
		text += string(m.op)
		if m.op != 'd' {
			text += m.values[1]
		}
		text += " "
	}
	return text
}

func toldOps(ops []op) (text string) {
	for _, o := range ops {
		text += string(o.kind)
		if o.kind != 'd' {
			text += fmt.Sprint(o.row.version)
		}
		text += " "
	}
	return text
}

func compareRow(m *message, r *row, complain func(string, ...any)) {
	for i, want := range r.values() {
		got := m.values[i]
		if got == want || got == unsent && (columns[i] == "note" || columns[i] == "extra") {
			continue
		}
		complain("row %d, version %s: column %s is %.60q in the stream, committed was %.60q", m.key, m.values[1], columns[i], got, want)
	}
}
