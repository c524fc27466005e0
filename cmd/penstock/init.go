package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/spf13/cobra"
	"github.com/zclconf/go-cty/cty"
	"golang.org/x/term"

	"github.com/penstock-cdc/penstock/draft"
	"github.com/penstock-cdc/penstock/schema"
	"github.com/penstock-cdc/penstock/sink"
	"github.com/penstock-cdc/penstock/sink/rest"
)

// initiation is what `penstock init` was told.
type initiation struct {
	source, sourceVariable, name string
	app, baseURL, tokenVariable  string
	tables                       []string
	object                       string
}

func (c *cli) initCommand() *cobra.Command {
	var in initiation
	cmd := &cobra.Command{
		Use: "init [DIR]", Short: "Write a first project from a live database and an app", Args: cobra.MaximumNArgs(1),
		Long: "Write a project from what a database's tables and an app's objects look like: fields matched by name and type, a key, tests begun, " + schema.FileName + ".\n" +
			"It reads only, writes no credentials, and never writes over a file.",
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.initiate(cmd.Context(), folder(args), &in, cmd.InOrStdin())
		},
	}
	f := cmd.Flags()
	f.StringVar(&in.source, "source", "", "the database: postgres://... or mysql://...; without it, what --source-env names")
	f.StringVar(&in.sourceVariable, "source-env", "", "environment variable from which the project reads the database's URL (default NAME_URL)")
	f.StringVar(&in.name, "name", "", "the source's name in the project (default the database's)")
	f.StringArrayVar(&in.tables, "table", nil, "a table, schema.table; may be repeated")
	f.StringVar(&in.app, "app", "hubspot", "kind of app")
	f.StringVar(&in.baseURL, "base-url", "", "address of the app, where it is not the vendor's")
	f.StringVar(&in.tokenVariable, "token-env", "HUBSPOT_TOKEN", "environment variable with the app's token")
	f.StringVar(&in.object, "object", "", "the app's object that rows become, such as contacts (default by the table's name)")
	return cmd
}

func usage(format string, args ...any) error { return &exit{exitUsage, fmt.Errorf(format, args...)} }

func (c *cli) initiate(ctx context.Context, dir string, in *initiation, stdin io.Reader) error {
	if err := unused(dir); err != nil {
		return err
	}
	s, err := in.settings()
	if err != nil {
		return err
	}
	limit, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	if len(in.tables) == 0 {
		all, err := in.estimates(limit, s)
		if err != nil {
			return err
		}
		f, ok := stdin.(*os.File)
		if in.tables, err = c.chooseTables(all, stdin, ok && term.IsTerminal(int(f.Fd()))); err != nil {
			return err
		}
	}
	if err := in.describe(limit, s); err != nil {
		return err
	}
	files := []drafted{{"penstock.hcl", s.Project()}}
	var pipelines []*draft.Pipeline
	for i := range s.Tables {
		p, err := s.Draft(&s.Tables[i])
		if err != nil {
			return err
		}
		if slices.ContainsFunc(files, func(f drafted) bool { return f.name == p.File }) {
			p.File = p.Name + ".hcl"
		}
		files = append(files, drafted{p.File, p.Text})
		pipelines = append(pipelines, p)
	}
	files = append(files, drafted{schema.FileName, lockOf(s, pipelines).Text()})
	ignored, err := ignoreFile(dir)
	if err != nil {
		return err
	}
	if !ignored.there {
		files = append(files, drafted{".gitignore", []byte(dataFolder + "/\n")})
	}
	if err := c.checkDraft(ctx, files); err != nil {
		return err
	}
	if err := writeNew(dir, files); err != nil {
		return err
	}
	return c.initiated(dir, in, s, files, pipelines, ignored)
}

const dataFolder = "penstock-data"

// settings are the project's, before its tables are known.
func (in *initiation) settings() (*draft.Settings, error) {
	if in.source == "" && in.sourceVariable != "" {
		in.source = os.Getenv(in.sourceVariable)
	}
	if in.source == "" {
		return nil, usage("which database? Give its URL with --source postgres://... or mysql://..., or with --source-env the name of a variable that has it")
	}
	u, err := url.Parse(in.source)
	if err != nil {
		return nil, usage("--source is no URL; write special characters of the password percent-encoded") // the error would quote it
	}
	kind := map[string]string{"postgres": "postgres", "postgresql": "postgres", "mysql": "mysql", "mariadb": "mysql"}[u.Scheme]
	if kind == "" {
		return nil, usage("--source begins with postgres:// or mysql://")
	}
	if apps[in.app] == nil || in.app != "hubspot" {
		return nil, usage("--app is hubspot, not %q: other apps are configured by hand", in.app)
	}
	if os.Getenv(in.tokenVariable) == "" {
		return nil, usage("the app's token is read from the environment variable %s, which is not set: export it, or name another with --token-env", in.tokenVariable)
	}
	name := in.name
	if name == "" {
		if name = strings.Trim(u.Path, "/"); name == "" {
			name = kind
		}
		name = draft.Identifier(name)
	} else if name != draft.Identifier(name) {
		return nil, usage("--name %q: a source's name has lower-case letters, digits and underscores, and begins with a letter", name)
	}
	if in.sourceVariable == "" {
		in.sourceVariable = strings.ToUpper(name) + "_URL"
	}
	for _, v := range []string{in.sourceVariable, in.tokenVariable} {
		if !hclsyntax.ValidIdentifier(v) || strings.Contains(v, "-") {
			return nil, usage("%q is no name of an environment variable", v)
		}
	}
	return &draft.Settings{
		SourceKind: kind, Source: name, SourceVariable: in.sourceVariable,
		AppKind: in.app, App: "crm", TokenVariable: in.tokenVariable, BaseURL: in.baseURL, DataDir: dataFolder,
	}, nil
}

// open opens the source with these lines in its block.
func (in *initiation) open(s *draft.Settings, lines string) (database, error) {
	body, values := block("url = url\n"+lines, map[string]string{"url": in.source})
	src, diags := sources[s.SourceKind](os.TempDir())(body, values, s.Source)
	if diags.HasErrors() {
		return nil, fmt.Errorf("--source: %s: %s", diags[0].Summary, diags[0].Detail)
	}
	return src, nil
}

// block is a block's body whose credentials are variables, so that no text has them.
func block(text string, values map[string]string) (hcl.Body, *hcl.EvalContext) {
	file, diags := hclsyntax.ParseConfig([]byte(text), "init", hcl.InitialPos)
	if diags.HasErrors() {
		panic("init: " + diags.Error()) // every name in it is quoted
	}
	ctx := &hcl.EvalContext{Variables: map[string]cty.Value{}}
	for name, v := range values {
		ctx.Variables[name] = cty.StringVal(v)
	}
	return file.Body, ctx
}

func (in *initiation) estimates(ctx context.Context, s *draft.Settings) (map[string]int64, error) {
	pattern := "*.*"
	if u, err := url.Parse(in.source); err == nil && s.SourceKind == "mysql" && strings.Trim(u.Path, "/") != "" {
		pattern = strings.Trim(u.Path, "/") + ".*"
	}
	src, err := in.open(s, "tables = ["+strconv.Quote(pattern)+"]\n")
	if err != nil {
		return nil, err
	}
	all, err := src.Estimates(ctx)
	if err == nil && len(all) == 0 {
		err = errors.New("the database has no table that its user may see: check its name, and GRANT SELECT")
	}
	return all, err
}

// describe fills in the tables and their objects.
func (in *initiation) describe(ctx context.Context, s *draft.Settings) error {
	var lines strings.Builder
	taken, by := map[string]bool{}, map[string]string{}
	for _, name := range in.tables {
		space, table, ok := strings.Cut(name, ".")
		if !ok || strings.ContainsAny(name, "*?") {
			return usage("--table %s: write schema.table, for MySQL database.table", name)
		}
		alias := draft.Identifier(table)
		if taken[alias] {
			alias = draft.Identifier(space + "_" + table)
		}
		if taken[alias] {
			return usage("--table %s is there twice", name)
		}
		taken[alias] = true
		object := in.object
		if object == "" {
			object = draft.GuessObject(table)
		}
		if object == "" {
			return usage("what do rows of %s become in the app? Its name does not tell: --object contacts, companies, deals or one of your own", name)
		}
		if by[object] != "" {
			return usage("tables %s and %s would both become %s, and a field has one owner: take one of them, and write the other's pipeline by hand", by[object], name, object)
		}
		by[object] = name
		fmt.Fprintf(&lines, "table %q { name = %s }\n", alias, draft.Quote(name))
		s.Tables = append(s.Tables, draft.Table{Alias: alias, Name: name})
		app, err := in.appObject(ctx, object)
		if err != nil {
			return err
		}
		s.Tables[len(s.Tables)-1].Object = objectOf(app)
	}
	src, err := in.open(s, lines.String())
	if err != nil {
		return err
	}
	tables, err := src.Describe(ctx)
	if err != nil {
		return err
	}
	for i := range s.Tables {
		t := &s.Tables[i]
		for _, found := range tables {
			if found.QualifiedName() == t.Name {
				t.Table = found
			}
		}
		if t.Table == nil {
			return fmt.Errorf("table %s is not in the database, or its user may not see it: penstock init without --table lists those that are", t.Name)
		}
	}
	return nil
}

// appObject asks the app for an object.
func (in *initiation) appObject(ctx context.Context, object string) (*sink.Object, error) {
	text := "token = token\n"
	values := map[string]string{"token": os.Getenv(in.tokenVariable)}
	if in.baseURL != "" {
		text += "base_url = base_url\n"
		values["base_url"] = in.baseURL
	}
	body, ctxValues := block(text, values)
	env := rest.Env{UserAgent: "penstock/" + version, Vault: rest.Files(filepath.Join(os.TempDir(), "tokens")), OnCall: func(rest.Call) {}}
	app, diags := apps[in.app](env)(body, ctxValues, "crm")
	if diags.HasErrors() {
		return nil, fmt.Errorf("--app %s: %s: %s", in.app, diags[0].Summary, diags[0].Detail)
	}
	asks, ok := app.(sink.Describer)
	if !ok {
		return nil, fmt.Errorf("--app %s can't say which fields its objects have", in.app)
	}
	found, err := describe(ctx, asks, object)
	if err != nil {
		return nil, fmt.Errorf("--app %s: %w", in.app, err)
	}
	found.Name = object
	return &found, nil
}

// initiated says what was done and what comes next.
func (c *cli) initiated(dir string, in *initiation, s *draft.Settings, files []drafted, pipelines []*draft.Pipeline, ignored ignoring) error {
	if c.json {
		for _, f := range files {
			if err := c.line(map[string]any{"type": "file", "file": f.name}); err != nil {
				return err
			}
		}
		for i, p := range pipelines {
			if err := c.line(map[string]any{
				"type": "draft", "pipeline": p.Name, "table": s.Tables[i].Name, "object": s.Tables[i].Object.Name, "key": p.Key, "key_missing": p.Missing,
				"matched": orEmpty(p.Matched), "unmatched": orEmpty(p.Columns), "assumed": orEmpty(p.Assumed),
			}); err != nil {
				return err
			}
		}
		return nil
	}
	for _, f := range files {
		fmt.Fprintf(c.out, "written %s\n", filepath.Join(dir, f.name))
	}
	if ignored.there && !ignored.covers {
		fmt.Fprintf(c.out, "add %s/ to %s, which is yours\n", dataFolder, filepath.Join(dir, ".gitignore"))
	}
	for i, p := range pipelines {
		fmt.Fprintf(c.out, "\n%s: %s -> %s\n", p.Name, s.Tables[i].Name, s.Tables[i].Object.Name)
		for _, part := range []struct {
			what string
			list []string
		}{{"matched", p.Matched}, {"columns that go nowhere", p.Columns}, {"required fields with an assumed value", p.Assumed}} {
			if len(part.list) > 0 {
				fmt.Fprintf(c.out, "  %s: %s\n", part.what, strings.Join(part.list, ", "))
			}
		}
		fmt.Fprintf(c.out, "  key: %s\n", p.Key)
		if p.Missing {
			fmt.Fprintf(c.out, "  TODO: make the property %s of %s in the app: single-line text, with unique values required\n", p.Key, s.Tables[i].Object.Name)
		}
	}
	shown, comment := withoutPassword(in.source), ""
	if shown != in.source {
		comment = " # and the password"
	}
	_, err := fmt.Fprintf(c.out, "\nNext:\n  export %s='%s'%s\n  penstock validate --live %[4]s\n  penstock test %[4]s\n  penstock run --until-caught-up %[4]s\n",
		s.SourceVariable, shown, comment, dir)
	return err
}

// withoutPassword is a URL as it may be shown.
func withoutPassword(source string) string {
	u, err := url.Parse(source)
	if err != nil {
		return "..." // settings has refused it
	}
	if u.User != nil {
		u.User = url.User(u.User.Username())
	}
	q := u.Query()
	for name := range q {
		if strings.Contains(name, "password") {
			q.Del(name)
			u.RawQuery = q.Encode()
		}
	}
	return u.String()
}

func orEmpty(list []string) []string { return append([]string{}, list...) }
