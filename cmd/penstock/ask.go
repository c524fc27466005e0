package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"

	"github.com/penstock-cdc/penstock/ops/control"
	"github.com/penstock-cdc/penstock/stream"
)

// ask puts a question to the running process; when none runs, the project is opened
// and answers it itself.
func (c *cli) ask(ctx context.Context, dir, question string, in, out any) error {
	return c.askOf(ctx, c.load(dir), question, in, out)
}

// askOf is ask of a project that is loaded.
func (c *cli) askOf(ctx context.Context, p *project, question string, in, out any) error {
	if p.diags.HasErrors() {
		return c.refuse(p)
	}
	for _, part := range []string{partAll, partSink, partCapture} {
		socket := socketOf(p, part)
		if _, err := os.Stat(socket); err != nil {
			continue
		}
		err := control.Call(ctx, control.Dial(socket), http.MethodPost, "/ask/"+question, in, out)
		if !control.NotRunning(err) {
			return err
		}
	}
	rt, err := c.openQuietly(ctx, p)
	if err != nil {
		return err
	}
	defer rt.close()
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	answer, err := rt.answer(ctx, question, body)
	if err != nil {
		return err
	}
	text, err := json.Marshal(answer)
	if err != nil {
		return err
	}
	return json.Unmarshal(text, out)
}

// openQuietly opens a project's state and log for a command while no process runs.
// The sources are not asked for anything but their tables.
func (c *cli) openQuietly(ctx context.Context, p *project) (*plant, error) {
	part := partAll
	if p.Stream.Kind == "kafka" {
		if _, err := os.Stat(p.partFolder(partSink)); err == nil {
			part = partSink
		}
	}
	rt, err := openStore(p, part)
	if err != nil {
		return nil, err
	}
	if err := rt.openStream(ctx); err != nil {
		rt.close()
		return nil, err
	}
	for name := range p.sources {
		if err := rt.recall(ctx, name); err != nil {
			rt.close()
			return nil, err
		}
	}
	if err := rt.openEngine(ctx, false); err != nil {
		rt.close()
		return nil, fmt.Errorf("%w (no penstock runs on this project, so this command opens it itself)", err)
	}
	if p.diags.HasErrors() {
		rt.close()
		return nil, errors.Join(c.refuse(p))
	}
	for name, src := range p.sources {
		rt.sources[name] = &reading{database: src, name: name, stats: nil}
	}
	return rt, nil
}

// recall takes a source's schemas from the stream, which needs no database.
func (rt *plant) recall(ctx context.Context, source string) error {
	known, err := stream.LatestSchemas(ctx, rt.log, source)
	if err != nil {
		return err
	}
	for _, t := range known {
		rt.tables[source] = append(rt.tables[source], t)
	}
	return nil
}
