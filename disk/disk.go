// Package disk says how much room a disk has: the log, the state and transactions in progress stop by name before it is full.
package disk
