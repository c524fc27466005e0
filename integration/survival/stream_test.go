package survival

import (
	"fmt"
	"slices"
	"sort"
)

// streamProblems says in what the topic is not what was committed: each change exactly
// once and in order, after a snapshot that agrees with what was committed before it;
// nothing that was rolled back; a tombstone after each delete.
func (r *round) streamProblems() []string {
	all, err := r.readTopic()
	if err != nil {
		return []string{err.Error()}
	}
	var problems []string
	complain := func(format string, args ...any) { problems = append(problems, fmt.Sprintf(format, args...)) }

	snapshot := map[int64]message{}  // by key, of the last snapshot
	changes := map[int64][]message{} // by key, in order
	for _, messages := range all {
		last, begun, ended, streamed := "", 0, 0, false
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
				if m.marker == "snapshot_begin" { // an earlier one was given up
					begun++
					for key, row := range snapshot {
						if row.partition == m.partition {
							delete(snapshot, key)
						}
					}
					if streamed {
						complain("%s: a snapshot begins after changes were streamed", at)
					}
				} else {
					ended++
				}
			case 'r':
				if _, twice := snapshot[m.key]; twice {
					complain("%s: row %d is in the snapshot twice", at, m.key)
				}
				snapshot[m.key] = *m
			case 'c', 'u', 'd':
				streamed = true
				if m.op == 'd' && (i+1 == len(messages) || !messages[i+1].tombstone) {
					complain("%s: no tombstone after the delete of %d", at, m.key)
				}
				changes[m.key] = append(changes[m.key], *m)
			default:
				complain("%s: op %c was not expected", at, m.op)
			}
		}
		// A crash after the end was written, and before the log noted the source's progress, brings the snapshot again.
		if ended == 0 || begun < ended {
			complain("a partition has %d beginnings and %d ends of a snapshot, want at least one end, and a beginning for each", begun, ended)
		}
	}
	for _, w := range r.writers {
		w.matchStream(snapshot, changes, complain)
	}
	return problems
}

// matchStream compares one writer's rows. A writer's transactions come one after the
// other, so there is one of them up to which the snapshot has all and the stream nothing.
func (w *writer) matchStream(snapshot map[int64]message, changes map[int64][]message, complain func(string, ...any)) {
	streamed := map[string]bool{} // versions
	mine := func(id int64) bool { return int(id%int64(w.of)) == w.number }
	for key, messages := range changes {
		if !mine(key) {
			continue
		}
		for _, m := range messages {
			if m.op != 'd' {
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
	for key, m := range snapshot {
		if !mine(key) {
			continue
		}
		row, there := before[key]
		if !there {
			complain("row %d is in the snapshot, and was not there at its time", key)
			continue
		}
		compareRow(&m, &row, complain)
		delete(before, key)
	}
	for key := range before {
		complain("row %d is not in the snapshot, nor its making in the stream", key)
	}
	want := map[int64][]op{}
	for _, t := range w.oracle.committed[first:] {
		for _, o := range t.ops {
			want[o.id] = append(want[o.id], o)
		}
	}
	keys := make([]int64, 0, len(want))
	for key := range want {
		keys = append(keys, key)
	}
	sort.Slice(keys, func(i, j int) bool { return keys[i] < keys[j] })
	for _, key := range keys {
		got := changes[key]
		if text, wanted := told(got), toldOps(want[key]); text != wanted {
			complain("row %d has changes %s in the stream, committed were %s", key, text, wanted)
			continue
		}
		for i := range got {
			if got[i].op != 'd' {
				compareRow(&got[i], &want[key][i].row, complain)
			}
		}
	}
	for key, got := range changes {
		if mine(key) && want[key] == nil {
			complain("row %d has changes %s in the stream, committed were none", key, told(got))
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
