package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/spf13/cobra"
	"github.com/zclconf/go-cty/cty"
	ctyjson "github.com/zclconf/go-cty/cty/json"

	"github.com/penstock-cdc/penstock/change"
	"github.com/penstock-cdc/penstock/config"
	"github.com/penstock-cdc/penstock/transform"
	"github.com/penstock-cdc/penstock/trial"
)

func (c *cli) evalCommand() *cobra.Command {
	var row, pipeline, op string
	cmd := &cobra.Command{
		Use: "eval EXPR [DIR]", Short: "Try an expression of the row language on a row", Args: cobra.RangeArgs(1, 2),
		Long:    "Check and compute one expression: its value, its type and whether it can be NULL, or what is wrong with it.\nWith --pipeline the columns have the types of that pipeline's table in schema.lock.json, and its clean, locals and functions are there; without, each column has the type of its JSON value.",
		Example: `  penstock eval 'title_case(trim(row.name))' --row '{"name": " ada "}'`,
		RunE: func(cmd *cobra.Command, args []string) error {
			text := row
			if row == "-" {
				all, err := io.ReadAll(io.LimitReader(cmd.InOrStdin(), 64<<20))
				if err != nil {
					return fmt.Errorf("read the row: %w", err)
				}
				text = string(all)
			}
			values, err := jsonRow(text)
			if err != nil {
				return &exit{exitUsage, err}
			}
			if pipeline == "" && len(args) > 1 {
				return &exit{exitUsage, errors.New("DIR goes with --pipeline: which of its pipelines is meant?")}
			}
			return c.eval(cmd.Context(), args[0], folder(args[1:]), pipeline, op, values)
		},
	}
	cmd.Flags().StringVar(&row, "row", "{}", "the row, as a JSON object; - reads it from standard input")
	cmd.Flags().StringVar(&pipeline, "pipeline", "", "as in this pipeline of the project in DIR")
	cmd.Flags().StringVar(&op, "op", "c", "meta.op: r, c or u")
	return cmd
}

// jsonRow reads a JSON object.
func jsonRow(text string) (map[string]cty.Value, error) {
	wrong := func(err error) error {
		return fmt.Errorf("--row is a JSON object like '{\"id\": 1}': %w", err)
	}
	if !strings.HasPrefix(strings.TrimSpace(text), "{") {
		return nil, wrong(errors.New("this is none"))
	}
	t, err := ctyjson.ImpliedType([]byte(text))
	if err != nil {
		return nil, wrong(err)
	}
	v, err := ctyjson.Unmarshal([]byte(text), t)
	if err != nil {
		return nil, wrong(err)
	}
	return v.AsValueMap(), nil
}

func (c *cli) eval(ctx context.Context, text, dir, pipeline, op string, values map[string]cty.Value) error {
	if op != "r" && op != "c" && op != "u" {
		return &exit{exitUsage, fmt.Errorf("--op is r, c or u, not %q", op)}
	}
	const file = "expression"
	expr, diags := hclsyntax.ParseExpression([]byte(text), file, hcl.InitialPos)
	files := map[string]*hcl.File{file: {Bytes: []byte(text)}}
	pipe, table, env := &config.Pipeline{Name: "eval"}, trial.Guess(values), transform.Env{}
	if pipeline != "" {
		p := c.loadAs(dir, false)
		if p.diags.HasErrors() {
			return c.refuse(p)
		}
		if pipe = p.Pipeline(pipeline); pipe == nil {
			names := make([]string, 0, len(p.Pipelines))
			for _, other := range p.Pipelines {
				names = append(names, other.Name)
			}
			return &exit{exitUsage, fmt.Errorf("there is no pipeline %q: it is one of %s", pipeline, strings.Join(names, ", "))}
		}
		if !p.useLock() && !p.diags.HasErrors() {
			return fmt.Errorf("there is no %s, which says what types the columns have: write it with penstock schema pull", lockPath(dir))
		}
		if table = p.table(pipe); table == nil {
			p.diags = append(p.diags, p.missing(pipe)...)
			return c.refuse(p)
		}
		env = p.env(pipe)
		for name, f := range env.Files {
			files[name] = f
		}
	}
	env.Files = files
	row, err := trial.Row(table, values)
	if err != nil {
		return &exit{exitUsage, fmt.Errorf("--row: %s", strings.ReplaceAll(err.Error(), "\n", "; "))}
	}
	var single *transform.Single
	if !diags.HasErrors() {
		var ds hcl.Diagnostics
		single, ds = transform.CompileSingle(expr, pipe, table, env)
		diags = append(diags, ds...)
	}
	if len(diags) > 0 {
		if err := (&config.Printer{Out: c.out, Style: c.style(c.out), Dir: dir, Files: files}).Print(diags); err != nil {
			return err
		}
		if diags.HasErrors() {
			return &exit{code: exitFailed}
		}
	}
	value, why := single.Eval(&change.Event{Table: table, Op: change.Op(op[0]), After: row, CommitTime: time.Now().UTC()})
	if why != nil {
		if c.json {
			if err := c.line(map[string]any{"type": "rejected", "reason": why.Reason, "message": why.Message}); err != nil {
				return err
			}
			return &exit{code: exitFailed}
		}
		if why.Outcome == transform.Reselect {
			return fmt.Errorf("%s: give it in --row", strings.TrimSuffix(why.Message, " and was not sent, as it did not change"))
		}
		fmt.Fprintf(c.out, "a row like this is rejected: %s: %s\n", why.Reason, why.Message)
		return &exit{code: exitFailed}
	}
	return c.evaluated(single, value)
}

func (c *cli) evaluated(s *transform.Single, v change.Value) error {
	shown := v.Text()
	switch v.Kind() {
	case change.Null:
		shown = "null"
	case change.Unchanged:
		shown = "skip()"
	case change.Bool, change.Int, change.Uint, change.Decimal, change.Float, change.Array, change.Object, change.JSON:
	default:
		shown = strconv.Quote(shown)
	}
	if c.json {
		var value any
		if !v.IsNull() && !v.IsUnchanged() {
			value = v.Text()
		}
		return c.line(map[string]any{"type": "value", "value": value, "of": s.Type, "nullable": s.Nullable})
	}
	null := "never NULL"
	if s.Nullable {
		null = "may be NULL"
	}
	_, err := fmt.Fprintf(c.out, "%s\n%s, %s\n", shown, s.Type, null)
	return err
}
