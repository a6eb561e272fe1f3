-- In the manner of Mastodon: identifiers from a function, partial and expression indexes, counters kept by triggers.
CREATE FUNCTION timestamp_id(table_name text) RETURNS bigint LANGUAGE plpgsql AS $_$
DECLARE tail bigint := (('x' || substr(md5(table_name || 'salt''; $x$'), 1, 4))::bit(16)::bigint + nextval(table_name || '_id_seq')) & 65535;
BEGIN RETURN ((date_part('epoch', now()) * 1000)::bigint << 16) | tail; END $_$;
CREATE TABLE accounts (
    id bigint NOT NULL, username varchar NOT NULL DEFAULT '', domain varchar, private_key text, fields jsonb,
    also_known_as varchar[], moved_to bigint, trendable int4range DEFAULT int4range(0, NULL)
);
CREATE SEQUENCE accounts_id_seq; CREATE SEQUENCE statuses_id_seq;
ALTER TABLE accounts ALTER COLUMN id SET DEFAULT timestamp_id('accounts'), ADD PRIMARY KEY (id);
ALTER TABLE accounts ADD CONSTRAINT moved FOREIGN KEY (moved_to) REFERENCES accounts ON DELETE SET NULL NOT VALID;
CREATE TABLE statuses (
    id bigint DEFAULT timestamp_id('statuses') PRIMARY KEY, account_id bigint NOT NULL REFERENCES accounts ON DELETE CASCADE,
    text text NOT NULL DEFAULT '', in_reply_to_id bigint REFERENCES statuses, deleted_at timestamp, visibility smallint DEFAULT 0
);
CREATE TABLE status_stats (status_id bigint PRIMARY KEY REFERENCES statuses ON DELETE CASCADE, replies bigint DEFAULT 0);
CREATE TABLE schema_migrations (version varchar NOT NULL PRIMARY KEY);
CREATE FUNCTION count_reply() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.in_reply_to_id IS NOT NULL THEN
        INSERT INTO status_stats VALUES (NEW.in_reply_to_id, 1)
            ON CONFLICT (status_id) DO UPDATE SET replies = status_stats.replies + 1;
    END IF;
    RETURN NEW; -- as it was; "unchanged"
END $$;
CREATE TRIGGER replies AFTER INSERT ON statuses FOR EACH ROW WHEN (NEW.deleted_at IS NULL) EXECUTE FUNCTION count_reply();
CREATE UNIQUE INDEX by_name ON accounts (lower(username::text), COALESCE(lower(domain::text), ''));
CREATE INDEX public ON statuses (id DESC, account_id) WHERE visibility = 0 AND deleted_at IS NULL;
INSERT INTO accounts (id, username, domain, private_key, fields, also_known_as, moved_to)
    SELECT g, 'användare' || g, nullif('instance' || g % 7, 'instance0'), E'-----BEGIN RSA-----\n' || md5(g::text) || E'\n',
        jsonb_build_array(jsonb_build_object('name', '<a href="x">;</a>')), ARRAY['https://x/@' || g, ''], nullif(g % 9, 0)
    FROM generate_series(1, 250) g;
INSERT INTO statuses (id, account_id, text, in_reply_to_id)
    SELECT 1000 + g, 1 + g % 250, E'<p>№ ' || g || E' \\. \t👩‍👩‍👧 ‮</p>', CASE WHEN g % 3 = 0 THEN 999 + g END
    FROM generate_series(1, 1800) g;
INSERT INTO schema_migrations SELECT to_char(20160220174730 + g, 'FM99999999999999') FROM generate_series(1, 400) g;
CREATE VIEW user_ips AS SELECT account_id, max(id) AS last, array_agg(text ORDER BY id) FILTER (WHERE visibility > 0) AS hidden
    FROM statuses GROUP BY account_id;
CREATE MATERIALIZED VIEW instances AS SELECT domain, count(*) AS accounts FROM accounts GROUP BY domain;
CREATE UNIQUE INDEX ON instances (domain);
