package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/hcl/v2"
	"github.com/spf13/cobra"

	"github.com/penstock-cdc/penstock/change"
	"github.com/penstock-cdc/penstock/config"
	"github.com/penstock-cdc/penstock/sink"
	"github.com/penstock-cdc/penstock/state"
	"github.com/penstock-cdc/penstock/transform"
)

// explainQuery chooses a record by the key of its row.
type explainQuery struct {
	Pipeline, Key string
	ShowValues    bool // those of personal data too
}

// explained is one record's story; its JSON form is part of the output format.
type explained struct {
	Type       string          `json:"type"`
	Pipeline   string          `json:"pipeline"`
	Key        json.RawMessage `json:"key"`
	Row        []shownValue    `json:"row"`                   // by column; empty: see row_missing
	RowMissing string          `json:"row_missing,omitempty"` // why there is no row
	Rules      []shownValue    `json:"rules,omitempty"`       // where, clean, reject, key, match and fields, on that row
	Now        string          `json:"now,omitempty"`         // what the pipeline would do about the row now
	NowFields  []string        `json:"now_fields,omitempty"`  // fields that it would send
	Standing   string          `json:"standing"`              // new, in_app, removed, forgotten, unknown
	Marks      []string        `json:"marks,omitempty"`       // excluded, rejected, deleted
	AppID      string          `json:"app_id,omitempty"`
	AppKey     string          `json:"app_key,omitempty"`
	Seen       string          `json:"seen_event,omitempty"`
	Applied    string          `json:"applied_event,omitempty"`
	Sent       []shownValue    `json:"sent,omitempty"` // what was last sent
	App        []shownValue    `json:"app,omitempty"`  // what the app has now
	AppMissing string          `json:"app_missing,omitempty"`
	Waiting    string          `json:"waiting,omitempty"`
	Quarantine string          `json:"quarantine,omitempty"`
	Guards     []string        `json:"guards,omitempty"`
	History    []recorded      `json:"history,omitempty"`
}

// shownValue is a value with what made it.
type shownValue struct {
	Name     string          `json:"name"`
	Value    json.RawMessage `json:"value,omitempty"`
	Redacted bool            `json:"redacted,omitempty"`
	Failed   string          `json:"failed,omitempty"` // the reason for which there is no value
	Place    string          `json:"place,omitempty"`  // file:line:column of the rule
}

func (c *cli) explainCommand() *cobra.Command {
	q := explainQuery{}
	cmd := &cobra.Command{
		Use: "explain PIPELINE KEY [DIR]", Short: "One record's story: its row, what each rule makes of it, what was sent, what the app has", Args: cobra.RangeArgs(2, 3),
		Long: "Print what is known of one record, by the key of its row (JSON, or the value alone where the key has one column).\nThe row and the app's record are read as they are now; nothing is changed.\nThe values of columns in `pii`, and of what is made of them, are left out unless --show-values asks for them.",
		RunE: func(cmd *cobra.Command, args []string) error {
			q.Pipeline, q.Key = args[0], args[1]
			var all []explained
			if err := c.ask(cmd.Context(), folder(args[2:]), askExplain, q, &all); err != nil {
				return err
			}
			for i := range all {
				if err := c.writeExplained(&all[i]); err != nil {
					return err
				}
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&q.ShowValues, "show-values", false, "with the values of personal data")
	return cmd
}

// explain tells the story of the record that has a key.
func (rt *plant) explain(ctx context.Context, q explainQuery) ([]explained, error) {
	key, err := rt.sourceKey(q.Pipeline, q.Key)
	if err != nil {
		return nil, err
	}
	e, known, err := rt.explainOne(ctx, q, key)
	if err != nil {
		return nil, err
	}
	if !known {
		return nil, fmt.Errorf("neither the source nor the state of pipeline %s knows a record with the key %s", q.Pipeline, q.Key)
	}
	return []explained{e}, nil
}

func (rt *plant) explainOne(ctx context.Context, q explainQuery, key []byte) (explained, bool, error) {
	pipe := rt.Project.Pipeline(q.Pipeline)
	table := rt.table(pipe)
	e := explained{Type: "record", Pipeline: q.Pipeline, Key: keyJSON(key), Row: []shownValue{}, Standing: "unknown"}
	show := func(name string, v change.Value, pii bool, place string) shownValue {
		if pii && !q.ShowValues && !v.IsNull() {
			return shownValue{Name: name, Redacted: true, Place: place}
		}
		return shownValue{Name: name, Value: plainValue(v), Place: place}
	}
	sh, layouts, err := rt.shadowOf(ctx, &e, key, q.ShowValues)
	if err != nil {
		return e, false, err
	}
	now, row, err := rt.rowOf(ctx, pipe, table, key)
	switch {
	case err != nil:
		e.RowMissing = err.Error()
	case row == nil:
		e.RowMissing = "the source has no such row"
	}
	if sh == nil && row == nil {
		return e, false, err
	}
	personal := map[string]bool{} // the app's fields
	var event *change.Event
	if row != nil {
		for i := range now.Columns {
			e.Row = append(e.Row, show(now.Columns[i].Name, row[i], now.Columns[i].PII, ""))
		}
		event = &change.Event{Op: change.Read, Table: now, After: row, CommitTime: time.Now().UTC()}
		table = now
	}
	rule := func(name string, expr hcl.Expression) (pii bool) {
		single, diags := transform.CompileSingle(expr, pipe, table, rt.env(pipe))
		place := rt.PlaceOf(expr.Range())
		if diags.HasErrors() || single == nil {
			e.Rules = append(e.Rules, shownValue{Name: name, Failed: diags[0].Summary, Place: place})
			return true // of what is not known nothing is shown
		}
		if event == nil {
			e.Rules = append(e.Rules, shownValue{Name: name, Place: place})
			return single.PII
		}
		v, why := single.Eval(event)
		if why != nil {
			e.Rules = append(e.Rules, shownValue{Name: name, Failed: why.Reason + ": " + why.Message, Place: place})
			return single.PII
		}
		e.Rules = append(e.Rules, show(name, v, single.PII, place))
		return single.PII
	}
	if pipe.Where != nil {
		rule("where", pipe.Where)
	}
	for _, c := range pipe.Clean {
		rule("clean."+c.Name, c.Expr)
	}
	for i := range pipe.Rejects {
		rule("reject "+pipe.Rejects[i].Name, pipe.Rejects[i].When)
	}
	personal[pipe.Key.Name] = rule("key "+pipe.Key.Name, pipe.Key.Expr)
	for _, m := range pipe.Match {
		personal[m.Name] = rule("match "+m.Name, m.Expr)
	}
	for i := range pipe.Fields {
		f := &pipe.Fields[i]
		personal[f.Name] = rule(fmt.Sprintf("fields %q %s", f.Group, f.Name), f.Expr) || personal[f.Name]
	}
	if sh != nil && sh.Layout < len(layouts) {
		for i, name := range layouts[sh.Layout] {
			if i < len(sh.Sent) && !sh.Sent[i].IsUnchanged() {
				e.Sent = append(e.Sent, show(name, sh.Sent[i], personal[name], ""))
			}
		}
	}
	app := rt.appRecord(ctx, &e, pipe, sh)
	if app != nil {
		for _, name := range sortedKeys(app.Fields) {
			e.App = append(e.App, show(name, change.OfString(app.Fields[name]), personal[name], ""))
		}
	}
	rt.decideNow(&e, pipe, event, sh, layouts, app, q.ShowValues)
	for _, g := range rt.engine.Guards() {
		if g.Pipeline == q.Pipeline {
			e.Guards = append(e.Guards, fmt.Sprintf("holds back %d %s", g.Queued, g.Kind))
		}
	}
	if sh != nil {
		if e.History, err = rt.history(ctx, historyQuery{Pipeline: q.Pipeline, Key: string(key), Limit: 5, PII: q.ShowValues}); err != nil {
			return e, true, err
		}
	}
	return e, true, nil
}

var standings = map[state.Standing]string{state.New: "new", state.InApp: "in_app", state.Removed: "removed", state.Forgotten: "forgotten"}

// shadowOf tells what the state has of the record; nil: nothing.
func (rt *plant) shadowOf(ctx context.Context, e *explained, key []byte, values bool) (sh *state.Shadow, layouts [][]string, err error) {
	err = rt.store.View(ctx, func(tx state.Tx) error {
		kept, err := tx.Pipeline(e.Pipeline)
		if err != nil || kept.ID == 0 {
			return err
		}
		layouts = kept.Layouts
		if err := tx.Shadows(kept.ID, [][]byte{key}, func(s *state.Shadow) error {
			sh = s
			return nil
		}); err != nil || sh == nil {
			return err
		}
		if err := tx.PendingByRecord(kept.ID, []int64{sh.ID}, func(w *state.Pending) error {
			e.Waiting = waitingText(w)
			return nil
		}); err != nil {
			return err
		}
		entry, err := tx.QuarantineByRecord(kept.ID, sh.ID)
		if err != nil || entry == nil {
			return err
		}
		e.Quarantine = fmt.Sprintf("entry %d: %s", entry.ID, entry.Code)
		if values { // a message may have values of the row
			e.Quarantine += ": " + entry.Message
		}
		return nil
	})
	if err != nil || sh == nil {
		return nil, nil, err
	}
	e.Standing, e.AppID, e.AppKey = standings[sh.Standing], sh.AppID, sh.AppKey.Text()
	if !sh.Seen.IsZero() {
		e.Seen = sh.Seen.String()
	}
	if !sh.Applied.IsZero() {
		e.Applied = sh.Applied.String()
	}
	for _, m := range []struct {
		is   bool
		word string
	}{{sh.Excluded, "excluded"}, {sh.Rejected, "rejected"}, {sh.Deleted, "deleted"}} {
		if m.is {
			e.Marks = append(e.Marks, m.word)
		}
	}
	return sh, layouts, nil
}

func waitingText(w *state.Pending) string {
	kind := "to be written"
	switch w.Want {
	case state.Archive:
		kind = "to be archived"
	case state.Remove:
		kind = "to be deleted"
	case state.SetDeleted, state.SetLeft:
		kind = "to stay, with fields set"
	}
	switch w.Queue {
	case state.Held:
		kind += ", held: penstock hold resolve decides"
	case state.Guarded:
		kind += ", stopped by a guard"
	case state.Waiting:
		kind += ", waiting for its parent, or for the other half of a changed key"
	}
	if w.Unknown {
		kind += ", sent before with no answer"
	}
	if w.Attempts > 0 {
		kind += fmt.Sprintf(", tried %d times", w.Attempts)
	}
	if w.Error != "" {
		kind += ": " + w.Error
	}
	return kind
}

// rowOf reads a row from the source; nil: it is not there.
func (rt *plant) rowOf(ctx context.Context, pipe *config.Pipeline, table *change.Table, key []byte) (now *change.Table, row change.Row, err error) {
	find := byKey(rt.project.sources[pipe.From.Source])
	if find == nil {
		return nil, nil, errors.New("rows of this kind of source are not read by key in this version")
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(key, &members); err != nil {
		return nil, nil, fmt.Errorf("read key: %w", err)
	}
	values := make(change.Row, 0, len(table.Key))
	for _, i := range table.Key {
		c := &table.Columns[i]
		text := string(members[c.Name])
		quoted := strings.HasPrefix(text, `"`)
		if quoted == (c.Kind == change.Int || c.Kind == change.Uint) || c.Kind != change.String && strings.Trim(text, `"`) == "" {
			return nil, nil, nil // not a key that the stream has
		}
		if quoted {
			if err := json.Unmarshal(members[c.Name], &text); err != nil {
				return nil, nil, fmt.Errorf("read key: %w", err)
			}
		}
		values = append(values, change.Of(c.Kind, text))
	}
	limit, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	_, err = find(limit, table.QualifiedName(), []change.Row{values}, func(t *change.Table, r change.Row) error {
		now, row = t, r.Clone()
		return nil
	})
	return now, row, err
}

// appRecord reads the record from the app; nil: see AppMissing.
func (rt *plant) appRecord(ctx context.Context, e *explained, pipe *config.Pipeline, sh *state.Shadow) *sink.Record {
	reader, ok := rt.apps[pipe.To.App].(sink.Reader)
	switch {
	case !ok:
		e.AppMissing = "this app can't be read"
		return nil
	case sh == nil || sh.AppID == "":
		e.AppMissing = "no record of the app is known to be this one's"
		return nil
	}
	names := []string{pipe.Key.Name}
	for _, f := range append(slices.Clone(pipe.Match), namedOf(pipe.Fields)...) {
		if !slices.Contains(names, f.Name) {
			names = append(names, f.Name)
		}
	}
	limit, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	found, err := reader.Read(limit, pipe.To.Object, "id", []string{sh.AppID}, names)
	switch {
	case err != nil:
		e.AppMissing = "the app does not answer: " + err.Error()
	case len(found) == 0:
		e.AppMissing = "the app has no record of this id any more"
	case found[0].Archived:
		e.AppMissing = "the record is archived in the app"
	default:
		return &found[0]
	}
	return nil
}

func namedOf(fields []config.FieldExpr) []config.NamedExpr {
	out := make([]config.NamedExpr, 0, len(fields))
	for i := range fields {
		out = append(out, fields[i].NamedExpr)
	}
	return out
}

// decideNow says what the pipeline would do about the row as it is now.
func (rt *plant) decideNow(e *explained, pipe *config.Pipeline, event *change.Event, sh *state.Shadow, layouts [][]string, app *sink.Record, values bool) {
	prog, known := rt.programs[pipe.Name], sink.Known{App: app}
	if prog == nil || event == nil {
		return
	}
	if sh != nil && len(layouts) > 0 && sh.Layout == len(layouts)-1 {
		own := *sh
		own.Layout, known.Shadow = 0, &own
	} else if sh != nil {
		return // its fields are others than the pipeline's now
	}
	var made sink.Made
	prog.NewWorker().Eval(event, &made)
	d := sink.NewDecider(specOf(pipe, prog), rt.apps[pipe.To.App].Limits(pipe.To.Object).Whole).Decide(event.Op, &made, known)
	e.Now = string(d.Verdict)
	if d.Reason != "" {
		e.Now += " (" + d.Reason + ")"
		if values && d.Message != "" {
			e.Now += ": " + d.Message
		}
	}
	for _, f := range d.Write {
		e.NowFields = append(e.NowFields, f.Name)
	}
}

// writeExplained prints a story.
func (c *cli) writeExplained(e *explained) error {
	if c.json {
		return c.line(e)
	}
	fmt.Fprintf(c.out, "record %s of pipeline %s\n", e.Key, e.Pipeline)
	list := func(title, missing string, all []shownValue) {
		if len(all) == 0 && missing == "" {
			return
		}
		fmt.Fprintln(c.out, title)
		if missing != "" {
			fmt.Fprintln(c.out, "  "+missing)
		}
		for _, v := range all {
			text := valueText(v.Value)
			switch {
			case v.Failed != "":
				text = "fails: " + v.Failed
			case v.Redacted:
				text = "personal data"
			}
			if v.Place != "" {
				text += "   (" + filepath.ToSlash(v.Place) + ")"
			}
			fmt.Fprintf(c.out, "  %s = %s\n", v.Name, text)
		}
	}
	list("row, as it is now:", e.RowMissing, e.Row)
	list("what the rules make of it:", "", e.Rules)
	if e.Now != "" {
		fmt.Fprintf(c.out, "what would be done about it now: %s", e.Now)
		if len(e.NowFields) > 0 {
			fmt.Fprintf(c.out, ", with %s", strings.Join(e.NowFields, ", "))
		}
		fmt.Fprintln(c.out)
	}
	fmt.Fprintf(c.out, "state: %s", strings.Join(append([]string{e.Standing}, e.Marks...), ", "))
	for _, f := range [][2]string{{"app id", e.AppID}, {"app key", e.AppKey}, {"last event seen", e.Seen}, {"last event applied", e.Applied}} {
		if f[1] != "" {
			fmt.Fprintf(c.out, ", %s %s", f[0], f[1])
		}
	}
	fmt.Fprintln(c.out)
	for _, f := range [][2]string{{"waiting", e.Waiting}, {"quarantine", e.Quarantine}} {
		if f[1] != "" {
			fmt.Fprintf(c.out, "%s: %s\n", f[0], f[1])
		}
	}
	for _, g := range e.Guards {
		fmt.Fprintln(c.out, "guard: "+g)
	}
	list("last sent:", "", e.Sent)
	list("in the app now:", e.AppMissing, e.App)
	if len(e.History) == 0 {
		return nil
	}
	fmt.Fprintln(c.out, "last changes:")
	return c.writeHistory(e.History)
}
