package stream

import (
	"fmt"

	"github.com/segmentio/kafka-go/sasl"
	saslplain "github.com/segmentio/kafka-go/sasl/plain"
	"github.com/segmentio/kafka-go/sasl/scram"
)

// SASL makes the mechanism of a name: plain, scram-sha-256 or scram-sha-512.
func SASL(mechanism, username, password string) (sasl.Mechanism, error) {
	switch mechanism {
	case "plain":
		return saslplain.Mechanism{Username: username, Password: password}, nil
	case "scram-sha-256":
		return scram.Mechanism(scram.SHA256, username, password)
	case "scram-sha-512":
		return scram.Mechanism(scram.SHA512, username, password)
	}
	return nil, fmt.Errorf("unknown SASL mechanism %q", mechanism)
}
