-- In the manner of WordPress on PostgreSQL: serialized values, long texts, zero dates, functions that MySQL has.
CREATE SEQUENCE wp_users_seq AS bigint;
CREATE TABLE wp_users (
    "ID" bigint NOT NULL DEFAULT nextval('wp_users_seq'), user_login varchar(60) NOT NULL DEFAULT '',
    user_registered timestamp NOT NULL DEFAULT '-infinity', PRIMARY KEY ("ID")
);
ALTER SEQUENCE wp_users_seq OWNED BY wp_users."ID";
CREATE TABLE wp_posts (
    "ID" bigserial PRIMARY KEY, post_author bigint NOT NULL DEFAULT 0, post_date timestamptz DEFAULT 'infinity',
    post_content text NOT NULL, post_title text NOT NULL, post_status varchar(20) NOT NULL DEFAULT 'publish'
) WITH (fillfactor = 80, toast.autovacuum_enabled = false);
ALTER TABLE wp_posts ALTER COLUMN post_content SET STORAGE EXTERNAL;
CREATE TABLE wp_postmeta (meta_id bigserial PRIMARY KEY, post_id bigint NOT NULL, meta_key varchar(255), meta_value text);
CREATE TABLE wp_options (
    option_id bigserial PRIMARY KEY, option_name varchar(191) UNIQUE, option_value text NOT NULL, blob bytea
);
CREATE FUNCTION unix_timestamp(timestamp) RETURNS bigint LANGUAGE sql STABLE STRICT
    AS 'SELECT extract(epoch FROM $1)::bigint -- seconds; since 1970';
CREATE FUNCTION rand() RETURNS double precision LANGUAGE sql VOLATILE AS $$SELECT random()$$;
CREATE INDEX type_status_date ON wp_posts (post_status, post_date DESC NULLS LAST, "ID");
CREATE INDEX meta_key ON wp_postmeta (left(meta_key, 191));
INSERT INTO wp_users (user_login) SELECT 'user' || g FROM generate_series(1, 50) g;
INSERT INTO wp_posts (post_author, post_content, post_title)
    SELECT g % 50, E'<!-- wp:paragraph -->\r\n<p>' || repeat('Zoë’s 🎉 ', g % 400) || '</p>', 'Post № ' || g
    FROM generate_series(1, 700) g;
INSERT INTO wp_postmeta (post_id, meta_key, meta_value)
    SELECT g, '_edit_lock', format(E'a:1:{s:3:"x";s:2:"%s\\0";}', g) FROM generate_series(1, 900) g;
INSERT INTO wp_options (option_name, option_value, blob)
    SELECT '_transient_' || g, repeat(E'''\\;\b\f\v', g), decode(repeat('00ff5c', g), 'hex') FROM generate_series(1, 120) g;
CREATE VIEW published AS SELECT p."ID", post_title, user_login FROM wp_posts p JOIN wp_users u ON u."ID" = post_author;
CREATE RULE no_delete AS ON DELETE TO published DO INSTEAD NOTHING;
