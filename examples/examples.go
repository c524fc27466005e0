// Package examples carries the example projects inside the binary, for `penstock demo`.
package examples

import "embed"

// Projects has one folder an example.
//
//go:embed */*.hcl */*.sql */*.jsonl */*.json
var Projects embed.FS
