package state

// schemaVersion is kept in the file's user_version; application in its application_id ("pnst").
const (
	schemaVersion = 9
	application   = 0x706e7374
)

// migrations[i] brings a file from version i to i+1. Bodies are checksummed rows (codec.go);
// what queries need stands beside them in columns.
var migrations = [...]string{`
CREATE TABLE pipeline (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, body BLOB NOT NULL);
CREATE TABLE position (pipeline INTEGER NOT NULL, topic TEXT NOT NULL, partition INTEGER NOT NULL, next INTEGER NOT NULL,
	generation INTEGER NOT NULL, body BLOB NOT NULL, PRIMARY KEY (pipeline, topic, partition)) WITHOUT ROWID;
CREATE TABLE shadow (id INTEGER PRIMARY KEY, pipeline INTEGER NOT NULL, key BLOB, body BLOB NOT NULL);
CREATE UNIQUE INDEX shadow_key ON shadow (pipeline, key) WHERE key IS NOT NULL;
CREATE TABLE owner (pipeline INTEGER NOT NULL, app_id TEXT NOT NULL, record INTEGER NOT NULL, PRIMARY KEY (pipeline, app_id)) WITHOUT ROWID;
CREATE TABLE leaving (pipeline INTEGER NOT NULL, app_key TEXT NOT NULL, record INTEGER NOT NULL, PRIMARY KEY (pipeline, app_key, record)) WITHOUT ROWID;
CREATE TABLE pending (record INTEGER PRIMARY KEY, pipeline INTEGER NOT NULL, queue INTEGER NOT NULL, seq INTEGER NOT NULL,
	due INTEGER NOT NULL, body BLOB NOT NULL);
CREATE INDEX pending_queue ON pending (pipeline, queue, seq);
CREATE TABLE intent (id INTEGER PRIMARY KEY, pipeline INTEGER NOT NULL, body BLOB NOT NULL);
CREATE TABLE quarantine (id INTEGER PRIMARY KEY, pipeline INTEGER NOT NULL, record INTEGER NOT NULL, key BLOB,
	code TEXT NOT NULL, body BLOB NOT NULL);
CREATE INDEX quarantine_record ON quarantine (pipeline, record);
CREATE TABLE move (pipeline INTEGER NOT NULL, token BLOB NOT NULL, body BLOB NOT NULL, PRIMARY KEY (pipeline, token)) WITHOUT ROWID;
CREATE TABLE guard (pipeline INTEGER NOT NULL, kind INTEGER NOT NULL, body BLOB NOT NULL, PRIMARY KEY (pipeline, kind)) WITHOUT ROWID;
CREATE TABLE history (id INTEGER PRIMARY KEY, pipeline INTEGER NOT NULL, record INTEGER NOT NULL, time INTEGER NOT NULL, body BLOB NOT NULL);
CREATE INDEX history_record ON history (pipeline, record);
CREATE TABLE mark (source TEXT PRIMARY KEY, body BLOB NOT NULL) WITHOUT ROWID;
`, `
CREATE TABLE deferred (id INTEGER PRIMARY KEY, pipeline INTEGER NOT NULL, body BLOB NOT NULL);
CREATE INDEX leaving_record ON leaving (pipeline, record);
`, `
DROP TABLE history;
CREATE TABLE history (id INTEGER PRIMARY KEY, pipeline INTEGER NOT NULL, time INTEGER NOT NULL, body BLOB NOT NULL);
`, `
CREATE TABLE delivery (pipeline INTEGER PRIMARY KEY, body BLOB NOT NULL);
CREATE INDEX quarantine_code ON quarantine (pipeline, code, id);
`, `
CREATE TABLE forgotten (pipeline INTEGER NOT NULL, hash BLOB NOT NULL, time INTEGER NOT NULL, PRIMARY KEY (pipeline, hash)) WITHOUT ROWID;
`, `
CREATE TABLE verify (pipeline INTEGER PRIMARY KEY, body BLOB NOT NULL);
`, `
CREATE TABLE reference (pipeline INTEGER NOT NULL, record INTEGER NOT NULL, name TEXT NOT NULL, parent INTEGER NOT NULL, key BLOB NOT NULL,
	due INTEGER, PRIMARY KEY (pipeline, record, name, key)) WITHOUT ROWID;
CREATE INDEX reference_key ON reference (parent, key);
CREATE INDEX reference_due ON reference (pipeline, due) WHERE due IS NOT NULL;
`, `
-- Wanted states may say since when they wait for their key.
`, `
-- Positions may say that what a snapshot did not find is looked for.
`}
