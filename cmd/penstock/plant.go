package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/penstock-cdc/penstock/capture"
	"github.com/penstock-cdc/penstock/change"
	"github.com/penstock-cdc/penstock/config"
	"github.com/penstock-cdc/penstock/sink"
	"github.com/penstock-cdc/penstock/state"
	"github.com/penstock-cdc/penstock/stream"
)

// plant is a project at work, or opened for a command while none is: its parts, wired.
type plant struct {
	*project
	part    string
	lock    *dataLock
	store   *state.SQLite
	log     stream.Log
	sources map[string]*reading
	engine  *sink.Engine // nil in capture
	watch   *schemaWatch // nil where nothing runs
	alerts  []*alerting
	// programs are the compiled pipelines, by name.
	programs map[string]*program
	started  time.Time
	running  bool       // and not merely opened for a command
	atOnce   bool       // schedules are passed over: what is taken in is sent
	adopt    bool       // go on where log and state differ: an operator has decided so
	plan     *savedPlan // what was looked at before this run; nil: none was

	reconciling atomic.Pointer[reconcileProgress] // nil: none goes on

	mu     sync.Mutex
	failed map[string]error // pipelines that take nothing in any more
	// idleSince is since when each pipeline has something left to do.
	idleSince map[string]time.Time
	topics    map[string]string // of each pipeline
}

// reading is one source at work.
type reading struct {
	database
	name   string
	writer stream.Writer
	stats  *capture.Stats

	mu     sync.Mutex
	failed error // why it is not read any more
	cut    context.CancelFunc
}

func (r *reading) fail(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failed = err
}

func (r *reading) failure() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.failed
}

// partFolder is where a part keeps its files.
func (p *project) partFolder(part string) string { return filepath.Join(p.DataDir, part) }

// openStore takes the lock on a part of the data folder and opens the state in it.
func openStore(p *project, part string) (*plant, error) {
	if part != partAll && p.Stream.Kind != "kafka" {
		return nil, fmt.Errorf("penstock %s needs stream \"kafka\" { brokers = [...] }: the embedded log is of one process, use penstock run", part)
	}
	lock, err := lockData(p.DataDir, part)
	if err != nil {
		return nil, err
	}
	rt := &plant{project: p, part: part, lock: lock, sources: map[string]*reading{}, started: time.Now()}
	rt.store, err = state.OpenSQLite(filepath.Join(p.partFolder(part), "state.db"), state.SQLiteOptions{})
	if err != nil {
		rt.close()
		return nil, err
	}
	return rt, nil
}

// openStream opens the log.
func (rt *plant) openStream(ctx context.Context) error {
	s := rt.Stream
	if s.Kind == "kafka" {
		opts, err := kafkaOptions(s)
		if err != nil {
			return err
		}
		opts.Adopt = rt.adopt
		log, err := stream.OpenKafka(ctx, opts)
		if err != nil {
			return err
		}
		rt.log = log
		return nil
	}
	log, err := stream.OpenEmbedded(ctx, stream.EmbeddedOptions{Path: filepath.Join(rt.DataDir, "stream.db"), Retention: s.Retention, Adopt: rt.adopt})
	if err != nil {
		return err
	}
	rt.log = log
	return nil
}

func (rt *plant) close() {
	for _, r := range rt.sources {
		if r.writer != nil {
			if err := r.writer.Close(); err != nil {
				slog.Warn("close stream writer", "source", r.name, "error", err)
			}
		}
	}
	if rt.log != nil {
		if err := rt.log.Close(); err != nil {
			slog.Warn("close stream", "error", err)
		}
	}
	if rt.store != nil {
		if err := rt.store.Close(); err != nil {
			slog.Warn("close state", "error", err)
		}
	}
	rt.lock.release()
}

// openSources checks every source from where the log left it. What is wrong becomes diagnostics.
func (rt *plant) openSources(ctx context.Context) error {
	for _, block := range rt.Sources {
		src := rt.project.sources[block.Name]
		w, err := rt.log.Writer(ctx, block.Name, rt.store)
		if err != nil {
			return fmt.Errorf("open the stream for source %s: %w", block.Name, err)
		}
		rt.sources[block.Name] = &reading{database: src, name: block.Name, writer: w, stats: capture.NewStats()}
		err = src.Check(ctx, w.Resume())
		if w.Resume() != nil && unreachable(err) {
			slog.Warn("source does not answer; capture goes on when it does", "source", block.Name, "error", err)
			if err := rt.recall(ctx, block.Name); err != nil {
				return err
			}
			continue
		}
		if err != nil {
			for _, problem := range unjoin(err) {
				rt.diags = append(rt.diags, sourceDiagnostic(block, problem))
			}
		}
	}
	return nil
}

// unreachable tells whether an error is the network's, or a server's that broke the connection off.
func unreachable(err error) bool {
	var network net.Error
	return errors.As(err, &network) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
}

// openEngine compiles the pipelines and opens the sink. The diagnostics say what stands in the way.
func (rt *plant) openEngine(ctx context.Context, live bool) error {
	if err := rt.describe(ctx); err != nil {
		return err
	}
	ask := rt.live
	if !live {
		ask = unasked
	}
	programs, err := rt.compile(ctx, ask, rt.known)
	if err != nil {
		return err
	}
	if rt.diags.HasErrors() {
		return nil
	}
	if rt.plan != nil {
		if err := rt.unmoved(ctx, rt.plan, programs); err != nil {
			return err
		}
	}
	rt.programs = programs
	rt.topics = map[string]string{}
	opts := sink.Options{Store: rt.store, Apps: rt.apps, Log: slog.Default(), Failpoint: failpoint, OnEdit: rt.edits.add,
		History:    sink.HistoryOptions{Keep: rt.State.History.Keep, Bytes: rt.State.History.MaxSize},
		Quarantine: sink.QuarantineOptions{Age: rt.State.Quarantine.MaxAge, Records: rt.State.Quarantine.MaxRecords}}
	for _, pipe := range rt.Pipelines {
		var schedule sink.Schedule
		if pipe.Run != nil && !rt.atOnce {
			schedule = pipe.Run
		}
		prog := programs[pipe.Name]
		if rt.part == partSink && rt.running { // where capture runs too, it sees a new version before
			prog.moved = func(t *change.Table) { rt.watch.table(pipe.From.Source, t) }
		}
		rt.topics[pipe.Name] = prog.table.Topic
		partitions, err := rt.log.Partitions(ctx, prog.table.Topic)
		if err != nil {
			return err
		}
		if partitions == 0 && rt.Stream.Kind == "kafka" {
			partitions = kafkaPartitions(rt.Stream)
		}
		spec := specOf(pipe, prog)
		spec.Topic, spec.Partitions, spec.MatchFirst = prog.table.Topic, partitions, rt.matchFirst(ctx, pipe)
		spec.Schema = func(ctx context.Context, topic, version string) (*change.Table, error) {
			return rt.log.Schema(ctx, pipe.From.Source, topic, version)
		}
		spec.Schedule, spec.Rows = schedule, rt.rowsOf(pipe, prog.table)
		opts.Pipelines = append(opts.Pipelines, spec)
	}
	if rt.running { // events that were put off are evaluated while the engine opens
		rt.watch = newSchemaWatch(rt.project)
	}
	rt.engine, err = sink.New(ctx, opts)
	return err
}

// known tells whether a pipeline has run before with the same rules: then it may start
// while its app does not answer.
func (rt *plant) known(pipeline, fingerprint string) bool {
	known := false
	err := rt.store.View(context.Background(), func(tx state.Tx) error {
		kept, err := tx.Pipeline(pipeline)
		known = err == nil && kept.ID != 0 && kept.Fingerprint == fingerprint
		return err
	})
	return err == nil && known
}

// matchFirst tells whether `match` is by a field that the app does not keep unique.
func (rt *plant) matchFirst(ctx context.Context, pipe *config.Pipeline) bool {
	if len(pipe.Match) == 0 {
		return false
	}
	object, err := rt.object(ctx, pipe)
	if err != nil || object == nil {
		return false
	}
	for _, f := range object.Fields {
		if f.Name == pipe.Match[0].Name {
			return !f.Unique
		}
	}
	return false
}

// fatal tells whether an error is of the log or the state, which all parts need.
func fatal(err error) bool {
	var damage *stream.DamageError
	var full *stream.DiskFullError
	var rows *state.DamageError
	return errors.As(err, &damage) || errors.As(err, &full) || errors.As(err, &rows)
}

// run runs every part until ctx ends. One source that can't go on does not stop the
// others; it does when none is left, or when log or state fail.
func (rt *plant) run(ctx context.Context) error {
	defer rt.lastAlerts(context.WithoutCancel(ctx))
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var wg sync.WaitGroup
	wg.Go(func() { rt.watchAlerts(ctx) })
	if rt.engine != nil {
		rt.paceLoads(ctx)
	}
	if rt.part != partSink {
		var left sync.WaitGroup
		for _, r := range rt.sources {
			left.Add(1)
			wg.Go(func() {
				defer left.Done()
				err := rt.capture(ctx, r)
				if err == nil {
					return
				}
				r.fail(err)
				slog.Error("capture stopped", "source", r.name, "error", err)
				if fatal(err) || rt.allFailed() {
					stop(err)
				}
			})
		}
	}
	if rt.engine != nil {
		wg.Go(func() { rt.watch.poll(ctx, rt.SchemaCheck) })
		wg.Go(func() {
			if err := rt.engine.Run(ctx); err != nil {
				stop(err)
			}
		})
		for _, pipe := range rt.Pipelines {
			p, topic := rt.engine.Pipeline(pipe.Name), rt.topics[pipe.Name]
			wg.Go(func() {
				if err := rt.log.Consume(ctx, pipe.Name, []string{topic}, consumer{p}); err != nil {
					err = fmt.Errorf("pipeline %s: %w", pipe.Name, err)
					slog.Error("intake stopped", "pipeline", pipe.Name, "error", err)
					if rt.failPipeline(pipe.Name, err) == len(rt.Pipelines) || fatal(err) {
						stop(err)
					}
				}
			})
		}
	}
	wg.Wait()
	if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, context.Canceled) && !errors.Is(cause, errCaughtUp) {
		return cause
	}
	return nil
}

// failPipeline notes why a pipeline takes nothing in any more; it returns how many do not.
func (rt *plant) failPipeline(name string, err error) int {
	rt.mu.Lock()
	defer rt.mu.Unlock()
	if rt.failed == nil {
		rt.failed = map[string]error{}
	}
	rt.failed[name] = err
	return len(rt.failed)
}

func (rt *plant) pipelineFailure(name string) error {
	rt.mu.Lock()
	defer rt.mu.Unlock()
	return rt.failed[name]
}

func (rt *plant) allFailed() bool {
	for _, r := range rt.sources {
		if r.failure() == nil {
			return false
		}
	}
	return true
}
