package stream

import (
	"context"
	"time"
)

func (s *server) findCoordinator(_ context.Context, c *call) {
	c.in.string()
	kind := int8(0)
	if c.version >= 1 {
		kind = c.in.int8()
	}
	c.throttle(1)
	code := int16(codeNone)
	if kind != 0 { // of transactions
		code = codeNotAuthorized
	}
	c.int16(code)
	if c.version >= 1 {
		c.null()
	}
	host, port := c.address()
	c.int32(node)
	c.string(host)
	c.int32(port)
}

func (s *server) joinGroup(ctx context.Context, c *call) {
	j := join{group: c.in.string(), session: time.Duration(c.in.int32()) * time.Millisecond, client: c.client, host: c.conn.RemoteAddr().String()}
	j.rebalance = j.session
	if c.version >= 1 {
		j.rebalance = time.Duration(c.in.int32()) * time.Millisecond
	}
	j.member = c.in.string()
	if c.version >= 5 {
		j.instance = c.in.string()
	}
	j.kind = c.in.string()
	for range max(c.in.array(), 0) {
		name := c.in.string()
		j.protocols = append(j.protocols, protocolOffer{name, append([]byte(nil), c.in.bytes()...)})
	}
	var r joined
	if !c.in.bad {
		r = s.groups.join(ctx, j)
	}
	c.throttle(2)
	c.int16(r.code)
	c.int32(r.generation)
	c.string(r.protocol)
	c.string(r.leader)
	c.string(r.member)
	c.array(len(r.members))
	for _, m := range r.members {
		c.string(m.id)
		if c.version >= 5 {
			c.instance(m.instance)
		}
		c.bytes(m.metadata)
	}
}

func (c *call) instance(id string) {
	if id == "" {
		c.null()
	} else {
		c.string(id)
	}
}

func (s *server) syncGroup(ctx context.Context, c *call) {
	group, generation, member := c.in.string(), c.in.int32(), c.in.string()
	if c.version >= 3 {
		c.in.string()
	}
	assignments := map[string][]byte{}
	for range max(c.in.array(), 0) {
		id := c.in.string()
		assignments[id] = append([]byte(nil), c.in.bytes()...)
	}
	assignment, code := s.groups.sync(ctx, group, generation, member, assignments)
	c.throttle(1)
	c.int16(code)
	c.bytes(assignment)
}

func (s *server) heartbeat(_ context.Context, c *call) {
	group, generation, member := c.in.string(), c.in.int32(), c.in.string()
	if c.version >= 3 {
		c.in.string()
	}
	c.throttle(1)
	c.int16(s.groups.heartbeat(group, generation, member))
}

func (s *server) leaveGroup(_ context.Context, c *call) {
	group := c.in.string()
	if c.version < 3 {
		code := s.groups.leave(group, c.in.string())
		c.throttle(1)
		c.int16(code)
		return
	}
	c.throttle(1)
	c.int16(codeNone)
	n := max(c.in.array(), 0)
	c.array(n)
	for range n {
		member, instance := c.in.string(), c.in.string()
		c.string(member)
		c.instance(instance)
		c.int16(s.groups.leave(group, member))
	}
}

func (s *server) offsetCommit(_ context.Context, c *call) {
	group, generation, member := c.in.string(), c.in.int32(), c.in.string()
	if c.version >= 7 {
		c.in.string()
	}
	if c.version <= 4 {
		c.in.int64() // retention
	}
	code := s.groups.mayCommit(group, generation, member)
	offsets := map[reader]committed{}
	now := time.Now().UnixMilli()
	type topicAsked struct {
		name       string
		partitions []int32
	}
	var topics []topicAsked
	for range max(c.in.array(), 0) {
		t := topicAsked{name: c.in.string()}
		for range max(c.in.array(), 0) {
			p, offset := c.in.int32(), c.in.int64()
			if c.version >= 6 {
				c.in.int32()
			}
			offsets[reader{group, t.name, int(p)}] = committed{offset, c.in.string(), now}
			t.partitions = append(t.partitions, p)
		}
		topics = append(topics, t)
	}
	for r := range offsets {
		if _, err := s.e.find(r.topic, r.partition); err != nil {
			delete(offsets, r)
		}
	}
	if code == codeNone && !c.in.bad && len(offsets) > 0 {
		if err := s.e.groups.commit(s.e, offsets); err != nil {
			s.e.opts.Logger.Error("kafka client can't commit", "group", group, "error", err)
			code = codeStorage
		}
	}
	c.throttle(3)
	c.array(len(topics))
	for _, t := range topics {
		c.string(t.name)
		c.array(len(t.partitions))
		for _, p := range t.partitions {
			c.int32(p)
			if _, ok := offsets[reader{group, t.name, int(p)}]; !ok && code == codeNone {
				c.int16(codeUnknownTopic)
			} else {
				c.int16(code)
			}
		}
	}
}

func (s *server) offsetFetch(_ context.Context, c *call) {
	group := c.in.string()
	type topicAsked struct {
		name       string
		partitions []int32
	}
	var topics []topicAsked
	n := c.in.array()
	for range max(n, 0) {
		t := topicAsked{name: c.in.string()}
		for range max(c.in.array(), 0) {
			t.partitions = append(t.partitions, c.in.int32())
		}
		topics = append(topics, t)
	}
	all := s.e.groups.of(group)
	if n < 0 {
		byTopic := map[string][]int32{}
		for r := range all {
			byTopic[r.topic] = append(byTopic[r.topic], int32(r.partition))
		}
		for name, partitions := range byTopic {
			topics = append(topics, topicAsked{name, partitions})
		}
	}
	c.throttle(3)
	c.array(len(topics))
	for _, t := range topics {
		c.string(t.name)
		c.array(len(t.partitions))
		for _, p := range t.partitions {
			at, ok := all[reader{group, t.name, int(p)}]
			if !ok {
				at.position = -1
			}
			c.int32(p)
			c.int64(at.position)
			if c.version >= 5 {
				c.int32(-1)
			}
			c.string(at.metadata)
			c.int16(codeNone)
		}
	}
	if c.version >= 2 {
		c.int16(codeNone)
	}
}

func (s *server) listGroups(_ context.Context, c *call) {
	list := s.groups.list()
	c.throttle(1)
	c.int16(codeNone)
	c.array(len(list))
	for _, g := range list {
		c.string(g.id)
		c.string(g.kind)
	}
}

func (s *server) describeGroups(_ context.Context, c *call) {
	n := max(c.in.array(), 0)
	c.throttle(1)
	c.array(n)
	for range n {
		g := s.groups.describe(c.in.string())
		c.int16(codeNone)
		c.string(g.id)
		c.string(g.state)
		c.string(g.kind)
		c.string(g.protocol)
		c.array(len(g.members))
		for _, m := range g.members {
			c.string(m.id)
			if c.version >= 4 {
				c.instance(m.instance)
			}
			c.string(m.client)
			c.string(m.host)
			c.bytes(m.metadata)
			c.bytes(m.assignment)
		}
		if c.version >= 3 {
			c.int32(-1 << 31)
		}
	}
}
