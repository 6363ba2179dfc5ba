CREATE TABLE acrobits_sms_messages (
	id TEXT PRIMARY KEY, reference TEXT NOT NULL, username TEXT NOT NULL, installid TEXT NOT NULL, sender TEXT NOT NULL,
	recipient TEXT NOT NULL, body TEXT NOT NULL, content_type TEXT NOT NULL, disposition TEXT NOT NULL, smart INTEGER NOT NULL,
	begun BIGINT NOT NULL, until BIGINT NOT NULL, state INTEGER NOT NULL, adapter TEXT NOT NULL, parts INTEGER NOT NULL, ids TEXT NOT NULL
);
CREATE INDEX acrobits_sms_messages_username ON acrobits_sms_messages (username, begun);
CREATE INDEX acrobits_sms_messages_until ON acrobits_sms_messages (until);
