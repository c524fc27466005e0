//go:build !failpoint

package main

// failpoint is where a build with the tag failpoint kills itself.
var failpoint func(name string)
