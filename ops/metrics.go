package ops

import (
	"context"
	"log/slog"
	"net/http"
	"runtime"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Requests counts the calls to the apps.
type Requests struct {
	total    *prometheus.CounterVec
	duration *prometheus.HistogramVec
}

// NewRequests makes a counter of calls.
func NewRequests() *Requests {
	return &Requests{
		total: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "penstock_app_requests_total", Help: "Calls to the app by status code; code 0: no answer.",
		}, []string{"app", "code"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "penstock_app_request_duration_seconds", Help: "Time until an app's answer was read.",
			Buckets: []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60},
		}, []string{"app"}),
	}
}

// Count notes one call. Status 0 is a call without an answer.
func (r *Requests) Count(app string, status int, took time.Duration) {
	r.total.WithLabelValues(app, strconv.Itoa(status)).Inc()
	r.duration.WithLabelValues(app).Observe(took.Seconds())
}

// collector reads the process's status at each scrape.
type collector struct {
	process Process

	build, sourceState, sourceLag, sourceBehind, sourceRetained, captured *prometheus.Desc
	transactions, transactionBytes, transactionAge, spilled, spilledBytes *prometheus.Desc
	loadState, loadRows, loadEstimate, loadBytes, loadChunks              *prometheus.Desc
	loadLeft, loadWaits                                                   *prometheus.Desc
	pipelineLag, events, edits, open, keys, appState                      *prometheus.Desc
	pipelinePaused, nextRun, lastRun                                      *prometheus.Desc
}

func newCollector(p Process) *collector {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("penstock_"+name, help, labels, nil)
	}
	return &collector{
		process:          p,
		build:            desc("build_info", "1, with the version in labels.", "version", "commit", "goversion"),
		sourceState:      desc("source_state", "1 for the state that the source is in.", "source", "state"),
		sourceLag:        desc("source_lag_seconds", "Time since the commit of what was last read, 0 at the end of the log.", "source"),
		sourceBehind:     desc("source_behind_bytes", "Bytes of the database's log that are not read yet.", "source"),
		sourceRetained:   desc("source_retained_bytes", "Bytes of log that the database keeps because of penstock.", "source"),
		transactions:     desc("source_transactions_open", "Transactions in progress at the database of which a part was received.", "source"),
		transactionBytes: desc("source_transactions_bytes", "What is kept of transactions in progress.", "source", "in"),
		transactionAge:   desc("source_transactions_oldest_seconds", "Time since the first part of the oldest transaction in progress came.", "source"),
		spilled:          desc("source_server_spilled_transactions_total", "Transactions that the database wrote to its own disk because of penstock.", "source"),
		spilledBytes:     desc("source_server_spilled_bytes_total", "Bytes of them.", "source"),
		loadState:        desc("load_state", "1 for the state that the load of the table is in: pending, reading, paused, done.", "source", "table", "state"),
		loadRows:         desc("load_rows", "Rows of the table's current or last load.", "source", "table"),
		loadEstimate:     desc("load_rows_estimated", "Rows that the table has, by the database's estimate.", "source", "table"),
		loadBytes:        desc("load_bytes", "Bytes of these rows.", "source", "table"),
		loadChunks:       desc("load_chunks", "Chunks in which they were read.", "source", "table"),
		loadLeft:         desc("load_left_seconds", "Estimate of the time until the load is done; not there while it is not known.", "source", "table"),
		loadWaits:        desc("load_waiting", "1 while the load waits for the pipelines or for room on the disk.", "source", "table"),
		captured:         desc("events_captured_total", "Events captured since the process started.", "source", "table", "op"),
		pipelineLag:      desc("pipeline_lag_seconds", "Age of the oldest change that is not in the app yet.", "pipeline"),
		events:           desc("events_total", "Events taken in, by what became of them.", "pipeline", "outcome"),
		edits:            desc("edits_total", "Records of ours that others changed or removed in the app, as verify found it.", "pipeline", "kind"),
		open:             desc("events_open", "Events taken in that have no final outcome yet.", "pipeline", "state"),
		keys:             desc("keys", "Source keys by their state in the app.", "pipeline", "state"),
		appState:         desc("app_state", "1 for the state that the app is in.", "app", "state"),
		pipelinePaused:   desc("pipeline_paused", "1 while a person has paused the pipeline.", "pipeline"),
		nextRun:          desc("pipeline_next_run_timestamp_seconds", "When the pipeline's schedule sends next; not there while a run goes on.", "pipeline"),
		lastRun:          desc("pipeline_last_run_timestamp_seconds", "When the last run of the pipeline's schedule began.", "pipeline"),
	}
}

func (c *collector) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		c.build, c.sourceState, c.sourceLag, c.sourceBehind, c.sourceRetained, c.captured,
		c.transactions, c.transactionBytes, c.transactionAge, c.spilled, c.spilledBytes,
		c.loadState, c.loadRows, c.loadEstimate, c.loadBytes, c.loadChunks, c.loadLeft, c.loadWaits,
		c.pipelineLag, c.pipelinePaused, c.nextRun, c.lastRun, c.events, c.edits, c.open, c.keys, c.appState,
	} {
		out <- d
	}
}

func (c *collector) Collect(out chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	s, err := c.process.Status(ctx)
	if err != nil {
		out <- prometheus.NewInvalidMetric(c.build, err)
		return
	}
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	counter := func(d *prometheus.Desc, n uint64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(n), labels...)
	}
	gauge(c.build, 1, s.Version, s.Commit, runtime.Version())
	for _, source := range s.Sources {
		gauge(c.sourceState, 1, source.Name, source.State)
		if source.LagSeconds != nil {
			gauge(c.sourceLag, *source.LagSeconds, source.Name)
		}
		if source.BehindBytes != nil {
			gauge(c.sourceBehind, float64(*source.BehindBytes), source.Name)
		}
		if source.RetainedBytes != nil {
			gauge(c.sourceRetained, float64(*source.RetainedBytes), source.Name)
		}
		if t := source.Transactions; t != nil {
			gauge(c.transactions, float64(t.Open), source.Name)
			gauge(c.transactionBytes, float64(t.MemoryBytes), source.Name, "memory")
			gauge(c.transactionBytes, float64(t.FileBytes), source.Name, "file")
			gauge(c.transactionAge, t.OldestSeconds, source.Name)
			counter(c.spilled, uint64(t.ServerSpilled), source.Name)
			counter(c.spilledBytes, uint64(t.ServerSpilledBytes), source.Name)
		}
		for i := range source.Loads {
			c.load(gauge, source.Name, &source.Loads[i])
		}
		for _, n := range source.Captured {
			counter(c.captured, n.Count, source.Name, n.Table, n.Op)
		}
	}
	for _, p := range s.Pipelines {
		if p.LagSeconds != nil {
			gauge(c.pipelineLag, *p.LagSeconds, p.Name)
		}
		paused := 0.0
		if p.Paused != nil {
			paused = 1
		}
		gauge(c.pipelinePaused, paused, p.Name)
		if p.NextRun != nil {
			gauge(c.nextRun, *p.NextRun, p.Name)
		}
		if p.LastRun != nil {
			gauge(c.lastRun, *p.LastRun, p.Name)
		}
		for outcome, n := range p.Events {
			counter(c.events, n, p.Name, outcome)
		}
		for kind, n := range p.Edits {
			counter(c.edits, n, p.Name, kind)
		}
		for state, n := range p.Open {
			gauge(c.open, float64(n), p.Name, state)
		}
		for state, n := range p.Keys {
			gauge(c.keys, float64(n), p.Name, state)
		}
	}
	for _, a := range s.Apps {
		gauge(c.appState, 1, a.Name, a.State)
	}
}

// load is the part of Collect about the load of a table.
func (c *collector) load(gauge func(d *prometheus.Desc, v float64, labels ...string), source string, l *Load) {
	gauge(c.loadState, 1, source, l.Table, l.State)
	gauge(c.loadRows, float64(l.Rows), source, l.Table)
	gauge(c.loadBytes, float64(l.Bytes), source, l.Table)
	gauge(c.loadChunks, float64(l.Chunks), source, l.Table)
	if l.Estimated > 0 {
		gauge(c.loadEstimate, float64(l.Estimated), source, l.Table)
	}
	if l.LeftSeconds > 0 {
		gauge(c.loadLeft, l.LeftSeconds, source, l.Table)
	}
	waits := 0.0
	if l.Waits != "" {
		waits = 1
	}
	gauge(c.loadWaits, waits, source, l.Table)
}

// metrics serves a registry of its own: nothing is registered globally. A status that
// cannot be told leaves out what comes from it, not the rest.
func metrics(s Sources, log *slog.Logger) http.Handler {
	r := prometheus.NewRegistry()
	r.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), newCollector(s.Process))
	if s.Requests != nil {
		r.MustRegister(s.Requests.total, s.Requests.duration)
	}
	return promhttp.HandlerFor(r, promhttp.HandlerOpts{
		ErrorHandling: promhttp.ContinueOnError,
		ErrorLog:      slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	})
}
