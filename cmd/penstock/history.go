package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/penstock-cdc/penstock/change"
	"github.com/penstock-cdc/penstock/config"
	"github.com/penstock-cdc/penstock/sink"
	"github.com/penstock-cdc/penstock/state"
)

// historyQuery chooses changes: of one source key, or with "" the pipeline's last ones.
type historyQuery struct {
	Pipeline, Key string
	Limit         int
	PII           bool // with the values of fields that are made of personal data
}

// recorded is one change of a record; its JSON form is part of the output format.
type recorded struct {
	Type     string          `json:"type"`
	Pipeline string          `json:"pipeline"`
	Time     time.Time       `json:"time"`
	Change   string          `json:"change"` // created, updated, adopted, archived, deleted, gone, unanswered, drifted
	Cause    string          `json:"cause,omitempty"`
	Key      json.RawMessage `json:"key"`
	AppID    string          `json:"app_id,omitempty"`
	Event    string          `json:"event_id"`
	Fields   []recordedField `json:"fields,omitempty"`
	Note     string          `json:"note,omitempty"` // what a person said of it
}

// recordedField is one field's part in it. Old is left out where it is not known, New where the record was removed;
// both where they are personal data and were not asked for.
type recordedField struct {
	Field    string          `json:"field"`
	Old      json.RawMessage `json:"old,omitempty"`
	New      json.RawMessage `json:"new,omitempty"`
	Redacted bool            `json:"redacted,omitempty"`
}

func (rt *plant) history(ctx context.Context, q historyQuery) ([]recorded, error) {
	out := []recorded{}
	add := func(c sink.RecordChange) error {
		r := recorded{Type: "change", Pipeline: q.Pipeline, Time: c.Time, Change: c.Kind.String(), Key: keyJSON(c.Key), AppID: c.AppID, Event: c.EventID.String(), Note: c.Note}
		if c.Kind == state.Archived || c.Kind == state.Deleted || c.Kind == state.Set {
			r.Cause = c.Cause.String()
		}
		for _, f := range c.Fields {
			field := recordedField{Field: f.Name, Redacted: f.PII && !q.PII}
			if !field.Redacted {
				field.Old, field.New = plainValue(f.Old), plainValue(f.New)
			}
			r.Fields = append(r.Fields, field)
		}
		out = append(out, r)
		return nil
	}
	if q.Key == "" {
		return out, rt.engine.Changes(ctx, q.Pipeline, q.Limit, add)
	}
	key, err := rt.sourceKey(q.Pipeline, q.Key)
	if err != nil {
		return nil, err
	}
	known, err := rt.engine.History(ctx, q.Pipeline, key, q.Limit, add)
	if err != nil {
		return nil, err
	}
	if !known {
		return nil, fmt.Errorf("pipeline %s knows no record with the key %s", q.Pipeline, q.Key)
	}
	return out, nil
}

// plainValue is a value as JSON: its text as a string, NULL as null; nothing where it is not known.
func plainValue(v change.Value) json.RawMessage {
	switch {
	case v.IsUnchanged():
		return nil
	case v.IsNull():
		return json.RawMessage("null")
	}
	text, _ := json.Marshal(v.Text()) // a string has no error
	return text
}

// sourceKey is the message key that a command's text means: the JSON of a key, its columns in any order, or for a
// table with one key column its value alone.
func (rt *plant) sourceKey(pipeline, text string) ([]byte, error) {
	var table *change.Table
	for _, pipe := range rt.Pipelines {
		if pipe.Name == pipeline {
			if table = rt.table(pipe); table == nil {
				return nil, fmt.Errorf("the table of pipeline %s is not known yet", pipeline)
			}
		}
	}
	if table == nil {
		return nil, rt.unknownPipeline(pipeline)
	}
	columns := make([]string, len(table.Key))
	for i, n := range table.Key {
		columns[i] = table.Columns[n].Name
	}
	if !strings.HasPrefix(strings.TrimSpace(text), "{") {
		if len(columns) != 1 {
			return nil, fmt.Errorf("the key of %s has the columns %s: give them as JSON: '{\"%s\":...}'", table.QualifiedName(), strings.Join(columns, ", "), strings.Join(columns, `":...,"`))
		}
		value, _ := json.Marshal(text) // a string has no error
		switch table.Columns[table.Key[0]].Kind {
		case change.Int, change.Uint, change.Float, change.Bool:
			if value = json.RawMessage(text); !json.Valid(value) {
				return nil, fmt.Errorf("key %s is not a value of column %s, which is %s", text, columns[0], table.Columns[table.Key[0]].Type)
			}
		}
		return keyText(columns, map[string]json.RawMessage{columns[0]: value}), nil
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal([]byte(text), &members); err != nil {
		return nil, fmt.Errorf("key %s is not JSON: write it as '{\"%s\":...}'", text, strings.Join(columns, `":...,"`))
	}
	for _, name := range columns {
		if members[name] == nil {
			return nil, fmt.Errorf("the key lacks column %s: the key of %s is %s", name, table.QualifiedName(), strings.Join(columns, ", "))
		}
	}
	return keyText(columns, members), nil
}

// unknownPipeline says that there is no such pipeline.
func (p *project) unknownPipeline(name string) error {
	names := make([]string, len(p.Pipelines))
	for i, pipe := range p.Pipelines {
		names[i] = pipe.Name
	}
	hint := ""
	if s := config.Suggest(name, names); s != "" {
		hint = fmt.Sprintf(": did you mean %s?", s)
	}
	return fmt.Errorf("there is no pipeline %q%s", name, hint)
}

// keyText lays a key out as the stream does.
func keyText(columns []string, members map[string]json.RawMessage) []byte {
	var b bytes.Buffer
	for i, name := range columns {
		b.WriteByte("{,"[min(i, 1)])
		quoted, _ := json.Marshal(name) // a string has no error
		b.Write(quoted)
		b.WriteByte(':')
		_ = json.Compact(&b, members[name]) // it is valid JSON
	}
	b.WriteByte('}')
	return b.Bytes()
}

func (c *cli) historyCommand() *cobra.Command {
	q := historyQuery{}
	cmd := &cobra.Command{
		Use: "history PIPELINE [KEY] [DIR]", Short: "What was changed in the app, and why", Args: cobra.RangeArgs(1, 3),
		Long: "Print the changes of one record, by the key of its row (JSON, or the value alone where the key has one column), newest first; without KEY the last changes of the pipeline.\nThe values of fields that are made of columns in `pii` are left out unless --pii asks for them.",
		RunE: func(cmd *cobra.Command, args []string) error {
			dir := "."
			q.Pipeline = args[0]
			switch {
			case len(args) == 3:
				q.Key, dir = args[1], args[2]
			case len(args) == 2 && isFolder(args[1]):
				dir = args[1]
			case len(args) == 2:
				q.Key = args[1]
			}
			if q.Limit < 1 {
				return &exit{exitUsage, fmt.Errorf("--limit is how many changes to print, 1 or more")}
			}
			var all []recorded
			if err := c.ask(cmd.Context(), dir, askHistory, q, &all); err != nil {
				return err
			}
			return c.writeHistory(all)
		},
	}
	cmd.Flags().IntVar(&q.Limit, "limit", 100, "print so many changes at most")
	cmd.Flags().BoolVar(&q.PII, "pii", false, "with the values of fields that are made of personal data")
	return cmd
}

func (c *cli) writeHistory(all []recorded) error {
	if c.json {
		for i := range all {
			if err := c.line(all[i]); err != nil {
				return err
			}
		}
		return nil
	}
	if len(all) == 0 {
		_, err := fmt.Fprintln(c.out, "no change is kept")
		return err
	}
	for i := range all {
		r := &all[i]
		fmt.Fprintf(c.out, "%s %s %s", r.Time.Format(time.RFC3339), r.Change, r.Key)
		if r.AppID != "" {
			fmt.Fprintf(c.out, " app id %s", r.AppID)
		}
		if r.Cause != "" {
			fmt.Fprintf(c.out, " because of %s", r.Cause)
		}
		if r.Note != "" {
			fmt.Fprintf(c.out, ": %s", r.Note)
		}
		fmt.Fprintf(c.out, " (event %s)\n", r.Event)
		for _, f := range r.Fields {
			if f.Redacted {
				fmt.Fprintf(c.out, "  %s: personal data\n", f.Field)
				continue
			}
			fmt.Fprintf(c.out, "  %s: %s -> %s\n", f.Field, valueText(f.Old), valueText(f.New))
		}
	}
	return nil
}

// valueText is a value for people: JSON's, ? where it is not known.
func valueText(v json.RawMessage) string {
	switch string(v) {
	case "":
		return "?"
	case "null":
		return "NULL"
	}
	return string(v)
}
