package docs_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// described are the blocks of a project, in the order of the reference, and where the code says what is in them: a
// struct, a function with a struct in it, or a variable with a schema; what an app takes besides comes after it.
var described = []struct{ block, code string }{
	{`penstock`, "config/setting.go decodePenstock"},
	{`secret "NAME"`, "config/eval.go decodeSecret"},
	{`variable "NAME"`, "config/variable.go variableSchema"},
	{`function "NAME"`, "config/function.go decodeFunction"},
	{`source "postgres" "NAME"`, "capture/postgres/config.go Config"},
	{`source "mysql" "NAME"`, "capture/mysql/config.go Config"},
	{`stream "embedded"`, "config/setting.go decodeStream embedded"},
	{`stream "kafka"`, "config/setting.go decodeStream kafka"},
	{`state "sqlite"`, "config/setting.go decodeState"},
	{`app "hubspot" "NAME"`, "sink/hubspot/hubspot.go Config, sink/rest/setting.go Settings"},
	{`app "http" "NAME"`, "sink/http/config.go Config, sink/rest/setting.go Settings"},
	{`ops`, "config/setting.go decodeOps"},
	{`alert "webhook" "NAME"`, "config/alert.go decodeAlert"},
	{`pipeline "NAME"`, "config/decode.go pipelineSchema"},
	{`test "PIPELINE" "NAME"`, "config/test.go testSchema"},
}

// inside finds where the code reads the content of a block within a pipeline or a variable: in its case of decodeBlock, or in
// a function that is named after it. nil: it has any attributes, or is read as it is.
func (r *reference) inside(name string) (file string, s *ast.StructType) {
	file = "config/decode.go"
	if name == "validation" {
		return "config/variable.go", structOf(r.find("config/variable.go", "decodeVariable"))
	}
	if c := caseOf(r.find(file, "decodeBlock"), name); c != nil {
		if s := structOf(c); s != nil {
			return file, s
		}
	}
	function := "decode"
	for word := range strings.SplitSeq(name, "_") {
		function += strings.ToUpper(word[:1]) + word[1:]
	}
	if n := r.look(file, function); n != nil {
		return file, structOf(n)
	}
	return "", nil
}

// kinds are what attributes take that the code evaluates itself.
var kinds = map[string]string{
	"retention": "duration", "every": "duration", "repeat": "duration", "lag": "duration", "stalled": "duration", "linger": "duration", "keep": "duration", "schema_check": "duration", "max_age": "duration",
	"max_size": "size", "wal_retention": "size", "quarantine": "rate", "max_deletes": "limit", "max_changes": "limit", "max_creates": "limit",
	"when": "row expression", "message": "row expression", "where": "row expression", "result": "row expression", "params": "list of names", "value": "env(), file() or exec()",
	"condition": "bool", "error_message": "text", "path": "template", "headers": "map of templates", "body": "template", "type": "type", "default": "any", "description": "text", "sensitive": "bool",
	"for_each": "map, set or list", "from": "reference", "to": "reference", "run": "live(), every() or cron()", "backfill": "text",
}

// forms are what texts of certain attributes have to look like.
var forms = map[string]string{
	"listen": "address", "brokers": "list of addresses", "window": "duration", "timeout": "duration", "transaction_memory": "size", "max_retained_wal": "size", "reserve": "share",
	"token": "secret", "api_key": "secret", "client_secret": "secret", "refresh_token": "secret", "signing_key": "secret",
}

var goTypes = map[string]string{
	"string": "text", "*string": "text", "bool": "bool", "*bool": "bool", "int": "number", "int64": "number", "uint32": "number", "[]string": "list of texts", "[]int": "list of numbers", "map[string]string": "map of texts",
}

// reference writes the reference of blocks and attributes.
type reference struct {
	t     *testing.T
	b     strings.Builder
	files map[string]*ast.File
	seen  map[string]bool // "file name" of an attribute
}

func (r *reference) file(name string) *ast.File {
	if r.files[name] == nil {
		f, err := parser.ParseFile(token.NewFileSet(), filepath.Join(root, name), nil, 0)
		if err != nil {
			r.t.Fatal(err)
		}
		r.files[name] = f
	}
	return r.files[name]
}

// find returns the declaration of a name: a type, variable or function.
func (r *reference) find(file, name string) ast.Node {
	found := r.look(file, name)
	if found == nil {
		r.t.Fatalf("%s has no %s: correct the table in docs/settings_test.go", file, name)
	}
	return found
}

func (r *reference) look(file, name string) (found ast.Node) {
	ast.Inspect(r.file(file), func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.FuncDecl:
			if n.Name.Name == name {
				found = n
			}
		case *ast.TypeSpec:
			if n.Name.Name == name {
				found = n.Type
			}
		case *ast.ValueSpec:
			if n.Names[0].Name == name && len(n.Values) > 0 {
				found = n.Values[0]
			}
		}
		return found == nil
	})
	return found
}

func (r *reference) content(code, indent string) {
	for part := range strings.SplitSeq(code, ", ") {
		words := strings.Fields(part)
		node := r.find(words[0], words[1])
		if len(words) > 2 { // a case of a switch in it
			node = caseOf(node, words[2])
		}
		if lit := schemaOf(node); lit != nil {
			r.schema(lit, indent)
		} else if s := structOf(node); s != nil {
			r.fields(words[0], s, indent)
		} else {
			r.t.Fatalf("%s has neither a struct with hcl tags nor a schema", part)
		}
	}
}

func caseOf(n ast.Node, kind string) (found ast.Node) {
	ast.Inspect(n, func(n ast.Node) bool {
		if c, ok := n.(*ast.CaseClause); ok {
			for _, e := range c.List {
				if lit, ok := e.(*ast.BasicLit); ok && lit.Value == strconv.Quote(kind) && found == nil {
					found = c
				}
			}
		}
		return found == nil
	})
	return found
}

// structOf is the first struct with hcl tags.
func structOf(n ast.Node) (found *ast.StructType) {
	ast.Inspect(n, func(n ast.Node) bool {
		if s, ok := n.(*ast.StructType); ok && found == nil {
			for _, f := range s.Fields.List {
				if f.Tag != nil && strings.Contains(f.Tag.Value, "hcl:") {
					found = s
				}
			}
		}
		return found == nil
	})
	return found
}

func schemaOf(n ast.Node) *ast.CompositeLit {
	if u, ok := n.(*ast.UnaryExpr); ok {
		n = u.X
	}
	lit, _ := n.(*ast.CompositeLit)
	return lit
}

func (r *reference) line(indent, name, kind string, required bool) {
	if required {
		kind += ", required"
	}
	fmt.Fprintf(&r.b, "%s%-20s %s\n", indent, name, kind)
}

// open writes a block within a block, whose content is in the struct s or where inside says.
func (r *reference) open(indent, name, labels, file string, s *ast.StructType) {
	if s == nil {
		file, s = r.inside(name)
	}
	if s == nil {
		later := ""
		if caseOf(r.find("config/decode.go", "decodeBlock"), name) == nil && caseOf(r.find("config/test.go", "decodeTest"), name) == nil {
			later = "  not yet"
		}
		fmt.Fprintf(&r.b, "%s%s%s { ... }%s\n", indent, name, labels, later)
		return
	}
	fmt.Fprintf(&r.b, "%s%s%s {\n", indent, name, labels)
	r.fields(file, s, indent+"  ")
	fmt.Fprintf(&r.b, "%s}\n", indent)
}

func (r *reference) fields(file string, s *ast.StructType, indent string) {
	for _, f := range s.Fields.List {
		if f.Tag == nil {
			continue
		}
		tag, err := strconv.Unquote(f.Tag.Value)
		if err != nil {
			r.t.Fatal(err)
		}
		name, how, _ := strings.Cut(reflect.StructTag(tag).Get("hcl"), ",")
		r.seen[file+" "+name] = true
		typ := typeName(f.Type)
		switch {
		case name == "" || how == "label":
		case how == "block":
			inner := structOf(f.Type)
			if inner == nil {
				inner = structOf(r.find(file, strings.TrimLeft(typ, "[]*")))
			}
			labels := ""
			for _, l := range inner.Fields.List {
				if l.Tag != nil && strings.Contains(l.Tag.Value, ",label") {
					labels += fmt.Sprintf(" %q", strings.ToUpper(l.Names[0].Name))
				}
			}
			r.open(indent, name, labels, file, inner)
		default:
			kind := forms[name]
			for _, k := range []string{goTypes[typ], kinds[name]} {
				if kind == "" {
					kind = k
				}
			}
			if kind == "" {
				kind = "expression"
			}
			r.line(indent, name, kind, how != "optional")
		}
	}
}

func typeName(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.Ident:
		return e.Name
	case *ast.StarExpr:
		return "*" + typeName(e.X)
	case *ast.ArrayType:
		return "[]" + typeName(e.Elt)
	case *ast.MapType:
		return "map[" + typeName(e.Key) + "]" + typeName(e.Value)
	case *ast.SelectorExpr:
		return typeName(e.X) + "." + e.Sel.Name
	}
	return ""
}

// schema writes the attributes and blocks of an hcl.BodySchema.
func (r *reference) schema(lit *ast.CompositeLit, indent string) {
	for _, part := range lit.Elts {
		kv := part.(*ast.KeyValueExpr)
		for _, e := range kv.Value.(*ast.CompositeLit).Elts {
			name, labels, required := "", "", false
			for _, x := range e.(*ast.CompositeLit).Elts {
				x := x.(*ast.KeyValueExpr)
				switch x.Key.(*ast.Ident).Name {
				case "Name", "Type":
					name, _ = strconv.Unquote(x.Value.(*ast.BasicLit).Value)
				case "Required":
					required = true
				case "LabelNames":
					for _, l := range x.Value.(*ast.CompositeLit).Elts {
						s, _ := strconv.Unquote(l.(*ast.BasicLit).Value)
						labels += fmt.Sprintf(" %q", strings.ToUpper(s))
					}
				}
			}
			if kv.Key.(*ast.Ident).Name == "Blocks" {
				r.open(indent, name, labels, "", nil)
				continue
			}
			if kinds[name] == "" {
				r.t.Errorf("what kind of value does %s take? Add it to kinds in docs/settings_test.go", name)
			}
			r.line(indent, name, kinds[name], required)
		}
	}
}

const configurationPage = "docs/configuration.md"

var between = regexp.MustCompile(`(?s)(<!-- generated: settings -->\n).*(<!-- end of settings -->)`)

// TestReferenceOfSettings checks that docs/configuration.md lists the blocks and attributes that the code reads, and writes
// the list with -update. A struct with hcl tags that the list does not know is a failure.
func TestReferenceOfSettings(t *testing.T) {
	r := &reference{t: t, files: map[string]*ast.File{}, seen: map[string]bool{}}
	for _, d := range described {
		fmt.Fprintf(&r.b, "%s {\n", d.block)
		if strings.HasPrefix(d.block, "app ") {
			r.line("  ", "pii", "bool", false) // of every app: config.decodeApp
		}
		r.content(d.code, "  ")
		r.b.WriteString("}\n")
	}
	sources(t, func(name, text string) {
		file, err := filepath.Rel(root, name)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range setting.FindAllStringSubmatch(text, -1) {
			if m[1] != "" && !r.seen[filepath.ToSlash(file)+" "+m[1]] {
				t.Errorf("%s reads %s, which the list of docs/settings_test.go does not have", file, m[1])
			}
		}
	}, "capture", "config", "sink")
	page := one(t, configurationPage).text
	if !between.MatchString(page) {
		t.Fatalf("%s has no markers for settings", configurationPage)
	}
	want := between.ReplaceAllStringFunc(page, func(old string) string {
		m := between.FindStringSubmatch(old)
		return m[1] + "\n```\n" + r.b.String() + "```\n\n" + m[2]
	})
	if want == page {
		return
	}
	if !*update {
		t.Fatalf("%s is out of date: make docs", configurationPage)
	}
	if err := os.WriteFile(filepath.Join(root, configurationPage), []byte(want), 0o644); err != nil {
		t.Fatal(err)
	}
}
