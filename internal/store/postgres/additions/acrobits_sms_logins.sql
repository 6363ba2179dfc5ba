CREATE TABLE acrobits_sms_logins (
	who BYTEA NOT NULL, network BYTEA NOT NULL, seen BIGINT NOT NULL, PRIMARY KEY (who, network)
);
