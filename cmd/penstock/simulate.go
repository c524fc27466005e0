package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/penstock-cdc/penstock/config"
	"github.com/penstock-cdc/penstock/simulator"
)

func (c *cli) simulateCommand() *cobra.Command {
	var listen, data, token string
	var latency time.Duration
	var noLimits bool
	known := strings.Join(slices.Sorted(maps.Keys(simulators)), ", ")
	cmd := &cobra.Command{
		Use: "simulate APP...", Short: "Local look-alikes of apps: " + known, Args: cobra.MinimumNArgs(1),
		Long: "Serve local look-alikes of apps, which enforce the vendors' rules, until stopped.\nSeveral apps listen on successive ports. Apps: " + known + ". Endpoints below /_sim/: docs/simulator.md.",
		RunE: func(cmd *cobra.Command, names []string) error {
			opts := simulator.Options{Token: token, Latency: latency, NoLimits: noLimits, Log: slog.Default()}
			return c.simulate(cmd.Context(), names, listen, data, opts)
		},
	}
	cmd.Flags().StringVar(&listen, "listen", "127.0.0.1:8080", "address; port 0 takes a free one")
	cmd.Flags().StringVar(&data, "data", "", "file of properties and records to begin with, JSON lines")
	cmd.Flags().StringVar(&token, "token", "", "the only credential accepted (any by default)")
	cmd.Flags().DurationVar(&latency, "latency", 0, "the simulator's own time for each call")
	cmd.Flags().BoolVar(&noLimits, "no-limits", false, "take the vendor's request limits away")
	return cmd
}

func (c *cli) simulate(ctx context.Context, names []string, listen, data string, opts simulator.Options) error {
	host, portText, err := net.SplitHostPort(listen)
	port, err2 := strconv.Atoi(portText)
	if err = errors.Join(err, err2); err != nil {
		return &exit{exitUsage, fmt.Errorf("--listen is host:port: %w", err)}
	}
	ctx, end := context.WithCancel(ctx)
	defer end()
	var hooks sync.WaitGroup
	var servers []*http.Server
	var listeners []net.Listener
	defer func() {
		for _, l := range listeners {
			l.Close()
		}
	}()
	for i, name := range names {
		app := simulators[name]
		if app == nil {
			known := slices.Sorted(maps.Keys(simulators))
			hint := ""
			if s := config.Suggest(name, known); s != "" {
				hint = fmt.Sprintf("did you mean %s? ", s)
			}
			return &exit{exitUsage, fmt.Errorf("there is no simulator of %q: %sthere is %s", name, hint, strings.Join(known, ", "))}
		}
		server := simulator.New(app(), opts)
		if data != "" {
			if err := loadData(server, data); err != nil {
				return err
			}
		}
		at := port
		if port != 0 {
			at += i
		}
		l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", net.JoinHostPort(host, strconv.Itoa(at)))
		if err != nil {
			return fmt.Errorf("listen for %s: %w", name, err)
		}
		listeners = append(listeners, l)
		servers = append(servers, &http.Server{Handler: server, ReadHeaderTimeout: 10 * time.Second})
		if c.json {
			err = c.line(map[string]any{"type": "simulator", "app": name, "url": "http://" + l.Addr().String()})
		} else {
			_, err = fmt.Fprintf(c.out, "%s: http://%s\n", name, l.Addr())
		}
		if err != nil {
			return err
		}
	}
	for _, s := range servers {
		hooks.Go(func() { _ = s.Handler.(*simulator.Server).Run(ctx) }) // never fails
	}
	defer hooks.Wait()
	defer end()
	failed := make(chan error, len(servers))
	for i, s := range servers {
		go func() { failed <- s.Serve(listeners[i]) }()
	}
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), 3*time.Second)
	defer cancel()
	for _, s := range servers {
		if err := s.Shutdown(stop); err != nil {
			s.Close()
		}
	}
	return nil
}

func loadData(server *simulator.Server, path string) error {
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("read --data: %w", err)
	}
	defer f.Close()
	if err := server.Load(f); err != nil {
		return fmt.Errorf("load %s: %w", path, err)
	}
	return nil
}
