package stream

import (
	"context"
	"crypto/rand"
	"slices"
	"sync"
	"time"
)

// coordinator keeps the members of the endpoint's consumer groups: Kafka's classic
// group protocol. A group's members and generation live in memory, its committed
// offsets in the file.
type coordinator struct {
	e      *Embedded
	mu     sync.Mutex
	groups map[string]*group
}

// States of a group, in Kafka's words.
const (
	stateEmpty   = "Empty"
	stateJoining = "PreparingRebalance"
	stateSyncing = "CompletingRebalance"
	stateStable  = "Stable"
	stateDead    = "Dead"
)

type group struct {
	id         string
	state      string
	kind       string // "consumer"
	protocol   string
	generation int32
	leader     string
	members    map[string]*member
	deadline   time.Time // of joining
	earliest   time.Time // before which joining does not end, for members that start together
	changed    chan struct{}
}

type member struct {
	id, instance, client, host string
	session, rebalance         time.Duration
	protocols                  []protocolOffer
	seen                       time.Time
	joined                     bool // in this round
	assignment                 []byte
}

type protocolOffer struct {
	name     string
	metadata []byte
}

// join is a request to join.
type join struct {
	group, member, instance, kind, client, host string
	session, rebalance                          time.Duration
	protocols                                   []protocolOffer
}

// joined is its answer; the leader's has the members.
type joined struct {
	code                     int16
	generation               int32
	protocol, leader, member string
	members                  []joinedMember
}

type joinedMember struct {
	id, instance string
	metadata     []byte
}

// joinDelay is how long the first member of a group waits for others.
const joinDelay = 100 * time.Millisecond

func newCoordinator(e *Embedded) *coordinator {
	return &coordinator{e: e, groups: map[string]*group{}}
}

// run removes members that fell silent, until ctx ends.
func (k *coordinator) run(ctx context.Context) {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case now := <-tick.C:
			k.mu.Lock()
			for _, g := range k.groups {
				g.expire(now)
			}
			k.mu.Unlock()
		case <-ctx.Done():
			return
		}
	}
}

// signal wakes who waits for the group's next state.
func (g *group) signal() {
	close(g.changed)
	g.changed = make(chan struct{})
}

func (g *group) expire(now time.Time) {
	for id, m := range g.members {
		// Who waits for the others to join, sends no heartbeat.
		if now.Sub(m.seen) > m.session && (g.state != stateJoining || !m.joined) {
			g.remove(id, now)
		}
	}
	g.settle(now)
}

func (g *group) remove(id string, now time.Time) {
	delete(g.members, id)
	if len(g.members) == 0 {
		g.state = stateEmpty
		g.generation++
		g.signal()
		return
	}
	g.rebalance(now)
}

// rebalance has all members join anew.
func (g *group) rebalance(now time.Time) {
	if g.state == stateJoining {
		return
	}
	g.state = stateJoining
	var longest time.Duration
	for _, m := range g.members {
		m.joined, m.assignment = false, nil
		longest = max(longest, m.rebalance)
	}
	g.earliest, g.deadline = now, now.Add(longest)
	g.signal()
}

// settle ends the joining when all are there or the time is over.
func (g *group) settle(now time.Time) {
	if g.state != stateJoining || now.Before(g.earliest) {
		return
	}
	for _, m := range g.members {
		if !m.joined && now.Before(g.deadline) {
			return
		}
	}
	for id, m := range g.members {
		if !m.joined {
			delete(g.members, id)
		}
	}
	if len(g.members) == 0 {
		g.state = stateEmpty
		g.signal()
		return
	}
	g.generation++
	g.state = stateSyncing
	g.protocol = g.choose()
	if g.members[g.leader] == nil {
		ids := g.ids()
		g.leader = ids[0]
	}
	for _, m := range g.members {
		m.seen = now
	}
	g.signal()
}

func (g *group) ids() []string {
	ids := make([]string, 0, len(g.members))
	for id := range g.members {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}

// choose returns the first protocol of a member that all know, "" if there is none.
func (g *group) choose() string {
	ids := g.ids()
	if len(ids) == 0 {
		return ""
	}
	for _, p := range g.members[ids[0]].protocols {
		known := true
		for _, m := range g.members {
			known = known && slices.ContainsFunc(m.protocols, func(o protocolOffer) bool { return o.name == p.name })
		}
		if known {
			return p.name
		}
	}
	return ""
}

func (k *coordinator) join(ctx context.Context, j join) joined {
	if j.group == "" {
		return joined{code: codeInvalidGroup, generation: -1}
	}
	if j.session < time.Second || j.session > time.Hour {
		return joined{code: codeInvalidSession, generation: -1}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	now := time.Now()
	g := k.groups[j.group]
	if g == nil {
		g = &group{id: j.group, state: stateEmpty, members: map[string]*member{}, changed: make(chan struct{})}
		k.groups[j.group] = g
	}
	if len(g.members) > 0 && g.kind != j.kind {
		return joined{code: codeInconsistent, generation: -1}
	}
	g.kind = j.kind
	m := g.members[j.member]
	if m == nil {
		if j.member != "" {
			return joined{code: codeUnknownMember, generation: -1, member: j.member}
		}
		for id, old := range g.members { // a static member that came back
			if j.instance != "" && old.instance == j.instance {
				delete(g.members, id)
			}
		}
		m = &member{id: j.client + "-" + rand.Text(), instance: j.instance}
		g.members[m.id] = m
	}
	if g.state != stateJoining {
		first := g.state == stateEmpty
		g.rebalance(now)
		if first {
			g.earliest = now.Add(joinDelay)
		}
	}
	m.client, m.host, m.session, m.rebalance, m.protocols = j.client, j.host, j.session, j.rebalance, j.protocols
	m.joined, m.seen = true, now
	g.deadline = maxTime(g.deadline, now.Add(min(m.rebalance, 5*time.Minute)))
	if g.choose() == "" {
		delete(g.members, m.id)
		return joined{code: codeInconsistent, generation: -1}
	}
	g.settle(now)
	for g.state == stateJoining {
		if !k.wait(ctx, g) {
			return joined{code: codeRebalanceInProgress, generation: -1, member: m.id}
		}
	}
	if g.members[m.id] != m {
		return joined{code: codeUnknownMember, generation: -1, member: m.id}
	}
	r := joined{generation: g.generation, protocol: g.protocol, leader: g.leader, member: m.id}
	if g.leader == m.id {
		for _, id := range g.ids() {
			r.members = append(r.members, joinedMember{id, g.members[id].instance, g.members[id].offer(g.protocol)})
		}
	}
	return r
}

func (m *member) offer(protocol string) []byte {
	for _, p := range m.protocols {
		if p.name == protocol {
			return p.metadata
		}
	}
	return nil
}

func maxTime(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// wait gives up the lock until the group changes; false: ctx ended.
func (k *coordinator) wait(ctx context.Context, g *group) bool {
	changed := g.changed
	k.mu.Unlock()
	defer k.mu.Lock()
	select {
	case <-changed:
		return true
	case <-ctx.Done():
		return false
	}
}

// known finds a member of the current generation.
func (k *coordinator) known(id string, generation int32, memberID string) (*group, *member, int16) {
	g := k.groups[id]
	if g == nil || g.members[memberID] == nil {
		return nil, nil, codeUnknownMember
	}
	if g.generation != generation {
		return g, nil, codeIllegalGeneration
	}
	return g, g.members[memberID], codeNone
}

func (k *coordinator) sync(ctx context.Context, id string, generation int32, memberID string, assignments map[string][]byte) ([]byte, int16) {
	k.mu.Lock()
	defer k.mu.Unlock()
	g, m, code := k.known(id, generation, memberID)
	if code != codeNone {
		return nil, code
	}
	m.seen = time.Now()
	if g.state == stateSyncing && g.leader == memberID {
		for member, assignment := range assignments {
			if to := g.members[member]; to != nil {
				to.assignment = assignment
			}
		}
		g.state = stateStable
		g.signal()
	}
	for g.state == stateSyncing && g.generation == generation {
		if !k.wait(ctx, g) {
			return nil, codeRebalanceInProgress
		}
	}
	if g.state != stateStable || g.generation != generation || g.members[memberID] != m {
		return nil, codeRebalanceInProgress
	}
	m.seen = time.Now()
	return m.assignment, codeNone
}

func (k *coordinator) heartbeat(id string, generation int32, memberID string) int16 {
	k.mu.Lock()
	defer k.mu.Unlock()
	g, m, code := k.known(id, generation, memberID)
	if code != codeNone {
		return code
	}
	m.seen = time.Now()
	if g.state == stateJoining {
		return codeRebalanceInProgress
	}
	return codeNone
}

func (k *coordinator) leave(id, memberID string) int16 {
	k.mu.Lock()
	defer k.mu.Unlock()
	g := k.groups[id]
	if g == nil || g.members[memberID] == nil {
		return codeUnknownMember
	}
	now := time.Now()
	g.remove(memberID, now)
	g.settle(now)
	return codeNone
}

// mayCommit tells whether a commit is of the group's current generation, or of a
// client that uses the group for its offsets alone.
func (k *coordinator) mayCommit(id string, generation int32, memberID string) int16 {
	k.mu.Lock()
	defer k.mu.Unlock()
	if generation < 0 && memberID == "" {
		if g := k.groups[id]; g != nil && len(g.members) > 0 {
			return codeUnknownMember
		}
		return codeNone
	}
	_, m, code := k.known(id, generation, memberID)
	if m != nil {
		m.seen = time.Now()
	}
	return code
}

// groupInfo describes a group.
type groupInfo struct {
	id, state, kind, protocol string
	members                   []memberInfo
}

type memberInfo struct {
	id, instance, client, host string
	metadata, assignment       []byte
}

func (k *coordinator) list() []groupInfo {
	k.mu.Lock()
	defer k.mu.Unlock()
	var out []groupInfo
	for _, g := range k.groups {
		out = append(out, groupInfo{id: g.id, kind: g.kind})
	}
	for _, id := range k.e.groups.names() {
		if k.groups[id] == nil {
			out = append(out, groupInfo{id: id, kind: "consumer"})
		}
	}
	return out
}

func (k *coordinator) describe(id string) groupInfo {
	k.mu.Lock()
	defer k.mu.Unlock()
	g := k.groups[id]
	if g == nil {
		if slices.Contains(k.e.groups.names(), id) {
			return groupInfo{id: id, state: stateEmpty, kind: "consumer"}
		}
		return groupInfo{id: id, state: stateDead}
	}
	out := groupInfo{id: id, state: g.state, kind: g.kind, protocol: g.protocol}
	for _, mid := range g.ids() {
		m := g.members[mid]
		out.members = append(out.members, memberInfo{m.id, m.instance, m.client, m.host, m.offer(g.protocol), m.assignment})
	}
	return out
}
