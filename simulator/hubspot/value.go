package hubspot

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// maxText is the length of a string property in characters ([properties]).
const maxText = 65_536

// numberForm: digits and at most one decimal point ([properties]).
var numberForm = regexp.MustCompile(`^[+-]?(?:\d+\.?\d*|\.\d+)$`)

// canonical checks a value and returns it as HubSpot keeps it. An empty value clears
// the property ([contacts]) and is right for any type. The codes STRING_TOO_LONG and
// INVALID_NUMBER are (assumed).
func (a *app) canonical(d *property, value string) (string, *problem) {
	if value == "" {
		return "", nil
	}
	bad := func(code, format string, args ...any) (string, *problem) {
		return "", &problem{d.Name, code, fmt.Sprintf(format, args...)}
	}
	switch d.Type {
	case "string", "phone_number":
		if len(value) > maxText && utf8.RuneCountInString(value) > maxText {
			return bad("STRING_TOO_LONG", "%s is %d characters long, at most %d are allowed", d.Name, utf8.RuneCountInString(value), maxText)
		}
		if d.Name == "email" {
			email := strings.ToLower(strings.TrimSpace(value))
			if !validEmail(email) {
				return bad("INVALID_EMAIL", "Email address %s is invalid", value)
			}
			return email, nil
		}
		if a.rewritePhones && d.FieldType == "phonenumber" {
			return plainPhone(value), nil
		}
		return value, nil
	case "number":
		number := strings.TrimSpace(value)
		if !numberForm.MatchString(number) {
			return bad("INVALID_NUMBER", "%s was not a valid number.", value)
		}
		return number, nil
	case "bool":
		flag := strings.ToLower(value)
		if _, ok := d.rank[flag]; !ok {
			return bad("INVALID_OPTION", "%s was not one of the allowed options: [%s]", value, d.allowed())
		}
		return flag, nil
	case "enumeration":
		return a.chosen(d, value)
	case "date":
		return date(d, value)
	case "datetime":
		t, ok := instant(value)
		if !ok {
			return bad("INVALID_LONG", "%s was not a valid long.", value)
		}
		return t.UTC().Format("2006-01-02T15:04:05.000Z"), nil
	}
	return value, nil
}

// validEmail wants one at sign, a dot in the domain, no blanks or special characters
// (assumed in detail), a local part of at most 64 bytes and 254 in all (RFC 5321).
func validEmail(email string) bool {
	at := strings.IndexByte(email, '@')
	if at < 1 || at > 64 || len(email) > 254 {
		return false
	}
	local, domain := email[:at], email[at+1:]
	if local[0] == '.' || local[at-1] == '.' || strings.Contains(email, "..") {
		return false
	}
	if strings.ContainsAny(local, " \t\r\n()<>[],;:\\\"\u00a0") {
		return false
	}
	dot := strings.LastIndexByte(domain, '.')
	if dot < 1 || len(domain)-dot < 3 || strings.Trim(domain[dot+1:], "0123456789") == "" {
		return false
	}
	for label := range strings.SplitSeq(domain, ".") {
		if label == "" || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
	}
	for _, r := range domain {
		if r != '.' && r != '-' && !unicode.IsLetter(r) && !unicode.IsDigit(r) {
			return false
		}
	}
	return true
}

func (d *property) allowed() string {
	values := make([]string, len(d.Options))
	for i, o := range d.Options {
		values[i] = o.Value
	}
	return strings.Join(values, ", ")
}

// chosen checks an enumeration. Only checkboxes take several values, separated by
// semicolons ([properties]); one semicolon in front means "in addition" (assumed),
// which is kept here and resolved against the record.
func (a *app) chosen(d *property, value string) (string, *problem) {
	if d.ExternalOptions {
		return value, nil
	}
	if d.FieldType != "checkbox" {
		if _, ok := d.rank[value]; !ok {
			return "", &problem{d.Name, "INVALID_OPTION", fmt.Sprintf("%s was not one of the allowed options: [%s]", value, d.allowed())}
		}
		return value, nil
	}
	for v := range strings.SplitSeq(strings.TrimPrefix(value, ";"), ";") {
		if _, ok := d.rank[v]; !ok {
			return "", &problem{d.Name, "INVALID_OPTION", fmt.Sprintf("%s was not one of the allowed options: [%s]", v, d.allowed())}
		}
	}
	return value, nil
}

// date takes ISO 8601 or milliseconds, midnight UTC only (HubSpot.NET issue 98, [php-74]);
// it is read back as 2020-02-23 (assumed).
func date(d *property, value string) (string, *problem) {
	if t, err := time.Parse(time.DateOnly, value); err == nil {
		return t.Format(time.DateOnly), nil
	}
	t, ok := instant(value)
	if !ok {
		return "", &problem{d.Name, "INVALID_DATE", fmt.Sprintf("%s was not a valid date.", value)}
	}
	t = t.UTC()
	if !t.Equal(t.Truncate(24 * time.Hour)) {
		return "", &problem{d.Name, "INVALID_DATE", fmt.Sprintf("%s is at %d:%d:%d.%d UTC, not midnight!", value, t.Hour(), t.Minute(), t.Second(), t.Nanosecond()/1e6)}
	}
	return t.Format(time.DateOnly), nil
}

func instant(value string) (time.Time, bool) {
	if ms, err := strconv.ParseInt(value, 10, 64); err == nil {
		return time.UnixMilli(ms), true
	}
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05.999999999Z0700", "2006-01-02T15:04Z07:00", time.DateOnly} {
		if t, err := time.Parse(layout, value); err == nil {
			return t, true
		}
	}
	return time.Time{}, false
}

func plainPhone(value string) string {
	var b strings.Builder
	for i, r := range strings.TrimSpace(value) {
		if r >= '0' && r <= '9' || i == 0 && r == '+' {
			b.WriteRune(r)
		}
	}
	return b.String()
}
