// Package survival has the test that kills penstock, its databases and its connections
// under load, again and again, and then compares the stream and the app with what was
// committed, change by change. README.md says how to run it.
package survival
