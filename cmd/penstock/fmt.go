package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclparse"
	"github.com/spf13/cobra"

	"github.com/penstock-cdc/penstock/config"
)

func (c *cli) fmtCommand() *cobra.Command {
	var check bool
	cmd := &cobra.Command{
		Use: "fmt [DIR]", Short: "Lay out a project's files the canonical way", Args: cobra.MaximumNArgs(1),
		Long: "Lay out the .hcl files of a project the canonical way and print the names of those that changed.\nDIR may also be one file, or - to read standard input and write standard output.\nWith --check nothing is written: the names of files that are laid out otherwise are printed, and the command ends with 1 if there is one.",
		RunE: func(cmd *cobra.Command, args []string) error {
			if folder(args) == "-" {
				return c.formatInput(cmd.InOrStdin(), check)
			}
			return c.formatFiles(folder(args), check)
		},
	}
	cmd.Flags().BoolVar(&check, "check", false, "write nothing; end with 1 if a file is laid out otherwise")
	return cmd
}

// errLayout ends --check when something is to be laid out.
var errLayout = errors.New("laid out otherwise: penstock fmt mends it")

func (c *cli) formatInput(in io.Reader, check bool) error {
	text, err := io.ReadAll(in)
	if err != nil {
		return fmt.Errorf("read standard input: %w", err)
	}
	formatted, err := c.format1(".", "stdin", text)
	if err != nil {
		return err
	}
	if check {
		if !bytes.Equal(text, formatted) {
			return errLayout
		}
		return nil
	}
	_, err = c.out.Write(formatted)
	return err
}

// format1 formats one file's text. What is wrong with it is printed.
func (c *cli) format1(dir, name string, text []byte) ([]byte, error) {
	formatted, diags := config.Format(name, text)
	if !diags.HasErrors() {
		return formatted, nil
	}
	parser := hclparse.NewParser()
	file, _ := parser.ParseHCL(text, name)
	printer := &config.Printer{Out: c.err, Style: c.style(c.err), Dir: dir, Files: map[string]*hcl.File{name: file}}
	if err := printer.Print(diags); err != nil {
		return nil, err
	}
	return nil, &exit{code: exitFailed}
}

func (c *cli) formatFiles(path string, check bool) error {
	dir := path
	var names []string
	if info, err := os.Stat(path); err != nil {
		return fmt.Errorf("lay out %s: %w", path, err)
	} else if !info.IsDir() {
		dir, names = filepath.Dir(path), []string{path}
	} else if names, err = filepath.Glob(filepath.Join(path, "*.hcl")); err != nil || len(names) == 0 {
		return fmt.Errorf("no .hcl file in %s: a project is a folder of them; give its path as the command's argument", path)
	}
	var failed, other bool
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		formatted, err := c.format1(dir, filepath.Base(name), text)
		if err != nil {
			failed = true
			continue
		}
		if bytes.Equal(text, formatted) {
			continue
		}
		other = true
		if !check {
			if err := replaceFile(name, formatted); err != nil {
				return err
			}
		}
		if err := c.formatted(name); err != nil {
			return err
		}
	}
	switch {
	case failed:
		return &exit{exitFailed, errors.New("files that can't be read as HCL stay as they are")}
	case check && other:
		return errLayout
	}
	return nil
}

func (c *cli) formatted(name string) error {
	if c.json {
		return c.line(map[string]any{"type": "file", "file": filepath.Base(name)})
	}
	_, err := fmt.Fprintln(c.out, name)
	return err
}

// replaceFile gives a file another content, at once: it never has a part of it. Its mode
// stays, and a symbolic link stays one.
func replaceFile(name string, text []byte) error {
	name, err := filepath.EvalSymlinks(name)
	if err != nil {
		return err
	}
	info, err := os.Stat(name)
	if err != nil {
		return err
	}
	tmp, err := os.CreateTemp(filepath.Dir(name), ".penstock-*")
	if err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	defer os.Remove(tmp.Name()) // gone already when all went well
	_, err = tmp.Write(text)
	if err == nil {
		err = tmp.Chmod(info.Mode().Perm())
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
