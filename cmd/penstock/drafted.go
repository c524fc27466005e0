package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"github.com/penstock-cdc/penstock/draft"
	"github.com/penstock-cdc/penstock/schema"
)

// drafted is a file to write.
type drafted struct {
	name string
	text []byte
}

// unused refuses a folder that has a project or a part of one.
func unused(dir string) error {
	names, err := filepath.Glob(filepath.Join(dir, "*.hcl"))
	if err != nil {
		return fmt.Errorf("look into %s: %w", dir, err)
	}
	if _, err := os.Lstat(lockPath(dir)); err == nil {
		names = append(names, lockPath(dir))
	}
	if len(names) > 0 {
		return fmt.Errorf("nothing was written: %s is there already, and no file is written over; name another folder", names[0])
	}
	return nil
}

// lockOf is the lock of a drafted project: with the key fields that are still to be made.
func lockOf(s *draft.Settings, pipelines []*draft.Pipeline) *schema.Lock {
	src, app := &schema.Source{Kind: s.SourceKind}, &schema.App{Kind: s.AppKind, Objects: map[string]*schema.Object{}}
	for i := range s.Tables {
		t := &s.Tables[i]
		src.Tables = append(src.Tables, schema.TableOf(t.Table))
		if pipelines[i].Missing {
			t.Object.Fields = append(t.Object.Fields, draft.KeyField(pipelines[i].Key, t.Object))
		}
		app.Objects[t.Object.Name] = schema.ObjectOf(t.Object)
	}
	return &schema.Lock{Sources: map[string]*schema.Source{s.Source: src}, Apps: map[string]*schema.App{s.App: app}}
}

// ignoring is what .gitignore has to do with the data folder.
type ignoring struct{ there, covers bool }

func ignoreFile(dir string) (ignoring, error) {
	text, err := os.ReadFile(filepath.Join(dir, ".gitignore"))
	if errors.Is(err, os.ErrNotExist) {
		return ignoring{}, nil
	}
	return ignoring{there: true, covers: strings.Contains(string(text), dataFolder)}, err
}

// checkDraft does with the files, elsewhere, what validate and test will do.
func (c *cli) checkDraft(ctx context.Context, files []drafted) error {
	dir, err := os.MkdirTemp("", "penstock-init-")
	if err != nil {
		return err
	}
	defer func() {
		if err := os.RemoveAll(dir); err != nil {
			slog.Warn("a temporary folder stays", "folder", dir, "error", err)
		}
	}()
	if err := writeNew(dir, files); err != nil {
		return err
	}
	p := c.loadAs(dir, false)
	var failed []string
	if !p.diags.HasErrors() && p.useLock() {
		programs, err := p.checkLocked(ctx)
		if err != nil {
			return err
		}
		for _, one := range p.cases(programs) {
			if r := one.Run(); len(r.Problems) > 0 {
				failed = append(failed, one.Test.Pipeline+": "+one.Name+": "+r.Problems[0].String())
			}
		}
	}
	if p.diags.HasErrors() {
		if err := p.Print(c.err, c.style(c.err), p.shown()); err != nil {
			return err
		}
		return errors.New("nothing was written: the draft does not check out, which is a fault of penstock's; please report it with the lines above")
	}
	if len(failed) > 0 {
		return fmt.Errorf("nothing was written: the drafted tests do not pass, which is a fault of penstock's; please report it: %s", strings.Join(failed, "; "))
	}
	return nil
}

// writeNew writes files that are not there yet, all of them or none.
func writeNew(dir string, files []drafted) (err error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	var made []string
	defer func() {
		if err != nil {
			for _, name := range made {
				_ = os.Remove(name) // what there is to say is said by err
			}
		}
	}()
	for _, f := range files {
		name := filepath.Join(dir, f.name)
		w, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
		if errors.Is(err, os.ErrExist) {
			return fmt.Errorf("nothing was written: %s is there already, and no file is written over", name)
		}
		if err != nil {
			return fmt.Errorf("nothing was written: %w", err)
		}
		made = append(made, name)
		_, err = w.Write(f.text)
		if err = errors.Join(err, w.Close()); err != nil {
			return fmt.Errorf("nothing was written: write %s: %w", name, err)
		}
	}
	return nil
}
