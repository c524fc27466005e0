package alert

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"sync"
	"time"
)

// Options are a webhook's.
type Options struct {
	Name       string
	URL        string // may be a secret: it is in no error
	SigningKey string // "": not signed
	Kinds      []string
	Repeat     time.Duration // of what lasts
	Path       string        // of the file that keeps what was told
	Penstock   string        // version
	Project    string
	Transport  http.RoundTripper // nil: the usual one, with the proxy of the environment
	Log        *slog.Logger
}

// Webhook sends notices to an address, in their order, each until it is taken.
type Webhook struct {
	o      Options
	client *http.Client
	wake   chan struct{}

	mu    sync.Mutex
	told  ledger
	dirty bool // the file is older
}

// timeout is how long an attempt may take.
const timeout = 10 * time.Second

// The waits between attempts.
const (
	firstWait = time.Second
	longest   = 5 * time.Minute
)

// Open reads what was told before. A file that can't be read is a warning, and what is wrong is told again.
func Open(o Options) *Webhook {
	w := &Webhook{o: o, wake: make(chan struct{}, 1)}
	w.client = &http.Client{Transport: o.Transport, Timeout: timeout, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	var err error
	if w.told, err = read(o.Path); err != nil {
		o.Log.Warn("alerts begin anew", "alert", o.Name, "error", err)
	}
	w.told.Firing = slices.DeleteFunc(w.told.Firing, func(f *firing) bool { return !slices.Contains(o.Kinds, f.Kind) })
	w.nudge()
	return w
}

// Observe takes all that is wrong now; kinds that are not its own are passed over. What was told before the process
// started, and was not seen since, is over only where sure says that the kind can be known already.
//
// The error is of the file: what is queued is sent all the same, and written with the next Observe.
func (w *Webhook) Observe(now time.Time, all []Condition, sure func(kind string) bool) error {
	all = slices.DeleteFunc(slices.Clone(all), func(c Condition) bool { return !slices.Contains(w.o.Kinds, c.Kind) })
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.told.observe(now, w.o.Repeat, all, sure) {
		w.dirty = true
	}
	if !w.dirty {
		return nil
	}
	w.nudge()
	return w.write()
}

// Firing tells whether something was told to be wrong, and not to be over.
func (w *Webhook) Firing(kind, subject string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.told.find(kind, subject) != nil
}

// write keeps the ledger; the caller holds mu.
func (w *Webhook) write() error {
	err := w.told.write(w.o.Path)
	w.dirty = err != nil
	return err
}

func (w *Webhook) nudge() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// first is the notice to send next.
func (w *Webhook) first() (queued, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.told.Queue) == 0 {
		return queued{}, false
	}
	return w.told.Queue[0], true
}

// Run delivers until ctx ends, trying again with back-off.
func (w *Webhook) Run(ctx context.Context) {
	for wait := firstWait; ; {
		n, ok := w.first()
		if !ok {
			select {
			case <-ctx.Done():
				return
			case <-w.wake:
			}
			continue
		}
		after, err := w.deliver(ctx, n)
		if err == nil {
			wait = firstWait
			continue
		}
		if ctx.Err() != nil {
			return
		}
		pause := max(min(after, longest), wait/2+rand.N(wait/2))
		w.o.Log.Warn("alert not delivered", "alert", w.o.Name, "kind", n.Kind, "subject", n.Subject, "again_in", pause.Round(time.Second), "error", err)
		wait = min(2*wait, longest)
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
	}
}

// Flush delivers what is queued, in one attempt each, and stops at the first that fails. The rest is kept for the next start.
func (w *Webhook) Flush(ctx context.Context) error {
	for {
		n, ok := w.first()
		if !ok {
			return nil
		}
		if _, err := w.deliver(ctx, n); err != nil {
			return err
		}
	}
}

// deliver makes one attempt. After is what the receiver asks to wait, 0 when it does not say.
func (w *Webhook) deliver(ctx context.Context, n queued) (after time.Duration, err error) {
	if after, err = w.post(ctx, n); err != nil {
		return after, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.told.delivered(n.ID)
	if err := w.write(); err != nil {
		w.o.Log.Warn("alert delivered, and may be once more after a restart", "alert", w.o.Name, "error", err)
	}
	return 0, nil
}

func (w *Webhook) post(ctx context.Context, n queued) (after time.Duration, err error) {
	n.Penstock, n.Project = w.o.Penstock, w.o.Project
	body, err := json.Marshal(n.Notice)
	if err != nil {
		return 0, fmt.Errorf("write notice: %w", err)
	}
	q, err := http.NewRequestWithContext(ctx, http.MethodPost, w.o.URL, bytes.NewReader(body))
	if err != nil {
		return 0, errors.New("the url can't be used")
	}
	q.Header.Set("Content-Type", "application/json")
	q.Header.Set("User-Agent", "penstock/"+w.o.Penstock)
	q.Header.Set("Idempotency-Key", n.ID)
	if w.o.SigningKey != "" {
		now := strconv.FormatInt(time.Now().Unix(), 10)
		mac := hmac.New(sha256.New, []byte(w.o.SigningKey))
		mac.Write([]byte(now + "."))
		mac.Write(body)
		q.Header.Set("X-Timestamp", now)
		q.Header.Set("X-Signature", hex.EncodeToString(mac.Sum(nil)))
	}
	answer, err := w.client.Do(q)
	if err != nil {
		var at *url.Error // has the address in its text
		if errors.As(err, &at) {
			err = at.Err
		}
		return 0, fmt.Errorf("send notice: %w", err)
	}
	_, _ = io.Copy(io.Discard, io.LimitReader(answer.Body, 64<<10))
	_ = answer.Body.Close()
	if answer.StatusCode/100 != 2 {
		if s, err := strconv.Atoi(answer.Header.Get("Retry-After")); err == nil && s > 0 && s <= int(longest/time.Second) {
			after = time.Duration(s) * time.Second
		}
		return after, fmt.Errorf("send notice: the receiver answers with status %d", answer.StatusCode)
	}
	return 0, nil
}
