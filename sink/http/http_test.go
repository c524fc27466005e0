package http_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"

	"github.com/penstock-cdc/penstock/change"
	"github.com/penstock-cdc/penstock/sink"
	app "github.com/penstock-cdc/penstock/sink/http"
	"github.com/penstock-cdc/penstock/sink/rest"
	"github.com/penstock-cdc/penstock/sink/sinktest"
)

func body(t testing.TB, text string) hcl.Body {
	t.Helper()
	f, diags := hclsyntax.ParseConfig([]byte(text), "app.hcl", hcl.InitialPos)
	if diags.HasErrors() {
		t.Fatal(diags)
	}
	return f.Body
}

func open(t testing.TB, settings string, env rest.Env) sink.App {
	t.Helper()
	c, diags := app.Decode(body(t, settings), nil)
	if diags.HasErrors() {
		t.Fatal(diags)
	}
	a, err := app.Open(c, "hooks", env)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// seen is a request as it arrived.
type seen struct {
	Line string // method and path
	Head map[string]string
	Body string
}

// receiver notes what it is sent, and answers with what it is told to.
type receiver struct {
	*httptest.Server
	got    []seen
	answer func(w http.ResponseWriter)
}

func receive(t testing.TB, headers ...string) *receiver {
	r := &receiver{}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		b, _ := io.ReadAll(q.Body)
		s := seen{Line: q.Method + " " + q.RequestURI, Body: string(b), Head: map[string]string{}}
		for _, name := range headers {
			s.Head[name] = q.Header.Get(name)
		}
		r.got = append(r.got, s)
		if r.answer != nil {
			r.answer(w)
		}
	}))
	t.Cleanup(r.Close)
	return r
}

func customer(key string, fields ...sink.Field) sink.Change {
	return sink.Change{Ref: "ref-" + key, Key: sink.Field{Name: "customer_id", Value: change.OfString(key)}, Fields: fields}
}

func field(name string, v change.Value) sink.Field { return sink.Field{Name: name, Value: v} }

func push(t *testing.T, a sink.App, action sink.Action, changes ...sink.Change) []sink.Result {
	t.Helper()
	results, err := a.Push(t.Context(), "customers", action, changes)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range results {
		if r.Err != nil {
			t.Fatal(r.Err)
		}
	}
	return results
}

func TestWebhook(t *testing.T) {
	r := receive(t, "Idempotency-Key", "Content-Type")
	a := open(t, fmt.Sprintf("base_url = \"%s/hook/abc\"\nobject \"customers\" {\n key = \"customer_id\"\n fields = { email = \"text\", mrr = \"decimal\", vip = \"bool\", tags = \"list\", note = \"text\" }\n}", r.URL), rest.Env{})
	c := customer("7", field("email", change.OfString("a\"b@example.com")), field("mrr", change.Of(change.Decimal, "12.50")), field("vip", change.OfBool(true)),
		field("tags", change.Of(change.Array, `["a","b"]`)), field("note", change.Value{}))
	if got := push(t, a, sink.Upsert, c); got[0].AppID != "7" {
		t.Errorf("%+v", got)
	}
	c.AppID = "7"
	push(t, a, sink.Archive, sink.Change{Ref: "gone", AppID: "7", Key: c.Key})
	head := func(key string) map[string]string {
		return map[string]string{"Idempotency-Key": key, "Content-Type": "application/json"}
	}
	want := []seen{
		{"POST /hook/abc", head("ref-7"), `{"action":"upsert","change":"ref-7","key":"7","fields":{"email":"a\"b@example.com","mrr":12.50,"vip":true,"tags":["a","b"],"note":null}}`},
		{"POST /hook/abc", head("gone"), `{"action":"archive","change":"gone","key":"7","id":"7"}`},
	}
	if diff := cmp.Diff(want, r.got); diff != "" {
		t.Errorf("requests (-want +got):\n%s", diff)
	}
}

const service = `
object "customers" {
  key      = "customer_id"
  fields   = { email = "text", mrr = "decimal", seen = "timestamp" }
  required = ["email"]
  request "upsert" {
    method  = "PUT"
    path    = "/v1/customers/${row.customer_id}?by=${row.email}"
    headers = { X-Mail = lower(row.email), X-None = row.seen == null ? null : tostring(row.seen) }
    body    = { mail = lower(row.email), mrr = row.mrr, list = [row.action, row.change_id] }
  }
  request "update" {
    method = "PATCH"
    path   = "/v1/customers/${row.app_id}"
    body   = json_string({ mail = row.email })
  }
  request "delete" {
    method = "DELETE"
    path   = "/v1/customers/${row.app_id}"
    body   = ""
  }
  answer {
    id    = "data.0.id"
    error = "error.code"
    done  = [409]
  }
}
`

func TestTemplates(t *testing.T) {
	r := receive(t, "X-Mail", "X-None", "Authorization")
	r.answer = func(w http.ResponseWriter) { fmt.Fprint(w, `{"data":[{"id":501}]}`) }
	a := open(t, fmt.Sprintf("base_url = %q\ntoken = \"s3cr3t\"\n%s", r.URL, service), rest.Env{})
	c := customer("a/b ?ü", field("email", change.OfString("Ada+x@Example.com")), field("mrr", change.OfInt(5)))
	if got := push(t, a, sink.Upsert, c); got[0].AppID != "501" {
		t.Errorf("%+v, want the id of the answer", got)
	}
	c.AppID = "501"
	push(t, a, sink.Update, c)
	push(t, a, sink.Remove, sink.Change{Ref: "x", AppID: "501", Key: c.Key})
	head := func(mail string) map[string]string {
		return map[string]string{"X-Mail": mail, "X-None": "", "Authorization": "Bearer s3cr3t"}
	}
	want := []seen{
		{"PUT /v1/customers/a%2Fb%20%3F%C3%BC?by=Ada%2Bx%40Example.com", head("ada+x@example.com"), `{"list":["upsert","ref-a/b ?ü"],"mail":"ada+x@example.com","mrr":5}`},
		{"PATCH /v1/customers/501", head(""), `{"mail":"Ada+x@Example.com"}`},
		{"DELETE /v1/customers/501", head(""), ""},
	}
	if diff := cmp.Diff(want, r.got); diff != "" {
		t.Errorf("requests (-want +got):\n%s", diff)
	}
	if l := a.Limits("customers"); !l.Whole || l.Batch != 1 {
		t.Errorf("limits %+v", l)
	}
	described, err := a.(sink.Describer).Describe(t.Context(), "customers")
	want2 := []sink.ObjectField{{Name: "customer_id", Type: "text", Unique: true}, {Name: "email", Type: "text", Required: true}, {Name: "mrr", Type: "decimal"}, {Name: "seen", Type: "timestamp"}}
	if diff := cmp.Diff(want2, described.Fields); err != nil || diff != "" {
		t.Errorf("described %v (-want +got):\n%s", err, diff)
	}
}

func TestSignature(t *testing.T) {
	r := receive(t, "X-Signature", "X-Timestamp", "X-Hub")
	base := fmt.Sprintf("base_url = %q\nsigning_key = \"key\\n\"\n%s", r.URL, `object "customers" {
 key = "customer_id"
 fields = { email = "text" }
}
`)
	push(t, open(t, base, rest.Env{}), sink.Upsert, customer("7"))
	push(t, open(t, base+"signature {\n header = \"X-Hub\"\n timestamp_header = \"\"\n prefix = \"sha256=\"\n}", rest.Env{}), sink.Upsert, customer("7"))
	sum := func(text string) string {
		mac := hmac.New(sha256.New, []byte("key"))
		mac.Write([]byte(text))
		return hex.EncodeToString(mac.Sum(nil))
	}
	at, err := strconv.ParseInt(r.got[0].Head["X-Timestamp"], 10, 64)
	if age := time.Now().Unix() - at; err != nil || age < 0 || age > 60 {
		t.Errorf("timestamp %q", r.got[0].Head["X-Timestamp"])
	}
	if got, want := r.got[0].Head["X-Signature"], sum(r.got[0].Head["X-Timestamp"]+"."+r.got[0].Body); got != want {
		t.Errorf("signature %s, want %s", got, want)
	}
	if got, want := r.got[1].Head["X-Hub"], "sha256="+sum(r.got[1].Body); got != want || r.got[1].Head["X-Timestamp"] != "" {
		t.Errorf("signature of the body alone %s, want %s", got, want)
	}
}

const batched = `
object "customers" {
  key     = "customer_id"
  fields  = { email = "text" }
  batch   = 3
  records = "items"
  request "upsert" {
    path = "/bulk"
    body = { id = row.customer_id, email = row.email }
  }
  answer {
    results = "results"
    id      = "id"
    error   = "error"
  }
}
`

func TestBatch(t *testing.T) {
	r := receive(t, "Idempotency-Key")
	r.answer = func(w http.ResponseWriter) {
		fmt.Fprint(w, `{"results":[{"id":"x1"},{"error":"BAD_MAIL"},{"error":"the address nobody@ is none"}]}`)
	}
	a := open(t, fmt.Sprintf("base_url = %q\n%s", r.URL, batched), rest.Env{})
	results, err := a.Push(t.Context(), "customers", sink.Upsert, []sink.Change{customer("1"), customer("2"), customer("3")})
	if err != nil {
		t.Fatal(err)
	}
	got := fmt.Sprint(results[0].AppID, results[0].Err, " ", sinktest.Class(results[1].Err), " ", sinktest.Class(results[2].Err))
	if want := "x1<nil> reject BAD_MAIL reject REFUSED"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if want := `{"items":[{"email":null,"id":"1"},{"email":null,"id":"2"},{"email":null,"id":"3"}]}`; r.got[0].Body != want || len(r.got) != 1 {
		t.Errorf("got %s, want %s", r.got[0].Body, want)
	}
	r.answer = func(w http.ResponseWriter) { fmt.Fprint(w, `{"results":[]}`) }
	if _, err := a.Push(t.Context(), "customers", sink.Upsert, []sink.Change{customer("1"), customer("2")}); sinktest.Class(err) != "unknown" {
		t.Errorf("an answer with too few results: %v", err)
	}
	gone, err := a.Push(t.Context(), "customers", sink.Archive, []sink.Change{customer("1")})
	if err != nil || sinktest.Class(gone[0].Err) != "reject NO_REQUEST" {
		t.Errorf("deleted without a request for it: %+v, %v", gone, err)
	}
}

func TestStatus(t *testing.T) {
	const own = `answer {
  error    = "error.code"
  done     = [409]
  rejected = [418]
  retry    = [503]
  halt     = [402, 460]
  gone     = [461]
}`
	for _, test := range []struct {
		status       int
		usual, named string
	}{
		{200, "none", "none"}, {204, "none", "none"}, {301, "plain", "plain"}, {400, "reject STATUS_400", "reject BAD"}, {401, "halt", "halt"}, {402, "halt", "halt"},
		{403, "halt", "halt"}, {404, "plain", "plain"}, {405, "plain", "plain"}, {409, "reject STATUS_409", "none"}, {410, "gone", "gone"}, {418, "plain", "reject BAD"},
		{422, "reject STATUS_422", "reject BAD"}, {429, "after 3s", "after 3s"}, {460, "plain", "halt"}, {461, "plain", "gone"}, {500, "unknown", "unknown"}, {503, "unknown", "after 3s"},
	} {
		r := receive(t)
		r.answer = func(w http.ResponseWriter) {
			w.Header().Set("Retry-After", "3")
			w.WriteHeader(test.status)
			if test.status != 204 {
				_, _ = io.WriteString(w, `{"error":{"code":"BAD","message":"s3cr3t"}}`)
			}
		}
		for answer, want := range map[string]string{"": test.usual, own: test.named} {
			a := open(t, fmt.Sprintf("base_url = %q\ntoken = \"s3cr3t\"\nobject \"customers\" {\n key = \"customer_id\"\n fields = { email = \"text\" }\n %s\n}", r.URL, answer), rest.Env{})
			results, err := a.Push(t.Context(), "customers", sink.Upsert, []sink.Change{customer("7", field("email", change.OfString("s3cr3t")))})
			if err == nil {
				err = results[0].Err
			}
			if got := sinktest.Class(err); got != want {
				t.Errorf("status %d: %s (%v), want %s", test.status, got, err, want)
			}
			if err != nil && strings.Contains(err.Error(), "s3cr3t") {
				t.Errorf("status %d: %v has a secret in it", test.status, err)
			}
		}
	}
}

func TestDecode(t *testing.T) {
	const object = "\nobject \"customers\" {\n key = \"id\"\n fields = { email = \"text\" }\n"
	for text, want := range map[string]string{
		"base_url = \"http://x\"" + object + "}":                                  "",
		"base_url = \"http://x\"\nproxy = \"http://p\"\ncalls = 3" + object + "}": "",
		"":                                "Missing required argument",
		"base_url = \"x\"" + object + "}": "Invalid base_url",
		"base_url = \"http://x\"":         "No object",
		"base_url = \"http://x\"\ntoken = \"a\"\napi_key = \"b\"" + object + "}":                               "Two kinds of credentials",
		"base_url = \"http://x\"\nclient_id = \"a\"" + object + "}":                                            "Credentials are not complete",
		"base_url = \"http://x\"\ntokn = \"a\"" + object + "}":                                                 "Unsupported argument",
		"base_url = \"http://x\"" + object + "request \"upsert\" { path = \"/x/${row.emial}\" }\n}":            "Unknown column",
		"base_url = \"http://x\"" + object + "request \"upsert\" { body = { a = nope(row.email) } }\n}":        "Unknown function",
		"base_url = \"http://x\"" + object + "request \"upsert\" { path = \"x\" }\n}":                          "Invalid path",
		"base_url = \"http://x\"" + object + "request \"upsert\" { path = row.email }\n}":                      "Path is no template",
		"base_url = \"http://x\"" + object + "request \"upsert\" { method = \"GET\" }\n}":                      "Invalid method",
		"base_url = \"http://x\"" + object + "request \"delete\" { method = \"DELETE\" }\n}":                   "No request for new records",
		"base_url = \"http://x\"" + object + "request \"upsert\" { headers = { \"a b\" = \"x\" } }\n}":         "Invalid header",
		"base_url = \"http://x\"" + object + "batch = 2\nrequest \"upsert\" { path = \"/x/${row.email}\" }\n}": "One request for many records",
		"base_url = \"http://x\"" + object + "required = [\"nmae\"]\n}":                                        "Unknown field",
		"base_url = \"http://x\"\nobject \"customers\" {\n key = \"id\"\n fields = { email = \"txt\" }\n}":     "Unknown type",
		"base_url = \"http://x\"\nobject \"customers\" {\n key = \"id\"\n fields = { app_id = \"text\" }\n}":   "Name is taken",
		"base_url = \"http://x\"\nsignature { header = \"X\" }" + object + "}":                                 "Nothing to sign with",
		"base_url = \"http://x\"\ntimeout = \"soon\"" + object + "}":                                           "Invalid timeout",
	} {
		_, diags := app.Decode(body(t, text), nil)
		got := ""
		if len(diags) > 0 {
			got = diags[0].Summary
			if diags[0].Subject == nil {
				t.Errorf("%s: the diagnostic has no place", text)
			}
		}
		if got != want {
			t.Errorf("%s:\n got %q, want %q", text, got, want)
		}
	}
}

// store is a REST service that keeps records, by key, and fails as it is told.
type store struct {
	mu     sync.Mutex
	ids    map[string]bool
	faults []sinktest.Fault
	halted bool
}

func (s *store) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b, _ := io.ReadAll(r.Body)
	fault := sinktest.None
	if len(s.faults) > 0 {
		fault, s.faults = s.faults[0], s.faults[1:]
	}
	switch {
	case s.halted:
		w.WriteHeader(http.StatusUnauthorized)
		return
	case fault == sinktest.Busy:
		w.Header().Set("Retry-After", "1")
		w.WriteHeader(http.StatusTooManyRequests)
		return
	case fault == sinktest.Drop:
		panic(http.ErrAbortHandler)
	}
	var records []map[string]any
	if json.Unmarshal(b, &records) != nil {
		records = []map[string]any{{}}
		if len(b) > 0 && json.Unmarshal(b, &records[0]) != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
	}
	results := []map[string]string{}
	status := http.StatusOK
	for _, record := range records {
		key, _ := record["key"].(string)
		if record["name"] == "bad" {
			if len(records) == 1 {
				w.WriteHeader(http.StatusUnprocessableEntity)
			}
			results = append(results, map[string]string{"error": "BAD_NAME"})
			continue
		}
		switch record["action"] {
		case "archive", "delete":
			if !s.ids[key] {
				status = http.StatusNotFound
			}
			delete(s.ids, key)
		default:
			if !s.ids[key] && len(records) == 1 {
				status = http.StatusCreated
			}
			s.ids[key] = true
		}
		results = append(results, map[string]string{"id": "id-" + key})
	}
	if fault == sinktest.DropAfter {
		panic(http.ErrAbortHandler)
	}
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]any{"results": results})
}

func TestSuite(t *testing.T) {
	for name, batch := range map[string]int{"single": 1, "batch": 50} {
		t.Run(name, func(t *testing.T) {
			sinktest.Run(t, func(t *testing.T) sinktest.Case {
				s := &store{ids: map[string]bool{}}
				server := httptest.NewServer(s)
				t.Cleanup(server.Close)
				results := "results = \"results\"\n id = \"id\"\n error = \"error\""
				if batch == 1 {
					results = "id = \"results.0.id\""
				}
				a := open(t, fmt.Sprintf(`
base_url = %q
token    = "t"
object "things" {
  key    = "key"
  fields = { name = "text" }
  batch  = %d
  request "upsert" { body = { action = row.action, key = row.key, name = row.name } }
  request "delete" { body = { action = row.action, key = row.key } }
  answer {
    %s
    rejected = [422]
  }
}`, server.URL, batch, results), rest.Env{})
				return sinktest.Case{
					App: a, Object: "things", Key: "key", Text: "name", Bad: sink.Field{Name: "name", Value: change.OfString("bad")},
					Fail: func(f sinktest.Fault) {
						s.mu.Lock()
						defer s.mu.Unlock()
						s.halted = f == sinktest.Halted
						s.faults = append(s.faults, f)
					},
				}
			})
		})
	}
}

func BenchmarkPush(b *testing.B) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) }))
	defer server.Close()
	a := open(b, fmt.Sprintf("base_url = %q\ncalls = 1000000\n%s", server.URL, strings.Replace(service, "done  = [409]", "", 1)), rest.Env{})
	changes := []sink.Change{customer("7", field("email", change.OfString("ada@example.com")), field("mrr", change.OfInt(5)))}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := a.Push(b.Context(), "customers", sink.Upsert, changes); err != nil {
			b.Fatal(err)
		}
	}
}
