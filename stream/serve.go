package stream

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"
)

// Serve answers Kafka clients that read: the endpoint of `listen`. It returns when ctx
// ends (nil) or the listener fails, after all connections are closed. There is no
// authentication: the listener should be on the loopback interface.
//
// The versions it declares are those before Kafka's "flexible" encoding, which every
// client still speaks, and for ApiVersions also those after.
func (e *Embedded) Serve(ctx context.Context, listener net.Listener) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { listener.Close() })
	defer stop()
	s := &server{e: e, groups: newCoordinator(e)}
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { s.groups.run(ctx) })
	for {
		c, err := listener.Accept()
		if err != nil {
			cancel()
			if ctx.Err() != nil && errors.Is(err, net.ErrClosed) {
				return nil
			}
			return fmt.Errorf("accept kafka clients at %s: %w", listener.Addr(), err)
		}
		wg.Go(func() {
			unhook := context.AfterFunc(ctx, func() { c.Close() })
			defer unhook()
			defer c.Close()
			if err := s.converse(ctx, c); err != nil && ctx.Err() == nil && !errors.Is(err, io.EOF) && !errors.Is(err, net.ErrClosed) {
				e.opts.Logger.Debug("kafka client disconnected", "client", c.RemoteAddr().String(), "error", err)
			}
		})
	}
}

// maxRequest bounds what a client may send; readers send little.
const maxRequest = 1 << 20

// server answers the clients of one endpoint.
type server struct {
	e      *Embedded
	groups *coordinator
}

// call is one request being answered.
type call struct {
	wireWriter // the answer
	in         wireReader
	version    int16
	client     string
	conn       net.Conn
}

// api is one kind of request, and the versions of it that are understood.
type api struct {
	key, min, max int16
	answer        func(s *server, ctx context.Context, c *call)
}

// apis are the requests that are answered. Those for writing are there to be refused.
func apis() []api {
	return []api{
		{0, 3, 8, (*server).produce},
		{1, 4, 11, (*server).fetch},
		{2, 1, 5, (*server).listOffsets},
		{3, 0, 8, (*server).metadata},
		{8, 2, 7, (*server).offsetCommit},
		{9, 1, 5, (*server).offsetFetch},
		{10, 0, 2, (*server).findCoordinator},
		{11, 0, 5, (*server).joinGroup},
		{12, 0, 3, (*server).heartbeat},
		{13, 0, 3, (*server).leaveGroup},
		{14, 0, 3, (*server).syncGroup},
		{15, 0, 4, (*server).describeGroups},
		{16, 0, 2, (*server).listGroups},
		{18, 0, 3, (*server).apiVersions},
		{22, 0, 1, (*server).initProducer},
	}
}

// Error codes of the protocol.
const (
	codeNone                = 0
	codeOffsetOutOfRange    = 1
	codeUnknownTopic        = 3
	codeNotAuthorizedTopic  = 29
	codeNotAuthorized       = 31
	codeUnsupportedVersion  = 35
	codeStorage             = 56
	codeIllegalGeneration   = 22
	codeInconsistent        = 23
	codeInvalidGroup        = 24
	codeUnknownMember       = 25
	codeInvalidSession      = 26
	codeRebalanceInProgress = 27
)

// converse answers one connection's requests, one after the other.
func (s *server) converse(ctx context.Context, conn net.Conn) error {
	in := bufio.NewReader(conn)
	known := map[int16]api{}
	for _, a := range apis() {
		known[a.key] = a
	}
	var buf []byte
	for {
		var head [4]byte
		if _, err := io.ReadFull(in, head[:]); err != nil {
			return err
		}
		size := int(int32(binary.BigEndian.Uint32(head[:])))
		if size < 8 || size > maxRequest {
			return fmt.Errorf("request of %d bytes", size)
		}
		if cap(buf) < size {
			buf = make([]byte, size)
		}
		buf = buf[:size]
		if _, err := io.ReadFull(in, buf); err != nil {
			return err
		}
		c := &call{in: wireReader{rest: buf}, conn: conn}
		key := c.in.int16()
		c.version = c.in.int16()
		correlation := c.in.int32()
		c.client = c.in.string()
		a, ok := known[key]
		if !ok {
			return fmt.Errorf("request %d is unknown", key)
		}
		start := c.room()
		c.int32(correlation)
		if c.version < a.min || c.version > a.max {
			if key != 18 {
				return fmt.Errorf("request %d has version %d, known are %d to %d", key, c.version, a.min, a.max)
			}
			// The client learns from this which versions there are.
			c.version = 0
			c.versions(codeUnsupportedVersion)
		} else {
			a.answer(s, ctx, c)
		}
		if c.in.bad {
			return fmt.Errorf("request %d version %d is cut off", key, c.version)
		}
		c.settle(start)
		if err := conn.SetWriteDeadline(time.Now().Add(time.Minute)); err != nil {
			return err
		}
		if _, err := conn.Write(c.b); err != nil {
			return err
		}
	}
}

func (s *server) apiVersions(_ context.Context, c *call) { c.versions(codeNone) }

// versions tells which requests are understood. From version 3 on the answer is
// "flexible": lengths are varints of n+1, and structures end with their tags.
func (c *call) versions(code int16) {
	list := apis()
	c.int16(code)
	flexible := c.version >= 3
	if flexible {
		c.uvarint(uint64(len(list) + 1))
	} else {
		c.array(len(list))
	}
	for _, a := range list {
		c.int16(a.key)
		c.int16(a.min)
		c.int16(a.max)
		if flexible {
			c.uvarint(0)
		}
	}
	if c.version >= 1 {
		c.int32(0) // throttle
	}
	if flexible {
		c.uvarint(0)
	}
}

// throttle is the first field of most answers from some version on.
func (c *call) throttle(from int16) {
	if c.version >= from {
		c.int32(0)
	}
}

// address is this endpoint as the client reached it.
func (c *call) address() (host string, port int32) {
	if a, ok := c.conn.LocalAddr().(*net.TCPAddr); ok {
		return a.IP.String(), int32(a.Port)
	}
	return "127.0.0.1", 0
}

const node = 1 // this broker's number

func (s *server) metadata(_ context.Context, c *call) {
	n := c.in.array()
	all := n < 0 || n == 0 && c.version == 0
	var names []string
	for range max(n, 0) {
		names = append(names, c.in.string())
	}
	if all {
		names, _ = s.e.Topics(context.Background(), "")
	}
	c.throttle(3)
	host, port := c.address()
	c.array(1)
	c.int32(node)
	c.string(host)
	c.int32(port)
	if c.version >= 1 {
		c.null() // rack
	}
	if c.version >= 2 {
		c.string("penstock-" + s.e.id)
	}
	if c.version >= 1 {
		c.int32(node) // controller
	}
	c.array(len(names))
	for _, name := range names {
		s.describeTopic(c, name)
	}
	if c.version >= 8 {
		c.int32(-1 << 31) // rights were not asked for
	}
}

func (s *server) describeTopic(c *call, name string) {
	t, _ := s.e.topic(name)
	code, partitions := int16(codeNone), 0
	if t == nil {
		code = codeUnknownTopic
	} else {
		partitions = len(t.lanes)
	}
	c.int16(code)
	c.string(name)
	if c.version >= 1 {
		c.bool(false) // internal
	}
	c.array(partitions)
	for p := range partitions {
		c.int16(codeNone)
		c.int32(int32(p))
		c.int32(node)
		if c.version >= 7 {
			c.int32(0) // leader epoch
		}
		for range 2 { // replicas, those in sync
			c.array(1)
			c.int32(node)
		}
		if c.version >= 5 {
			c.array(0)
		}
	}
	if c.version >= 8 {
		c.int32(-1 << 31)
	}
}

// produce refuses: the topics are written by penstock alone.
func (s *server) produce(_ context.Context, c *call) {
	c.in.string()
	acks := c.in.int16()
	c.in.int32()
	topics := c.in.array()
	c.array(max(topics, 0))
	for range topics {
		c.string(c.in.string())
		partitions := c.in.array()
		c.array(max(partitions, 0))
		for range partitions {
			c.int32(c.in.int32())
			c.in.bytes()
			c.int16(codeNotAuthorizedTopic)
			c.int64(-1)
			c.int64(-1)
			if c.version >= 5 {
				c.int64(-1)
			}
			if c.version >= 8 {
				c.array(0)
				c.string("this endpoint of penstock is for reading only")
			}
		}
	}
	c.int32(0)
	if acks == 0 {
		c.in.bad = true // such a client awaits no answer: the connection's end is one
	}
}

func (s *server) initProducer(_ context.Context, c *call) {
	c.int32(0)
	c.int16(codeNotAuthorized)
	c.int64(-1)
	c.int16(-1)
}
