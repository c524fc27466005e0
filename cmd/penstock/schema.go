package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/penstock-cdc/penstock/config"
	"github.com/penstock-cdc/penstock/schema"
	"github.com/penstock-cdc/penstock/sink"
	"github.com/penstock-cdc/penstock/transform"
)

func (c *cli) schemaCommand() *cobra.Command {
	root := group("schema", "What databases and apps look like, as a file: pull, diff")
	pull := &cobra.Command{
		Use: "pull [DIR]", Short: "Write " + schema.FileName + " from the live databases and apps", Args: cobra.MaximumNArgs(1),
		Long: "Write " + schema.FileName + " into the project folder: the captured tables with their columns, types, keys and enum labels, and the fields of the app objects that pipelines write.\nCommit it: validate and test need no network with it.",
		RunE: func(cmd *cobra.Command, args []string) error { return c.schemaPull(cmd.Context(), folder(args)) },
	}
	var detailed bool
	diff := &cobra.Command{
		Use: "diff [DIR]", Short: "What differs between " + schema.FileName + " and the live databases and apps", Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.schemaDiff(cmd.Context(), folder(args), detailed)
		},
	}
	diff.Flags().BoolVar(&detailed, "detailed-exitcode", false, "end with 2 when there are differences")
	root.AddCommand(pull, diff)
	return root
}

func lockPath(dir string) string { return filepath.Join(dir, schema.FileName) }

func (c *cli) schemaPull(ctx context.Context, dir string) error {
	p := c.load(dir)
	if p.diags.HasErrors() {
		return c.refuse(p)
	}
	now, err := p.pulled(ctx)
	if err != nil {
		return fmt.Errorf("nothing was written: %w", err)
	}
	text := now.Text()
	before, err := os.ReadFile(lockPath(dir))
	if err == nil && bytes.Equal(before, text) {
		return c.wroteLock(dir, now, nil, true)
	}
	var differences []schema.Difference
	if old, err := schema.Parse(before); err == nil {
		differences = schema.Diff(old, now)
	}
	if err := putFile(lockPath(dir), text, 0o644); err != nil {
		return err
	}
	return c.wroteLock(dir, now, differences, false)
}

func (c *cli) wroteLock(dir string, l *schema.Lock, differences []schema.Difference, same bool) error {
	if err := c.differences(differences); err != nil {
		return err
	}
	tables, fields := 0, 0
	for _, s := range l.Sources {
		tables += len(s.Tables)
	}
	for _, a := range l.Apps {
		fields += len(a.Objects)
	}
	if c.json {
		return c.line(map[string]any{"type": "lock", "file": schema.FileName, "tables": tables, "objects": fields, "written": !same})
	}
	verb := "written"
	if same {
		verb = "is up to date"
	}
	_, err := fmt.Fprintf(c.out, "%s %s: %d tables, %d app objects\n", lockPath(dir), verb, tables, fields)
	return err
}

// differences prints what two locks differ in, grouped by table and object.
func (c *cli) differences(all []schema.Difference) error {
	place := ""
	for i := range all {
		d := &all[i]
		if c.json {
			if err := c.line(struct {
				Type string `json:"type"`
				*schema.Difference
			}{"difference", d}); err != nil {
				return err
			}
			continue
		}
		if p := d.Place(); p != place {
			place = p
			fmt.Fprintln(c.out, p)
		}
		if _, err := fmt.Fprintln(c.out, "  "+d.String()); err != nil {
			return err
		}
	}
	return nil
}

func (c *cli) schemaDiff(ctx context.Context, dir string, detailed bool) error {
	p := c.load(dir)
	if p.diags.HasErrors() {
		return c.refuse(p)
	}
	lock, err := schema.Read(lockPath(dir))
	if errors.Is(err, schema.ErrNone) {
		return fmt.Errorf("there is no %s: write it with penstock schema pull", lockPath(dir))
	}
	if err != nil {
		return fmt.Errorf("read %s: %w", lockPath(dir), err)
	}
	now, err := p.pulled(ctx)
	if err != nil {
		return err
	}
	all := schema.Diff(lock, now)
	if err := c.differences(all); err != nil {
		return err
	}
	if len(all) == 0 && !c.json {
		_, err := fmt.Fprintf(c.out, "%s is what the databases and apps are now\n", lockPath(dir))
		return err
	}
	if len(all) > 0 && detailed {
		return &exit{code: exitDifferences}
	}
	return nil
}

// pulled asks every source and app for what the lock has of them.
func (p *project) pulled(ctx context.Context) (*schema.Lock, error) {
	limit, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	if err := p.describe(limit); err != nil {
		return nil, err
	}
	l := &schema.Lock{Sources: map[string]*schema.Source{}, Apps: map[string]*schema.App{}}
	for _, block := range p.Sources {
		s := &schema.Source{Kind: block.Kind}
		for _, t := range p.tables[block.Name] {
			s.Tables = append(s.Tables, schema.TableOf(t))
		}
		slices.SortFunc(s.Tables, func(a, b *schema.Table) int { return strings.Compare(a.QualifiedName(), b.QualifiedName()) })
		l.Sources[block.Name] = s
	}
	for _, pipe := range p.Pipelines {
		if _, declared := p.apps[pipe.To.App].(sink.Declared); declared {
			continue
		}
		a := l.Apps[pipe.To.App]
		if a != nil && a.Objects[pipe.To.Object] != nil {
			continue
		}
		object, err := p.object(limit, pipe)
		if err != nil {
			return nil, fmt.Errorf("app %s: %w", pipe.To.App, err)
		}
		if object == nil {
			continue // the app can't say
		}
		if a == nil {
			a = &schema.App{Kind: pipe.To.Kind, Objects: map[string]*schema.Object{}}
			l.Apps[pipe.To.App] = a
		}
		a.Objects[pipe.To.Object] = schema.ObjectOf(object)
	}
	return l, nil
}

// useLock makes the project's lock what its pipelines are checked against; false: there
// is none. What is wrong with it becomes a diagnostic.
func (p *project) useLock() bool {
	lock, err := schema.Read(lockPath(p.Dir))
	if errors.Is(err, schema.ErrNone) || len(p.Files()) == 0 {
		return false
	}
	if err != nil {
		p.diags = append(p.diags, config.Errorf("E0405", nil, schema.FileName+" can't be read", err.Error()+"."))
		return false
	}
	p.lock = lock
	for name, src := range p.sources {
		if s := lock.Sources[name]; s != nil {
			for _, t := range s.Tables {
				p.tables[name] = append(p.tables[name], src.Restrict(t.Table()))
			}
			p.diags = append(p.diags, p.checkTableBlocks(name, src.TableAliases(), p.tables[name])...)
		}
	}
	return true
}

// locked finds a pipeline's object in the lock.
func (p *project) locked(ctx context.Context, pipe *config.Pipeline) (*transform.Object, error) {
	app := p.apps[pipe.To.App]
	if _, declared := app.(sink.Declared); declared {
		return p.object(ctx, pipe)
	}
	if a := p.lock.Apps[pipe.To.App]; a != nil && a.Objects[pipe.To.Object] != nil {
		return a.Objects[pipe.To.Object].Object(pipe.To.Object), nil
	}
	if _, asks := app.(sink.Describer); asks {
		hint := ""
		if a := p.lock.Apps[pipe.To.App]; a != nil {
			if s := config.Suggest(pipe.To.Object, sortedKeys(a.Objects)); s != "" {
				hint = fmt.Sprintf("Did you mean %q? If not: ", s)
			}
		}
		p.diags = append(p.diags, config.Errorf("E0404", &pipe.To.Range, fmt.Sprintf("Object %s of app %s is not in %s", pipe.To.Object, pipe.To.App, schema.FileName),
			hint+"penstock schema pull writes the file anew."))
	}
	return nil, nil
}

// checkLocked checks the pipelines against the lock, with no network.
func (p *project) checkLocked(ctx context.Context) (map[string]*program, error) {
	return p.compile(ctx, p.locked, func(string, string) bool { return false })
}

// putFile writes a file whole or not at all, whether it was there before or not.
func putFile(name string, text []byte, mode os.FileMode) error {
	if _, err := os.Lstat(name); err == nil {
		return replaceFile(name, text)
	}
	tmp, err := os.CreateTemp(filepath.Dir(name), ".penstock-*")
	if err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	defer os.Remove(tmp.Name()) // gone already when all went well
	_, err = tmp.Write(text)
	if err == nil {
		err = tmp.Chmod(mode)
	}
	if cerr := tmp.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(tmp.Name(), name)
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	return nil
}
