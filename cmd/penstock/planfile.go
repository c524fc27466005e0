package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/penstock-cdc/penstock/config"
	"github.com/penstock-cdc/penstock/schema"
	"github.com/penstock-cdc/penstock/state"
)

// planFormat is the version of the form of saved plans.
const planFormat = 1

// savedPlan is a plan in a file: what it said, and what it was made of.
type savedPlan struct {
	Format    int        `json:"format"`
	Time      time.Time  `json:"time"`
	Penstock  string     `json:"penstock"`
	Pipelines []planMark `json:"pipelines"`
}

// planMark is what a pipeline's plan was made of.
type planMark struct {
	Pipeline    string         `json:"pipeline"`
	Fingerprint string         `json:"fingerprint"` // of its rules
	Table       string         `json:"table_version"`
	Object      string         `json:"object,omitempty"` // hash of the app's object; empty: the app can't say
	Positions   []planPosition `json:"positions"`        // in the stream
	Plan        *planned       `json:"plan"`
}

// planPosition is how far a pipeline had taken in a partition.
type planPosition struct {
	Topic      string `json:"topic"`
	Partition  int    `json:"partition"`
	Offset     int64  `json:"offset"`
	Generation int64  `json:"generation"` // of the partition's owner
}

// mark says what the pipeline's plan is made of.
func (pl *planner) mark(ctx context.Context) (planMark, error) {
	var positions []planPosition
	if pl.store != nil {
		var err error
		if positions, err = positionsOf(ctx, pl.store, pl.pipe.Name); err != nil {
			return planMark{}, err
		}
	}
	return pl.markOf(pl.pipe, pl.program, positions)
}

func (p *project) markOf(pipe *config.Pipeline, prog *program, positions []planPosition) (planMark, error) {
	m := planMark{Pipeline: pipe.Name, Fingerprint: prog.Fingerprint(), Table: prog.table.Version, Positions: positions}
	if object := p.objects[pipe.To.App+"."+pipe.To.Object]; object != nil {
		text, err := json.Marshal(schema.ObjectOf(object))
		if err != nil {
			return m, fmt.Errorf("describe object %s: %w", pipe.To.Object, err)
		}
		sum := sha256.Sum256(text)
		m.Object = hex.EncodeToString(sum[:])
	}
	return m, nil
}

func positionsOf(ctx context.Context, store state.Store, pipeline string) (all []planPosition, err error) {
	err = store.View(ctx, func(tx state.Tx) error {
		kept, err := tx.Pipeline(pipeline)
		if err != nil || kept.ID == 0 {
			return err
		}
		return tx.Positions(kept.ID, func(p state.Position) error {
			all = append(all, planPosition{p.Topic, p.Partition, p.Offset, p.Generation})
			return nil
		})
	})
	return all, err
}

func (s *savedPlan) write(file string) error {
	text, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return fmt.Errorf("save plan: %w", err)
	}
	return putFile(file, append(text, '\n'), 0o600)
}

// readPlan reads a saved plan.
func readPlan(file string) (*savedPlan, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read plan: %w", err)
	}
	var s savedPlan
	if err := json.NewDecoder(bytes.NewReader(text)).Decode(&s); err != nil || s.Format == 0 {
		return nil, fmt.Errorf("%s is no plan: write one with penstock plan --out %s", file, file)
	}
	if s.Format != planFormat {
		return nil, fmt.Errorf("plan %s has format %d, and this penstock knows %d: plan again", file, s.Format, planFormat)
	}
	return &s, nil
}

// unmoved returns an error that names all in which the project is not what a saved plan was made of.
func (rt *plant) unmoved(ctx context.Context, s *savedPlan, programs map[string]*program) error {
	var moved []error
	add := func(format string, args ...any) { moved = append(moved, fmt.Errorf(format, args...)) }
	for _, was := range s.Pipelines {
		pipe := rt.Project.Pipeline(was.Pipeline)
		if pipe == nil {
			add("pipeline %s is not in the project any more", was.Pipeline)
			continue
		}
		positions, err := positionsOf(ctx, rt.store, pipe.Name)
		if err != nil {
			return err
		}
		now, err := rt.markOf(pipe, programs[pipe.Name], positions)
		if err != nil {
			return err
		}
		switch {
		case now.Table != was.Table:
			add("pipeline %s: table %s has another schema than the plan was made with", pipe.Name, programs[pipe.Name].table.QualifiedName())
		case now.Fingerprint != was.Fingerprint:
			add("pipeline %s: its rules are not those that the plan was made with", pipe.Name)
		}
		switch {
		case now.Object == "" && was.Object != "":
			add("pipeline %s: app %s does not say what %s looks like now", pipe.Name, pipe.To.App, pipe.To.Object)
		case now.Object != was.Object:
			add("pipeline %s: %s of app %s has other fields than the plan was made with", pipe.Name, pipe.To.Object, pipe.To.App)
		}
		if !slices.Equal(now.Positions, was.Positions) {
			add("pipeline %s: penstock has run since the plan was made", pipe.Name)
		}
	}
	for _, pipe := range rt.Pipelines {
		if !slices.ContainsFunc(s.Pipelines, func(m planMark) bool { return m.Pipeline == pipe.Name }) {
			add("pipeline %s is not in the plan", pipe.Name)
		}
	}
	if len(moved) == 0 {
		return nil
	}
	return fmt.Errorf("the plan of %s does not hold any more: plan again\n%w", s.Time.Format(time.RFC3339), errors.Join(moved...))
}
