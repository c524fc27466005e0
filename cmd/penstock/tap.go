package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/penstock-cdc/penstock/change"
	"github.com/penstock-cdc/penstock/config"
	"github.com/penstock-cdc/penstock/ops/control"
	"github.com/penstock-cdc/penstock/stream"
)

// tapped is one message as tap shows it: the envelope, or null for a tombstone.
type tapped struct {
	Topic     string            `json:"topic"`
	Partition int               `json:"partition"`
	Offset    int64             `json:"offset"`
	Key       json.RawMessage   `json:"key"`
	Headers   map[string]string `json:"headers,omitempty"`
	Value     json.RawMessage   `json:"value"`
}

func (c *cli) tapCommand() *cobra.Command {
	var fromStart, verbose, calls, edits, pii bool
	var limit int
	cmd := &cobra.Command{
		Use: "tap [TOPIC] [DIR]", Short: "Events as they pass, one envelope a line", Args: cobra.MaximumNArgs(2),
		Long: "Print the stream's events as they pass, one envelope a line, until stopped.\nTOPIC may be a topic or the beginning of several (shop.public.); without it, all tables of the project are shown.\nThe rows' values are printed: mind who sees them.\n\nWith --calls the calls to apps are shown instead, as they end, to APP or to all: tap --calls [APP] [DIR]. No values are in them.\n\nWith --edits it is what people did in the apps to fields and records of ours, as `verify` finds it, of PIPELINE or of all: tap --edits [PIPELINE] [DIR].",
		RunE: func(cmd *cobra.Command, args []string) error {
			topic, dir := "", "."
			switch {
			case len(args) == 2:
				topic, dir = args[0], args[1]
			case len(args) == 1 && isFolder(args[0]):
				dir = args[0]
			case len(args) == 1:
				topic = args[0]
			}
			switch {
			case (calls || edits) && (fromStart || verbose):
				return &exit{exitUsage, errors.New("--from-start and --headers are of events, not of --calls and --edits")}
			case calls && edits:
				return &exit{exitUsage, errors.New("--calls or --edits: look at one, in two terminals at both")}
			case pii && !edits:
				return &exit{exitUsage, errors.New("--pii is of --edits: events are shown with all values, calls with none")}
			case edits:
				return c.tapEdits(cmd.Context(), dir, topic, limit, pii)
			case calls:
				return c.tapCalls(cmd.Context(), dir, topic, limit)
			}
			return c.tapFolder(cmd.Context(), dir, topic, fromStart, limit, verbose)
		},
	}
	cmd.Flags().BoolVar(&fromStart, "from-start", false, "begin with what the stream has")
	cmd.Flags().BoolVar(&verbose, "headers", false, "topic, partition, offset, key and headers too")
	cmd.Flags().BoolVar(&calls, "calls", false, "the calls to apps instead")
	cmd.Flags().BoolVar(&edits, "edits", false, "the edits found in the apps instead")
	cmd.Flags().BoolVar(&pii, "pii", false, "with --edits: the values of personal data too")
	cmd.Flags().IntVar(&limit, "limit", 0, "end after so many (0: never)")
	return cmd
}

func (c *cli) tapFolder(ctx context.Context, dir, topic string, fromStart bool, limit int, verbose bool) error {
	p := c.load(dir)
	if p.diags.HasErrors() {
		return c.refuse(p)
	}
	show := func(e tapped) error {
		if verbose || c.json {
			return c.line(e)
		}
		_, err := fmt.Fprintf(c.out, "%s\n", e.Value)
		return err
	}
	if p.Stream.Kind != "kafka" {
		err := tapProcess(ctx, p, topic, fromStart, limit, show)
		if !control.NotRunning(err) {
			return quiet(ctx, err)
		}
	}
	rt := &plant{project: p, part: partAll}
	if p.Stream.Kind != "kafka" {
		lock, err := lockData(p.DataDir, partAll)
		if err != nil {
			return err
		}
		rt.lock = lock
	} else {
		rt.lock = &dataLock{}
	}
	defer rt.close()
	if err := rt.openStream(ctx); err != nil {
		return err
	}
	return quiet(ctx, rt.tap(ctx, topic, fromStart, limit, show))
}

// quiet takes the end by a signal for the end that was wanted.
func quiet(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// tapProcess asks the running process for its events.
func tapProcess(ctx context.Context, p *project, topic string, fromStart bool, limit int, show func(tapped) error) error {
	query := url.Values{"topic": {topic}, "from_start": {strconv.FormatBool(fromStart)}, "limit": {strconv.Itoa(limit)}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://penstock/tap?"+query.Encode(), nil)
	if err != nil {
		return err
	}
	res, err := control.Dial(socketOf(p, partAll)).Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	dec := json.NewDecoder(res.Body)
	if res.StatusCode != http.StatusOK {
		var refusal struct{ Error string }
		_ = dec.Decode(&refusal)
		return errors.New(refusal.Error)
	}
	for {
		var e struct {
			tapped
			Error string `json:"error"`
		}
		if err := dec.Decode(&e); err != nil {
			if limit > 0 || ctx.Err() != nil || strings.Contains(err.Error(), "EOF") {
				return nil
			}
			return fmt.Errorf("read events: %w", err)
		}
		if e.Error != "" {
			return errors.New(e.Error)
		}
		if err := show(e.tapped); err != nil {
			return err
		}
	}
}

// tap hands the events of the topics that begin with prefix to show, until ctx ends or limit is reached.
func (rt *plant) tap(ctx context.Context, prefix string, fromStart bool, limit int, show func(tapped) error) error {
	next := map[string]map[int]int64{}
	first, shown := true, 0
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		topics, err := rt.tapTopics(ctx, prefix)
		if err != nil {
			return err
		}
		if first && len(topics) == 0 && prefix != "" {
			all, err := rt.tapTopics(ctx, "")
			if err != nil {
				return err
			}
			hint := ""
			if s := config.Suggest(prefix, all); s != "" {
				hint = fmt.Sprintf("did you mean %s? ", s)
			}
			return fmt.Errorf("the stream has no topic that begins with %q: %sit has %s", prefix, hint, strings.Join(all, ", "))
		}
		for _, topic := range topics {
			ends, err := rt.ends(ctx, topic)
			if err != nil {
				return err
			}
			if next[topic] == nil {
				next[topic] = map[int]int64{}
				for p, end := range ends {
					start, _, err := rt.log.Bounds(ctx, topic, p)
					if err != nil {
						return err
					}
					if fromStart || !first {
						end = start
					}
					next[topic][p] = end
				}
			}
			for p, end := range ends {
				for next[topic][p] < end {
					messages, err := rt.log.Read(ctx, topic, p, next[topic][p], 1<<20)
					if err != nil {
						return err
					}
					if len(messages) == 0 {
						next[topic][p] = end // the rest is not for readers
						break
					}
					for i := range messages {
						next[topic][p] = messages[i].Offset + 1
						if _, marker := messages[i].Header(change.HeaderMarker); marker {
							continue
						}
						if err := show(tappedOf(&messages[i])); err != nil {
							return err
						}
						if shown++; limit > 0 && shown >= limit {
							return nil
						}
					}
				}
			}
		}
		first = false
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// tapTopics are the tables' and messages' topics that begin with prefix.
func (rt *plant) tapTopics(ctx context.Context, prefix string) (out []string, err error) {
	for _, s := range rt.Sources {
		topics, err := rt.log.Topics(ctx, change.Topic(s.Name, ""))
		if err != nil {
			return nil, err
		}
		for _, t := range topics {
			if strings.HasPrefix(t, prefix) && !strings.Contains(t, ".penstock.") {
				out = append(out, t)
			}
		}
	}
	slices.Sort(out)
	return out, nil
}

func tappedOf(m *stream.Message) tapped {
	e := tapped{Topic: m.Topic, Partition: m.Partition, Offset: m.Offset, Key: m.Key, Value: m.Value, Headers: map[string]string{}}
	if m.Key == nil {
		e.Key = json.RawMessage("null")
	}
	if m.Value == nil {
		e.Value = json.RawMessage("null")
	}
	for _, h := range m.Headers {
		e.Headers[h.Key] = string(h.Value)
	}
	return e
}
