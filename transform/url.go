package transform

import (
	"net/url"
	"strings"

	"golang.org/x/net/idna"
)

// maxURL is what browsers and apps take.
const maxURL = 2083

// normalURL brings a web address to the normal form of RFC 3986, sections 6.2.2 and
// 6.2.3: scheme and host in lower case, no default port, at least the path /, no dot
// segments, escapes in capitals and only where they are needed. A host without scheme is
// reached by https. The host is in ASCII (IDNA).
func normalURL(s string) (string, bool) {
	s = strings.TrimFunc(s, isBlank)
	if s == "" || len(s) > maxURL {
		return "", false
	}
	for _, r := range s {
		if isBlank(r) || r < 0x20 || r == '<' || r == '>' || r == '"' || r == '\\' {
			return "", false
		}
	}
	switch before, _, found := strings.Cut(s, "://"); {
	case !found:
		if strings.HasPrefix(s, "//") {
			s = "https:" + s
		} else {
			s = "https://" + s
		}
	case !strings.EqualFold(before, "http") && !strings.EqualFold(before, "https"):
		return "", false
	}
	u, err := url.Parse(s)
	if err != nil || u.User != nil || u.Opaque != "" {
		return "", false
	}
	host, port := strings.TrimSuffix(u.Hostname(), "."), u.Port()
	ascii, err := idna.Lookup.ToASCII(host)
	if err != nil || !hostName(strings.ToLower(ascii)) {
		return "", false
	}
	u.Scheme, u.Host = strings.ToLower(u.Scheme), strings.ToLower(ascii)
	if port != "" && !(u.Scheme == "http" && port == "80") && !(u.Scheme == "https" && port == "443") {
		u.Host += ":" + port
	}
	if u.Path == "" {
		u.Path = "/"
	}
	u = u.JoinPath() // takes dot segments out
	u.RawQuery, u.Fragment, u.RawFragment = plainEscapes(u.RawQuery), "", ""
	out := u.String()
	if path := u.EscapedPath(); path != "" {
		out = strings.Replace(out, path, plainEscapes(path), 1)
	}
	return out, len(out) <= maxURL
}

// plainEscapes writes escapes in capitals, and unreserved characters without.
func plainEscapes(s string) string {
	if strings.IndexByte(s, '%') < 0 {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '%' || i+2 >= len(s) || !isHex(s[i+1]) || !isHex(s[i+2]) {
			b.WriteByte(s[i])
			continue
		}
		c := hexDigit(s[i+1])<<4 | hexDigit(s[i+2])
		if isAlphanumeric(c) || strings.IndexByte("-._~", c) >= 0 {
			b.WriteByte(c)
		} else {
			b.WriteString(strings.ToUpper(s[i : i+3]))
		}
		i += 2
	}
	return b.String()
}

func isHex(c byte) bool { return isDigit(c) || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F' }

func hexDigit(c byte) byte {
	switch {
	case isDigit(c):
		return c - '0'
	case c >= 'a':
		return c - 'a' + 10
	}
	return c - 'A' + 10
}
