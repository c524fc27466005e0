// Package simulator runs local look-alikes of the apps that penstock writes to.
//
// A vendor's package (simulator/hubspot) supplies an App: its routes, its records
// and its rules. This package is the frame around every App: request limits,
// faults on demand, the log of calls, the history of changes, and the endpoints
// under /_sim/ by which a test or a person looks inside. Vendor paths are served at
// the root, as the vendor serves them, so that a client needs only another base URL.
package simulator

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"
)

// App is what one vendor's look-alike supplies. Its methods are called in parallel,
// except Start, which is called once before all others.
type App interface {
	// Name is the vendor's name as in `penstock simulate NAME`.
	Name() string
	// Start hands the App what it needs of the frame.
	Start(env Env)
	// Routes are the vendor's endpoints. They are asked for once, after Start.
	Routes() []Route
	// Limits are the vendor's default request limits; Options.Limits changes their size.
	Limits() []Limit
	// Authenticate answers a call whose credentials the vendor would refuse, else nil.
	// An empty token means that any credential of the right form is accepted.
	Authenticate(r *http.Request, token string) *Reply
	// Limited is the vendor's answer to a call beyond a limit.
	Limited(state LimitState) Reply
	// LimitHeaders sets the headers by which the vendor tells what is left of the
	// limits that apply to a call.
	LimitHeaders(h http.Header, states []LimitState)
	// Failure is an answer with this status in the vendor's error form: for injected
	// faults and for paths that the vendor does not have.
	Failure(status int) Reply
	// Load takes one line of initial data (see Server.Load).
	Load(line []byte) error
	// Each passes every record of an object, archived ones too, in order of id, until
	// emit says false.
	Each(object string, emit func(Record) bool) error
	// Edit does what a person does in the vendor's own screens.
	Edit(edit Edit) (Record, error)
	// Reset forgets all records and definitions that did not come with the vendor.
	Reset()
}

// Env is the frame as an App sees it.
type Env struct {
	// Now is the simulator's clock.
	Now func() time.Time
	// Record notes a committed change of a record. The App calls it in commit order.
	Record func(Change)
}

// Route is one endpoint of a vendor.
type Route struct {
	// Pattern as for http.ServeMux, with a method: "POST /crm/v3/objects/{type}/search".
	Pattern string
	// Writes says that the call can change records; only such calls are subject to
	// the fault drop_after_commit.
	Writes bool
	// Limits names the limits that a call uses up.
	Limits []string
	// Serve does the work. It must not keep the call or its body.
	Serve func(call *Call) Reply
}

// Call is a vendor call whose body has been read whole.
type Call struct {
	Request *http.Request
	Body    []byte
	At      time.Time // when the call had arrived
}

// Reply is a vendor's answer, with what the log of calls says about it.
type Reply struct {
	Status  int
	Header  http.Header // may be nil; Content-Type is JSON unless set
	Body    []byte
	Records int       // records that the call named
	Created int       // records that it created
	Refused []Refusal // records that the vendor found fault with, in input order
}

// Refusal is one record that a vendor did not take, and why.
type Refusal struct {
	Key    string // as the caller named the record: id, unique value or e-mail
	Reason string
}

// Field is a property of a record with its value in the vendor's canonical form.
// In a Change an empty value says that the property was cleared.
type Field struct{ Name, Value string }

// Record is a record as the vendor holds it.
type Record struct {
	ID        string
	Archived  bool
	Fields    []Field // sorted by name; never changed once handed out
	CreatedAt time.Time
	UpdatedAt time.Time
}

// Edit is what a person does by hand to one record, past limits and tokens.
type Edit struct {
	Object     string             `json:"object"`
	ID         string             `json:"id"`
	Action     string             `json:"action"` // update (default), archive, restore, merge, erase
	Into       string             `json:"into"`   // merge: the record that stays
	Properties map[string]*string `json:"properties"`
}

// ErrNotFound is what an App's Each and Edit wrap for an object or record it does not have.
var ErrNotFound = errors.New("not found")

// Options set up a Server. The zero value is the vendor as it is: its default
// limits, no extra latency, any token accepted.
type Options struct {
	// Clock is the time of limits, records and logs; time.Now when nil.
	Clock func() time.Time
	// NoLimits takes all request limits away.
	NoLimits bool
	// Limits changes the size of limits by name; a negative one takes that limit away.
	Limits map[string]int
	// Token is the only credential accepted; empty accepts any.
	Token string
	// Latency is the simulator's own time: how long each vendor call takes, its
	// effect being at the start of that time.
	Latency time.Duration
	// Data is initial data in JSON lines (see Load). New panics if it is wrong: a
	// program that reads a user's file calls Load, which returns the error.
	Data io.Reader
	// KeepCalls and KeepHistory bound the log of calls and the history of changes;
	// the oldest go first. 1,000,000 and 5,000,000 by default.
	KeepCalls   int
	KeepHistory int
	// Log takes a line for each fault and refused credential; nil logs nothing.
	Log *slog.Logger
}

// Server is a simulator: an http.Handler that serves the vendor's paths and /_sim/.
type Server struct {
	app     App
	options Options
	now     func() time.Time
	vendor  *http.ServeMux
	control *http.ServeMux
	limits  *limiter
	faults  faults
	calls   *ring[LoggedCall]
	history *ring[Change]
	hooks   hooks

	mu   sync.Mutex
	data [][]byte // lines loaded so far, for Reset
}

// maxBody bounds a request; vendors' own limits are far below.
const maxBody = 32 << 20

// New makes a simulator of app.
func New(app App, opts Options) *Server {
	if opts.Clock == nil {
		opts.Clock = time.Now
	}
	if opts.KeepCalls <= 0 {
		opts.KeepCalls = 1_000_000
	}
	if opts.KeepHistory <= 0 {
		opts.KeepHistory = 5_000_000
	}
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	s := &Server{
		app:     app,
		options: opts,
		now:     opts.Clock,
		vendor:  http.NewServeMux(),
		calls:   newRing[LoggedCall](opts.KeepCalls),
		history: newRing[Change](opts.KeepHistory),
		hooks:   hooks{changed: make(chan struct{}, 1)},
	}
	app.Start(Env{Now: opts.Clock, Record: func(c Change) {
		s.history.add(c)
		s.hooks.wake()
	}})
	s.limits = newLimiter(app.Limits(), opts)
	for _, route := range app.Routes() {
		s.vendor.HandleFunc(route.Pattern, func(w http.ResponseWriter, r *http.Request) { s.serve(w, r, route) })
	}
	unknown := Route{Serve: func(*Call) Reply { return app.Failure(http.StatusNotFound) }}
	s.vendor.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { s.serve(w, r, unknown) })
	s.control = s.controlRoutes()
	if opts.Data != nil {
		if err := s.Load(opts.Data); err != nil {
			panic(fmt.Sprintf("simulator %s: %v", app.Name(), err))
		}
	}
	return s
}

// Load adds initial data: JSON lines, each a record as GET /_sim/objects gives it
// plus "object", or the definition of a property:
//
//	{"property":{"object":"contacts","name":"shop_customer_id","type":"string","hasUniqueValue":true}}
//	{"object":"contacts","properties":{"email":"ada@example.com"}}
//
// The vendor's rules hold for them too. Loaded data comes back with Reset. An error
// names the line; the lines before it have been loaded.
func (s *Server) Load(r io.Reader) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	all, err := io.ReadAll(r)
	if err != nil {
		return fmt.Errorf("read initial data: %w", err)
	}
	for n, line := range bytes.Split(all, []byte("\n")) {
		line = bytes.TrimSpace(line)
		if len(line) == 0 {
			continue
		}
		if err := s.app.Load(line); err != nil {
			return fmt.Errorf("load initial data, line %d: %w", n+1, err)
		}
		s.data = append(s.data, line)
	}
	return nil
}

// Reset goes back to the state after Load: no calls, history, faults, webhooks or used-up
// limits, and no records but the loaded ones.
func (s *Server) Reset() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults.clear()
	s.ClearWebhooks()
	s.limits.reset()
	s.app.Reset()
	s.calls.reset()
	s.history.reset()
	for _, line := range s.data {
		if err := s.app.Load(line); err != nil {
			return fmt.Errorf("load initial data again: %w", err)
		}
	}
	return nil
}

// Edit does what a person does in the vendor's own screens.
func (s *Server) Edit(edit Edit) (Record, error) { return s.app.Edit(edit) }

// Objects returns all records of an object, archived ones too, in order of id.
func (s *Server) Objects(object string) ([]Record, error) {
	var all []Record
	err := s.app.Each(object, func(r Record) bool {
		all = append(all, r)
		return true
	})
	return all, err
}

// Calls returns the log of vendor calls, oldest first.
func (s *Server) Calls() []LoggedCall { return s.calls.all() }

// History returns the kept changes of an object's records in commit order.
func (s *Server) History(object string) []Change {
	var some []Change
	s.history.each(0, s.history.last(), func(_ uint64, c Change) bool {
		if c.Object == object {
			some = append(some, c)
		}
		return true
	})
	return some
}

// ServeHTTP serves the vendor's paths at the root and the simulator's under /_sim/.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if strings.HasPrefix(r.URL.Path, "/_sim/") {
		s.control.ServeHTTP(w, r)
		return
	}
	s.vendor.ServeHTTP(w, r)
}
