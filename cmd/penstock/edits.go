package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/penstock-cdc/penstock/sink"
)

// editTaps hands what people did in the apps to those who look. The zero value works.
type editTaps struct{ taps taps[foundEdit] }

// foundEdit is an edit with how many before it were not shown.
type foundEdit struct {
	sink.Edit
	lost int
}

func (t *editTaps) add(e sink.Edit) {
	t.taps.give(func(lost int) foundEdit { return foundEdit{e, lost} })
}

// editShown is what someone did in an app to a record of ours, as tap --edits shows it.
type editShown struct {
	Type     string          `json:"type"` // edit
	Time     time.Time       `json:"time"` // when it was found
	Pipeline string          `json:"pipeline"`
	Key      json.RawMessage `json:"key"`
	AppID    string          `json:"app_id"`
	Found    string          `json:"found"` // app_differs, app_archived, app_missing
	// Fields are those of app_differs: what they had been, and what was put there.
	Fields []recordedField `json:"fields,omitempty"`
	Left   bool            `json:"left,omitempty"` // they stay so: the app itself makes that of what it is sent
	Lost   int             `json:"lost,omitempty"` // edits before it that were not shown, for the reader is slow
}

// shown leaves out the values of personal data unless they are asked for.
func (e *foundEdit) shown(pii bool) editShown {
	out := editShown{Type: "edit", Time: e.Time, Pipeline: e.Pipeline, Key: keyJSON(e.Key), AppID: e.AppID, Found: string(e.Found), Left: e.Left, Lost: e.lost}
	for _, f := range e.Fields {
		field := recordedField{Field: f.Name, Redacted: f.PII && !pii}
		if !field.Redacted {
			field.Old, field.New = plainValue(f.Want), plainValue(f.Have)
		}
		out.Fields = append(out.Fields, field)
	}
	return out
}

// showEdits hands the edits that a pipeline ("": any) finds to f: see taps.
func (rt *plant) showEdits(ctx context.Context, pipeline string, limit int, pii bool, ready func() error, f func(editShown) error) error {
	return rt.edits.taps.show(ctx, limit, ready, func(e foundEdit) bool { return pipeline == "" || e.Pipeline == pipeline },
		func(e foundEdit) error { return f(e.shown(pii)) })
}

// tapEdits shows the edits that the process that runs the sink finds.
func (c *cli) tapEdits(ctx context.Context, dir, pipeline string, limit int, pii bool) error {
	p := c.load(dir)
	if p.diags.HasErrors() {
		return c.refuse(p)
	}
	if pipeline != "" && p.Project.Pipeline(pipeline) == nil {
		return p.unknownPipeline(pipeline)
	}
	query := url.Values{"pipeline": {pipeline}, "limit": {fmt.Sprint(limit)}, "pii": {fmt.Sprint(pii)}}
	return look(ctx, p, "/edits", query, limit, c.showEdit)
}

func (c *cli) showEdit(e *editShown) error {
	if c.json {
		return c.line(e)
	}
	if e.Lost > 0 {
		fmt.Fprintf(c.out, "%d edits are not shown\n", e.Lost)
	}
	words := map[string]string{"app_differs": "edited", "app_archived": "archived", "app_missing": "gone"}
	text := fmt.Sprintf("%s %s %s app id %s: %s", e.Time.Format("15:04:05.000"), e.Pipeline, e.Key, e.AppID, words[e.Found])
	for i, f := range e.Fields {
		was, is := string(f.Old), string(f.New)
		if f.Redacted {
			was, is = "personal data", "personal data"
		}
		text += fmt.Sprintf("%s %s %s -> %s", strings.Repeat(",", min(i, 1)), f.Field, was, is)
	}
	if e.Left {
		text += " (left so: the app makes that of what it is sent)"
	}
	_, err := fmt.Fprintln(c.out, text)
	return err
}
