package stream

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/segmentio/kafka-go"
)

// sessionTimeout is how long a member that says nothing, such as one that was
// killed, stays in its group.
const sessionTimeout = 6 * time.Second

// members asks who is in a consumer group. settled is false while its members are
// being gathered: those who are missed then are not in it any more once it is settled.
func (k *Kafka) members(ctx context.Context, group string) (names []string, settled bool, err error) {
	err = k.insist(ctx, "ask for members of group "+group, func() error {
		answer, err := k.client.DescribeGroups(ctx, &kafka.DescribeGroupsRequest{GroupIDs: []string{group}})
		if err != nil {
			return err
		}
		names, settled = names[:0], true
		for _, g := range answer.Groups {
			if g.Error != nil {
				return g.Error
			}
			for _, m := range g.Members {
				names = append(names, m.MemberID+" at "+strings.TrimPrefix(m.ClientHost, "/"))
			}
			settled = g.GroupState != "PreparingRebalance" && g.GroupState != "CompletingRebalance"
		}
		return nil
	})
	return names, settled, err
}

// vacant returns when nobody is in the group, a *SharedGroupError if somebody stays
// for longer than one who is gone could.
func (k *Kafka) vacant(ctx context.Context, group string) error {
	tick := time.NewTicker(watchEvery / 5)
	defer tick.Stop()
	until := time.Now().Add(2 * sessionTimeout)
	for {
		names, _, err := k.members(ctx, group)
		if err != nil {
			return fmt.Errorf("ask for members: %w", err)
		}
		if len(names) == 0 {
			return nil
		}
		if time.Now().After(until) {
			return &SharedGroupError{Group: group, Members: names}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// alone tells whether we, a member, are the only one: false while the group is being
// gathered again, a *SharedGroupError if there are others.
func (k *Kafka) alone(ctx context.Context, group string) (bool, error) {
	names, settled, err := k.members(ctx, group)
	switch {
	case err != nil:
		return false, fmt.Errorf("ask for members: %w", err)
	case !settled:
		return false, nil
	case len(names) > 1:
		return false, &SharedGroupError{Group: group, Members: names}
	}
	return true, nil
}
