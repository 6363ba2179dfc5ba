ALTER TABLE acrobits_sms_entries ADD COLUMN username TEXT NOT NULL DEFAULT '';
ALTER TABLE acrobits_sms_entries ADD COLUMN segments INTEGER NOT NULL DEFAULT 0;
ALTER TABLE acrobits_sms_entries ADD COLUMN code TEXT NOT NULL DEFAULT '';
ALTER TABLE acrobits_sms_entries ADD COLUMN detail TEXT NOT NULL DEFAULT '';
ALTER TABLE acrobits_sms_messages ADD COLUMN segments INTEGER NOT NULL DEFAULT 0;
