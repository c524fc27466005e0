package stream

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/segmentio/kafka-go"
	"golang.org/x/sync/errgroup"

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

// kafkaReading is the reading of one generation's partitions.
type kafkaReading struct {
	k          *Kafka
	group      string
	generation int64
	consumer   Consumer
	lanes      []*kafkaLane
	wake       chan struct{} // a partition has room for more

	mu    sync.Mutex
	taken map[string]map[int]int64
}

// kafkaLane is one of them.
type kafkaLane struct {
	topic     string
	partition int
	queue     chan chunk // fetched and not taken

	mu       sync.Mutex
	assigned bool
	fetch    int64 // offset to fetch next
	queued   int
}

// chunk is what one fetch brought.
type chunk struct {
	from    int64
	records []byte
}

// run reads until ctx ends (nil) or an error.
func (r *kafkaReading) run(ctx context.Context, generation *kafka.Generation) error {
	g, inner := errgroup.WithContext(ctx)
	for _, l := range r.lanes {
		g.Go(func() error { return r.follow(inner, l) })
	}
	g.Go(func() error { return r.fetchLoop(inner) })
	g.Go(func() error {
		r.commitLoop(inner, generation)
		return nil
	})
	return ended(ctx, g.Wait())
}

// follow gives one partition to the consumer.
func (r *kafkaReading) follow(ctx context.Context, l *kafkaLane) error {
	next, err := r.consumer.Assign(ctx, l.topic, l.partition, r.generation)
	if err != nil {
		return ended(ctx, err)
	}
	start, end, err := r.k.Bounds(ctx, l.topic, l.partition)
	if err != nil {
		return ended(ctx, err)
	}
	if next < 0 {
		next = start
	}
	if next < start {
		return &GapError{Group: r.group, Topic: l.topic, Partition: l.partition, Want: next, Start: start}
	}
	if next > end {
		return beyond(l, next, end)
	}
	l.set(next)
	r.hurry()
	var d decoder
	defer d.close()
	idle := time.NewTimer(0)
	defer idle.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-idle.C:
			d.shrink()
			if err := r.consumer.Idle(ctx, l.topic, l.partition, next); err != nil {
				return ended(ctx, err)
			}
			idle.Reset(idleAfter)
		case c := <-l.queue:
			if next, err = r.take(ctx, l, &d, c, next); err != nil {
				return ended(ctx, err)
			}
			l.done()
			r.hurry()
			idle.Reset(idleAfter)
		}
	}
}

// take gives a chunk to the consumer, in pieces of bounded size.
func (r *kafkaReading) take(ctx context.Context, l *kafkaLane, d *decoder, c chunk, next int64) (int64, error) {
	for data := c.records; len(data) > 0; {
		d.reset()
		from := next
		rest, after, err := d.decodeSome(data, l.topic, l.partition, next, takeSize)
		if err != nil {
			return next, damaged(l.topic, l.partition, after, err)
		}
		data, next = rest, after
		if len(d.messages) > 0 {
			if err := r.consumer.Take(ctx, l.topic, l.partition, d.messages); err != nil {
				return from, err
			}
		}
		r.note(l, next)
	}
	return next, nil
}

// decodeSome decodes batches until maxBytes, and returns what is left and the offset
// after the last one.
func (d *decoder) decodeSome(data []byte, topic string, partition int, from int64, maxBytes int) ([]byte, int64, error) {
	for size := 0; len(data) > 0 && size < maxBytes; {
		b, err := parseBatch(data)
		if errors.Is(err, errCutOff) {
			return nil, from, nil
		}
		if err != nil {
			return nil, from, err
		}
		if b.last >= from {
			if _, err := d.decode(data[:b.size], topic, partition, from); err != nil {
				return nil, from, err
			}
			from = b.last + 1
		}
		size += b.size + len(d.last())
		data = data[b.size:]
	}
	return data, from, nil
}

func beyond(l *kafkaLane, next, end int64) error {
	return &DamageError{Topic: l.topic, Partition: l.partition, Offset: end, Missing: fmt.Sprintf("a reader had %d more messages than there are", next-end), Fix: fixKafka}
}

func (l *kafkaLane) set(next int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.assigned, l.fetch = true, next
}

func (l *kafkaLane) done() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.queued--
}

// hungry returns the offset to fetch from, if the lane has room.
func (l *kafkaLane) hungry() (offset int64, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.fetch, l.assigned && l.queued < cap(l.queue)
}

func (r *kafkaReading) hurry() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

func (r *kafkaReading) note(l *kafkaLane, next int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.taken[l.topic] == nil {
		r.taken[l.topic] = map[int]int64{}
	}
	r.taken[l.topic][l.partition] = next
}

// fetchLoop fetches for the partitions that have room, one request to each broker at
// a time.
func (r *kafkaReading) fetchLoop(ctx context.Context) error {
	wait := backoff{}
	for ctx.Err() == nil {
		groups := map[int32][]*kafkaLane{}
		busy := false
		for _, l := range r.lanes {
			if _, ok := l.hungry(); !ok {
				busy = true
				continue
			}
			leader := r.k.leader(l.topic, l.partition)
			groups[leader] = append(groups[leader], l)
		}
		if len(groups) == 0 {
			select {
			case <-r.wake:
			case <-ctx.Done():
			}
			continue
		}
		limit := fetchWait
		if busy {
			limit = busyWait
		}
		g, inner := errgroup.WithContext(ctx)
		var trouble error
		var mu sync.Mutex
		for _, lanes := range groups {
			g.Go(func() error {
				err := r.fetchFrom(inner, lanes, limit)
				if err != nil && passing(err) {
					mu.Lock()
					defer mu.Unlock()
					trouble = err
					return nil
				}
				return err
			})
		}
		if err := g.Wait(); err != nil {
			return ended(ctx, err)
		}
		if trouble == nil {
			wait = backoff{}
		} else if !wait.sleep(ctx, r.k.opts.Logger, "read", trouble) {
			return nil
		}
	}
	return nil
}

// fetchFrom fetches for partitions that have one leader.
func (r *kafkaReading) fetchFrom(ctx context.Context, lanes []*kafkaLane, limit time.Duration) error {
	type key struct {
		topic     string
		partition int
	}
	wants := make([]want, len(lanes))
	byKey := make(map[key]*kafkaLane, len(lanes))
	each := max(fetchEach/len(lanes), 64<<10)
	for i, l := range lanes {
		offset, _ := l.hungry()
		wants[i] = want{l.topic, l.partition, offset, each}
		byKey[key{l.topic, l.partition}] = l
	}
	answers, err := r.k.fetch(ctx, wants, limit)
	if err != nil {
		for _, l := range lanes {
			r.k.forget(l.topic)
		}
		return err
	}
	var trouble error
	for _, a := range answers {
		l := byKey[key{a.topic, a.partition}]
		if l == nil {
			return errAnswer
		}
		offset, _ := l.hungry()
		switch code := kafka.Error(a.code); {
		case code == kafka.OffsetOutOfRange:
			start, end, err := r.k.Bounds(ctx, l.topic, l.partition)
			if err != nil {
				return err
			}
			if offset < start {
				return &GapError{Group: r.group, Topic: l.topic, Partition: l.partition, Want: offset, Start: start}
			}
			return beyond(l, offset, end)
		case code != 0:
			r.k.forget(l.topic)
			if !passing(code) {
				return fmt.Errorf("read topic %s partition %d: %w", l.topic, l.partition, code)
			}
			trouble = code
		case len(a.records) > 0:
			if err := l.deliver(a.records, offset); err != nil {
				return damaged(l.topic, l.partition, offset, err)
			}
		}
	}
	return trouble
}

// deliver queues what was fetched. Only fetchLoop adds, so there is room.
func (l *kafkaLane) deliver(records []byte, from int64) error {
	next := from
	whole := 0
	for data := records; len(data) > 0; {
		b, err := parseBatch(data)
		if errors.Is(err, errCutOff) {
			break
		}
		if err != nil {
			return err
		}
		next = max(next, b.last+1)
		whole += b.size
		data = data[b.size:]
	}
	if next == from {
		return nil
	}
	l.mu.Lock()
	l.fetch = next
	l.queued++
	l.mu.Unlock()
	l.queue <- chunk{from, records[:whole]}
	return nil
}

// commitLoop tells Kafka the positions now and then. Nothing depends on it.
func (r *kafkaReading) commitLoop(ctx context.Context, generation *kafka.Generation) {
	tick := time.NewTicker(commitEvery)
	defer tick.Stop()
	for {
		ending := false
		select {
		case <-tick.C:
		case <-ctx.Done():
			ending = true
		}
		r.mu.Lock()
		taken := r.taken
		r.taken = map[string]map[int]int64{}
		r.mu.Unlock()
		if err := generation.CommitOffsets(taken); err != nil && !ending {
			r.k.opts.Logger.Debug("positions not told to kafka", "group", r.group, "error", err)
		}
		if ending {
			return
		}
	}
}

// Schema returns a table's schema; see Log.
func (k *Kafka) Schema(ctx context.Context, source, topic, version string) (*change.Table, error) {
	return k.schemas.wait(ctx, k, source, topic, version)
}
