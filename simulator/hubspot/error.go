package hubspot

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"

	"github.com/penstock-cdc/penstock/simulator"
)

// apiError is an answer of HubSpot's that is not success, or one entry of a batch's
// errors. Its JSON is [errors]'s: every field may be missing there, so all are here.
type apiError struct {
	status   int
	category string
	message  string
	problems []problem // of single properties
	ids      []string  // records not found
	unset    []string  // required properties that are missing
}

// problem is what is wrong with one property of one record.
type problem struct{ property, code, message string }

func (e *apiError) Error() string { return e.message }

// reason is what the log of calls says.
func (e *apiError) reason() string {
	if len(e.problems) > 0 {
		p := e.problems[0]
		return p.code + " " + p.property
	}
	return e.category
}

// appendBody appends the fields that a whole answer and an entry of errors share.
func (e *apiError) appendBody(dst []byte) []byte {
	dst = append(dst, `{"status":"error","category":`...)
	dst = simulator.AppendString(dst, e.category)
	dst = append(dst, `,"message":`...)
	dst = simulator.AppendString(dst, e.message)
	if len(e.problems) > 0 {
		dst = append(dst, `,"errors":[`...)
		for i, p := range e.problems {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = append(dst, `{"message":`...)
			dst = simulator.AppendString(dst, p.message)
			dst = append(dst, `,"code":`...)
			dst = simulator.AppendString(dst, p.code)
			dst = append(dst, `,"context":{"propertyName":[`...)
			dst = simulator.AppendString(dst, p.property)
			dst = append(dst, `]}}`...)
		}
		dst = append(dst, ']')
	}
	return dst
}

// appendContext appends the context of a whole answer.
func (e *apiError) appendContext(dst []byte) []byte {
	if len(e.unset) > 0 {
		dst = append(dst, `,"context":{"properties":`...)
		dst = append(appendStrings(dst, e.unset), '}')
	}
	return dst
}

func (e *apiError) reply() simulator.Reply {
	body := e.appendContext(e.appendBody(nil))
	body = append(body, `,"correlationId":"`...)
	body = append(body, correlationID()...)
	return simulator.Reply{Status: e.status, Body: append(body, `"}`...)}
}

// correlationID has the form of a UUID and means nothing.
func correlationID() string {
	a, b := rand.Uint64(), rand.Uint64()
	return fmt.Sprintf("%08x-%04x-4%03x-a%03x-%012x", uint32(a), uint16(a>>32), a>>52, b&0xfff, b>>16)
}

// invalid is a record whose property values HubSpot does not take. The message carries
// the results as JSON, as in [php-74].
func invalid(problems []problem) *apiError {
	type result struct {
		IsValid   bool   `json:"isValid"`
		Message   string `json:"message"`
		Error     string `json:"error"`
		Name      string `json:"name"`
		Localized string `json:"localizedErrorMessage"`
	}
	results := make([]result, len(problems))
	for i, p := range problems {
		results[i] = result{Message: p.message, Error: p.code, Name: p.property, Localized: p.message}
	}
	text, _ := json.Marshal(results) // strings only: cannot fail
	return &apiError{
		status:   http.StatusBadRequest,
		category: "VALIDATION_ERROR",
		message:  "Property values were not valid: " + string(text),
		problems: problems,
	}
}

func badRequest(format string, args ...any) *apiError {
	return &apiError{status: http.StatusBadRequest, category: "VALIDATION_ERROR", message: fmt.Sprintf(format, args...)}
}

// exists is the conflict of a contact whose e-mail another has ([python-51], [node-545]).
func exists(t *objectType, id uint64) *apiError {
	return &apiError{
		status:   http.StatusConflict,
		category: "CONFLICT",
		message:  t.title + " already exists. Existing ID: " + strconv.FormatUint(id, 10),
	}
}

// taken is the conflict of a unique custom property (code in a VALIDATION_ERROR as integrators quote it; the
// wording is assumed).
func taken(a *app, t *objectType, property, value string, id, other uint64) *apiError {
	return invalid([]problem{{property, "CONFLICTING_UNIQUE_VALUE", fmt.Sprintf(
		"Cannot set PropertyValueCoordinates{portalId=%d, objectTypeId=%s, objectId=%d, propertyName=%s, value=%s} on object %d. %d already has that value.",
		a.portal, t.id, id, property, value, id, other)}})
}

// notFound is the entry of a batch's errors for ids that do not exist ([php-619]).
func notFound(t *objectType, ids ...string) *apiError {
	return &apiError{
		status:   http.StatusNotFound,
		category: "OBJECT_NOT_FOUND",
		message:  "Could not get some " + strings.ToUpper(t.singular) + " objects, they may be deleted or not exist. Check that ids are valid.",
		ids:      ids,
	}
}

// notUnique is the refusal of an idProperty whose values can repeat ([node-548]).
func notUnique(a *app, t *objectType, property string) *apiError {
	return badRequest("Unable to perform update/upsert by non-unique %s property %s in portal ID %d", t.id, property, a.portal)
}

// limited is a 429 ([errors]); errorType and policyName as in [usage].
func limited(policy string) simulator.Reply {
	body := fmt.Appendf(nil, `{"status":"error","message":"You have reached your %s limit.","errorType":"RATE_LIMIT","category":"RATE_LIMITS","policyName":"%s","correlationId":"%s","requestId":"%s"}`,
		strings.ToLower(policy), policy, correlationID(), correlationID())
	return simulator.Reply{Status: http.StatusTooManyRequests, Body: body}
}

// Failure is an answer with this status in the form of [errors]. The categories of 403,
// 423, 477 and 5xx are (assumed); only the status tells those apart for sure.
func (a *app) Failure(status int) simulator.Reply {
	e := &apiError{status: status}
	switch status {
	case http.StatusUnauthorized:
		e.category, e.message = "EXPIRED_AUTHENTICATION", "The OAuth token used to make this call expired 7 second(s) ago."
	case http.StatusForbidden:
		e.category, e.message = "MISSING_SCOPES", "This app hasn't been granted all required scopes to make this call."
	case http.StatusNotFound:
		e.category, e.message = "OBJECT_NOT_FOUND", "Resource not found"
	case http.StatusRequestEntityTooLarge:
		e.category, e.message = "VALIDATION_ERROR", "The request body is too large"
	case http.StatusLocked:
		// [errors]: wait at least 2 seconds between calls.
		e.category, e.message = "LOCKED", "This resource is locked. Wait at least 2 seconds and try again."
	case 477:
		// [errors]: a move between data centres, at most 24 hours, with Retry-After.
		e.category, e.message = "MIGRATION_IN_PROGRESS", "Migration in progress: this account is being moved to another data centre."
	case http.StatusTooManyRequests:
		return limited(TenSecondly)
	default:
		e.category, e.message = "INTERNAL_ERROR", "internal error"
		if status < 500 {
			e.category, e.message = "VALIDATION_ERROR", http.StatusText(status)
		}
	}
	return e.reply()
}
