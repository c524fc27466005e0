package simulator

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
)

const index = `penstock simulator

GET    /_sim/objects/{object}         all records, JSON lines
GET    /_sim/calls[?since=N]          vendor calls, JSON lines; X-Sim-Cursor is the next N
GET    /_sim/history/{object}[?since=N]  committed changes, JSON lines, seq above N
GET    /_sim/faults                   faults in force
POST   /_sim/faults                   add a fault
DELETE /_sim/faults                   take all faults away
GET    /_sim/webhooks                 places that are told of changes
POST   /_sim/webhooks                 tell a place of changes from now on
DELETE /_sim/webhooks                 tell nobody
POST   /_sim/edit                     edit a record as a person would
POST   /_sim/reset                    back to the initial data
`

func (s *Server) controlRoutes() *http.ServeMux {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /_sim/{$}", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, index) })
	mux.HandleFunc("GET /_sim/objects/{object}", s.getObjects)
	mux.HandleFunc("GET /_sim/calls", s.getCalls)
	mux.HandleFunc("GET /_sim/history/{object}", s.getHistory)
	mux.HandleFunc("GET /_sim/faults", s.getFaults)
	mux.HandleFunc("POST /_sim/faults", s.postFault)
	mux.HandleFunc("DELETE /_sim/faults", func(w http.ResponseWriter, _ *http.Request) {
		s.ClearFaults()
		w.WriteHeader(http.StatusNoContent)
	})
	mux.HandleFunc("GET /_sim/webhooks", func(w http.ResponseWriter, _ *http.Request) { answer(w, s.Webhooks()) })
	mux.HandleFunc("POST /_sim/webhooks", s.postWebhook)
	mux.HandleFunc("DELETE /_sim/webhooks", func(w http.ResponseWriter, _ *http.Request) {
		s.ClearWebhooks()
		w.WriteHeader(http.StatusNoContent)
	})
	mux.HandleFunc("POST /_sim/edit", s.postEdit)
	mux.HandleFunc("POST /_sim/reset", func(w http.ResponseWriter, _ *http.Request) {
		if err := s.Reset(); err != nil {
			refuse(w, err)
			return
		}
		w.WriteHeader(http.StatusNoContent)
	})
	return mux
}

// lines starts an answer of JSON lines and returns what to end it with.
func lines(w http.ResponseWriter) (out *bufio.Writer, end func()) {
	w.Header().Set("Content-Type", "application/jsonl")
	out = bufio.NewWriterSize(w, 64<<10)
	return out, func() { _ = out.Flush() } // a caller that has gone is its own loss
}

func (s *Server) getObjects(w http.ResponseWriter, r *http.Request) {
	var out *bufio.Writer
	var line []byte
	end := func() {}
	err := s.app.Each(r.PathValue("object"), func(record Record) bool {
		if out == nil {
			out, end = lines(w)
		}
		line = append(record.appendJSON(line[:0]), '\n')
		_, err := out.Write(line)
		return err == nil
	})
	if err != nil {
		refuse(w, err)
		return
	}
	if out == nil {
		_, end = lines(w)
	}
	end()
}

func (s *Server) getCalls(w http.ResponseWriter, r *http.Request) {
	since, err := cursor(r)
	if err != nil {
		refuse(w, err)
		return
	}
	last := s.calls.last()
	w.Header().Set("X-Sim-Cursor", strconv.FormatUint(last, 10))
	out, end := lines(w)
	defer end()
	var line []byte
	s.calls.each(since, last, func(_ uint64, call LoggedCall) bool {
		line = append(call.appendJSON(line[:0]), '\n')
		_, err := out.Write(line)
		return err == nil
	})
}

func (s *Server) getHistory(w http.ResponseWriter, r *http.Request) {
	object := r.PathValue("object")
	since, err := cursor(r)
	if err == nil {
		err = s.app.Each(object, func(Record) bool { return false })
	}
	if err != nil {
		refuse(w, err)
		return
	}
	out, end := lines(w)
	defer end()
	var line []byte
	s.history.each(since, s.history.last(), func(seq uint64, change Change) bool {
		if change.Object != object {
			return true
		}
		line = append(change.appendJSON(line[:0], seq), '\n')
		_, err := out.Write(line)
		return err == nil
	})
}

func cursor(r *http.Request) (uint64, error) {
	text := r.URL.Query().Get("since")
	if text == "" {
		return 0, nil
	}
	since, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("read since: %q is not a number that an earlier answer gave", text)
	}
	return since, nil
}

func (s *Server) getFaults(w http.ResponseWriter, _ *http.Request) { answer(w, s.Faults()) }

func (s *Server) postFault(w http.ResponseWriter, r *http.Request) {
	var fault Fault
	if err := decode(r, &fault); err != nil {
		refuse(w, err)
		return
	}
	if err := s.AddFault(fault); err != nil {
		refuse(w, err)
		return
	}
	answer(w, fault)
}

func (s *Server) postWebhook(w http.ResponseWriter, r *http.Request) {
	var hook Webhook
	if err := decode(r, &hook); err != nil {
		refuse(w, err)
		return
	}
	if err := s.AddWebhook(hook); err != nil {
		refuse(w, err)
		return
	}
	answer(w, hook)
}

func (s *Server) postEdit(w http.ResponseWriter, r *http.Request) {
	var edit Edit
	if err := decode(r, &edit); err != nil {
		refuse(w, err)
		return
	}
	record, err := s.app.Edit(edit)
	if err != nil {
		refuse(w, err)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(append(record.appendJSON(nil), '\n'))
}

// decode reads one JSON object and refuses names it does not know, so that a
// misspelt setting is not one silently ignored.
func decode(r *http.Request, into any) error {
	body, err := io.ReadAll(io.LimitReader(r.Body, maxBody))
	if err != nil {
		return fmt.Errorf("read request: %w", err)
	}
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return fmt.Errorf("read request: %w", err)
	}
	if d.More() {
		return errors.New("read request: more than one JSON value")
	}
	return nil
}

func answer(w http.ResponseWriter, value any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(value)
}

func refuse(w http.ResponseWriter, err error) {
	w.Header().Set("Content-Type", "application/json")
	status := http.StatusBadRequest
	if errors.Is(err, ErrNotFound) {
		status = http.StatusNotFound
	}
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]string{"error": err.Error()})
}
