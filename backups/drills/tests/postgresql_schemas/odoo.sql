-- In the manner of Odoo: attachments as large objects, inheritance, row security, translations.
CREATE SEQUENCE base_cache_signaling AS bigint CACHE 20 CYCLE;
CREATE TABLE res_partner (
    id serial PRIMARY KEY, name jsonb, parent_id integer REFERENCES res_partner ON DELETE SET NULL,
    company_id integer, create_date timestamp DEFAULT (now() AT TIME ZONE 'UTC')
);
CREATE TABLE res_company () INHERITS (res_partner);
ALTER TABLE res_company ADD PRIMARY KEY (id);
CREATE TABLE res_groups_users_rel (gid integer NOT NULL, uid integer NOT NULL, UNIQUE (gid, uid));
CREATE TABLE ir_attachment (id serial PRIMARY KEY, datas oid, checksum varchar(40));
CREATE UNLOGGED TABLE bus_presence (id serial, status varchar);
CREATE TABLE calendar_event (id serial PRIMARY KEY, during tsrange NOT NULL, EXCLUDE USING gist (during WITH &&));
INSERT INTO res_partner (name, parent_id, company_id)
    SELECT jsonb_build_object('en_US', 'Partner ' || g, 'fr_FR', 'Partenaire nº ' || g), nullif(g - 1, 0), g % 3
    FROM generate_series(1, 1200) g;
INSERT INTO res_company (name) SELECT '{"en_US": "Company"}' FROM generate_series(1, 12);
INSERT INTO res_groups_users_rel SELECT g % 20, g FROM generate_series(1, 900) g;
INSERT INTO ir_attachment (datas, checksum)
    SELECT lo_from_bytea(0, decode(repeat(md5(g::text), 1 + g * 200), 'hex')), md5(g::text) FROM generate_series(1, 25) g;
INSERT INTO calendar_event (during)
    SELECT tsrange(timestamp '2026-01-01' + g * interval '1 day', timestamp '2026-01-01' + (g + 1) * interval '1 day')
    FROM generate_series(1, 100) g;
ALTER TABLE res_partner ENABLE ROW LEVEL SECURITY;
ALTER TABLE res_partner FORCE ROW LEVEL SECURITY;
CREATE POLICY of_company ON res_partner USING (company_id = 1) WITH CHECK (company_id IS NOT NULL);
CREATE POLICY all_of_portal ON res_partner TO odoo_portal USING (true);
CREATE FUNCTION unaccent_wrapper(text) RETURNS text LANGUAGE sql IMMUTABLE STRICT SECURITY DEFINER
    SET search_path TO 'public', 'pg_temp' AS $$ SELECT translate($1, 'éèà', 'eea') $$;
CREATE INDEX res_partner_name ON res_partner (unaccent_wrapper(name ->> 'en_US'));
CREATE VIEW report_partner AS SELECT id, name ->> 'fr_FR' AS name FROM res_partner WHERE company_id = 1 WITH CHECK OPTION;
CREATE FUNCTION replace_partner() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
CREATE TRIGGER report_partner_insert INSTEAD OF INSERT ON report_partner FOR EACH ROW EXECUTE FUNCTION replace_partner();
GRANT SELECT ON res_partner TO odoo_portal WITH GRANT OPTION;
ALTER TABLE ir_attachment OWNER TO odoo_portal;
ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO odoo_portal;
