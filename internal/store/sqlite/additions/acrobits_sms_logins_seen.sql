CREATE INDEX acrobits_sms_logins_seen ON acrobits_sms_logins (seen);
