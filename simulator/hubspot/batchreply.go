package hubspot

import (
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/penstock-cdc/penstock/simulator"
)

// batchReply is the answer to a batch that was carried out, in whole or in part.
func (a *app) batchReply(t *objectType, started time.Time, list []input, o outcome, kind batchKind) simulator.Reply {
	reply := simulator.Reply{Status: kind.success, Records: len(list)}
	body := make([]byte, 0, 128+512*len(o.results))
	body = append(body, `{"status":"COMPLETE","results":[`...)
	var names []string
	for i := range o.results {
		r := &o.results[i]
		if i > 0 {
			body = append(body, ',')
		}
		names = append(names[:0], t.system...)
		for _, f := range r.in.fields {
			names = append(names, f.Name)
		}
		if r.in.idProperty != "" {
			names = append(names, r.in.idProperty)
		}
		slices.Sort(names)
		names = slices.Compact(names)
		body = r.appendJSON(body, t, names)
		if kind.tellsNew {
			body = append(body, `,"new":`...)
			body = strconv.AppendBool(body, r.created)
		}
		if r.in.trace != "" {
			body = append(body, `,"objectWriteTraceId":`...)
			body = simulator.AppendString(body, r.in.trace)
		}
		body = append(body, '}')
		if r.created {
			reply.Created++
		}
	}
	body = append(body, ']')
	if len(o.failed) > 0 {
		reply.Status = http.StatusMultiStatus
		body = appendErrors(body, o.failed)
		for _, f := range o.failed {
			reply.Refused = append(reply.Refused, simulator.Refusal{Key: f.in.key(), Reason: f.e.reason()})
		}
	}
	reply.Body = a.appendTimes(body, started)
	return reply
}

// appendErrors appends numErrors and errors: one entry for all ids not found, and one
// for each other failure, with the trace ids of its inputs in its context.
func appendErrors(body []byte, failed []failure) []byte {
	var missing []failure
	var rest []failure
	for _, f := range failed {
		if f.e.category == "OBJECT_NOT_FOUND" {
			missing = append(missing, f)
		} else {
			rest = append(rest, f)
		}
	}
	count := len(rest)
	if len(missing) > 0 {
		count++
	}
	body = append(body, `,"numErrors":`...)
	body = strconv.AppendInt(body, int64(count), 10)
	body = append(body, `,"errors":[`...)
	for i, f := range rest {
		if i > 0 {
			body = append(body, ',')
		}
		body = f.e.appendBody(body)
		body = append(body, `,"context":{"objectWriteTraceId":`...)
		body = appendStrings(body, []string{f.in.trace})
		if len(f.e.unset) > 0 {
			body = append(body, `,"properties":`...)
			body = appendStrings(body, f.e.unset)
		}
		body = append(body, `}}`...)
	}
	if len(missing) > 0 {
		if len(rest) > 0 {
			body = append(body, ',')
		}
		var ids, traces []string
		for _, f := range missing {
			ids = append(ids, f.e.ids...)
			if f.in.trace != "" {
				traces = append(traces, f.in.trace)
			}
		}
		body = missing[0].e.appendBody(body)
		body = append(body, `,"context":{"ids":`...)
		body = appendStrings(body, ids)
		if len(traces) > 0 {
			body = append(body, `,"objectWriteTraceId":`...)
			body = appendStrings(body, traces)
		}
		body = append(body, `}}`...)
	}
	return append(body, ']')
}

func appendStrings(dst []byte, list []string) []byte {
	dst = append(dst, '[')
	for i, s := range list {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = simulator.AppendString(dst, s)
	}
	return append(dst, ']')
}

func (a *app) appendTimes(body []byte, started time.Time) []byte {
	body = append(body, `,"startedAt":`...)
	body = simulator.AppendTime(body, started)
	body = append(body, `,"completedAt":`...)
	body = simulator.AppendTime(body, a.env.Now())
	return append(body, '}')
}
