package http

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"

	"github.com/penstock-cdc/penstock/change"
	"github.com/penstock-cdc/penstock/config"
	"github.com/penstock-cdc/penstock/sink"
	"github.com/penstock-cdc/penstock/transform"
)

// Columns that the templates' row has besides the key and the fields.
const (
	colID     = "app_id"    // NULL while the app's id is not known
	colAction = "action"    // upsert, update, archive, delete
	colChange = "change_id" // the same each time a change is sent
)

// object is a compiled object block.
type object struct {
	name, key string
	batch     int
	records   string
	answer    *Answer
	described sink.Object
	table     *change.Table
	requests  map[string]*request // by the label
}

// request is a compiled request block.
type request struct {
	method  string
	program *transform.Program
	// The program's fields are the path's computed parts, the body and the headers.
	path    []part
	hasBody bool
	headers []string
	workers sync.Pool
}

// labels of request blocks, by action; an update without a block of its own is sent as an upsert.
func (o *object) request(action sink.Action) *request {
	if action == sink.Archive || action == sink.Remove {
		return o.requests["delete"]
	}
	if r := o.requests["update"]; r != nil && action == sink.Update {
		return r
	}
	return o.requests["upsert"]
}

// compile checks an object block and compiles its templates.
func compile(o *Object, place hcl.Range) (*object, hcl.Diagnostics) {
	var diags hcl.Diagnostics
	bad := func(rng hcl.Range, summary, detail string, args ...any) {
		diags = append(diags, wrong("E0107", &rng, summary, fmt.Sprintf(detail, args...)))
	}
	c := &object{name: o.Name, key: o.Key, batch: o.Batch, records: o.Records, answer: o.Answer, requests: map[string]*request{}}
	c.described = sink.Object{Name: o.Name, Archivable: true, Fields: []sink.ObjectField{{Name: o.Key, Type: "text", Unique: true}}}
	c.table = &change.Table{Name: o.Name, Columns: []change.Column{{Name: o.Key, Kind: change.String, Type: "text"}}, Key: []int{0}}
	for _, name := range sorted(o.Fields) {
		kind, known := kinds[o.Fields[name]]
		if !known {
			bad(place, "Unknown type", "Field %q of object %q has type %q; there are %s.", name, o.Name, o.Fields[name], strings.Join(sorted(kinds), ", "))
			continue
		}
		if slices.Contains([]string{colID, colAction, colChange}, name) || name == o.Key {
			bad(place, "Name is taken", "Object %q cannot have a field %q: templates know something else by that name.", o.Name, name)
			continue
		}
		c.described.Fields = append(c.described.Fields, sink.ObjectField{Name: name, Type: o.Fields[name], Required: slices.Contains(o.Required, name)})
		column := change.Column{Name: name, Kind: kind, Type: o.Fields[name], Nullable: true}
		if kind == change.Array {
			column.Element = change.String
		}
		c.table.Columns = append(c.table.Columns, column)
	}
	for _, name := range o.Required {
		if o.Fields[name] == "" {
			bad(place, "Unknown field", "Object %q requires %q, which is none of its fields.", o.Name, name)
		}
	}
	if o.Batch > 10_000 {
		bad(place, "Invalid batch", "Object %q: a batch has at most 10,000 records.", o.Name)
	}
	if o.Batch > 1 && o.Answer.ID != "" && o.Answer.Results == "" {
		bad(place, "Answer names no results", "Object %q: the ids of a batch are read from a list; name it with results.", o.Name)
	}
	for _, extra := range []string{colID, colAction, colChange} {
		c.table.Columns = append(c.table.Columns, change.Column{Name: extra, Kind: change.String, Type: "text", Nullable: extra == colID})
	}
	c.table.Seal()
	if diags.HasErrors() {
		return c, diags
	}
	if len(o.Requests) == 0 { // a webhook: all of it is told in the body
		o.Requests = []*Request{{Action: "upsert"}, {Action: "delete"}}
	}
	for _, r := range o.Requests {
		if r.Action != "upsert" && r.Action != "update" && r.Action != "delete" || c.requests[r.Action] != nil {
			bad(place, "Invalid request", "Object %q: request blocks are \"upsert\", \"update\" and \"delete\", one each.", o.Name)
			continue
		}
		compiled, ds := c.compile(r, o.Batch, place)
		diags = append(diags, ds...)
		c.requests[r.Action] = compiled
	}
	if c.requests["upsert"] == nil {
		bad(place, "No request for new records", "Object %q has request blocks, but none \"upsert\".", o.Name)
	}
	return c, diags
}

// compile makes a pipeline of a request's templates, whose fields they are.
func (o *object) compile(r *Request, batch int, place hcl.Range) (*request, hcl.Diagnostics) {
	var diags hcl.Diagnostics
	key, ds := hclsyntax.ParseExpression([]byte("row."+o.key), "key", hcl.InitialPos)
	if ds.HasErrors() {
		return nil, hcl.Diagnostics{wrong("E0107", &place, "Invalid key", fmt.Sprintf("Object %q: key is the name of a field.", o.name))}
	}
	out := &request{method: r.Method, hasBody: written(r.Body)}
	if out.method == "" {
		out.method = http.MethodPost
	}
	if !slices.Contains(methods, out.method) {
		diags = append(diags, wrong("E0107", &place, "Invalid method", fmt.Sprintf("Object %q: a method is one of %s.", o.name, strings.Join(methods, ", "))))
	}
	p := &config.Pipeline{
		Name: o.name, Range: place, Key: config.NamedExpr{Name: "key", Expr: key, NameRange: place},
		From: config.TableRef{Source: "app", Table: o.name, Range: place}, To: config.ObjectRef{Object: o.name, Range: place},
	}
	add := func(name string, e hcl.Expression) {
		p.Fields = append(p.Fields, config.FieldExpr{NamedExpr: config.NamedExpr{Name: name, Expr: e, NameRange: e.Range()}, Group: config.OwnedBySource})
	}
	object := &transform.Object{Name: "the request"}
	if written(r.Path) {
		var parts []hcl.Expression
		out.path, parts, ds = pathOf(r.Path)
		diags = append(diags, ds...)
		for i, e := range parts {
			add(fmt.Sprintf("path, part %d", i+1), e)
		}
	}
	if out.hasBody {
		add("body", asJSON(r.Body))
	}
	if written(r.Headers) {
		pairs, ds := hcl.ExprMap(r.Headers)
		if ds.HasErrors() {
			diags = append(diags, wrong("E0107", r.Headers.Range().Ptr(), "Invalid headers", "Write headers = { Name = value }."))
		}
		for _, pair := range pairs {
			name, ds := pair.Key.Value(nil)
			if ds.HasErrors() || !headerName(name.AsString()) {
				diags = append(diags, wrong("E0107", pair.Key.Range().Ptr(), "Invalid header", "A header's name has letters, digits and dashes."))
				continue
			}
			out.headers = append(out.headers, name.AsString())
			add("header "+name.AsString(), pair.Value)
		}
	}
	for _, f := range p.Fields {
		object.Fields = append(object.Fields, transform.ObjectField{Name: f.Name, Type: transform.FieldText})
	}
	object.Fields = append(object.Fields, transform.ObjectField{Name: "key", Type: transform.FieldText, Unique: true})
	if batch > 1 {
		for _, f := range p.Fields {
			if f.Name != "body" && len(f.Expr.Variables()) > 0 {
				diags = append(diags, wrong("E0107", f.Expr.Range().Ptr(), "One request for many records",
					fmt.Sprintf("Object %q is sent in batches of %d: path and headers cannot depend on the record.", o.name, batch)))
			}
		}
	}
	program, ds := transform.Compile(p, o.table, object, transform.Env{})
	out.program = program
	diags = append(diags, ds...)
	if diags.HasErrors() {
		return nil, diags
	}
	out.workers.New = func() any { return program.NewWorker() }
	return out, diags
}

// part is a literal of a path, or a value to be escaped in it.
type part struct {
	literal         string
	computed, query bool
}

// pathOf takes a path's template apart: what comes from the record is escaped, so that it
// cannot lead to another place.
func pathOf(e hcl.Expression) ([]part, []hcl.Expression, hcl.Diagnostics) {
	var parts []hclsyntax.Expression
	switch t := e.(type) {
	case *hclsyntax.TemplateExpr:
		parts = t.Parts
	case *hclsyntax.TemplateWrapExpr:
		parts = []hclsyntax.Expression{t.Wrapped}
	default:
		return nil, nil, hcl.Diagnostics{wrong("E0107", e.Range().Ptr(), "Path is no template", `Write path = "/customers/${row.customer_id}".`)}
	}
	var out []part
	var computed []hcl.Expression
	query := false
	for _, x := range parts {
		if literal, ok := x.(*hclsyntax.LiteralValueExpr); ok {
			text := literal.Val.AsString()
			query = query || strings.Contains(text, "?")
			out = append(out, part{literal: text})
			continue
		}
		out = append(out, part{computed: true, query: query})
		computed = append(computed, &hclsyntax.TemplateExpr{ // of any type: as text
			Parts:    []hclsyntax.Expression{&hclsyntax.LiteralValueExpr{Val: cty.StringVal(""), SrcRange: x.Range()}, x},
			SrcRange: x.Range(),
		})
	}
	bad := len(out) == 0 || !strings.HasPrefix(out[0].literal, "/")
	for _, p := range out {
		bad = bad || strings.ContainsFunc(p.literal, func(r rune) bool { return r <= ' ' || r > '~' || r == '#' })
	}
	if bad {
		return nil, nil, hcl.Diagnostics{wrong("E0107", e.Range().Ptr(), "Invalid path", "A path is below base_url, starts with a slash and has no blanks.")}
	}
	return out, computed, nil
}

// written tells whether an optional expression is there: gohcl puts an empty one in its place.
func written(e hcl.Expression) bool {
	return e != nil && e.Range().End.Byte > e.Range().Start.Byte
}

// asJSON writes objects and lists as JSON; any other body is text already.
func asJSON(e hcl.Expression) hcl.Expression {
	switch t := e.(type) {
	case *hclsyntax.ObjectConsExpr, *hclsyntax.TupleConsExpr, *hclsyntax.ForExpr:
		return &hclsyntax.FunctionCallExpr{
			Name: "json_string", Args: []hclsyntax.Expression{t.(hclsyntax.Expression)},
			NameRange: e.Range(), OpenParenRange: e.Range(), CloseParenRange: e.Range(),
		}
	}
	return e
}

func headerName(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_')
	})
}

// rendered is a request for one record.
type rendered struct {
	path   string
	header http.Header
	body   []byte
}

// render fills a request's templates in for a record. Its error is the record's.
func (o *object) render(r *request, action sink.Action, c *sink.Change) (*rendered, error) {
	row, err := o.row(action, c)
	if err != nil {
		return nil, err
	}
	worker := r.workers.Get().(*transform.Worker)
	defer r.workers.Put(worker)
	var result transform.Result
	worker.Eval(&change.Event{Op: change.Update, Table: o.table, After: row}, &result)
	if result.Outcome != transform.Pass {
		return nil, sink.Reject("TEMPLATE", fmt.Errorf("a template of object %s cannot be filled in (%s)", o.name, result.Reason))
	}
	out := &rendered{header: http.Header{}}
	fields := result.Fields
	for _, p := range r.path {
		out.path += p.literal
		if !p.computed {
			continue
		}
		if fields[0].Text() == "" {
			return nil, sink.Reject("TEMPLATE", fmt.Errorf("a part of the path of object %s is empty", o.name))
		}
		if p.query {
			out.path += url.QueryEscape(fields[0].Text())
		} else {
			out.path += url.PathEscape(fields[0].Text())
		}
		fields = fields[1:]
	}
	if r.hasBody {
		out.body, fields = []byte(fields[0].Text()), fields[1:]
	} else {
		out.body = o.usual(action, c)
	}
	for i, name := range r.headers {
		value := fields[i].Text()
		if strings.ContainsFunc(value, func(r rune) bool { return r < ' ' || r > '~' }) {
			return nil, sink.Reject("TEMPLATE", fmt.Errorf("header %s of object %s would have characters that no header has", name, o.name))
		}
		if !fields[i].IsNull() {
			out.header.Set(name, value)
		}
	}
	return out, nil
}

// row is a change as the templates see it.
func (o *object) row(action sink.Action, c *sink.Change) (change.Row, error) {
	row := make(change.Row, len(o.table.Columns))
	set := func(name string, v change.Value) error {
		i := o.table.Column(name)
		if i < 0 {
			return sink.Reject("UNKNOWN_FIELD", fmt.Errorf("object %s declares no field %s", o.name, name))
		}
		if !v.IsNull() && !v.IsUnchanged() {
			v = change.Of(o.table.Columns[i].Kind, v.Text())
		}
		row[i] = v
		return nil
	}
	for _, f := range c.Fields {
		if err := set(f.Name, f.Value); err != nil {
			return nil, err
		}
	}
	key := c.Key.Value
	if key.IsNull() {
		key = change.OfString("")
	}
	id := change.Value{}
	if c.AppID != "" {
		id = change.OfString(c.AppID)
	}
	row[0] = change.OfString(key.Text())
	n := len(row)
	row[n-3], row[n-2], row[n-1] = id, change.OfString(action.String()), change.OfString(c.Ref)
	return row, nil
}
