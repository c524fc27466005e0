// Package rest is the HTTP client of every app: JSON over one base URL, with tokens that
// are given or renewed by OAuth 2, proxies, limits on time and size, and errors that say
// what may have happened.
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
	"compress/gzip"
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/hcl/v2"
)

// Env is what the process gives every app alike. The zero value works.
type Env struct {
	UserAgent string // "penstock" when empty
	// OnCall is told of each call once it has ended. It may be called in parallel.
	OnCall func(Call)
	// RootCAs are trusted instead of the system's, for a proxy that opens TLS.
	RootCAs *x509.CertPool
	// Vault keeps OAuth tokens; apps without OAuth need none.
	Vault Vault
	// Settings is what the settings of blocks may use, with the secrets read again; nil: they can't be.
	Settings func() (*hcl.EvalContext, error)
}

// Call is one finished call, for metrics. It has no values.
type Call struct {
	App      string
	Method   string
	Path     string // the template: no ids in it
	Status   int    // 0: no answer
	Duration time.Duration
	Records  int    // in it, as Request says
	ID       string // the X-Request-Id that was sent; errors have it too
}

// Options set up a Client.
type Options struct {
	Env
	App     string // the app's name in the configuration
	BaseURL string // https://api.example.com, perhaps with a path
	// Credentials of each call. With OAuth a call that is answered 401 is made once more, with a new token.
	Credentials Credentials
	// Renew reads the credentials again where they came from, once the app refuses them; nil: that can't be.
	Renew func() (Credentials, error)
	// Proxy is used instead of what HTTPS_PROXY and NO_PROXY say.
	Proxy *url.URL
	// Compress is the size from which bodies are sent compressed (gzip); 0: never. Answers may always be.
	Compress int
	// Pace, if not nil, observes the answers.
	Pace *Pace
	// Classify turns an answer that is not success into an outcome (see package sink).
	// With nil, or for a nil error, the status decides.
	Classify func(Request, Response) error
	Timeout  time.Duration // of a call, its answer's body included; 60 s when 0
	MaxReply int64         // bytes of an answer, unpacked; 32 MiB when 0
	Idle     int           // connections kept for the next call; 8 when 0
	// AnyReply takes a success whose body is not JSON for one; without it such an answer is as bad as none.
	AnyReply bool
}

// Request is one call.
type Request struct {
	Method string
	Path   string // below the base URL, escaped
	// Template is the path without ids, for metrics and errors; Path when empty.
	Template string
	Records  int // that it is about, for those who look at calls
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
	ID     string // the X-Request-Id of the call
}

// Client calls one app. It is safe for use in parallel.
type Client struct {
	options Options
	base    *url.URL
	http    *http.Client

	mu      sync.Mutex
	current Credentials
	tokens  *authority // nil: no OAuth
	renewed time.Time  // when the credentials were last read again
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
	proxy := http.ProxyFromEnvironment
	if o.Proxy != nil {
		proxy = http.ProxyURL(o.Proxy)
	}
	transport := &http.Transport{
		Proxy:                 proxy,
		DialContext:           (&net.Dialer{Timeout: 15 * time.Second, KeepAlive: 15 * time.Second}).DialContext,
		TLSClientConfig:       &tls.Config{RootCAs: o.RootCAs, MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout:   15 * time.Second,
		ForceAttemptHTTP2:     true,
		MaxIdleConnsPerHost:   o.Idle,
		IdleConnTimeout:       55 * time.Second, // below the 60 s at which common load balancers cut
		ExpectContinueTimeout: time.Second,
	}
	c := &Client{options: o, base: base, current: o.Credentials, http: &http.Client{
		Transport: transport,
		// The token must not go to a host that nobody configured.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
	if oauth := o.Credentials.OAuth; oauth != nil {
		if o.Vault == nil {
			return nil, errors.New("there is no place for OAuth tokens")
		}
		c.tokens = newAuthority(*oauth, o.App, o.Vault)
		c.tokens.ask = c.ask
	}
	return c, nil
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
	return c.authorized(ctx, r)
}

// as makes a call with these credentials.
func (c *Client) as(ctx context.Context, r Request, used Credentials, tokens *authority) (Response, error) {
	if len(used.Header) > 0 {
		all := used.Header.Clone()
		maps.Copy(all, r.Header)
		r.Header = all
	}
	if tokens == nil {
		return c.do(ctx, r, used.Token)
	}
	token, err := tokens.access(ctx, "")
	if err != nil {
		return Response{}, fmt.Errorf("%s: %w", r.Name(), err)
	}
	response, err := c.do(ctx, r, token)
	if response.Status != http.StatusUnauthorized {
		return response, err
	}
	renewed, problem := tokens.access(ctx, token)
	if problem != nil {
		return response, fmt.Errorf("%s: %w", r.Name(), problem)
	}
	return c.do(ctx, r, renewed)
}

func (c *Client) do(ctx context.Context, r Request, token string) (Response, error) {
	var progress progress
	request, err := c.request(progress.trace(ctx), r, token)
	if err != nil {
		return Response{}, fmt.Errorf("%s: %w", r.Name(), err)
	}
	response, err := c.timed(request, r)
	if c.options.Pace != nil && response.Status > 0 {
		c.options.Pace.Observe(response.Status, response.Header, time.Now())
	}
	switch {
	case response.Status == 0:
		return response, c.unanswered(r, &progress, err)
	case response.Status/100 != 2:
		return response, c.refused(r, response)
	case err == nil:
		err = read(r, response, c.options.AnyReply)
	}
	if err != nil {
		return response, r.lost(fmt.Errorf("%s: %w", r.Name(), err))
	}
	return response, nil
}

// timed makes the call and tells of it.
func (c *Client) timed(request *http.Request, r Request) (Response, error) {
	start := time.Now()
	response, err := c.roundTrip(request)
	response.ID = request.Header.Get("X-Request-Id")
	if c.options.OnCall != nil {
		path := r.Template
		if path == "" {
			path = r.Path
		}
		c.options.OnCall(Call{App: c.options.App, Method: r.Method, Path: path, Status: response.Status, Duration: time.Since(start), Records: r.Records, ID: response.ID})
	}
	return response, err
}

// ask calls the token endpoint. It fails only where there was no answer that could be read.
func (c *Client) ask(ctx context.Context, o OAuth, form url.Values) (Response, error) {
	r := Request{
		Method: http.MethodPost, Path: o.Path, Body: Form(form.Encode()),
		Header: http.Header{"Content-Type": {"application/x-www-form-urlencoded"}},
	}
	request, err := c.request(ctx, r, "")
	if err != nil {
		return Response{}, fmt.Errorf("%s: %w", r.Name(), err)
	}
	if o.Basic {
		request.SetBasicAuth(url.QueryEscape(o.ClientID), url.QueryEscape(o.ClientSecret)) // RFC 6749, 2.3.1
	}
	response, err := c.timed(request, r)
	if err != nil {
		return response, fmt.Errorf("%s: no answer: %w", r.Name(), redact(err))
	}
	return response, nil
}

// Form is a body that is sent as it is, of the Content-Type in the Request's Header.
type Form []byte

func (c *Client) request(ctx context.Context, r Request, token string) (*http.Request, error) {
	var body []byte
	switch b := r.Body.(type) {
	case nil:
	case json.RawMessage:
		body = b
	case Form:
		body = b
	default:
		text, err := json.Marshal(b)
		if err != nil {
			return nil, errors.New("request cannot be written as JSON") // the encoder's own error may have values
		}
		body = text
	}
	packed := body != nil && c.options.Compress > 0 && len(body) >= c.options.Compress
	if packed {
		body = pack(body)
	}
	address := c.base.String() + r.Path
	if len(r.Query) > 0 {
		address += "?" + r.Query.Encode()
	}
	var reader io.Reader
	if body != nil {
		reader = bytes.NewReader(body)
	}
	request, err := http.NewRequestWithContext(ctx, r.Method, address, reader)
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
	if packed {
		h.Set("Content-Encoding", "gzip")
	}
	if h.Get("Idempotency-Key") != "" || h.Get("X-Idempotency-Key") != "" {
		// net/http takes these for a leave to send a write again by itself, whether or not the app knows them.
		request.GetBody = nil
	}
	if token != "" {
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

func pack(body []byte) []byte {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, _ = w.Write(body) // into memory
	_ = w.Close()
	return b.Bytes()
}

// read decodes a success.
func read(r Request, response Response, anything bool) error {
	if r.Into == nil {
		if anything {
			return nil
		}
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
