package rest

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/penstock-cdc/penstock/sink"
)

// progress is how far a call got. The transport tries again by itself only what it
// knows was not sent, each time beginning with GetConn.
type progress struct{ connected atomic.Bool }

func (p *progress) trace(ctx context.Context) context.Context {
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GetConn: func(string) { p.connected.Store(false) },
		// From here on bytes may leave. What WroteHeaders and WroteRequest report comes
		// after that, and a kept connection that the app closed meanwhile looks the same
		// whether or not the app had read the request.
		GotConn: func(httptrace.GotConnInfo) { p.connected.Store(true) },
	})
}

// lost makes the outcome of a call whose effect is not known from its answer.
func (r Request) lost(err error) error {
	if r.Writes {
		return sink.Unknown(err)
	}
	return err
}

// unanswered is the outcome of a call that brought no answer.
func (c *Client) unanswered(r Request, p *progress, err error) error {
	if !p.connected.Load() {
		return fmt.Errorf("%s: reach %s: %w", r.Name(), c.base.Host, redact(err))
	}
	return r.lost(fmt.Errorf("%s: no answer: %w", r.Name(), redact(err)))
}

// refused is the outcome of an answer that is not success.
func (c *Client) refused(r Request, response Response) error {
	if c.options.Classify != nil {
		if err := c.options.Classify(r, response); err != nil {
			return err
		}
	}
	err := fmt.Errorf("%s: status %d (request %s)", r.Name(), response.Status, response.ID)
	switch status := response.Status; {
	case status == http.StatusTooManyRequests:
		wait, ok := RetryAfter(response.Header, time.Now())
		if !ok {
			wait = 10 * time.Second
		}
		return sink.RetryAfter(err, wait)
	case status/100 == 3:
		return fmt.Errorf("%w: the app redirects to another address%s; set base_url to it if it is right", err, redirect(response.Header))
	case status >= 500 || status == http.StatusRequestTimeout:
		if wait, ok := RetryAfter(response.Header, time.Now()); ok {
			err = sink.RetryAfter(err, wait) // of a write: when to ask what became of it
		}
		return r.lost(err)
	}
	return err
}

// redirect is the place that a redirect names, without path or query.
func redirect(h http.Header) string {
	to, err := url.Parse(h.Get("Location"))
	if err != nil || to.Host == "" {
		return ""
	}
	return " (" + to.Scheme + "://" + to.Host + ")"
}

// maxWait bounds what an answer can ask for: a day's quota is the longest that vendors
// have, and a mistaken date must not stop an app for years.
const maxWait = 25 * time.Hour

// RetryAfter reads the header of that name: seconds or a date. It is never negative.
func RetryAfter(h http.Header, now time.Time) (time.Duration, bool) {
	text := strings.TrimSpace(h.Get("Retry-After"))
	if text == "" {
		return 0, false
	}
	if seconds, err := strconv.ParseFloat(text, 64); err == nil {
		if !(seconds >= 0) { // NaN too
			return 0, false
		}
		if seconds > maxWait.Seconds() {
			return maxWait, true
		}
		return time.Duration(seconds * float64(time.Second)), true
	}
	at, err := http.ParseTime(text)
	if err != nil {
		return 0, false
	}
	return min(max(at.Sub(now), 0), maxWait), true
}

// redact keeps the errors that are known to have nothing of a request or an answer in
// them. net/http quotes what it cannot read, and the URL, whose query may have values.
func redact(err error) error {
	if wrapper := new(url.Error); errors.As(err, &wrapper) {
		err = wrapper.Err
	}
	for _, known := range []error{context.DeadlineExceeded, context.Canceled, io.ErrUnexpectedEOF, io.EOF} {
		if errors.Is(err, known) {
			return known
		}
	}
	for _, safe := range []any{
		new(*net.OpError), new(*net.DNSError), new(syscall.Errno), new(*tls.CertificateVerificationError), new(tls.RecordHeaderError),
		new(x509.UnknownAuthorityError), new(x509.HostnameError), new(x509.CertificateInvalidError), new(tls.AlertError),
	} {
		if errors.As(err, safe) {
			return plain(safe, err)
		}
	}
	if timeout := net.Error(nil); errors.As(err, &timeout) && timeout.Timeout() {
		return errors.New("time is up")
	}
	if protocol := textproto.ProtocolError(""); errors.As(err, &protocol) {
		return errors.New("answer is not HTTP")
	}
	return errors.New("connection broke, or answer is not HTTP")
}

// plain returns the error in the chain that errors.As found, without what wraps it.
func plain(found any, err error) error {
	switch e := found.(type) {
	case **net.OpError:
		return *e
	case **net.DNSError:
		return *e
	case *syscall.Errno:
		return *e
	case **tls.CertificateVerificationError:
		return *e
	case *tls.RecordHeaderError:
		return errors.New("server does not speak TLS: use http:// in base_url if that is meant")
	case *x509.UnknownAuthorityError:
		return *e
	case *x509.HostnameError:
		return *e
	case *x509.CertificateInvalidError:
		return *e
	case *tls.AlertError:
		return *e
	}
	return err
}
