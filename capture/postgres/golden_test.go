package postgres_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/penstock-cdc/penstock/capture"
	"github.com/penstock-cdc/penstock/capture/capturetest"
	"github.com/penstock-cdc/penstock/capture/postgres"
	"github.com/penstock-cdc/penstock/change"
)

// sample is one message as Debezium sent it.
type sample struct {
	Topic   string                     `json:"topic"`
	Key     json.RawMessage            `json:"key"`
	Value   json.RawMessage            `json:"value"`
	Headers map[string]json.RawMessage `json:"headers"`
}

// TestDebezium runs the statements that recorded messages of Debezium came from, and
// compares key, envelope, source and transaction block, what comes in which order, and
// the headers of moved keys. Values of columns have an encoding of their own and are
// not compared.
func TestDebezium(t *testing.T) {
	folder := filepath.Join("..", "..", "..", "shared", "debezium-samples")
	text, err := os.ReadFile(filepath.Join(folder, "pg-defaults-schemaless.json"))
	if os.IsNotExist(err) {
		t.Skip("the recorded messages are not beside the repository")
	}
	var samples map[string]sample
	if err == nil {
		err = json.Unmarshal(text, &samples)
	}
	if err != nil {
		t.Fatal(err)
	}
	script := func(name string) string {
		text, err := os.ReadFile(filepath.Join(folder, name))
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	d := newDatabase(t, "postgres17")
	d.exec(t, script("pg.sql"))
	src, err := postgres.Open(&postgres.Config{URL: d.url, Tables: []string{"app.*"}, Slot: "slot_" + d.name, Messages: true}, "app")
	if err != nil {
		t.Fatal(err)
	}
	h := d.harness(t)
	h.Identity = src.Identity("1.0")
	log := capturetest.NewLog(nil)
	h.StartSource(t, log, src, capture.Options{}).Streaming(t)
	for _, statement := range statements(script("pg-changes.sql")) {
		d.exec(t, statement)
	}
	log.Wait(t, "last row", func(r []*capturetest.Record) bool {
		return slices.ContainsFunc(r, func(r *capturetest.Record) bool { return strings.Contains(string(r.Key), `{"a":99,`) })
	})

	ours := map[string]*capturetest.Record{}
	for _, r := range log.Records() {
		if r.Marker != nil {
			continue
		}
		name := kindOf(t, r)
		for n := 2; ours[name] != nil; n++ {
			name = fmt.Sprintf("%s#%d", strings.Split(name, "#")[0], n)
		}
		ours[name] = r
	}
	compared := 0
	for name, want := range samples {
		if strings.HasPrefix(name, "transaction.") {
			continue // a topic of its own, which we do not write
		}
		got := ours[name]
		if got == nil {
			if name != "tombstone.no_key" { // a null key has nothing to compact
				t.Errorf("%s: we have no such message", name)
			}
			continue
		}
		compared++
		if got.Topic != want.Topic {
			t.Errorf("%s: topic is %s, want %s", name, got.Topic, want.Topic)
		}
		diff(t, parsed(t, got.Key), parsed(t, want.Key))
		diff(t, shape(parsed(t, got.Value)), shape(parsed(t, want.Value)))
		for _, header := range []string{change.HeaderNewKey, change.HeaderOldKey} {
			if got.Value == nil {
				continue
			}
			theirs, there := want.Headers[header]
			if there != (got.Header(header) != "") {
				t.Errorf("%s: header %s is there: %v, want %v", name, header, !there, there)
			} else if there {
				diff(t, parsed(t, []byte(got.Header(header))), withoutDefaults(parsed(t, theirs)))
			}
		}
	}
	if compared < 25 {
		t.Errorf("only %d messages were compared", compared)
	}
}

// statements splits a script at the ends of lines, keeping what is on one line together.
func statements(script string) []string {
	var out []string
	for part := range strings.SplitSeq(script, ";\n") {
		var lines []string
		for line := range strings.Lines(part) {
			if !strings.HasPrefix(line, "--") {
				lines = append(lines, line)
			}
		}
		if s := strings.TrimSpace(strings.Join(lines, "")); s != "" {
			out = append(out, s)
		}
	}
	return out
}

// kindOf is the name that the recorded messages have for one of its kind.
func kindOf(t *testing.T, r *capturetest.Record) string {
	table := r.Topic[strings.LastIndexByte(r.Topic, '.')+1:]
	if r.Tombstone() {
		return "tombstone." + table
	}
	var envelope struct{ Op string }
	if err := json.Unmarshal(r.Value, &envelope); err != nil {
		t.Fatal(err)
	}
	return map[string]string{"r": "snapshot-read.", "c": "insert.", "u": "update.", "d": "delete.", "t": "truncate.", "m": "logical-message."}[envelope.Op] + table
}

// parsed reads JSON, also JSON that is kept in a string.
func parsed(t *testing.T, text []byte) any {
	t.Helper()
	if len(text) == 0 {
		return nil
	}
	var v any
	if err := json.Unmarshal(text, &v); err != nil {
		t.Fatalf("%.100s: %v", text, err)
	}
	if s, ok := v.(string); ok && strings.HasPrefix(s, "{") {
		return parsed(t, []byte(s))
	}
	return v
}

// shape is an envelope with the values that differ from run to run, or by encoding,
// replaced by their types.
func shape(v any) any {
	envelope, ok := v.(map[string]any)
	if !ok {
		return v
	}
	out := map[string]any{}
	for key, value := range envelope {
		switch key {
		case "before", "after":
			out[key] = value != nil
		case "source", "transaction":
			out[key] = block(value)
		case "ts_ms", "ts_us", "ts_ns":
			out[key] = fmt.Sprintf("%T", value)
		default:
			out[key] = value
		}
	}
	return out
}

func block(v any) any {
	fields, ok := v.(map[string]any)
	if !ok {
		return v
	}
	out := map[string]any{}
	for key, value := range fields {
		switch key {
		case "version", "ts_ms", "ts_us", "ts_ns", "db", "txId", "lsn", "sequence", "id":
			out[key] = fmt.Sprintf("%T", value)
		default:
			out[key] = value
		}
	}
	return out
}

// withoutDefaults takes the columns' default values out of a schema: Debezium writes 0
// for a default that is an expression, which is no value of ours to repeat.
func withoutDefaults(v any) any {
	switch v := v.(type) {
	case map[string]any:
		delete(v, "default")
		for _, part := range v {
			withoutDefaults(part)
		}
	case []any:
		for _, part := range v {
			withoutDefaults(part)
		}
	}
	return v
}
