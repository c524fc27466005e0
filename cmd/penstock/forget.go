package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/penstock-cdc/penstock/sink"
)

// forgetQuery names what is to be forgotten.
type forgetQuery struct {
	Pipeline, Key string
	SourceKey     bool // of every pipeline of the pipeline's table
	Erase         bool // in the app too
}

// forgotten is what was removed of one pipeline.
type forgotten struct {
	Type       string `json:"type"`
	Pipeline   string `json:"pipeline"`
	Records    int    `json:"records"` // shadows
	Pending    int64  `json:"pending"`
	History    int64  `json:"history"`
	Quarantine int64  `json:"quarantine"`
	Notes      int64  `json:"notes"`
	Erased     bool   `json:"erased"` // in the app
	Before     bool   `json:"before"` // it had been forgotten already
}

func (rt *plant) forget(ctx context.Context, q forgetQuery) ([]forgotten, error) {
	key, err := rt.sourceKey(q.Pipeline, q.Key)
	if err != nil {
		return nil, err
	}
	names := []string{q.Pipeline}
	if q.SourceKey {
		names = names[:0]
		for _, pipe := range rt.Pipelines {
			if rt.topics[pipe.Name] == rt.topics[q.Pipeline] {
				names = append(names, pipe.Name)
			}
		}
	}
	out := []forgotten{}
	for _, name := range names {
		done, err := rt.engine.Forget(ctx, name, key, q.Erase)
		if err != nil {
			return nil, err
		}
		out = append(out, forgottenOf(done))
	}
	return out, nil
}

func forgottenOf(d sink.Forgotten) forgotten {
	f := forgotten{Type: "forgotten", Pipeline: d.Pipeline, Pending: d.Pending, History: d.History, Quarantine: d.Entries, Notes: d.Notes, Erased: d.Erased, Before: d.Before}
	if d.Record {
		f.Records = 1
	}
	return f
}

func (c *cli) forgetCommand() *cobra.Command {
	var q forgetQuery
	cmd := &cobra.Command{
		Use: "forget PIPELINE KEY [DIR]", Short: "Purge what is kept of a record, and pass its row over from now on", Args: cobra.RangeArgs(2, 3),
		Long: "Purge what is kept of the record of a row, as privacy law may ask: what the app has, what waits to be sent, quarantine, notes and history; with --erase the app is made to erase its record for good first.\nThe hash of the key stays, so that neither the row's later changes nor a replay of the log bring it back. The log itself keeps the row's events for as long as its retention says, and the database and the app what they have.",
		RunE: func(cmd *cobra.Command, args []string) error {
			q.Pipeline, q.Key = args[0], args[1]
			var all []forgotten
			if err := c.ask(cmd.Context(), folder(args[2:]), askForget, q, &all); err != nil {
				return err
			}
			for _, f := range all {
				if c.json {
					if err := c.line(f); err != nil {
						return err
					}
					continue
				}
				note := ""
				if f.Before {
					note = " (it had been forgotten before)"
				}
				erased := "left as it is in the app"
				if f.Erased {
					erased = "erased in the app"
				} else if q.Erase {
					erased = "nothing to erase in the app"
				}
				fmt.Fprintf(c.out, "%s: removed %d records, %d pending, %d changes of history, %d entries of the quarantine, %d notes; %s%s\n",
					f.Pipeline, f.Records, f.Pending, f.History, f.Quarantine, f.Notes, erased, note)
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&q.SourceKey, "source-key", false, "in every pipeline of the same table")
	cmd.Flags().BoolVar(&q.Erase, "erase", false, "have the app erase its record for good too")
	return cmd
}
