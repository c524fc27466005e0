package stream

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"time"

	"github.com/segmentio/kafka-go"

	"github.com/penstock-cdc/penstock/change"
)

const (
	// fetchWait is how long a broker may hold back the answer when there is nothing
	// to read; new messages end the wait at once.
	fetchWait = 100 * time.Millisecond
	// busyWait is the same while some partition is being taken in: it must not wait
	// for those that have nothing.
	busyWait = 5 * time.Millisecond
	// fetchEach is how many bytes of batches one partition gets at once.
	fetchEach = 512 << 10
	// commitEvery is how often positions are told to Kafka, for tools that show lag.
	commitEvery = 5 * time.Second
	// watchEvery is how often new topics and partitions are looked for.
	watchEvery = time.Second
	// groupEpoch makes generations grow even when Kafka has forgotten the group, which
	// it does after a week without members, and counts from the start again.
	groupEpoch = 72 * time.Hour
)

// Consume reads topics for one group; see Log. It is a member of the Kafka consumer
// group of that name.
func (k *Kafka) Consume(ctx context.Context, group string, topics []string, c Consumer) error {
	for ctx.Err() == nil {
		counts, err := k.await(ctx, topics)
		if err == nil && k.opts.Alone {
			err = k.vacant(ctx, group)
		}
		if err != nil {
			return ended(ctx, fmt.Errorf("consume for %s: %w", group, err))
		}
		if err := k.member(ctx, group, topics, counts, c); err != nil {
			return ended(ctx, fmt.Errorf("consume for %s: %w", group, err))
		}
	}
	return nil
}

// await waits until at least one of the topics is there, and returns the number of
// partitions of those that are.
func (k *Kafka) await(ctx context.Context, topics []string) (map[string]int, error) {
	tick := time.NewTicker(watchEvery / 5)
	defer tick.Stop()
	for {
		counts, err := k.count(ctx, topics)
		if err != nil || len(counts) > 0 {
			return counts, err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func (k *Kafka) count(ctx context.Context, topics []string) (map[string]int, error) {
	found, err := k.metadata(ctx, topics)
	if err != nil {
		return nil, err
	}
	counts := map[string]int{}
	for _, t := range found {
		if !t.missing && len(t.leaders) > 0 {
			counts[t.name] = len(t.leaders)
		}
	}
	return counts, nil
}

// member takes part in the group until ctx ends, topics or partitions are added
// (nil), or an error.
func (k *Kafka) member(ctx context.Context, group string, topics []string, counts map[string]int, c Consumer) error {
	names := make([]string, 0, len(counts))
	for _, t := range topics {
		if counts[t] > 0 {
			names = append(names, t)
		}
	}
	// kafka-go's client adds the server's name to a configuration that lacks it.
	var security *tls.Config
	if k.opts.TLS != nil {
		security = k.opts.TLS.Clone()
	}
	member, err := kafka.NewConsumerGroup(kafka.ConsumerGroupConfig{
		ID: group, Brokers: k.opts.Brokers, Topics: names,
		Dialer:         &kafka.Dialer{ClientID: "penstock", Timeout: 10 * time.Second, DualStack: true, TLS: security, SASLMechanism: k.opts.SASL},
		SessionTimeout: sessionTimeout, HeartbeatInterval: 2 * time.Second, RebalanceTimeout: 10 * time.Second, JoinGroupBackoff: 100 * time.Millisecond,
	})
	if err != nil {
		return fmt.Errorf("join group: %w", err)
	}
	defer member.Close()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	changed := make(chan struct{})
	watching := make(chan struct{})
	go func() {
		defer close(watching)
		k.watch(ctx, topics, counts, changed)
	}()
	defer func() { cancel(); <-watching }()
	wait := backoff{}
	for {
		generation, err := k.next(ctx, member, changed)
		if errors.Is(err, errChanged) {
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			if !passing(err) && !rejoins(err) {
				return fmt.Errorf("join group: %w", err)
			}
			if !wait.sleep(ctx, k.opts.Logger, "join group", err) {
				return ctx.Err()
			}
			continue
		}
		wait = backoff{}
		if k.opts.Alone {
			switch alone, err := k.alone(ctx, group); {
			case err != nil:
				return err
			case !alone:
				continue
			}
		}
		if err := k.serve(ctx, group, generation, c, changed); err != nil {
			if errors.Is(err, errChanged) {
				return nil
			}
			return err
		}
	}
}

// rejoins tells whether a group's answer means no more than: join again.
func rejoins(err error) bool {
	for _, code := range []kafka.Error{
		kafka.UnknownMemberId, kafka.IllegalGeneration, kafka.RebalanceInProgress, kafka.UnknownTopicOrPartition, kafka.MemberIDRequired,
		kafka.GroupLoadInProgress, kafka.GroupCoordinatorNotAvailable, kafka.NotCoordinatorForGroup,
	} {
		if errors.Is(err, code) {
			return true
		}
	}
	return false
}

var errChanged = errors.New("topics or partitions were added")

func (k *Kafka) next(ctx context.Context, member *kafka.ConsumerGroup, changed <-chan struct{}) (*kafka.Generation, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := make(chan struct{})
	defer close(stop)
	go func() {
		select {
		case <-changed:
			cancel()
		case <-stop:
		}
	}()
	g, err := member.Next(ctx)
	if err != nil {
		select {
		case <-changed:
			return nil, errChanged
		default:
		}
	}
	return g, err
}

// watch closes changed when there are other topics or partitions than counts says.
func (k *Kafka) watch(ctx context.Context, topics []string, counts map[string]int, changed chan<- struct{}) {
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		now, err := k.count(ctx, topics)
		if err != nil {
			continue // ctx ended, or what reads meets the same error
		}
		for topic, n := range now {
			if n != counts[topic] {
				close(changed)
				return
			}
		}
	}
}

// serve gives the generation's partitions to the consumer until the generation ends.
func (k *Kafka) serve(ctx context.Context, group string, generation *kafka.Generation, c Consumer, changed <-chan struct{}) error {
	number := time.Now().UnixNano()/int64(groupEpoch)<<32 | int64(generation.ID)
	done := make(chan error, 1)
	generation.Start(func(lost context.Context) {
		// lost is kafka-go's own kind of context; contexts made of it would each cost a
		// goroutine that ends with it only.
		work, cancel := context.WithCancel(ctx)
		defer cancel()
		stop := context.AfterFunc(lost, cancel)
		defer stop()
		go func() {
			select {
			case <-changed:
				cancel()
			case <-work.Done():
			}
		}()
		r := &kafkaReading{k: k, group: group, generation: number, consumer: c, wake: make(chan struct{}, 1), taken: map[string]map[int]int64{}}
		for topic, partitions := range generation.Assignments {
			for _, p := range partitions {
				r.lanes = append(r.lanes, &kafkaLane{topic: topic, partition: p.ID, queue: make(chan chunk, 2)})
			}
		}
		done <- r.run(work, generation)
	})
	err := <-done
	if err == nil {
		select {
		case <-changed:
			return errChanged
		default:
		}
	}
	return err
}

// Schema returns a table's schema; see Log.
func (k *Kafka) Schema(ctx context.Context, source, topic, version string) (*change.Table, error) {
	return k.schemas.wait(ctx, k, source, topic, version)
}
