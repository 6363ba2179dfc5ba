ALTER TABLE acrobits_sms_messages ADD COLUMN direction INTEGER NOT NULL DEFAULT 0;
ALTER TABLE acrobits_sms_messages ADD COLUMN gateway TEXT NOT NULL DEFAULT '';
ALTER TABLE acrobits_sms_messages ADD COLUMN number TEXT NOT NULL DEFAULT '';
ALTER TABLE acrobits_sms_messages ADD COLUMN item BIGINT;
ALTER TABLE acrobits_sms_messages ADD COLUMN due BIGINT;
ALTER TABLE acrobits_sms_messages ADD COLUMN assembly BLOB;
ALTER TABLE acrobits_sms_messages ADD COLUMN part INTEGER NOT NULL DEFAULT 0;
ALTER TABLE acrobits_sms_messages ADD COLUMN delivery INTEGER NOT NULL DEFAULT 0;
CREATE UNIQUE INDEX acrobits_sms_messages_item ON acrobits_sms_messages (item) WHERE item IS NOT NULL;
CREATE INDEX acrobits_sms_messages_fetch ON acrobits_sms_messages (gateway, number, direction, item) WHERE item IS NOT NULL;
CREATE INDEX acrobits_sms_messages_reply ON acrobits_sms_messages (gateway, number, sender, item) WHERE item IS NOT NULL;
CREATE INDEX acrobits_sms_messages_due ON acrobits_sms_messages (due) WHERE due IS NOT NULL;
CREATE INDEX acrobits_sms_messages_assembly ON acrobits_sms_messages (assembly) WHERE assembly IS NOT NULL;
CREATE TABLE acrobits_sms_sequence (one INTEGER PRIMARY KEY, last BIGINT NOT NULL);
INSERT INTO acrobits_sms_sequence (one, last) VALUES (1, 0);
CREATE TABLE acrobits_sms_deliveries (key BLOB PRIMARY KEY, until BIGINT NOT NULL);
CREATE INDEX acrobits_sms_deliveries_until ON acrobits_sms_deliveries (until);
CREATE TABLE acrobits_sms_holders (
	gateway TEXT NOT NULL, username TEXT NOT NULL, number TEXT NOT NULL, since BIGINT NOT NULL, seen BIGINT NOT NULL,
	PRIMARY KEY (gateway, username, number)
);
CREATE INDEX acrobits_sms_holders_number ON acrobits_sms_holders (gateway, number);
CREATE TABLE acrobits_sms_first_holders (
	gateway TEXT NOT NULL, number TEXT NOT NULL, holder BLOB NOT NULL, PRIMARY KEY (gateway, number)
);
CREATE TABLE acrobits_sms_hidden (
	gateway TEXT NOT NULL, username TEXT NOT NULL, item BIGINT NOT NULL, until BIGINT NOT NULL,
	PRIMARY KEY (gateway, username, item)
);
CREATE INDEX acrobits_sms_hidden_item ON acrobits_sms_hidden (item);
CREATE INDEX acrobits_sms_hidden_until ON acrobits_sms_hidden (until);
CREATE TABLE acrobits_sms_receipts (
	key BLOB PRIMARY KEY, message TEXT NOT NULL, status INTEGER NOT NULL, code TEXT NOT NULL, until BIGINT NOT NULL
);
CREATE INDEX acrobits_sms_receipts_message ON acrobits_sms_receipts (message);
CREATE INDEX acrobits_sms_receipts_until ON acrobits_sms_receipts (until);
CREATE TABLE acrobits_sms_media (
	message TEXT PRIMARY KEY, gateway TEXT NOT NULL, adapter TEXT NOT NULL, sources TEXT NOT NULL,
	due BIGINT NOT NULL, tries INTEGER NOT NULL, until BIGINT NOT NULL
);
CREATE INDEX acrobits_sms_media_due ON acrobits_sms_media (gateway, due);
CREATE TABLE acrobits_sms_devices (
	gateway TEXT NOT NULL, username TEXT NOT NULL, selector TEXT NOT NULL, installid TEXT NOT NULL, token TEXT NOT NULL,
	appid TEXT NOT NULL, fetched BIGINT NOT NULL, seen BIGINT NOT NULL, PRIMARY KEY (gateway, username, selector)
);
CREATE TABLE acrobits_sms_pushes (
	item BIGINT NOT NULL, failed INTEGER NOT NULL, gateway TEXT NOT NULL, username TEXT NOT NULL, selector TEXT NOT NULL,
	made BIGINT NOT NULL, due BIGINT NOT NULL, tries INTEGER NOT NULL, PRIMARY KEY (item, failed, gateway, username, selector)
);
CREATE INDEX acrobits_sms_pushes_due ON acrobits_sms_pushes (gateway, due);
CREATE INDEX acrobits_sms_pushes_made ON acrobits_sms_pushes (made);
