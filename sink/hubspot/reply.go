package hubspot

import (
	"encoding/json"
	"net/http"
	"strconv"
	"time"
)

// reply is the answer of a batch call and of a search. Of its fields only those that
// matter are read, and none of them is taken to be there or to have its documented
// type: an odd context must not make a whole batch's answer unreadable.
type reply struct {
	Status  word      `json:"status"`
	Results []result  `json:"results"`
	Errors  []failure `json:"errors"`
	Paging  struct {
		Next struct {
			After word `json:"after"`
		} `json:"next"`
	} `json:"paging"`
}

// result is one record.
type result struct {
	ID         word  `json:"id"`
	Properties words `json:"properties"`
	New        flag  `json:"new"`
	Archived   flag  `json:"archived"`
	Trace      word  `json:"objectWriteTraceId"`
	Updated    stamp `json:"updatedAt"`
}

// failure is one entry of a batch's errors, or the body of a call that failed.
type failure struct {
	Category word    `json:"category"`
	Message  word    `json:"message"`
	Policy   word    `json:"policyName"`
	ID       word    `json:"correlationId"`
	Context  subject `json:"context"`
	Problems []struct {
		Code    word    `json:"code"`
		In      word    `json:"in"`
		Context subject `json:"context"`
	} `json:"errors"`
}

// word is text, also of a number or a boolean; anything else is empty.
type word string

// UnmarshalJSON never fails.
func (w *word) UnmarshalJSON(b []byte) error {
	*w = ""
	switch {
	case len(b) == 0 || b[0] == '{' || b[0] == '[' || b[0] == 'n':
	case b[0] == '"':
		var s string
		if json.Unmarshal(b, &s) == nil {
			*w = word(s)
		}
	default:
		*w = word(b)
	}
	return nil
}

// words are a record's properties; a null is empty.
type words map[string]word

// UnmarshalJSON takes anything but an object as none.
func (w *words) UnmarshalJSON(b []byte) error {
	*w = nil
	if len(b) > 0 && b[0] == '{' {
		var m map[string]word
		if err := json.Unmarshal(b, &m); err != nil {
			return err
		}
		*w = m
	}
	return nil
}

type flag bool

// UnmarshalJSON takes anything but true as false.
func (f *flag) UnmarshalJSON(b []byte) error {
	*f = string(b) == "true"
	return nil
}

type stamp struct{ time.Time }

// UnmarshalJSON takes anything but a time as none.
func (s *stamp) UnmarshalJSON(b []byte) error {
	var w word
	_ = w.UnmarshalJSON(b)
	s.Time, _ = time.Parse(time.RFC3339Nano, string(w))
	return nil
}

// subject says what an error is about: lists of ids and names. A single value counts
// as a list of one.
type subject map[string][]string

// UnmarshalJSON passes over what is neither.
func (c *subject) UnmarshalJSON(b []byte) error {
	*c = nil
	if len(b) == 0 || b[0] != '{' {
		return nil
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(b, &members); err != nil {
		return err
	}
	*c = make(subject, len(members))
	for name, raw := range members {
		var list []word
		if raw[0] == '[' {
			if json.Unmarshal(raw, &list) != nil {
				continue
			}
		} else {
			list = make([]word, 1)
			_ = list[0].UnmarshalJSON(raw)
		}
		for _, w := range list {
			if w != "" {
				(*c)[name] = append((*c)[name], string(w))
			}
		}
	}
	return nil
}

// number reads a header's whole number, 0 if it has none.
func number(h http.Header, name string) int {
	n, err := strconv.Atoi(h.Get(name))
	if err != nil {
		return 0
	}
	return n
}
