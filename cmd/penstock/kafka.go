package main

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"

	"github.com/penstock-cdc/penstock/config"
	"github.com/penstock-cdc/penstock/stream"
)

// kafkaPartitions is how many partitions the topics have that we make.
func kafkaPartitions(s config.Stream) int {
	if s.Partitions > 0 {
		return s.Partitions
	}
	return 6
}

// kafkaOptions makes the settings of stream "kafka" what the stream wants.
func kafkaOptions(s config.Stream) (stream.KafkaOptions, error) {
	opts := stream.KafkaOptions{Brokers: s.Brokers, Partitions: kafkaPartitions(s), ReplicationFactor: s.ReplicationFactor, Retention: s.Retention, Alone: true}
	if s.TLS != nil {
		t := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: s.TLS.ServerName}
		if s.TLS.CA != "" {
			pem, err := os.ReadFile(s.TLS.CA)
			if err != nil {
				return opts, fmt.Errorf("read tls ca: %w", err)
			}
			t.RootCAs = x509.NewCertPool()
			if !t.RootCAs.AppendCertsFromPEM(pem) {
				return opts, fmt.Errorf("read tls ca: %s has no PEM certificate", s.TLS.CA)
			}
		}
		if s.TLS.Cert != "" {
			pair, err := tls.LoadX509KeyPair(s.TLS.Cert, s.TLS.Key)
			if err != nil {
				return opts, fmt.Errorf("read tls cert and key: %w", err)
			}
			t.Certificates = []tls.Certificate{pair}
		}
		opts.TLS = t
	}
	if s.SASL != nil {
		mechanism, err := stream.SASL(s.SASL.Mechanism, s.SASL.Username, s.SASL.Password)
		if err != nil {
			return opts, err
		}
		opts.SASL = mechanism
	}
	return opts, nil
}
