CREATE TABLE acrobits_sms_blocks (
	username TEXT NOT NULL, host TEXT NOT NULL, since BIGINT NOT NULL, PRIMARY KEY (username, host)
);
