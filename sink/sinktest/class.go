package sinktest

import (
	"errors"

	"github.com/penstock-cdc/penstock/sink"
)

// Class says what dispatch does about an app's error: none, after DURATION, unknown, halt, reject CODE, batch CODE, gone, plain.
func Class(err error) string {
	var (
		retry   *sink.RetryError
		unknown *sink.UnknownError
		halt    *sink.HaltError
		reject  *sink.RejectError
		batch   *sink.BatchError
	)
	switch {
	case err == nil:
		return "none"
	case errors.As(err, &retry):
		return "after " + retry.After.String()
	case errors.As(err, &unknown):
		return "unknown"
	case errors.As(err, &halt):
		return "halt"
	case errors.As(err, &reject):
		return "reject " + reject.Code
	case errors.As(err, &batch):
		return "batch " + batch.Code
	case errors.Is(err, sink.ErrGone):
		return "gone"
	}
	return "plain"
}
