package simulator

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"time"
)

// Hooked is an App whose vendor tells others of changes by webhook.
type Hooked interface {
	// Events are what the vendor tells of a change; seq is the change's number in the history, and stays the same when
	// it is told again.
	Events(seq uint64, c Change) []Event
	// Message is the request that carries events: its body, and headers with the signature made with the hook's secret.
	// attempt counts from 0.
	Message(events []Event, hook Webhook, attempt int, now time.Time) (body []byte, header http.Header)
	// Retries tells whether an answer with this status (0: none) is tried again.
	Retries(status int) bool
}

// Event is one event in the vendor's own type.
type Event any

// Webhook is a place that is told of changes.
type Webhook struct {
	URL    string `json:"url"`
	Secret string `json:"secret,omitempty"`
	// Batch is how many events a request has at most; 100 when 0.
	Batch int `json:"batch,omitempty"`
	// Delay is how late a change is told.
	Delay Duration `json:"delay,omitzero"`
	// Twice is the share of requests that are sent again though they were answered.
	Twice float64 `json:"twice,omitempty"`
	// Shuffle tells events in any order.
	Shuffle bool   `json:"shuffle,omitempty"`
	Seed    uint64 `json:"seed,omitempty"`
	// Retry is the pause after the first failure, doubled for each next; 1 s when 0. After Attempts (10 when 0) the
	// events are lost.
	Retry    Duration `json:"retry,omitzero"`
	Attempts int      `json:"attempts,omitempty"`
}

type hooks struct {
	mu      sync.Mutex
	list    []*hook
	changed chan struct{}
}

type hook struct {
	Webhook
	random  *rand.Rand
	since   uint64     // told up to this number of the history
	waiting []delivery // to be sent, also again
}

type delivery struct {
	events  []Event
	attempt int
	due     time.Time
	again   bool // was answered already
}

// AddWebhook starts to tell a place of what changes from now on. Run does the telling.
func (s *Server) AddWebhook(h Webhook) error {
	if _, ok := s.app.(Hooked); !ok {
		return fmt.Errorf("add webhook: %s has none", s.app.Name())
	}
	if u, err := url.Parse(h.URL); err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return errors.New("add webhook: url is not one of http or https")
	}
	if h.Batch <= 0 {
		h.Batch = 100
	}
	if h.Retry <= 0 {
		h.Retry = Duration(time.Second)
	}
	if h.Attempts <= 0 {
		h.Attempts = 10
	}
	s.hooks.mu.Lock()
	s.hooks.list = append(s.hooks.list, &hook{Webhook: h, since: s.history.last(), random: rand.New(rand.NewPCG(h.Seed, 2))})
	s.hooks.mu.Unlock()
	s.hooks.wake()
	return nil
}

// Webhooks returns those that are told.
func (s *Server) Webhooks() []Webhook {
	s.hooks.mu.Lock()
	defer s.hooks.mu.Unlock()
	list := []Webhook{}
	for _, h := range s.hooks.list {
		list = append(list, h.Webhook)
	}
	return list
}

// ClearWebhooks ends all telling; what was not told is lost.
func (s *Server) ClearWebhooks() {
	s.hooks.mu.Lock()
	s.hooks.list = nil
	s.hooks.mu.Unlock()
}

func (hs *hooks) wake() {
	select {
	case hs.changed <- struct{}{}:
	default:
	}
}

// Run tells webhooks of changes until ctx ends. Nothing else needs it.
func (s *Server) Run(ctx context.Context) error {
	app, ok := s.app.(Hooked)
	client := &http.Client{Timeout: 5 * time.Second} // HubSpot's and others' patience
	defer client.CloseIdleConnections()
	for {
		next := time.Minute
		if ok {
			for _, d := range s.due(app, &next) {
				s.deliver(ctx, client, app, d.hook, d.delivery)
				next = 0
			}
		}
		if ctx.Err() != nil {
			return nil
		}
		timer := time.NewTimer(next)
		select {
		case <-ctx.Done():
		case <-s.hooks.changed:
		case <-timer.C:
		}
		timer.Stop()
	}
}

type dueDelivery struct {
	hook *hook
	delivery
}

// due takes what is to be sent now, and shortens next to when more is.
func (s *Server) due(app Hooked, next *time.Duration) []dueDelivery {
	s.hooks.mu.Lock()
	defer s.hooks.mu.Unlock()
	now := time.Now()
	var list []dueDelivery
	for _, h := range s.hooks.list {
		s.gather(app, h, now)
		kept := h.waiting[:0]
		for _, d := range h.waiting {
			if wait := d.due.Sub(now); wait > 0 {
				*next = min(*next, wait)
				kept = append(kept, d)
			} else {
				list = append(list, dueDelivery{h, d})
			}
		}
		h.waiting = kept
	}
	return list
}

// gather makes deliveries of the changes that a hook has not been told of.
func (s *Server) gather(app Hooked, h *hook, now time.Time) {
	last := s.history.last()
	var events []Event
	s.history.each(h.since, last, func(seq uint64, c Change) bool {
		events = append(events, app.Events(seq, c)...)
		return true
	})
	h.since = last
	if h.Shuffle {
		h.random.Shuffle(len(events), func(i, j int) { events[i], events[j] = events[j], events[i] })
	}
	for len(events) > 0 {
		n := min(len(events), h.Batch)
		h.waiting = append(h.waiting, delivery{events: events[:n:n], due: now.Add(time.Duration(h.Delay))})
		events = events[n:]
	}
}

func (s *Server) deliver(ctx context.Context, client *http.Client, app Hooked, h *hook, d delivery) {
	body, header := app.Message(d.events, h.Webhook, d.attempt, s.now())
	status := 0
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, h.URL, bytes.NewReader(body))
	if err == nil {
		request.Header = header
		var response *http.Response
		if response, err = client.Do(request); err == nil {
			_, _ = io.Copy(io.Discard, io.LimitReader(response.Body, 1<<20))
			response.Body.Close()
			status = response.StatusCode
		}
	}
	s.hooks.mu.Lock()
	defer s.hooks.mu.Unlock()
	switch {
	case status/100 == 2:
		if !d.again && h.Twice > 0 && h.random.Float64() < h.Twice {
			h.waiting = append(h.waiting, delivery{d.events, d.attempt + 1, time.Now(), true})
		}
	case app.Retries(status) && d.attempt+1 < h.Attempts:
		h.waiting = append(h.waiting, delivery{d.events, d.attempt + 1, time.Now().Add(time.Duration(h.Retry) << min(d.attempt, 16)), d.again})
	default:
		s.options.Log.Info("webhook events lost", "app", s.app.Name(), "events", len(d.events), "status", strconv.Itoa(status))
	}
}
