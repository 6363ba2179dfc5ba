CREATE TABLE acrobits_sms_version (version INTEGER NOT NULL);
INSERT INTO acrobits_sms_version (version) VALUES (0);
CREATE TABLE acrobits_sms_secret (one INTEGER PRIMARY KEY, secret BLOB NOT NULL);
CREATE TABLE acrobits_sms_leases (owner TEXT PRIMARY KEY, until BIGINT NOT NULL);
CREATE TABLE acrobits_sms_entries (
	key BLOB PRIMARY KEY, id TEXT NOT NULL, reference TEXT NOT NULL, state INTEGER NOT NULL, owner TEXT NOT NULL,
	named INTEGER NOT NULL, span BIGINT NOT NULL, begun BIGINT NOT NULL, until BIGINT NOT NULL,
	adapter TEXT NOT NULL, cause TEXT NOT NULL, parts INTEGER NOT NULL, ids TEXT NOT NULL
);
CREATE TABLE acrobits_sms_counts (
	key BLOB PRIMARY KEY, filled BIGINT NOT NULL, since BIGINT NOT NULL, till BIGINT NOT NULL, amount BIGINT NOT NULL
);
CREATE INDEX acrobits_sms_entries_reference ON acrobits_sms_entries (reference);
CREATE INDEX acrobits_sms_entries_begun ON acrobits_sms_entries (begun);
CREATE INDEX acrobits_sms_entries_pending ON acrobits_sms_entries (owner) WHERE state = 1;
