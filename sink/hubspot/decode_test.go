package hubspot_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/penstock-cdc/penstock/change"
	"github.com/penstock-cdc/penstock/sink"
	"github.com/penstock-cdc/penstock/sink/rest"
	"github.com/penstock-cdc/penstock/sink/sinktest"
)

// canned is an app whose server always gives the same answer.
func canned(t testing.TB, status int, answer *atomic.Pointer[string]) sink.App {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(status)
		_, _ = fmt.Fprint(w, *answer.Load())
	}))
	t.Cleanup(server.Close)
	return connect(t, fmt.Sprintf("token = \"x\"\nbase_url = %q", server.URL), rest.Env{})
}

// Answers without trace ids, as older versions of the API give them, and odd ones.
func TestAnswersAreMatchedToChanges(t *testing.T) {
	two := []sink.Change{contact("1"), contact("Two")}
	tests := []struct {
		name, answer string
		want         [2]string // class, or the record's id
	}{
		{"by key", `{"results":[{"id":"12","properties":{"shop_id":"two"}},{"id":"11","properties":{"shop_id":"1"}}]}`, [2]string{"11", "12"}},
		{"by trace id", `{"results":[{"id":"12","objectWriteTraceId":"ref-Two"},{"id":11,"objectWriteTraceId":"ref-1"}]}`, [2]string{"11", "12"}},
		{"one is missing", `{"results":[{"id":"12","objectWriteTraceId":"ref-Two"}]}`, [2]string{"unknown", "12"}},
		{"one is not ours", `{"results":[{"id":"12","objectWriteTraceId":"ref-Two"},{"id":"13","properties":{"shop_id":"other"}}]}`, [2]string{"unknown", "12"}},
		{"no id", `{"results":[{"objectWriteTraceId":"ref-Two"},{"id":null,"objectWriteTraceId":"ref-1"}]}`, [2]string{"unknown", "unknown"}},
		{"empty", `{}`, [2]string{"unknown", "unknown"}},
		{"still at it", `{"status":"PROCESSING","results":[]}`, [2]string{"unknown", "unknown"}},
		{"error by id", `{"results":[{"id":"12","objectWriteTraceId":"ref-Two"}],"errors":[{"category":"VALIDATION_ERROR","context":{"ids":["1"]}}]}`, [2]string{"reject VALIDATION_ERROR", "12"}},
		{"error with one name, not a list", `{"results":[{"id":"12","objectWriteTraceId":"ref-Two"}],"errors":[{"category":"VALIDATION_ERROR","context":{"objectWriteTraceId":"ref-1"}}]}`, [2]string{"reject VALIDATION_ERROR", "12"}},
		{"odd contexts", `{"results":[{"id":"12","objectWriteTraceId":"ref-Two"}],"errors":[{"category":7,"context":[]},{"context":{"ids":{"a":1}},"errors":[{"context":"x"}]},{"category":"VALIDATION_ERROR","message":{},"context":{"objectWriteTraceId":["ref-1",null,3]}}]}`, [2]string{"reject VALIDATION_ERROR", "12"}},
		{"error within the message", `{"results":[{"id":"12","objectWriteTraceId":"ref-Two"}],"errors":[{"category":"VALIDATION_ERROR","message":"Property values were not valid: [{\"isValid\":false,\"error\":\"INVALID_EMAIL\",\"name\":\"email\"}]","context":{"objectWriteTraceId":["ref-1"]}}]}`, [2]string{"reject INVALID_EMAIL", "12"}},
		{"a fault of its own", `{"results":[{"id":"12","objectWriteTraceId":"ref-Two"}],"errors":[{"category":"INTERNAL_ERROR","context":{"objectWriteTraceId":["ref-1"]}}]}`, [2]string{"unknown", "12"}},
		{"limit within the batch", `{"results":[{"id":"12","objectWriteTraceId":"ref-Two"}],"errors":[{"category":"RATE_LIMITS","context":{"objectWriteTraceId":["ref-1"]}}]}`, [2]string{"after 10s", "12"}},
		{"code that is none", `{"results":[{"id":"12","objectWriteTraceId":"ref-Two"}],"errors":[{"category":"ada@example.com says <b>","context":{"objectWriteTraceId":["ref-1"]}}]}`, [2]string{"reject ?", "12"}},
	}
	for _, test := range tests {
		var answer atomic.Pointer[string]
		answer.Store(&test.answer)
		results, err := canned(t, 207, &answer).Push(t.Context(), "contacts", sink.Upsert, two)
		if err != nil {
			t.Errorf("%s: %v", test.name, err)
			continue
		}
		for i, want := range test.want {
			got := results[i].AppID
			if results[i].Err != nil {
				got = sinktest.Class(results[i].Err)
			}
			if got != want {
				t.Errorf("%s: change %d is %s (%v), want %s", test.name, i, got, results[i].Err, want)
			}
		}
	}
}

// A refusal of the whole batch that names records.
func TestWholeRefusalNamesRecords(t *testing.T) {
	changes := []sink.Change{{Ref: "a", AppID: "1"}, {Ref: "b", AppID: "2"}, {Ref: "c", AppID: "3"}}
	answer := func(text string) *atomic.Pointer[string] {
		var p atomic.Pointer[string]
		p.Store(&text)
		return &p
	}
	_, err := canned(t, 400, answer(`{"category":"VALIDATION_ERROR","context":{"objectWriteTraceId":["b"],"ids":["3","9"]}}`)).Push(t.Context(), "contacts", sink.Update, changes)
	var batch *sink.BatchError
	if !errors.As(err, &batch) || strings.Join(batch.Refs, ",") != "b,c" {
		t.Errorf("%v, want a batch error that names b and c", err)
	}
	results, err := canned(t, 404, answer(`{"category":"OBJECT_NOT_FOUND","context":{"ids":["2"]}}`)).Push(t.Context(), "contacts", sink.Update, changes)
	if err != nil || sinktest.Class(results[0].Err) != "after 0s" || !errors.Is(results[1].Err, sink.ErrGone) || sinktest.Class(results[2].Err) != "after 0s" {
		t.Errorf("%+v, %v: want the second gone, the others to be tried again", results, err)
	}
}

func TestPagesOfAProxyAreNotTheRecordsFault(t *testing.T) {
	page := "<html>blocked</html>"
	var answer atomic.Pointer[string]
	answer.Store(&page)
	for _, status := range []int{400, 403, 404, 409, 422} {
		_, err := canned(t, status, &answer).Push(t.Context(), "contacts", sink.Upsert, []sink.Change{contact("1")})
		if sinktest.Class(err) != "plain" {
			t.Errorf("status %d: %v, want a plain error", status, err)
		}
	}
}

// Whatever an answer has in it: no panic, a result for each change or one error, and
// nothing of it in the errors.
func FuzzAnswer(f *testing.F) {
	for _, status := range []int{200, 207, 400, 401, 403, 404, 409, 413, 429, 477, 500} {
		f.Add(status, `{"status":"COMPLETE","results":[{"id":"1","properties":{"shop_id":"1","city":null},"new":true,"objectWriteTraceId":"ref-1"}],"numErrors":1,"errors":[{"status":"error","category":"VALIDATION_ERROR","message":"Property values were not valid: [{}]","errors":[{"message":"m","code":"C","in":"email","context":{"propertyName":["email"]}}],"context":{"objectWriteTraceId":["ref-2"],"ids":["2"]}}]}`)
		f.Add(status, `{"status":"error","message":"Duplicate IDs found in batch input: [1]. IDs must be unique","category":"VALIDATION_ERROR","context":{"ids":[1]},"policyName":"DAILY"}`)
		f.Add(status, `[1,2`)
		f.Add(status, `{"results":{"a":1},"errors":"x"}`)
	}
	var answer atomic.Pointer[string]
	var status atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(int(status.Load()))
		_, _ = fmt.Fprint(w, *answer.Load())
	}))
	f.Cleanup(server.Close)
	app := connect(f, fmt.Sprintf("token = \"x\"\nbase_url = %q", server.URL), rest.Env{})
	f.Fuzz(func(t *testing.T, code int, text string) {
		if code < 200 || code > 599 || code == 204 || code == 304 {
			return
		}
		answer.Store(&text)
		status.Store(int64(code))
		changes := []sink.Change{contact("1"), contact("2")}
		results, err := app.Push(t.Context(), "contacts", sink.Upsert, changes)
		if err == nil && len(results) != len(changes) {
			t.Fatalf("%d results", len(results))
		}
		errs := []error{err}
		for _, r := range results {
			if r.Err == nil && r.AppID == "" {
				t.Fatal("a result without id or error")
			}
			errs = append(errs, r.Err)
		}
		if records, err := app.(sink.Reader).Read(t.Context(), "contacts", "email", []string{"a@example.com"}, nil); err == nil {
			for _, r := range records {
				if r.ID == "" {
					t.Fatal("a record without id")
				}
			}
		} else {
			errs = append(errs, err)
		}
		if _, err := app.(sink.Describer).Describe(t.Context(), "contacts"); err != nil {
			errs = append(errs, err)
		}
		for _, err := range errs {
			if err != nil && strings.ContainsAny(err.Error(), "\n<>@") {
				t.Fatalf("error has text of the answer in it: %q", err)
			}
		}
	})
}

func TestBodyIsJSON(t *testing.T) {
	var got []byte
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var m json.RawMessage
		if err := json.NewDecoder(r.Body).Decode(&m); err != nil {
			t.Error(err)
		}
		got = m
		w.WriteHeader(http.StatusTooManyRequests)
	}))
	t.Cleanup(server.Close)
	app := connect(t, fmt.Sprintf("token = \"x\"\nbase_url = %q", server.URL), rest.Env{})
	long := contact("1", "a\"b", "\x00\x1f\u2028<>&\xfe")
	long.Ref = strings.Repeat("r", 100)
	infinite := contact("2")
	infinite.Fields = []sink.Field{{Name: "mrr", Value: change.Of(change.Float, "Infinity")}}
	results, err := app.Push(t.Context(), "contacts", sink.Upsert, []sink.Change{infinite, long})
	if err != nil || sinktest.Class(results[0].Err) != "reject UNSUPPORTED_VALUE" || sinktest.Class(results[1].Err) != "after 10s" {
		t.Errorf("results %+v, %v: the call's error must not hide the record's", results, err)
	}
	var body struct {
		Inputs []struct {
			ID, IDProperty, ObjectWriteTraceID string
			Properties                         map[string]string
		}
	}
	if err := json.Unmarshal(got, &body); err != nil {
		t.Fatal(err)
	}
	if len(body.Inputs) != 1 {
		t.Fatalf("sent %s", got)
	}
	in := body.Inputs[0]
	if in.Properties["a\"b"] != "\x00\x1f\u2028<>&\ufffd" || in.Properties["shop_id"] != "1" || in.ID != "1" || in.IDProperty != "shop_id" || len(in.ObjectWriteTraceID) != 32 {
		t.Errorf("sent %+v", in)
	}
}

// The whole of a call but the network: writing the body of 100 contacts and reading
// their results.
func BenchmarkPush100(b *testing.B) {
	changes := make([]sink.Change, 100)
	var reply strings.Builder
	reply.WriteString(`{"status":"COMPLETE","results":[`)
	for i := range changes {
		id := strconv.Itoa(i)
		changes[i] = contact(id, "email", "person"+id+"@example.com", "firstname", "Ada", "lastname", "Lovelace", "city", "London",
			"phone", "+4930123456", "jobtitle", "Countess", "company", "Analytical Engines", "country", "GB")
		if i > 0 {
			reply.WriteByte(',')
		}
		fmt.Fprintf(&reply, `{"id":"%d","properties":{"shop_id":"%s","email":"person%s@example.com","firstname":"Ada","lastname":"Lovelace","city":"London","phone":"+4930123456","jobtitle":"Countess","company":"Analytical Engines","country":"GB","createdate":"2026-01-01T00:00:00.000Z"},"createdAt":"2026-01-01T00:00:00.000Z","updatedAt":"2026-01-01T00:00:00.000Z","archived":false,"new":false,"objectWriteTraceId":"ref-%s"}`, 1000+i, id, id, id)
	}
	reply.WriteString(`]}`)
	text := reply.String()
	var answer atomic.Pointer[string]
	answer.Store(&text)
	app := canned(b, 200, &answer)
	b.ReportAllocs()
	for b.Loop() {
		results, err := app.Push(b.Context(), "contacts", sink.Upsert, changes)
		if err != nil || results[99].Err != nil {
			b.Fatal(errors.Join(err, results[99].Err))
		}
	}
}
