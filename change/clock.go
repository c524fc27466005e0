package change

import "time"

// Clock tells the time to what has many records at once: it asks the system once in sameTime readings, since asking costs as much
// as encoding a column. The zero value is ready. It belongs to one goroutine.
type Clock struct {
	now  time.Time
	left int // readings that get it
}

const sameTime = 64

// Now returns the time, or what it was some readings ago.
func (c *Clock) Now() time.Time {
	if c.left == 0 {
		c.now, c.left = time.Now(), sameTime
	}
	c.left--
	return c.now
}

// Ask has the next reading ask the system: at the end of what came at once.
func (c *Clock) Ask() { c.left = 0 }
