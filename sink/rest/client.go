// Package rest is the HTTP client of every app: JSON over one base URL, with bearer
// tokens, limits on time and size, and errors that say what may have happened.
//
// What it promises the apps:
//
//   - A call that was certainly not sent (no address, connection refused, failed TLS
//     handshake) gives a plain error: it can be tried again.
//   - A writing call that may have reached the app and has no readable answer gives
//     sink.Unknown: the connection broke, the time was up, the answer was cut off, too
//     large or not JSON, or a gateway in between answered for the app.
//   - An answer other than success goes to the app's Classify, and by status where that
//     has nothing to say.
//   - No error and no log line has any part of a body, a query or a token.
package rest

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// Env is what the process gives every app alike. The zero value works.
type Env struct {
	UserAgent string // "penstock" when empty
	// OnCall is told of each call once it has ended. It may be called in parallel.
	OnCall func(Call)
	// RootCAs are trusted instead of the system's, for a proxy that opens TLS.
	RootCAs *x509.CertPool
}

// Call is one finished call, for metrics. It has no values.
type Call struct {
	App      string
	Method   string
	Path     string // the template: no ids in it
	Status   int    // 0: no answer
	Duration time.Duration
}

// Options set up a Client.
type Options struct {
	Env
	App     string // the app's name in the configuration
	BaseURL string // https://api.example.com, perhaps with a path
	// Token gives the bearer token of each call; nil: none is sent.
	Token func() (string, error)
	// Classify turns an answer that is not success into an outcome (see package sink).
	// With nil, or for a nil error, the status decides.
	Classify func(Request, Response) error
	Timeout  time.Duration // of a call, its answer's body included; 60 s when 0
	MaxReply int64         // bytes of an answer, unpacked; 32 MiB when 0
	Idle     int           // connections kept for the next call; 8 when 0
}

// Request is one call.
type Request struct {
	Method string
	Path   string // below the base URL, escaped
	// Template is the path without ids, for metrics and errors; Path when empty.
	Template string
	Query    url.Values
	Header   http.Header // added to the usual ones
	Body     any         // encoded as JSON; a json.RawMessage is sent as it is; nil: no body
	// Into receives a success's JSON; nil: none is wanted. An answer without one, or with
	// one of another shape, is then as bad as no answer.
	Into any
	// Writes says that the call changes something, so that a lost answer leaves open
	// whether it did.
	Writes  bool
	Timeout time.Duration // instead of the client's
}

// Name is the method and the template: what a call is called in errors.
func (r Request) Name() string {
	if r.Template != "" {
		return r.Method + " " + r.Template
	}
	return r.Method + " " + r.Path
}

// Response is an answer, read whole.
type Response struct {
	Status int
	Header http.Header
	Body   []byte
}

// Client calls one app. It is safe for use in parallel.
type Client struct {
	options Options
	base    *url.URL
	http    *http.Client
}

// New makes a client. It opens no connection.
func New(o Options) (*Client, error) {
	base, err := ParseBase(o.BaseURL)
	if err != nil {
		return nil, err
	}
	if o.UserAgent == "" {
		o.UserAgent = "penstock"
	}
	if o.Timeout <= 0 {
		o.Timeout = time.Minute
	}
	if o.MaxReply <= 0 {
		o.MaxReply = 32 << 20
	}
	if o.Idle <= 0 {
		o.Idle = 8
	}
	transport := &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           (&net.Dialer{Timeout: 15 * time.Second, KeepAlive: 15 * time.Second}).DialContext,
		TLSClientConfig:       &tls.Config{RootCAs: o.RootCAs, MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout:   15 * time.Second,
		ForceAttemptHTTP2:     true,
		MaxIdleConnsPerHost:   o.Idle,
		IdleConnTimeout:       55 * time.Second, // below the 60 s at which common load balancers cut
		ExpectContinueTimeout: time.Second,
	}
	return &Client{options: o, base: base, http: &http.Client{
		Transport: transport,
		// The token must not go to a host that nobody configured.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

// ParseBase checks a base_url: http or https, a host, no query, no user.
func ParseBase(text string) (*url.URL, error) {
	base, err := url.Parse(text)
	switch {
	case err != nil:
		return nil, errors.New("base_url is not a URL") // the parser's own error repeats it, password and all
	case base.Scheme != "https" && base.Scheme != "http":
		return nil, errors.New("base_url must start with https:// or http://")
	case base.Host == "":
		return nil, errors.New("base_url has no host")
	case base.User != nil:
		return nil, errors.New("base_url must not have a user or password in it")
	case base.RawQuery != "" || base.Fragment != "":
		return nil, errors.New("base_url must not have a query or fragment")
	}
	base.Path = strings.TrimRight(base.Path, "/")
	base.RawPath = ""
	return base, nil
}

// Close drops the connections that are kept for later calls.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Do makes one call. The Response is filled in as far as there is one, also beside an
// error.
func (c *Client) Do(ctx context.Context, r Request) (Response, error) {
	timeout := r.Timeout
	if timeout <= 0 {
		timeout = c.options.Timeout
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()

	var progress progress
	request, err := c.request(progress.trace(ctx), r)
	if err != nil {
		return Response{}, fmt.Errorf("%s: %w", r.Name(), err)
	}
	start := time.Now()
	response, err := c.roundTrip(request)
	if c.options.OnCall != nil {
		path := r.Template
		if path == "" {
			path = r.Path
		}
		c.options.OnCall(Call{App: c.options.App, Method: r.Method, Path: path, Status: response.Status, Duration: time.Since(start)})
	}
	switch {
	case response.Status == 0:
		return response, c.unanswered(r, &progress, err)
	case response.Status/100 != 2:
		return response, c.refused(r, response)
	case err == nil:
		err = read(r, response)
	}
	if err != nil {
		return response, r.lost(fmt.Errorf("%s: %w", r.Name(), err))
	}
	return response, nil
}

func (c *Client) request(ctx context.Context, r Request) (*http.Request, error) {
	var body io.Reader
	switch b := r.Body.(type) {
	case nil:
	case json.RawMessage:
		body = bytes.NewReader(b)
	default:
		text, err := json.Marshal(b)
		if err != nil {
			return nil, errors.New("request cannot be written as JSON") // the encoder's own error may have values
		}
		body = bytes.NewReader(text)
	}
	address := c.base.String() + r.Path
	if len(r.Query) > 0 {
		address += "?" + r.Query.Encode()
	}
	request, err := http.NewRequestWithContext(ctx, r.Method, address, body)
	if err != nil {
		return nil, errors.New("method or path is not valid")
	}
	h := request.Header
	for name, values := range r.Header {
		h[http.CanonicalHeaderKey(name)] = values
	}
	h.Set("Accept", "application/json")
	h.Set("User-Agent", c.options.UserAgent)
	h.Set("X-Request-Id", requestID())
	if body != nil && h.Get("Content-Type") == "" {
		h.Set("Content-Type", "application/json")
	}
	if c.options.Token != nil {
		token, err := c.options.Token()
		if err != nil {
			return nil, fmt.Errorf("get token: %w", err)
		}
		h.Set("Authorization", "Bearer "+token)
	}
	return request, nil
}

// roundTrip answers with status 0 when there was no answer, and with an error beside
// a status when its body could not be read whole.
func (c *Client) roundTrip(request *http.Request) (Response, error) {
	reply, err := c.http.Do(request)
	if err != nil {
		return Response{}, err
	}
	defer func() { _ = reply.Body.Close() }() // all that is wanted has been read
	response := Response{Status: reply.StatusCode, Header: reply.Header}
	var body bytes.Buffer
	if n := reply.ContentLength; n > 0 && n <= c.options.MaxReply {
		body.Grow(int(n) + bytes.MinRead)
	}
	n, err := body.ReadFrom(io.LimitReader(reply.Body, c.options.MaxReply+1))
	response.Body = body.Bytes()
	if err != nil {
		return response, fmt.Errorf("answer was cut off after %d bytes: %w", n, redact(err))
	}
	if n > c.options.MaxReply {
		response.Body = nil
		return response, fmt.Errorf("answer is larger than %d bytes", c.options.MaxReply)
	}
	return response, nil
}

// read decodes a success.
func read(r Request, response Response) error {
	if r.Into == nil {
		if body := bytes.TrimSpace(response.Body); len(body) > 0 && !json.Valid(body) {
			return errors.New("answer is not JSON")
		}
		return nil
	}
	if err := json.Unmarshal(response.Body, r.Into); err != nil {
		if shape := new(json.UnmarshalTypeError); errors.As(err, &shape) {
			return fmt.Errorf("answer has not the documented shape: field %q", shape.Field)
		}
		return errors.New("answer is not JSON")
	}
	return nil
}

func requestID() string {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}
