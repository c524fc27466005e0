package scenario

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"sort"
	"strconv"
	"strings"
	"sync"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/testscript"
)

// receiver is an endpoint of the app "http": it notes what it gets, and takes everything
// unless it was told other statuses.
type receiver struct {
	mu       sync.Mutex
	got      []string
	statuses []int
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	body, err := io.ReadAll(q.Body)
	if err != nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.got = append(r.got, strings.TrimSpace(fmt.Sprintf("%s %s %s", q.Method, q.RequestURI, body)))
	if len(r.statuses) > 0 {
		w.WriteHeader(r.statuses[0])
		r.statuses = r.statuses[1:]
	}
}

// startReceiver starts it, or tells it the statuses of its next answers.
func startReceiver(ts *testscript.TestScript, args []string) {
	s := stageOf(ts)
	if s.receiver == nil {
		s.receiver = &receiver{}
		server := httptest.NewServer(s.receiver)
		ts.Defer(func() {
			server.CloseClientConnections()
			server.Close()
		})
		ts.Setenv("HOOK_URL", server.URL)
	}
	s.receiver.mu.Lock()
	defer s.receiver.mu.Unlock()
	for _, a := range args {
		status, err := strconv.Atoi(a)
		ts.Check(err)
		s.receiver.statuses = append(s.receiver.statuses, status)
	}
}

// requests compares what it got since the last `requests` with a file of lines, in any order.
func requests(ts *testscript.TestScript, args []string) {
	wait := len(args) > 0 && args[0] == "-wait"
	if wait {
		args = args[1:]
	}
	s := stageOf(ts)
	if len(args) != 1 || s.receiver == nil {
		ts.Fatalf("usage: requests [-wait] FILE, after receiver")
	}
	want := []string{}
	for line := range strings.Lines(ts.ReadFile(args[0])) {
		if line = strings.TrimSpace(line); line != "" {
			want = append(want, line)
		}
	}
	sort.Strings(want)
	difference := func() string {
		s.receiver.mu.Lock()
		defer s.receiver.mu.Unlock()
		got := append([]string{}, s.receiver.got...)
		sort.Strings(got)
		return cmp.Diff(want, got)
	}
	if wait {
		eventually(ts, difference)
	} else if diff := difference(); diff != "" {
		ts.Fatalf("requests (-want +got):\n%s", diff)
	}
	s.receiver.mu.Lock()
	s.receiver.got = nil
	s.receiver.mu.Unlock()
}

// received waits until it has got a request that matches, and takes it and those before it out of what it
// got, so that what comes in an order is asked for in it.
func received(ts *testscript.TestScript, args []string) {
	s := stageOf(ts)
	if len(args) != 1 || s.receiver == nil {
		ts.Fatalf("usage: received REGEXP, after receiver")
	}
	want, err := regexp.Compile(args[0])
	ts.Check(err)
	eventually(ts, func() string {
		s.receiver.mu.Lock()
		defer s.receiver.mu.Unlock()
		for i, got := range s.receiver.got {
			if want.MatchString(got) {
				s.receiver.got = s.receiver.got[i+1:]
				return ""
			}
		}
		return fmt.Sprintf("a request like %s; there are:\n%s", args[0], strings.Join(s.receiver.got, "\n"))
	})
}
