package mysql

import (
	"context"
	"fmt"
	"strings"

	"github.com/penstock-cdc/penstock/capture"
	"github.com/penstock-cdc/penstock/change"
)

// query takes a statement that was logged as text: what bounds transactions, DDL,
// and changes under binlog_format=STATEMENT.
func (t *tail) query(h header, start uint64, q query) error {
	words := newWords(q.text)
	first := words.next()
	switch first.upper() {
	case "BEGIN":
		t.tx.begun, t.tx.thread = true, q.thread
		return t.ensureOpen(h, start)
	case "COMMIT":
		return t.commitTransaction()
	case "SAVEPOINT", "RELEASE":
		return nil
	case "ROLLBACK":
		if t.tx.sent {
			return stopf("binlog %s:%d: a transaction that changed captured tables was logged and then rolled back in part, which mixing transactional and other engines does: take a new snapshot of its tables", t.file, start)
		}
		if words.next().upper() == "TO" {
			return nil
		}
		return t.commitTransaction()
	case "XA":
		return t.xa(words)
	}
	if err := t.ensureOpen(h, start); err != nil {
		return err
	}
	t.tx.thread = q.thread
	number := t.tx.rows
	var err error
	switch first.upper() {
	case "TRUNCATE":
		t.tx.rows++
		err = t.truncate(h, start, number, q.database, words)
	case "DROP", "RENAME", "ALTER", "CREATE":
		err = t.definition(first.upper(), q.database, words)
	case "INSERT", "UPDATE", "DELETE", "REPLACE", "LOAD", "WITH", "CALL", "DO", "SELECT":
		err = t.statement(q.text)
	}
	if err != nil || t.tx.begun {
		return err
	}
	return t.commitTransaction()
}

// ensureOpen begins a transaction that no GTID event has announced.
func (t *tail) ensureOpen(h header, start uint64) error {
	if t.tx.open {
		return nil
	}
	begun, thread := t.tx.begun, t.tx.thread
	t.tx = transaction{open: true, begun: begun, thread: thread, time: headerTime(h)}
	var err error
	t.tx.commit, err = commitPosition(t.file, start)
	return err
}

// truncate publishes a TRUNCATE of a captured table.
func (t *tail) truncate(h header, start, number uint64, database string, words *words) error {
	if w := words.peek(); w.upper() == "TABLE" {
		words.next()
	}
	db, name, ok := words.table(database)
	if !ok {
		return fmt.Errorf("read TRUNCATE statement: it names no table")
	}
	if !t.selected.Captures(db, name) || isSystem(db) {
		return nil
	}
	table, err := t.currentTable(db, name)
	if err != nil {
		return err
	}
	if p := t.resume.Tables[db+"."+name]; p.Epoch == t.resume.Epoch && t.tx.commit < p.From {
		return nil
	}
	t.tx.order++
	t.tx.sent = true
	ev := change.Event{
		Table: table, Op: change.Truncate, CommitTime: t.tx.time, TxID: t.tx.id, TxOrder: t.tx.order, TableOrder: 1,
		ID:  change.NewID(t.resume.Epoch, t.tx.commit, number, 0),
		Log: change.LogPosition{ServerID: h.serverID, GTID: t.tx.gtid, File: t.file, Pos: start, Thread: t.tx.thread},
	}
	if err := t.out.Event(&ev); err != nil {
		return &stopError{err}
	}
	return nil
}

// currentTable returns the last seen version of a table.
func (t *tail) currentTable(database, name string) (*change.Table, error) {
	full := database + "." + name
	for _, m := range t.tables {
		if m.table != nil && m.name == full {
			return m.table, nil
		}
	}
	if t.declared[full] == nil {
		if err := t.declareAgain(); err != nil {
			return nil, err
		}
	}
	d := t.declared[full]
	if d == nil { // dropped since
		return t.intern((&change.Table{Database: database, Name: name, FullBefore: true, Topic: change.Topic(t.name, database, name)}).Seal()), nil
	}
	table, _, err := t.tableOf(d)
	if err != nil {
		return nil, &stopError{err}
	}
	return t.intern(table), nil
}

// definition names what happens to captured tables; the table maps of the rows that
// follow have their new columns.
func (t *tail) definition(verb, database string, words *words) error {
	switch verb {
	case "DROP":
		w := words.next()
		if w.upper() == "TEMPORARY" {
			return nil
		}
		if w.upper() == "DATABASE" || w.upper() == "SCHEMA" {
			words.skip("IF", "EXISTS")
			t.log.Info("a database was dropped", "database", words.next().text)
			return nil
		}
		if w.upper() != "TABLE" && w.upper() != "TABLES" {
			return nil
		}
		words.skip("IF", "EXISTS")
		for {
			db, name, ok := words.table(database)
			if !ok {
				return nil
			}
			if t.selected.Captures(db, name) {
				t.warn("captured table " + db + "." + name + " was dropped: its records stay in the stream as they were")
			}
			if words.peek().text != "," {
				return nil
			}
			words.next()
		}
	case "RENAME":
		if w := words.next().upper(); w != "TABLE" && w != "TABLES" {
			return nil
		}
		words.skip("IF", "EXISTS")
		for {
			db, name, ok := words.table(database)
			if !ok || words.next().upper() != "TO" {
				return nil
			}
			newDB, newName, ok := words.table(database)
			if !ok {
				return nil
			}
			t.renamed(db, name, newDB, newName)
			if words.peek().text != "," {
				return nil
			}
			words.next()
		}
	case "ALTER":
		words.skip("ONLINE", "IGNORE")
		if words.next().upper() != "TABLE" {
			return nil
		}
		words.skip("IF", "EXISTS")
		db, name, ok := words.table(database)
		if !ok {
			return nil
		}
		for w := words.next(); w.text != ""; w = words.next() {
			if w.upper() == "RENAME" && !w.quoted {
				if next := words.peek().upper(); next == "TO" || next == "AS" {
					words.next()
				} else if next == "COLUMN" || next == "INDEX" || next == "KEY" {
					continue
				}
				if newDB, newName, ok := words.table(database); ok {
					t.renamed(db, name, newDB, newName)
				}
			}
		}
	}
	return nil
}

func (t *tail) renamed(db, name, newDB, newName string) {
	from, to := t.selected.Captures(db, name), t.selected.Captures(newDB, newName)
	switch {
	case from && !to:
		t.warn("captured table " + db + "." + name + " was renamed to " + newDB + "." + newName + ", which is not captured")
	case to:
		t.warn("table " + db + "." + name + " was renamed to the captured " + newDB + "." + newName + ": rows that it had before are not in its topic; take a new snapshot of it")
	}
}

// statement refuses a change that was logged as a statement if it may be about a
// captured table: its rows are nowhere in the log.
func (t *tail) statement(text string) error {
	lower := strings.ToLower(text)
	for name := range t.declared {
		_, table, _ := strings.Cut(name, ".")
		if strings.Contains(lower, strings.ToLower(table)) {
			return stopf("binlog %s:%d: a statement that may change captured table %s was logged as text, without its rows: SET GLOBAL binlog_format = ROW, end the sessions that have their own setting, and take a new snapshot of the table", t.file, t.pos, name)
		}
	}
	return nil
}

// declareAgain reads the declarations through a connection of its own: the lease
// belongs to another goroutine.
func (t *tail) declareAgain() error {
	ctx, cancel := context.WithTimeout(context.Background(), dialTimeout)
	defer cancel()
	session, err := t.address.connect(ctx)
	if err != nil {
		return &stopError{err}
	}
	defer session.close()
	list, err := declarations(session, t.facts, t.selected)
	if err != nil {
		return &stopError{err}
	}
	clear(t.declared)
	for _, d := range list {
		t.declared[d.qualifiedName()] = d
	}
	return nil
}

// intern returns the table that was handed over before if it is the same, so that it
// is announced once.
func (t *tail) intern(table *change.Table) *change.Table {
	key := table.QualifiedName() + "@" + table.Version
	if old := t.seen[key]; old != nil {
		return old
	}
	t.seen[key] = table
	t.setTable(table.QualifiedName(), func(s *capture.TableStatus) {
		s.Topic, s.SchemaVersion = table.Topic, table.Version
	})
	return table
}
