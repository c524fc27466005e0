package main

import (
	"bytes"
	"context"
	"fmt"
	"time"

	"github.com/penstock-cdc/penstock/change"
	"github.com/penstock-cdc/penstock/config"
	"github.com/penstock-cdc/penstock/sink"
)

// findRows reads rows of a table by the values of their keys, as they are now; passed tells whether all that was committed
// before is durable in the log.
type findRows = func(ctx context.Context, table string, keys []change.Row, f func(*change.Table, change.Row) error) (passed func(context.Context) (bool, error), err error)

// rereader is a source whose events may lack values, and that reads their rows again by key.
type rereader interface {
	Rows(ctx context.Context, table string, keys []change.Row, f func(*change.Table, change.Row) error) (passed func(context.Context) (bool, error), err error)
}

// finder is a source whose events are always whole (MySQL and MariaDB, which are captured with binlog_row_image=FULL only).
// What has passed is known to a process that captures it alone.
type finder interface {
	Find(ctx context.Context, table string, keys []change.Row, f func(*change.Table, change.Row) error) (passed func(context.Context) (bool, error), err error)
}

// byKey returns how a source reads rows by key, nil: it does not.
func byKey(src database) findRows {
	switch from := src.(type) {
	case rereader:
		return from.Rows
	case finder:
		return from.Find
	}
	return nil
}

// rows reads a pipeline's rows again.
type rows struct {
	rt    *plant
	pipe  *config.Pipeline
	src   database
	find  findRows
	table *change.Table
}

// rowsOf returns nil where rows are not read by key.
func (rt *plant) rowsOf(pipe *config.Pipeline, table *change.Table) sink.Rows {
	src := rt.project.sources[pipe.From.Source]
	r := rows{rt, pipe, src, byKey(src), table}
	if _, whole := src.(finder); r.find == nil || whole && rt.part == partSink {
		return nil
	}
	if p, ok := src.(pager); ok {
		return wholeTable{r, p}
	}
	return r
}

// Rows implements sink.Rows.
func (r rows) Rows(ctx context.Context, events []*sink.Message) (map[string]*sink.Message, func(context.Context) (map[int]int64, error), error) {
	keys := make([]change.Row, 0, len(events))
	decoder := change.NewDecoder()
	for _, m := range events {
		var e change.Event
		version := ""
		for _, h := range m.Headers {
			if h.Key == change.HeaderSchema {
				version = string(h.Value)
			}
		}
		table, err := r.rt.log.Schema(ctx, r.pipe.From.Source, r.table.Topic, version)
		if err != nil {
			return nil, nil, err
		}
		if err := decoder.Decode(table, m.Key, m.Value, m.Headers, &e); err != nil {
			return nil, nil, err
		}
		key := make(change.Row, 0, len(table.Key))
		for _, i := range table.Key {
			key = append(key, e.After[i])
		}
		keys = append(keys, key.Clone())
	}
	return r.read(ctx, keys)
}

// read reads rows by the values of their keys.
func (r rows) read(ctx context.Context, keys []change.Row) (map[string]*sink.Message, func(context.Context) (map[int]int64, error), error) {
	found := map[string]*sink.Message{}
	encoder := change.NewEncoder(r.src.Identity(version))
	passed, err := r.find(ctx, r.table.QualifiedName(), keys, func(t *change.Table, row change.Row) error {
		m, err := message(encoder, t, row)
		if err == nil {
			found[string(m.Key)] = m
		}
		return err
	})
	if err != nil {
		return nil, nil, err
	}
	return found, func(ctx context.Context) (map[int]int64, error) {
		if ok, err := passed(ctx); err != nil || !ok {
			return nil, err
		}
		return r.rt.ends(ctx, r.table.Topic)
	}, nil
}

// message makes a snapshot event of a row.
func message(encoder *change.Encoder, t *change.Table, row change.Row) (*sink.Message, error) {
	e := change.Event{Op: change.Read, Table: t, After: row, ID: change.NewPointID(1, 1, 1, 0), CommitTime: time.Now()}
	var m *sink.Message
	err := encoder.Encode(&e, time.Now(), func(rec *change.Record) error {
		m = &sink.Message{Key: bytes.Clone(rec.Key), Value: bytes.Clone(rec.Value)}
		for _, h := range rec.Headers {
			m.Headers = append(m.Headers, change.Header{Key: h.Key, Value: bytes.Clone(h.Value)})
		}
		return nil
	})
	return m, err
}

// wholeTable is rows of a source that reads tables whole.
type wholeTable struct {
	rows
	pages pager
}

// A page ends at this many rows or bytes.
const (
	scanRows  = 500
	scanBytes = 4 << 20
)

// Scan implements sink.Table.
func (w wholeTable) Scan(ctx context.Context, each func([]*sink.Message) error) error {
	encoder := change.NewEncoder(w.src.Identity(version))
	var page []*sink.Message
	size := 0
	next, done, err := w.pages.Pages(ctx, w.table.QualifiedName())
	if err != nil {
		return err
	}
	defer done()
	for n := scanRows; n == scanRows; {
		if n, err = next(ctx, scanRows, func(t *change.Table, row change.Row) error {
			m, err := message(encoder, t, row)
			if err != nil {
				return err
			}
			page = append(page, m)
			if size += len(m.Value); size < scanBytes {
				return nil
			}
			err = each(page)
			page, size = nil, 0
			return err
		}); err != nil {
			return err
		}
		if len(page) > 0 {
			if err := each(page); err != nil {
				return err
			}
			page, size = nil, 0
		}
	}
	return nil
}

// Find implements sink.Table.
func (w wholeTable) Find(ctx context.Context, keys [][]byte) (map[string]*sink.Message, func(context.Context) (map[int]int64, error), error) {
	decoder := change.NewDecoder()
	values := make([]change.Row, len(keys))
	for i, text := range keys {
		row, err := decoder.Key(w.table, text)
		if err != nil {
			return nil, nil, err
		}
		key := make(change.Row, 0, len(w.table.Key))
		for _, n := range w.table.Key {
			key = append(key, row[n])
		}
		values[i] = key.Clone()
	}
	return w.read(ctx, values)
}

// checkRows finds out whether the sources' rows can be read by a process that does not capture them.
func (rt *plant) checkRows(ctx context.Context) {
	if rt.part != partSink {
		return // capture checks that
	}
	for _, pipe := range rt.Pipelines {
		from, ok := rt.project.sources[pipe.From.Source].(rereader)
		table := rt.table(pipe)
		if !ok || table == nil {
			continue
		}
		if _, err := from.Rows(ctx, table.QualifiedName(), nil, nil); err != nil {
			rt.diags = append(rt.diags, config.Errorf("E0402", &pipe.From.Range, fmt.Sprintf("Rows of table %s can't be read", table.QualifiedName()),
				err.Error()+". A change without a large value that did not change needs that value from the table: GRANT SELECT."))
		}
	}
}
