package transform

import (
	"strings"

	"github.com/nyaruka/phonenumbers"
)

// phoneKey is a number as it was written, and where it would be dialled.
type phoneKey struct{ number, country string }

type phoneResult struct {
	e164 string
	ok   bool
}

// maxPhones bounds a worker's cache, about 1 MiB; a full one is begun anew.
const maxPhones = 8192

// maxPhoneText is longer than any number that people write (libphonenumber stops at 250).
const maxPhoneText = 250

// phone returns a number in E.164's form. Parsing takes some 20 us and the same numbers
// come again with every change of their row, so results are kept.
func (w *Worker) phone(number, country string) (string, bool) {
	if len(number) > maxPhoneText {
		return "", false
	}
	key := phoneKey{number, country}
	if r, ok := w.phones[key]; ok {
		return r.e164, r.ok
	}
	var r phoneResult
	region := strings.ToUpper(country)
	if n, err := phonenumbers.Parse(strings.TrimFunc(number, isBlank), region); err == nil && phonenumbers.IsValidNumber(n) {
		r = phoneResult{phonenumbers.Format(n, phonenumbers.E164), true}
	}
	if w.phones == nil || len(w.phones) >= maxPhones {
		w.phones = make(map[phoneKey]phoneResult)
	}
	// The texts belong to the event.
	w.phones[phoneKey{strings.Clone(number), strings.Clone(country)}] = r
	return r.e164, r.ok
}
