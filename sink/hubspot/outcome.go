package hubspot

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"time"

	"github.com/penstock-cdc/penstock/sink"
	"github.com/penstock-cdc/penstock/sink/rest"
)

// shouldRetry turns an answer that is not success into an outcome: for the whole call,
// or a callError where it is the records that are refused.
func shouldRetry(r rest.Request, response rest.Response) error {
	f := &failure{}
	if json.Unmarshal(response.Body, f) != nil {
		*f = failure{} // a proxy's page
	}
	e := &callError{failure: f, status: response.Status, call: r.Name()}
	whole := plain{e} // where it is not the records' fault
	wait, named := rest.RetryAfter(response.Header, time.Now())
	pick := func(otherwise time.Duration) time.Duration {
		if named {
			return wait
		}
		return otherwise
	}
	switch response.Status {
	case http.StatusTooManyRequests:
		if f.policy() == "SECONDLY" {
			return sink.RetryAfter(&searchLimit{whole}, pick(time.Second))
		}
		return sink.RetryAfter(whole, pick(f.pause(response.Header, time.Now())))
	case http.StatusLocked: // "wait at least 2 seconds"
		return sink.RetryAfter(whole, max(pick(2*time.Second), 2*time.Second))
	case 477: // the account is being moved to another data centre, for a day at most
		return sink.RetryAfter(whole, pick(time.Minute))
	case http.StatusForbidden:
		if f.Category != "" {
			return sink.Halt(fmt.Errorf("%w: give the key the scopes for reading and writing this object", whole))
		}
	case http.StatusBadRequest, http.StatusConflict, http.StatusUnprocessableEntity, http.StatusNotFound:
		message := string(f.Message)
		switch {
		case strings.Contains(message, "by non-unique"):
			return sink.Halt(fmt.Errorf("%w: the pipeline's key is no property with unique values: make one in HubSpot (Settings, Properties, \"require unique values\") and use it", whole))
		case strings.HasPrefix(message, "Unable to infer object type"):
			return sink.Halt(fmt.Errorf("%w: the account has no such object", whole))
		case f.Category == "", response.Status == http.StatusNotFound && len(f.Context) == 0:
			return whole // not about records: a wrong path, or a proxy's own answer
		}
		return e
	case http.StatusRequestEntityTooLarge:
		return e
	case http.StatusUnauthorized:
		return whole // call looks at the status
	}
	return nil // the status decides, as for any app
}

// pause is how long a 429 asks to wait. A day's quota comes back at midnight of the
// account's own time zone, which is not told: every zone's midnight is at a quarter of
// an hour, so that is when to ask again.
func (f *failure) pause(h http.Header, now time.Time) time.Duration {
	switch f.policy() {
	case "DAILY":
		return now.Truncate(15 * time.Minute).Add(15*time.Minute + 5*time.Second).Sub(now)
	case "SECONDLY":
		return time.Second
	}
	window := time.Duration(number(h, "X-HubSpot-RateLimit-Interval-Milliseconds")) * time.Millisecond
	if window > 0 && window < freeWindow {
		return window
	}
	return freeWindow
}

// policy is the limit that was reached. Answers without policyName have it in their
// message ("You have reached your secondly limit."), in lower case.
func (f *failure) policy() string {
	if f.Policy != "" {
		return strings.ToUpper(string(f.Policy))
	}
	if m := limitName.FindStringSubmatch(string(f.Message)); m != nil {
		return strings.ToUpper(m[1])
	}
	return ""
}

// callError is a refusal of a call because of what its records say. As an error it has
// HubSpot's codes and names, but nothing of the message, which quotes values.
type callError struct {
	*failure
	status int
	call   string
}

func (e *callError) Error() string {
	text := fmt.Sprintf("%s: status %d", e.call, e.status)
	if code := e.code(); code != "" && code != fmt.Sprintf("STATUS_%d", e.status) {
		text += " " + code
	}
	if e.status == http.StatusTooManyRequests && e.policy() != "" {
		text += " " + known(e.policy())
	}
	if e.ID != "" {
		text += " (correlation id " + known(string(e.ID)) + ")"
	}
	return text
}

// plain is the text of a callError: the call is refused, not its records.
type plain struct{ e *callError }

func (p plain) Error() string { return p.e.Error() }

func (e *callError) code() string {
	if problems := e.problems(); len(problems) > 0 {
		return problems[0].code
	}
	if e.status == http.StatusRequestEntityTooLarge {
		return "TOO_LARGE"
	}
	if e.Category != "" {
		return known(string(e.Category))
	}
	return fmt.Sprintf("STATUS_%d", e.status)
}

// outcome is that of the one record in the call.
func (e *callError) outcome(object string) error {
	if e.status == http.StatusRequestEntityTooLarge {
		return sink.Reject("TOO_LARGE", errors.New("hubspot finds the record too large"))
	}
	return e.failure.outcome(object)
}

var (
	existing  = regexp.MustCompile(`Existing ID: (\d+)|(\d+) already has that value`)
	limitName = regexp.MustCompile(`(?i)your (\w+) limit`)
	codeForm  = regexp.MustCompile(`^[A-Za-z0-9_.:-]{1,80}$`)
)

// known lets through only what has the form of a code or an id.
func known(code string) string {
	if codeForm.MatchString(code) {
		return code
	}
	return "?"
}

// problem is what is wrong with one property.
type problem struct{ code, property string }

// problems are told in `errors`, or as JSON within the message.
func (f *failure) problems() []problem {
	var list []problem
	for _, p := range f.Problems {
		names := p.Context["propertyName"]
		if len(names) == 0 && p.In != "" {
			names = []string{string(p.In)}
		}
		name := ""
		if len(names) > 0 {
			name = known(names[0])
		}
		if p.Code != "" {
			list = append(list, problem{known(string(p.Code)), name})
		}
	}
	if len(list) > 0 {
		return list
	}
	for _, name := range f.Context["properties"] {
		list = append(list, problem{"REQUIRED_PROPERTY", known(name)}) // "Some required properties were not set."
	}
	if len(list) > 0 {
		return list
	}
	text, ok := strings.CutPrefix(string(f.Message), "Property values were not valid: ")
	if !ok {
		return nil
	}
	var within []struct {
		Code word `json:"error"`
		Name word `json:"name"`
	}
	if json.NewDecoder(strings.NewReader(text)).Decode(&within) != nil {
		return nil
	}
	for _, p := range within {
		if p.Code != "" {
			list = append(list, problem{known(string(p.Code)), known(string(p.Name))})
		}
	}
	return list
}

// outcome is what an error means for the record that it names.
func (f *failure) outcome(object string) error {
	problems := f.problems()
	conflicts := 0
	for _, p := range problems {
		if p.code == "CONFLICTING_UNIQUE_VALUE" {
			conflicts++
		}
	}
	switch category := string(f.Category); {
	case category == "CONFLICT", conflicts > 0 && conflicts == len(problems):
		return f.conflict(problems)
	case category == "OBJECT_NOT_FOUND":
		return fmt.Errorf("%s: %w", object, sink.ErrGone)
	case category == "RATE_LIMITS":
		return sink.RetryAfter(errors.New("hubspot's rate limit was reached within the batch"), freeWindow)
	case category == "MISSING_SCOPES":
		return sink.Halt(fmt.Errorf("hubspot: the key has no scope for %s", object))
	case len(problems) > 0:
		return sink.Reject(problems[0].code, errorFrom(problems))
	case category == "VALIDATION_ERROR":
		return sink.Reject(category, errors.New("hubspot does not take the record and names no property"))
	case category == "":
		return errors.New("hubspot refuses the record without a category")
	}
	if category := string(f.Category); strings.Contains(category, "INTERNAL") || strings.Contains(category, "TIMEOUT") || strings.Contains(category, "UNAVAILABLE") {
		return sink.Unknown(fmt.Errorf("hubspot had a fault of its own with the record (%s)", known(category)))
	}
	return sink.Reject(known(string(f.Category)), errors.New("hubspot does not take the record"))
}

func (f *failure) conflict(problems []problem) error {
	id := ""
	if m := existing.FindAllStringSubmatch(string(f.Message), -1); len(m) > 0 {
		last := m[len(m)-1] // values are quoted before it
		id = last[1] + last[2]
	}
	what := "a value that must be unique"
	if len(problems) > 0 {
		what = "the value of " + problems[0].property
	}
	err := fmt.Errorf("another record has %s", what)
	if id != "" {
		err = fmt.Errorf("record %s has %s", id, what)
	}
	return &sink.ConflictError{AppID: id, Err: err}
}

// reasons are the codes that a user can do something about.
var reasons = map[string]string{
	"PROPERTY_DOESNT_EXIST":  "does not exist in this account",
	"READ_ONLY_VALUE":        "is read-only",
	"REQUIRED_PROPERTY":      "is required, and not set",
	"VALIDATION_RULE_FAILED": "breaks a validation rule of the account",
	"INVALID_OPTION":         "has not this option",
	"INVALID_EMAIL":          "is no e-mail address that hubspot takes",
	"INVALID_NUMBER":         "is no number",
	"INVALID_LONG":           "is no time",
	"INVALID_DATE":           "is no date at midnight UTC",
	"STRING_TOO_LONG":        "is too long",
}

// errorFrom says what is wrong with a record's properties, without their values.
func errorFrom(problems []problem) error {
	var b strings.Builder
	for i, p := range problems {
		if i > 0 {
			b.WriteString("; ")
		}
		b.WriteString("property " + p.property)
		if reason := reasons[p.code]; reason != "" {
			b.WriteString(" " + reason)
		} else {
			b.WriteString(": " + p.code)
		}
	}
	return errors.New(b.String())
}
