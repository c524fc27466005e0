package main

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/penstock-cdc/penstock/change"
	"github.com/penstock-cdc/penstock/config"
	"github.com/penstock-cdc/penstock/sink"
	"github.com/penstock-cdc/penstock/stream"
	"github.com/penstock-cdc/penstock/transform"
)

// projectText is the configuration of all benchmarks: a pipeline with what most have (a
// condition, cleaned values, a reject, computed fields) from a table of the load into an
// app. The arguments: the source's kind, its settings, the table, the app's kind, its
// settings, the ops block, more of the pipeline.
const projectText = `
penstock { data_dir = "data" }
secret "token" { value = env("BENCH_TOKEN", "bench") }
source %[1]q "shop" {
%[2]s
  table "customers" { name = %[3]q }
}
app %[4]q "crm" {
%[5]s
}
%[6]s
pipeline "customers" {
  from  = source.%[1]s.shop.customers
  to    = app.%[4]s.crm.contacts
  where = row.email != "nobody"
  clean { email = lower(trim(row.email)) }
  reject "no_email" {
    when    = clean.email == null
    message = "customer ${row.id} has no e-mail"
  }
  key { shop_customer_id = tostring(row.id) }
  fields "source" {
    email     = clean.email
    firstname = trim(row.first_name)
    lastname  = title_case(trim(row.last_name))
    shop_mrr  = row.mrr
  }
  on "delete" { action = "archive" }
  deliver { linger = "0s" }
  guard { max_deletes = "1000000000" }
%[7]s}
`

// contactProperties are the simulator's initial data for the pipeline.
const contactProperties = `{"property":{"object":"contacts","name":"shop_customer_id","type":"string","hasUniqueValue":true}}
{"property":{"object":"contacts","name":"shop_mrr","type":"number"}}
`

// writeProject makes a project folder in dir.
func writeProject(dir, sourceKind, sourceSettings, table, appKind, appSettings, ops, pipeline string) error {
	text := fmt.Sprintf(projectText, sourceKind, sourceSettings, table, appKind, appSettings, ops, pipeline)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "bench.hcl"), []byte(text), 0o600)
}

// customers is the table of the load as a Postgres source describes it.
func customers() *change.Table {
	t := &change.Table{Database: "shop", Schema: "public", Name: "bench", Topic: change.Topic("shop", "public", "bench"), Key: []int{0}}
	for _, c := range []struct {
		name, typ string
		kind      change.Kind
	}{
		{"id", "bigint", change.Int},
		{"email", "text", change.String},
		{"first_name", "text", change.String},
		{"last_name", "text", change.String},
		{"mrr", "numeric(12,2)", change.Decimal},
		{"active", "boolean", change.Bool},
		{"changed", "timestamp with time zone", change.TimestampTZ},
		{"ref", "uuid", change.UUID},
		{"note", "text", change.String},
	} {
		column := change.Column{Name: c.name, Kind: c.kind, Type: c.typ, Nullable: c.name != "id"}
		switch c.name {
		case "id":
			column.Precision = 64
		case "mrr":
			column.Precision, column.Scale = 12, 2
		}
		t.Columns = append(t.Columns, column)
	}
	return t.Seal()
}

// compiled makes the pipeline of a project's folder for that table.
func compiled(dir string, table *change.Table) (*config.Pipeline, *program, error) {
	project, diags := config.Load(dir, config.Input{})
	if diags.HasErrors() {
		return nil, nil, diags
	}
	pipe := project.Pipelines[0]
	prog, diags := transform.Compile(pipe, table, nil, transform.Env{})
	if diags.HasErrors() {
		return nil, nil, diags
	}
	return pipe, &program{prog}, nil
}

// program makes a transform.Program what the sink wants, as the command does, for one
// version of the table.
type program struct{ *transform.Program }

func (p *program) Fields() []sink.FieldSpec {
	var out []sink.FieldSpec
	for _, f := range p.Program.Fields() {
		out = append(out, sink.FieldSpec{Name: f.Name, Group: sink.Group(f.Group)})
	}
	return out
}

func (p *program) NewWorker() sink.Worker { return &worker{worker: p.Program.NewWorker()} }

type worker struct {
	worker *transform.Worker
	result transform.Result
}

var outcomes = map[transform.Outcome]sink.Outcome{
	transform.Pass: sink.Pass, transform.Filtered: sink.Filtered, transform.Rejected: sink.Rejected, transform.Reselect: sink.Reselect,
}

func (w *worker) Eval(e *change.Event, m *sink.Made) {
	w.worker.Eval(e, &w.result)
	*m = sink.Made{
		Outcome: outcomes[w.result.Outcome], Reason: w.result.Reason, Message: w.result.Message,
		Key: w.result.Key, Match: w.result.Match, Fields: w.result.Fields,
	}
}

// consumer hands what the log has to a pipeline's intake, as the command does.
type consumer struct{ pipeline *sink.Pipeline }

func (c consumer) Assign(ctx context.Context, topic string, partition int, generation int64) (int64, error) {
	return c.pipeline.Assign(ctx, topic, partition, generation)
}

func (c consumer) Take(ctx context.Context, topic string, partition int, messages []stream.Message) error {
	out := make([]sink.Message, len(messages))
	for i := range messages {
		m := &messages[i]
		out[i] = sink.Message{Topic: m.Topic, Partition: m.Partition, Offset: m.Offset, Time: m.Time.UnixMilli(), Key: m.Key, Value: m.Value, Headers: m.Headers}
	}
	return c.pipeline.Take(ctx, topic, partition, out)
}

func (c consumer) Idle(ctx context.Context, topic string, partition int, next int64) error {
	return c.pipeline.Idle(ctx, topic, partition, next)
}

// outcomeCount is the sum of the pipeline's counts of outcomes, 0 where it does not answer. An event
// can have several, so it tells work from rest and is no number of events.
func outcomeCount(ctx context.Context, address string) (sum float64) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/metrics", nil)
	if err != nil {
		return 0
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0
	}
	defer response.Body.Close()
	for lines := bufio.NewScanner(response.Body); lines.Scan(); {
		if line := lines.Text(); strings.HasPrefix(line, "penstock_events_total{") {
			n, _ := strconv.ParseFloat(line[strings.LastIndexByte(line, ' ')+1:], 64)
			sum += n
		}
	}
	return sum
}

// ready asks an ops address until it answers 200.
func ready(ctx context.Context, address string) bool {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/readyz", nil)
	if err != nil {
		return false
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return false
	}
	defer response.Body.Close()
	return response.StatusCode == http.StatusOK
}
