package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/penstock-cdc/penstock/config"
	"github.com/penstock-cdc/penstock/docs"
	"github.com/penstock-cdc/penstock/transform"
)

func (c *cli) docsCommand() *cobra.Command {
	return &cobra.Command{
		Use: "docs [CODE] [NAME]", Short: "The page of a diagnostic's code, or of a function of the row language", Args: cobra.MaximumNArgs(2),
		Long: `Print documentation that is part of the program.

  penstock docs                  all codes and functions, one a line
  penstock docs E0312            what a code means, with an example and its fix
  penstock docs function         all functions of the row language
  penstock docs function lower   how one is called, what it does with bad input, examples`,
		ValidArgsFunction: func(_ *cobra.Command, args []string, prefix string) ([]string, cobra.ShellCompDirective) {
			return completeDocs(args, prefix), cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(_ *cobra.Command, args []string) error {
			switch {
			case len(args) == 0:
				if err := c.listErrors(); err != nil {
					return err
				}
				return c.listFunctions()
			case args[0] != "function" && len(args) > 1:
				return &exit{exitUsage, fmt.Errorf("penstock docs takes a code, or function and a name: penstock docs --help")}
			case args[0] != "function":
				return c.showError(args[0])
			case len(args) == 1:
				return c.listFunctions()
			}
			return c.showFunction(args[1])
		},
	}
}

// completeDocs is what a shell offers after `penstock docs`.
func completeDocs(args []string, prefix string) (out []string) {
	offer := func(name string) {
		if strings.HasPrefix(strings.ToLower(name), strings.ToLower(prefix)) {
			out = append(out, name)
		}
	}
	switch {
	case len(args) == 0:
		offer("function")
		for _, p := range docs.Errors() {
			offer(p.Code)
		}
	case len(args) == 1 && args[0] == "function":
		for _, f := range transform.Functions() {
			offer(f.Name)
		}
	}
	return out
}

func (c *cli) listErrors() error {
	var rows [][]string
	for _, p := range docs.Errors() {
		if c.json {
			if err := c.line(map[string]any{"type": "code", "code": p.Code, "meaning": p.Title, "fix": p.Fix}); err != nil {
				return err
			}
			continue
		}
		rows = append(rows, []string{p.Code, p.Title})
	}
	if c.json {
		return nil
	}
	return c.table([]string{"CODE", "MEANING"}, rows)
}

func (c *cli) showError(code string) error {
	p, ok := docs.Error(code)
	if !ok {
		var codes []string
		for _, e := range docs.Errors() {
			codes = append(codes, e.Code)
		}
		hint := "penstock docs lists all."
		if transform.IsFunction(code) {
			hint = fmt.Sprintf("It is a function: penstock docs function %s.", code)
		} else if s := config.Suggest(code, codes); s != "" {
			hint = fmt.Sprintf("Did you mean %s? penstock docs lists all.", s)
		}
		return &exit{exitUsage, fmt.Errorf("there is no code %q. %s", code, hint)}
	}
	if c.json {
		return c.line(map[string]any{"type": "code", "code": p.Code, "meaning": p.Title, "fix": p.Fix, "text": p.Text})
	}
	_, err := fmt.Fprint(c.out, p.Text)
	return err
}

func (c *cli) listFunctions() error {
	var rows [][]string
	for _, f := range transform.Functions() {
		if c.json {
			if err := c.functionLine(f); err != nil {
				return err
			}
			continue
		}
		rows = append(rows, []string{f.Family, f.Signature, f.Summary()})
	}
	if c.json {
		return nil
	}
	return c.table([]string{"FAMILY", "FUNCTION", "WHAT IT GIVES"}, rows)
}

func (c *cli) functionLine(f transform.FunctionDoc) error {
	return c.line(map[string]any{
		"type": "function", "name": f.Name, "family": f.Family, "signature": f.Signature, "parameters": f.Params,
		"text": f.Text, "fails": f.Fails, "examples": f.Examples,
	})
}

func (c *cli) showFunction(name string) error {
	f, ok := transform.DocOf(name)
	if !ok {
		hint := "penstock docs function lists all."
		if s := config.Suggest(name, completeDocs([]string{"function"}, "")); s != "" {
			hint = fmt.Sprintf("Did you mean %s? %s", s, hint)
		}
		return &exit{exitUsage, fmt.Errorf("there is no function %q. %s", name, hint)}
	}
	if c.json {
		return c.functionLine(f)
	}
	_, err := fmt.Fprint(c.out, f.Page())
	return err
}
