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

// rereader is a source that reads rows again by key. One whose events are always whole (MySQL and MariaDB, which are captured
// with binlog_row_image=FULL only) has no need to be one.
type rereader interface {
	Rows(ctx context.Context, table string, keys []change.Row, f func(*change.Table, change.Row) error) (passed func(context.Context) (bool, error), err error)
}

// rows reads a pipeline's rows again.
type rows struct {
	rt    *plant
	pipe  *config.Pipeline
	src   database
	from  rereader
	table *change.Table
}

// rowsOf returns nil where the source's events are whole.
func (rt *plant) rowsOf(pipe *config.Pipeline, table *change.Table) sink.Rows {
	src := rt.project.sources[pipe.From.Source]
	from, ok := src.(rereader)
	if !ok {
		return nil
	}
	return rows{rt, pipe, src, from, table}
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
	found := map[string]*sink.Message{}
	encoder := change.NewEncoder(r.src.Identity(version))
	passed, err := r.from.Rows(ctx, r.table.QualifiedName(), keys, func(t *change.Table, row change.Row) error {
		e := change.Event{Op: change.Read, Table: t, After: row, ID: change.NewPointID(1, 1, 1, 0), CommitTime: time.Now()}
		return encoder.Encode(&e, time.Now(), func(rec *change.Record) error {
			m := &sink.Message{Key: bytes.Clone(rec.Key), Value: bytes.Clone(rec.Value)}
			for _, h := range rec.Headers {
				m.Headers = append(m.Headers, change.Header{Key: h.Key, Value: bytes.Clone(h.Value)})
			}
			found[string(m.Key)] = m
			return nil
		})
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
