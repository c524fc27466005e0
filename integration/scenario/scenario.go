// Package scenario has penstock's scenarios: scripts in testdata that run the real
// command on real databases and a real broker, with a simulator as the app, and compare
// what comes out. README.md has the commands of the scripts.
package scenario
