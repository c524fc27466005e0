// Package config reads a project: the HCL files of one folder, decoded into plain
// structs, with all that is wrong in them as diagnostics. Reading has no side effects.
package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclparse"
	"github.com/zclconf/go-cty/cty"
)

// Project is a folder's configuration.
type Project struct {
	Dir             string
	DataDir         string // absolute or relative to the working folder, as Dir is
	RequiredVersion string
	RequiredRange   *hcl.Range    // where it says so
	SchemaCheck     time.Duration // how often apps are asked for their fields while penstock runs
	Sources         []*Source
	Apps            []*App
	Stream          Stream
	State           State
	Ops             *Ops // nil: no ops block
	Alerts          []*Alert
	Pipelines       []*Pipeline
	Tests           []*Test
	Functions       map[string]*Function
	// Vars and Locals are var.x and local.x. Sensitive values are marked.
	Vars, Locals map[string]cty.Value

	secrets      []*secret
	variables    []*variable
	locals       map[string]*local
	unknownNames map[string][]string // by root: names that are refused already
	refs         references
	files        map[string]*hcl.File
	derailed     bool            // a file's syntax is such that the rest of it is not known
	nameless     map[string]bool // labels of pipeline blocks whose for_each was refused
}

// Source is a source block; what is in its body is its connector's matter.
type Source struct {
	Kind, Name string
	Body       hcl.Body
	Range      hcl.Range
}

// App is an app block; what is in its body is its connector's matter.
type App struct {
	Kind, Name string
	PII        bool // it may have personal data
	Body       hcl.Body
	Range      hcl.Range
}

var rootSchema = &hcl.BodySchema{Blocks: []hcl.BlockHeaderSchema{
	{Type: "penstock"},
	{Type: "secret", LabelNames: []string{"name"}},
	{Type: "source", LabelNames: []string{"kind", "name"}},
	{Type: "app", LabelNames: []string{"kind", "name"}},
	{Type: "stream", LabelNames: []string{"kind"}},
	{Type: "state", LabelNames: []string{"kind"}},
	{Type: "ops"},
	{Type: "pipeline", LabelNames: []string{"name"}},
	{Type: "test", LabelNames: []string{"pipeline", "name"}},
	{Type: "variable", LabelNames: []string{"name"}},
	{Type: "locals"},
	{Type: "function", LabelNames: []string{"name"}},
	{Type: "lookup", LabelNames: []string{"name"}},
	{Type: "alert", LabelNames: []string{"kind", "name"}},
}}

// later has the blocks that the grammar knows and this version does not do yet.
var later = map[string]bool{"lookup": true}

// Load reads every *.hcl file of a folder. The project is usable only when the
// diagnostics have no errors; it is never nil, so that they can be written with their lines.
func Load(dir string, in Input) (*Project, hcl.Diagnostics) {
	p := &Project{Functions: map[string]*Function{}, nameless: map[string]bool{}, Dir: dir, DataDir: filepath.Join(dir, "penstock-data"), SchemaCheck: 10 * time.Minute, Stream: Stream{Kind: "embedded"}, State: State{Kind: "sqlite", History: defaultHistory}}
	parser := hclparse.NewParser()
	names, problem := projectFiles(dir)
	if problem != nil {
		return p, hcl.Diagnostics{problem}
	}
	var diags hcl.Diagnostics
	var bodies []hcl.Body
	for _, name := range names {
		text, err := readFile(name)
		if err != nil {
			diags = append(diags, Errorf("E0002", &hcl.Range{Filename: filepath.Base(name), Start: hcl.InitialPos, End: hcl.InitialPos}, "File can't be read", err.Error()))
			continue
		}
		file, ds := parser.ParseHCL(text, filepath.Base(name))
		ds, derailed := syntaxErrors(text, ds)
		p.derailed = p.derailed || derailed
		diags = append(diags, ds...)
		if file != nil && file.Body != nil {
			bodies = append(bodies, file.Body)
		}
	}
	p.files = parser.Files()
	content, ds := hcl.MergeBodies(bodies).Content(rootSchema)
	diags = append(diags, ds...)
	diags = append(diags, p.decodeVariables(content.Blocks, parser, in)...)
	diags = append(diags, p.nameLocals(content.Blocks)...)
	for _, block := range content.Blocks { // first, for the other blocks refer to them
		if block.Type == "secret" {
			diags = append(diags, p.decodeSecret(block)...)
		}
	}
	diags = append(diags, p.findReferences(bodies)...)
	diags = append(diags, p.decodeLocals()...)
	diags = append(diags, p.decode(content)...)
	return p, Normalize(append(diags, p.unused()...))
}

// Files are the parsed files by name, for those who need an expression's own text.
func (p *Project) Files() map[string]*hcl.File { return p.files }

// largestFile is above all that people write, and below what takes long to read.
const largestFile = 8 << 20

func readFile(name string) ([]byte, error) {
	about, err := os.Stat(name)
	if err == nil && about.Size() > largestFile {
		return nil, fmt.Errorf("it has %d MiB, more than a configuration's 8 MiB: is it one? Lists that large belong into a table", about.Size()>>20)
	}
	return os.ReadFile(name)
}

// projectFiles are the names of a folder's *.hcl files, or why there are none.
func projectFiles(dir string) ([]string, *hcl.Diagnostic) {
	none := func(format string, args ...any) ([]string, *hcl.Diagnostic) {
		return nil, Errorf("E0001", nil, "No configuration in "+dir, fmt.Sprintf(format, args...))
	}
	entries, err := os.ReadDir(dir)
	if about, e := os.Stat(dir); e == nil && !about.IsDir() {
		return none("This is a file. A project is a folder: give %s.", filepath.Dir(dir))
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return none("There is no such folder. A project is a folder with at least one .hcl file; give its path as the command's argument.")
	case err != nil:
		return none("The folder can't be read: %s.", err)
	}
	var names []string
	for _, e := range entries { // sorted
		if filepath.Ext(e.Name()) == ".hcl" {
			names = append(names, filepath.Join(dir, e.Name()))
		}
	}
	if len(names) == 0 {
		return none("A project is a folder with at least one .hcl file; give its path as the command's argument, or begin one with penstock init.")
	}
	return names, nil
}

func (p *Project) decode(content *hcl.BodyContent) hcl.Diagnostics {
	var diags hcl.Diagnostics
	single := map[string]hcl.Range{}
	named := map[string]hcl.Range{}
	for _, block := range content.Blocks {
		rng := block.DefRange
		switch block.Type {
		case "penstock", "stream", "state", "ops":
			if first, twice := single[block.Type]; twice {
				diags = append(diags, Errorf("E0105", &rng, fmt.Sprintf("Second %s block", block.Type),
					fmt.Sprintf("There is one %s block in a project.", block.Type), Place{first, "the first is here"}))
				continue
			}
			single[block.Type] = rng
		case "locals":
			continue
		default:
			if ds := checkNames(block, named); ds.HasErrors() {
				diags = append(diags, ds...)
				continue
			}
		}
		switch block.Type {
		case "penstock":
			diags = append(diags, p.decodePenstock(block)...)
		case "secret", "variable":
		case "function":
			f, ds := decodeFunction(block)
			if diags = append(diags, ds...); f != nil {
				p.Functions[f.Name] = f
			}
		case "source":
			p.Sources = append(p.Sources, &Source{Kind: block.Labels[0], Name: block.Labels[1], Body: block.Body, Range: rng})
		case "app":
			app, ds := p.decodeApp(block)
			diags = append(diags, ds...)
			p.Apps = append(p.Apps, app)
		case "stream":
			diags = append(diags, p.decodeStream(block)...)
		case "state":
			diags = append(diags, p.decodeState(block)...)
		case "ops":
			diags = append(diags, p.decodeOps(block)...)
		case "alert":
			a, ds := p.decodeAlert(block)
			diags = append(diags, ds...)
			p.Alerts = append(p.Alerts, a)
		case "pipeline":
			diags = append(diags, p.decodePipelines(block)...)
		case "test":
			t, ds := decodeTest(block)
			diags = append(diags, ds...)
			p.Tests = append(p.Tests, t)
		default:
			diags = append(diags, notYet(&rng, fmt.Sprintf("%s blocks", block.Type)))
		}
	}
	return diags
}

// checkNames refuses names that can't be referred to and two blocks of one name.
// Sources share their names across kinds, for topics are named after them; so do apps.
func checkNames(block *hcl.Block, named map[string]hcl.Range) hcl.Diagnostics {
	if later[block.Type] || block.Type == "test" { // a test's name is a sentence: see CheckTests
		return nil
	}
	var diags hcl.Diagnostics
	for i, label := range block.Labels {
		if !validName(label) {
			diags = append(diags, Errorf("E0106", &block.LabelRanges[i], fmt.Sprintf("Name %q can't be used", label),
				"Names have letters, digits, '_' and '-', and start with a letter or '_'."))
		}
	}
	name := block.Type + " " + block.Labels[len(block.Labels)-1]
	if first, twice := named[name]; twice {
		diags = append(diags, Errorf("E0105", &block.DefRange, fmt.Sprintf("Second %s named %q", block.Type, block.Labels[len(block.Labels)-1]),
			"Give one of them another name.", Place{first, "the first is here"}))
	}
	named[name] = block.DefRange
	return diags
}

func validName(s string) bool {
	for i, r := range s {
		letter := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r == '_'
		if !letter && (i == 0 || !strings.ContainsRune("0123456789-", r)) {
			return false
		}
	}
	return s != ""
}

func notYet(rng *hcl.Range, what string) *hcl.Diagnostic {
	return Errorf("E0110", rng, fmt.Sprintf("Not yet: %s", what), "This version of penstock does not do this yet; take it out to start.")
}
