package service

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
)

// record is what a folder given with InDir tells about its server, in service.json.
type record struct {
	Name     string   `json:"name"`
	Version  string   `json:"version"`
	Port     int      `json:"port"`
	Second   int      `json:"controller_port,omitempty"` // of Kafka
	URL      string   `json:"url"`
	PID      int      `json:"pid,omitempty"` // 0 when it is down
	Born     string   `json:"born,omitempty"`
	Fsync    bool     `json:"fsync,omitempty"`
	Trust    bool     `json:"trust,omitempty"`
	Heap     string   `json:"heap,omitempty"`
	Settings []string `json:"settings,omitempty"`
}

func recordFile(dir string) string { return filepath.Join(dir, "service.json") }

// remember writes the record of a server in a given folder.
func (s *Server) remember() error {
	if s.options.dir == "" {
		return nil
	}
	r := record{
		Name: s.name(), Version: s.Version, Port: s.Port, Second: s.controller, URL: s.URL,
		Fsync: s.options.fsync, Trust: s.options.trust, Heap: s.options.heap, Settings: s.options.settings,
	}
	if s.process != nil {
		r.PID, r.Born = s.process.pid, s.process.born
	}
	b, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return fmt.Errorf("encode record: %w", err)
	}
	if err := os.WriteFile(recordFile(s.Dir), append(b, '\n'), 0o600); err != nil {
		return fmt.Errorf("write record: %w", err)
	}
	return nil
}

// name is the name that Start takes.
func (s *Server) name() string {
	if p, ok := s.software.(interface{ version() postgres }); ok {
		return KindPostgres + p.version().major
	}
	return s.Kind
}

// ErrNoServer says that a folder has no server of ours.
var ErrNoServer = errors.New("no server was started in this folder")

// Open finds the server of a folder that was given with InDir, running or not,
// whichever process started it. Restart starts it where it was.
func Open(dir string) (*Server, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", dir, err)
	}
	b, err := os.ReadFile(recordFile(dir))
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("open %s: %w", dir, ErrNoServer)
	}
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", dir, err)
	}
	var r record
	if err := json.Unmarshal(b, &r); err != nil {
		return nil, fmt.Errorf("open %s: read service.json: %w; remove it to start anew", dir, err)
	}
	kind, software, err := lookup(r.Name)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", dir, err)
	}
	s := &Server{Kind: kind, Version: r.Version, Dir: dir, controller: r.Second, software: software}
	s.options = newOptions([]Option{InDir(dir), Detached(), Fsync(r.Fsync), Heap(r.Heap), Port(r.Port)})
	s.options.trust, s.options.settings = r.Trust, r.Settings
	s.setPort(r.Port)
	if p := (&process{pid: r.PID, born: r.Born}); r.PID != 0 && r.Born != "" && p.running() {
		s.process = p
	}
	return s, nil
}

// StartIn starts a server that outlives this process in a folder that stays,
// or goes on with the one that is there: a running one is left alone, a stopped
// one is started on its data and port. Settings given for a folder that has a
// server already are not applied.
func StartIn(ctx context.Context, dir, name string, opts ...Option) (*Server, error) {
	s, err := Open(dir)
	if errors.Is(err, ErrNoServer) {
		return Start(ctx, name, append(slices.Clone(opts), InDir(dir), Detached())...)
	}
	if err != nil {
		return nil, err
	}
	kind, wanted, err := lookup(name)
	if err != nil {
		return nil, err
	}
	if wanted != s.software {
		return nil, fmt.Errorf("start %s in %s: the folder has a %s", kind, dir, s.name())
	}
	if s.Running() {
		return s, nil
	}
	o := newOptions(opts)
	port := s.Port
	if o.port != 0 {
		port = o.port
	}
	r := s.options
	return Start(ctx, name, InDir(dir), Detached(), Port(port), Progress(o.progress),
		func(o *options) { o.fsync, o.trust, o.heap, o.settings = r.fsync, r.trust, r.heap, r.settings })
}
