package stream

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/segmentio/kafka-go"
)

// ready makes sure that a topic is there and is as it must be, and returns its
// partitions, the largest message it takes, and whether it was there before.
func (k *Kafka) ready(ctx context.Context, topic string) (partitions, limit int, existed bool, err error) {
	partitions, err = k.Partitions(ctx, topic)
	if err != nil {
		return 0, 0, false, err
	}
	if partitions > 0 {
		limit, err = k.check(ctx, topic)
		return partitions, limit, true, err
	}
	partitions = k.opts.Partitions
	compacted := isOwn(topic)
	if compacted {
		partitions = 1
	}
	if err := k.make(ctx, topic, partitions, compacted); err != nil {
		return 0, 0, false, err
	}
	err = k.insist(ctx, "wait for topic "+topic, func() error {
		n, err := k.Partitions(ctx, topic)
		if err == nil && n == 0 {
			return kafka.LeaderNotAvailable
		}
		partitions = n
		return err
	})
	return partitions, k.opts.MaxMessage, false, err
}

func (k *Kafka) make(ctx context.Context, topic string, partitions int, compacted bool) error {
	settings := []kafka.ConfigEntry{
		{ConfigName: "max.message.bytes", ConfigValue: strconv.Itoa(k.opts.MaxMessage + batchSlack)},
		{ConfigName: "message.timestamp.type", ConfigValue: "CreateTime"},
		{ConfigName: "compression.type", ConfigValue: "producer"},
		{ConfigName: "delete.retention.ms", ConfigValue: "86400000"},
	}
	if compacted {
		settings = append(settings, kafka.ConfigEntry{ConfigName: "cleanup.policy", ConfigValue: "compact"})
	} else {
		retention := int64(-1)
		if k.opts.Retention > 0 {
			retention = k.opts.Retention.Milliseconds()
		}
		settings = append(settings, kafka.ConfigEntry{ConfigName: "cleanup.policy", ConfigValue: "delete"},
			kafka.ConfigEntry{ConfigName: "retention.ms", ConfigValue: strconv.FormatInt(retention, 10)},
			kafka.ConfigEntry{ConfigName: "retention.bytes", ConfigValue: "-1"})
	}
	return k.insist(ctx, "make topic "+topic, func() error {
		res, err := k.client.CreateTopics(ctx, &kafka.CreateTopicsRequest{Topics: []kafka.TopicConfig{{
			Topic: topic, NumPartitions: partitions, ReplicationFactor: k.opts.ReplicationFactor, ConfigEntries: settings,
		}}})
		if err != nil {
			return err
		}
		if err := res.Errors[topic]; err != nil && !errors.Is(err, kafka.TopicAlreadyExists) {
			return fmt.Errorf("%w; make it by hand, or give this client the right to (ACL Create)", err)
		}
		return nil
	})
}

// check looks at the settings of a topic that was there before, and returns the
// largest message it takes.
func (k *Kafka) check(ctx context.Context, topic string) (int, error) {
	limit := k.opts.MaxMessage
	err := k.insist(ctx, "read settings of topic "+topic, func() error {
		res, err := k.client.DescribeConfigs(ctx, &kafka.DescribeConfigsRequest{Resources: []kafka.DescribeConfigRequestResource{{
			ResourceType: kafka.ResourceTypeTopic, ResourceName: topic, ConfigNames: []string{"cleanup.policy", "max.message.bytes"},
		}}})
		if err != nil {
			return err
		}
		for _, r := range res.Resources {
			if r.Error != nil {
				return r.Error
			}
			for _, c := range r.ConfigEntries {
				switch {
				case c.ConfigName == "max.message.bytes":
					limit = min(limit, max(parseSize(c.ConfigValue)-batchHeader-1024, 1))
				case c.ConfigName == "cleanup.policy" && isOwn(topic) && strings.Contains(c.ConfigValue, "delete"):
					return fmt.Errorf("its cleanup.policy is %s: schemas of tables would be deleted; set it to compact", c.ConfigValue)
				case c.ConfigName == "cleanup.policy" && !isOwn(topic) && strings.Contains(c.ConfigValue, "compact"):
					k.opts.Logger.Warn("topic is compacted: readers that are behind miss changes, and messages without a key are refused", "topic", topic)
				}
			}
		}
		return nil
	})
	return limit, err
}
