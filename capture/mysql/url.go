package mysql

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"strconv"
)

// address is what a URL says.
type address struct {
	host           string
	port           uint16
	user, password string
	tls, tlsCA     string
}

// Values of the URL's tls.
const (
	tlsPreferred = "preferred"
	tlsDisable   = "disable"
	tlsRequire   = "require"
	tlsVerify    = "verify"
)

// parseURL reads the URL; its errors never quote it, since it has the password.
func parseURL(text string) (address, error) {
	u, err := url.Parse(text)
	if err != nil {
		return address{}, errors.New("it cannot be parsed")
	}
	a := address{host: u.Hostname(), port: 3306, tls: tlsPreferred}
	switch {
	case u.Scheme != "mysql" && u.Scheme != "mariadb":
		return address{}, errors.New("it does not begin with mysql://")
	case a.host == "":
		return address{}, errors.New("it has no host")
	case u.User == nil || u.User.Username() == "":
		return address{}, errors.New("it has no user")
	}
	a.user = u.User.Username()
	a.password, _ = u.User.Password()
	if p := u.Port(); p != "" {
		n, err := strconv.ParseUint(p, 10, 16)
		if err != nil {
			return address{}, errors.New("its port is not a number below 65536")
		}
		a.port = uint16(n)
	}
	for name, values := range u.Query() {
		switch value := values[0]; name {
		case "tls":
			switch value {
			case "preferred":
				a.tls = tlsPreferred
			case "disable", "false":
				a.tls = tlsDisable
			case "require", "skip-verify":
				a.tls = tlsRequire
			case "verify", "true":
				a.tls = tlsVerify
			default:
				return address{}, errors.New("tls is preferred, disable, require or verify")
			}
		case "tls-ca":
			a.tlsCA = value
		default:
			return address{}, fmt.Errorf("there is no parameter %q, only tls and tls-ca", name)
		}
	}
	return a, nil
}

func (a *address) hostPort() string { return net.JoinHostPort(a.host, strconv.Itoa(int(a.port))) }

// tlsConfig returns the TLS settings, nil for none.
func (a *address) tlsConfig() (*tls.Config, error) {
	switch a.tls {
	case tlsDisable:
		return nil, nil
	case tlsVerify:
		cfg := &tls.Config{ServerName: a.host, MinVersion: tls.VersionTLS12}
		if a.tlsCA != "" {
			pem, err := os.ReadFile(a.tlsCA)
			if err != nil {
				return nil, fmt.Errorf("read tls-ca: %w", err)
			}
			cfg.RootCAs = x509.NewCertPool()
			if !cfg.RootCAs.AppendCertsFromPEM(pem) {
				return nil, fmt.Errorf("read tls-ca: %s has no certificate", a.tlsCA)
			}
		}
		return cfg, nil
	}
	// The user asked for encryption without knowing the server.
	return &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS12}, nil //nolint:gosec // tls=verify checks
}
