package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/penstock-cdc/penstock/state"
)

// resetSource starts a source over: its tables are read again at the next run. Pipelines
// whose position the log no longer has go on at its start; what they missed comes with
// the new snapshot, which also finds what was deleted.
func (c *cli) resetSource(ctx context.Context, dir, name string) error {
	p := c.load(dir)
	if p.diags.HasErrors() {
		return c.refuse(p)
	}
	src := p.sources[name]
	if src == nil {
		return &exit{exitUsage, fmt.Errorf("there is no source %q: it is one of %s", name, strings.Join(sortedKeys(p.sources), ", "))}
	}
	part := partAll
	if p.Stream.Kind == "kafka" && isFolder(p.partFolder(partCapture)) {
		part = partCapture
	}
	rt, err := openStore(p, part)
	if err != nil {
		return err
	}
	defer rt.close()
	rt.adopt = true // that log and state differ is what is being mended
	if err := rt.openStream(ctx); err != nil {
		return err
	}
	w, err := rt.log.Writer(ctx, name, rt.store)
	if err != nil {
		return err
	}
	defer w.Close()
	fresh, err := src.Reset(ctx, w.Resume())
	if err != nil {
		return err
	}
	if err := w.Flush(ctx, fresh); err != nil {
		return err
	}
	if err := rt.skipGaps(ctx, name); err != nil {
		return err
	}
	if c.json {
		return c.line(map[string]any{"type": "reset", "source": name})
	}
	_, err = fmt.Fprintf(c.out, "source %s starts over: its tables are read again when penstock runs next\n", name)
	return err
}

// skipGaps moves positions below the start of the log to it.
func (rt *plant) skipGaps(ctx context.Context, source string) error {
	store := rt.store
	if rt.part == partCapture && isFolder(rt.partFolder(partSink)) {
		other, err := openStore(rt.project, partSink)
		if err != nil {
			return fmt.Errorf("move positions past the gap: %w", err)
		}
		defer other.close()
		store = other.store
	}
	for _, pipe := range rt.Pipelines {
		if pipe.From.Source != source {
			continue
		}
		var behind []state.Position
		var id int64
		err := store.View(ctx, func(tx state.Tx) error {
			kept, err := tx.Pipeline(pipe.Name)
			if err != nil || kept.ID == 0 {
				return err
			}
			id = kept.ID
			return tx.Positions(id, func(pos state.Position) error {
				behind = append(behind, pos)
				return nil
			})
		})
		if err != nil {
			return err
		}
		for _, pos := range behind {
			start, _, err := rt.log.Bounds(ctx, pos.Topic, pos.Partition)
			if err != nil {
				return err
			}
			if pos.Offset >= start {
				continue
			}
			to := pos
			to.Offset = start
			if err := store.Update(ctx, func(tx state.Tx) error { return tx.Advance(id, &pos, &to) }); err != nil {
				return err
			}
		}
	}
	return nil
}
