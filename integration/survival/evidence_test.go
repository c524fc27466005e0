package survival

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// leaveEvidence writes into the folder of a failed round what happened: diary.txt,
// oracle.txt (each change that was committed, by writer and transaction), topic.txt and
// app.txt (each change of a contact).
func (r *round) leaveEvidence() {
	write := func(name string, text []byte) {
		if err := os.WriteFile(filepath.Join(r.dir, name), text, 0o600); err != nil {
			r.Log(err)
		}
	}
	r.mu.Lock()
	write("diary.txt", r.diary.Bytes())
	r.mu.Unlock()
	var b bytes.Buffer
	for _, w := range r.writers {
		for n, t := range w.oracle.committed {
			for _, o := range t.ops {
				fmt.Fprintf(&b, "writer %d transaction %d: %c %d", w.number, n, o.kind, o.id)
				if o.former != 0 {
					fmt.Fprintf(&b, " (was %d)", o.former)
				}
				if o.kind != 'd' {
					fmt.Fprintf(&b, " version %d email %q plan %q active %d name %q note %.20q", o.row.version, o.row.email, o.row.plan, o.row.active, o.row.name, o.row.note)
				}
				b.WriteByte('\n')
			}
		}
	}
	write("oracle.txt", b.Bytes())
	var topic bytes.Buffer
	if all, err := r.readTopic(); err != nil {
		fmt.Fprintln(&topic, err)
	} else {
		for _, messages := range all {
			for _, m := range messages {
				fmt.Fprintf(&topic, "%d/%d %s %s %c tombstone %t key %d %.20q\n", m.partition, m.offset, m.id, m.marker, max(m.op, ' '), m.tombstone, m.key, m.values)
			}
		}
	}
	write("topic.txt", topic.Bytes())
	var app bytes.Buffer
	for _, c := range r.simulator.History("contacts") {
		fmt.Fprintf(&app, "%7.3f contact %s %s", c.Time.Sub(r.began).Seconds(), c.ID, c.Action)
		for _, f := range c.Fields {
			fmt.Fprintf(&app, " %s=%.30q", f.Name, f.Value)
		}
		app.WriteByte('\n')
	}
	for _, c := range r.simulator.Calls() {
		fmt.Fprintf(&app, "%7.3f %s %s: status %d, %d records, %d created, refused %v, took effect at %s\n", c.Time.Sub(r.began).Seconds(), c.Method, c.Path, c.Status, c.Records, c.Created, c.Refused, c.Time.Format(time.TimeOnly))
	}
	write("app.txt", app.Bytes())
}
