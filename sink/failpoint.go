package sink

// Failpoints are the names with which Options.Failpoint is called: before and after
// each step after which a crash leaves another state behind.
var Failpoints = []string{
	"intake.before_commit", "intake.after_commit",
	"dispatch.before_intent", "dispatch.after_intent",
	"dispatch.before_call", "dispatch.after_call",
	"dispatch.before_associate", "dispatch.after_associate",
	"dispatch.before_record", "dispatch.after_record",
	"await.before_commit", "await.after_commit",
	"sweep.before_commit", "sweep.after_commit",
	"reselect.before_commit", "reselect.after_commit",
	"start.after_intents",
	"forget.after_commit",
}
