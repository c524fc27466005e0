package sink

import (
	"errors"
	"time"
)

// Outcomes are errors that steer dispatch; any other error means: try again, with back-off.

// RejectError is this record's final refusal: it goes to quarantine.
type RejectError struct {
	Code string // the vendor's category or code, stable: groups the quarantine
	Err  error  // says what is wrong, without values
}

func (e *RejectError) Error() string { return e.Code + ": " + e.Err.Error() }
func (e *RejectError) Unwrap() error { return e.Err }

// Reject makes a RejectError.
func Reject(code string, err error) error { return &RejectError{Code: code, Err: err} }

// RetryError asks to be tried again not before After has passed.
type RetryError struct {
	After time.Duration
	Err   error
}

func (e *RetryError) Error() string { return e.Err.Error() }
func (e *RetryError) Unwrap() error { return e.Err }

// RetryAfter makes a RetryError: nothing was done, and the app names a time.
func RetryAfter(err error, d time.Duration) error { return &RetryError{After: d, Err: err} }

// HaltError stops this app until someone acts: credentials revoked, account closed.
type HaltError struct{ Err error }

func (e *HaltError) Error() string { return e.Err.Error() }
func (e *HaltError) Unwrap() error { return e.Err }

// Halt makes a HaltError.
func Halt(err error) error { return &HaltError{Err: err} }

// UnknownError means that the call may or may not have taken effect: the connection
// broke or the reply was unreadable after the request was sent. It must be settled
// before anything is created again. A RetryError within it says when.
type UnknownError struct{ Err error }

func (e *UnknownError) Error() string { return e.Err.Error() }
func (e *UnknownError) Unwrap() error { return e.Err }

// Unknown makes an UnknownError.
func Unknown(err error) error { return &UnknownError{Err: err} }

// ConflictError means that another record of the app already has the value of a field that it
// keeps unique. Adoption by `match` may follow.
type ConflictError struct {
	AppID string // the other record, "" if the app did not say
	Err   error
}

func (e *ConflictError) Error() string { return e.Err.Error() }
func (e *ConflictError) Unwrap() error { return e.Err }

// ErrGone means that the app has no record of that id any more (removed, merged, erased).
var ErrGone = errors.New("record is gone from the app")

// BatchError is a refusal of a call as a whole because of some records in it: nothing was done. Refs names
// them if the app did (they alone are taken out), else the batch is bisected.
type BatchError struct {
	Code string
	Refs []string
	Err  error
}

func (e *BatchError) Error() string { return e.Code + ": " + e.Err.Error() }
func (e *BatchError) Unwrap() error { return e.Err }
