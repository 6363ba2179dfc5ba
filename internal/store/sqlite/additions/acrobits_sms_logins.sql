CREATE TABLE acrobits_sms_logins (
	who BLOB NOT NULL, network BLOB NOT NULL, seen BIGINT NOT NULL, PRIMARY KEY (who, network)
);
