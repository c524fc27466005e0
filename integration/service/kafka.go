package service

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	kafkago "github.com/segmentio/kafka-go"
)

const kafkaVersion = "4.4.0"

// kafka is one Kafka node that is broker and controller.
type kafka struct{}

func (k kafka) install(ctx context.Context, c *cache) (installed, error) {
	java, err := c.java(ctx)
	if err != nil {
		return installed{}, err
	}
	name := "kafka-" + kafkaVersion
	home, err := c.entry(ctx, name, func(dir string) error {
		return c.fetchJars(ctx, dir, artifacts(kafkaJars))
	})
	if err != nil {
		return installed{}, err
	}
	template, err := c.template(ctx, name, func(dir string) error {
		conf := filepath.Join(dir, "server.properties")
		if err := os.WriteFile(conf, []byte(kafkaSettings(filepath.Join(dir, "data"), nil)+kafkaPorts(1, 2)), 0o600); err != nil {
			return fmt.Errorf("write server.properties: %w", err)
		}
		return run(ctx, dir, nil, command{args: append(slices.Clone(java), "-XX:TieredStopAtLevel=1", "-cp", filepath.Join(home, "*"),
			"kafka.tools.StorageTool", "format", "-t", "cGVuc3RvY2stdGVzdC1pZA", "-c", conf)})
	})
	return installed{version: kafkaVersion, home: home, template: template, java: java}, err
}

// kafkaSettings is the server.properties of a node in folder data, without its ports.
func kafkaSettings(data string, own []string) string {
	settings := append([]string{
		"process.roles=broker,controller",
		"node.id=1",
		"controller.listener.names=CONTROLLER",
		"log.dirs=" + data,
		"auto.create.topics.enable=false",
		"offsets.topic.replication.factor=1",
		"offsets.topic.num.partitions=4",
		"transaction.state.log.replication.factor=1",
		"transaction.state.log.min.isr=1",
		"transaction.state.log.num.partitions=4",
		"share.coordinator.state.topic.replication.factor=1",
		"share.coordinator.state.topic.min.isr=1",
		"group.initial.rebalance.delay.ms=0",
		"log.cleaner.dedupe.buffer.size=8388608",
		"num.network.threads=2",
		"num.io.threads=4",
		// After a kill a broker cannot register until its old session is over.
		"broker.session.timeout.ms=4000",
		"broker.heartbeat.interval.ms=500",
	}, own...)
	return strings.Join(settings, "\n") + "\n"
}

// kafkaPorts are the settings that name ports: clients' and the controller's.
func kafkaPorts(port, controller int) string {
	return fmt.Sprintf("listeners=PLAINTEXT://127.0.0.1:%d,CONTROLLER://127.0.0.1:%d\ncontroller.quorum.voters=1@127.0.0.1:%d\n",
		port, controller, controller)
}

func (k kafka) create(s *Server) error {
	if err := copyTree(filepath.Join(s.installed.template, "data"), s.data()); err != nil {
		return err
	}
	// Later lines win, so that one's own settings do.
	conf := kafkaSettings(s.data(), s.options.settings) + kafkaPorts(s.Port, s.controller)
	if err := os.WriteFile(filepath.Join(s.Dir, "server.properties"), []byte(conf), 0o600); err != nil {
		return fmt.Errorf("write server.properties: %w", err)
	}
	return nil
}

func (k kafka) command(s *Server) command {
	listeners, voters, _ := strings.Cut(strings.TrimSpace(kafkaPorts(s.Port, s.controller)), "\n")
	return command{
		args: append(slices.Clone(s.installed.java),
			"-Xms64m", "-Xmx"+s.options.heap, "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1",
			"-cp", filepath.Join(s.installed.home, "*"), "kafka.Kafka", filepath.Join(s.Dir, "server.properties"),
			// The ports of this start, where the data is of an earlier one.
			"--override", listeners, "--override", voters,
		),
		stop:  syscall.SIGTERM,
		abort: syscall.SIGKILL,
	}
}

// ping asks on a connection of its own: a kafka-go client would answer out of
// what it heard before a restart.
func (k kafka) ping(ctx context.Context, s *Server) error {
	conn, err := kafkago.DialContext(ctx, "tcp", s.Addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	if deadline, ok := ctx.Deadline(); ok {
		if err := conn.SetDeadline(deadline); err != nil {
			return err
		}
	}
	brokers, err := conn.Brokers()
	if err != nil {
		return err
	}
	if len(brokers) == 0 {
		return errors.New("no broker is registered")
	}
	return nil
}
