package hubspot

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/penstock-cdc/penstock/change"
	"github.com/penstock-cdc/penstock/sink"
)

// text is a value as HubSpot's properties take it: always a string, an empty one to
// clear the property. Dates are 2026-03-04, times are in UTC with milliseconds, the
// values of a multiple choice are joined by semicolons. A value that no property can
// have (infinity, a year before Christ) is the record's refusal.
func text(f sink.Field) (string, error) {
	v := f.Value
	switch v.Kind() {
	case change.Null, change.Unchanged:
		return "", nil
	case change.Float, change.Decimal:
		return plainNumber(f.Name, v.Text())
	case change.Date:
		if _, err := time.Parse(time.DateOnly, v.Text()); err != nil {
			return "", unfit(f.Name, "date")
		}
		return v.Text(), nil
	case change.Timestamp, change.TimestampTZ:
		return instant(f.Name, v.Text())
	case change.Bytes:
		return base64.StdEncoding.EncodeToString([]byte(v.Text())), nil
	case change.Array:
		return joined(v.Text()), nil
	}
	return v.Text(), nil
}

func unfit(name, kind string) error {
	return sink.Reject("UNSUPPORTED_VALUE", fmt.Errorf("property %s: the %s cannot be written in hubspot", name, kind))
}

// plainNumber writes out exponents: HubSpot's numbers are digits and at most one point.
func plainNumber(name, number string) (string, error) {
	digits := strings.TrimLeft(number, "+-")
	if digits == "" || (digits[0] < '0' || digits[0] > '9') && digits[0] != '.' {
		return "", unfit(name, "number") // NaN, Infinity
	}
	if !strings.ContainsAny(number, "eE") {
		return number, nil
	}
	value, err := strconv.ParseFloat(number, 64)
	if err != nil {
		return "", unfit(name, "number")
	}
	return strconv.FormatFloat(value, 'f', -1, 64), nil
}

// instant takes a timestamp without a zone as UTC: HubSpot has no other kind. What is
// finer than its milliseconds is cut off.
func instant(name, text string) (string, error) {
	at, err := time.Parse("2006-01-02T15:04:05.999999999", strings.TrimSuffix(text, "Z"))
	if err != nil {
		return "", unfit(name, "timestamp")
	}
	return at.Format("2006-01-02T15:04:05.000Z"), nil
}

// joined writes a list of plain values with semicolons; any other array stays JSON.
func joined(list string) string {
	var elements []json.RawMessage
	if json.Unmarshal([]byte(list), &elements) != nil {
		return list
	}
	parts := make([]string, 0, len(elements))
	for _, raw := range elements {
		switch raw[0] {
		case '[', '{':
			return list
		case 'n': // null: nothing chosen
		case '"':
			var s string
			if json.Unmarshal(raw, &s) != nil {
				return list
			}
			parts = append(parts, s)
		default:
			parts = append(parts, string(raw))
		}
	}
	return strings.Join(parts, ";")
}

// appendString appends s as a JSON string. Bytes that are not UTF-8 become U+FFFD.
func appendString(dst []byte, s string) []byte {
	const hex = "0123456789abcdef"
	dst = append(dst, '"')
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= ' ' && c != '"' && c != '\\' && c < utf8.RuneSelf {
			i++
			continue
		}
		if c >= utf8.RuneSelf {
			r, size := utf8.DecodeRuneInString(s[i:])
			if r != utf8.RuneError || size > 1 {
				i += size
				continue
			}
		}
		dst = append(dst, s[start:i]...)
		switch {
		case c >= utf8.RuneSelf:
			dst = append(dst, "\ufffd"...)
		case c == '"' || c == '\\':
			dst = append(dst, '\\', c)
		default:
			dst = append(dst, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		}
		i++
		start = i
	}
	return append(append(dst, s[start:]...), '"')
}
