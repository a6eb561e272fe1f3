"""Schemas of SQLite in the manner of well-known ones, with rows."""

from __future__ import annotations

ROWS = "WITH RECURSIVE s(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM s WHERE i < {})"

CHINOOK = f"""
CREATE TABLE [Artist] ([ArtistId] INTEGER NOT NULL, [Name] NVARCHAR(120), CONSTRAINT [PK] PRIMARY KEY ([ArtistId]));
CREATE TABLE [Album] ([AlbumId] INTEGER PRIMARY KEY AUTOINCREMENT, [Title] NVARCHAR(160) NOT NULL, [ArtistId] INTEGER NOT NULL
  REFERENCES [Artist] ([ArtistId]) ON DELETE NO ACTION);
CREATE TABLE "Track" ("TrackId" INTEGER PRIMARY KEY, "Name" TEXT, "AlbumId" INTEGER REFERENCES Album, "UnitPrice" NUMERIC(10,2));
CREATE INDEX [IFK_AlbumArtistId] ON [Album] ([ArtistId]);
CREATE UNIQUE INDEX track_name ON Track (Name COLLATE NOCASE, TrackId DESC) WHERE Name IS NOT NULL;
CREATE VIEW "Album list" AS SELECT Title, Name FROM Album JOIN Artist USING (ArtistId);
{ROWS.format(40)} INSERT INTO Artist SELECT i, 'Artist; ' || i || char(10) || '-- it''s' FROM s;
{ROWS.format(90)} INSERT INTO Album (Title, ArtistId) SELECT 'Ünïcödé 🎉 ' || i, 1 + i % 40 FROM s;
{ROWS.format(3000)} INSERT INTO Track SELECT i, '/* ' || i || ' "quoted"', 1 + i % 80, i / 7.0 FROM s;
DELETE FROM Album WHERE AlbumId > 85;
"""
NORTHWIND = f"""
CREATE TABLE "Order Details" (OrderID INTEGER, ProductID INTEGER, "Unit;Price" REAL DEFAULT 0.0 CHECK ("Unit;Price" >= 0),
  Photo BLOB, PRIMARY KEY (OrderID, ProductID)) WITHOUT ROWID;
CREATE TABLE audit (what TEXT, at TEXT DEFAULT (datetime('now')));
CREATE TABLE product (id INTEGER PRIMARY KEY, net REAL, gross REAL GENERATED ALWAYS AS (net * 1.2) STORED,
  label TEXT AS ('#' || id) VIRTUAL) STRICT;
CREATE TRIGGER "log; it" AFTER INSERT ON product WHEN NEW.id > 0 BEGIN
  -- a comment; with 'quotes
  INSERT INTO audit (what) VALUES ('END;'); SELECT CASE WHEN 1 THEN 2 END;
END;
CREATE VIEW details AS SELECT * FROM "Order Details";
CREATE TRIGGER second INSTEAD OF DELETE ON details BEGIN DELETE FROM "Order Details" WHERE OrderID = OLD.OrderID; END;
{ROWS.format(500)} INSERT INTO "Order Details" SELECT i / 9, i % 9, i, CASE WHEN i % 3 THEN randomblob(i) END FROM s;
{ROWS.format(60)} INSERT INTO product (id, net) SELECT i, i FROM s;
"""
DJANGO = f"""
CREATE TABLE "django_content_type" ("id" integer NOT NULL PRIMARY KEY AUTOINCREMENT, "model" varchar(100) NOT NULL);
CREATE TABLE "auth_permission" ("id" integer NOT NULL PRIMARY KEY AUTOINCREMENT, "content_type_id" integer NOT NULL REFERENCES
  "django_content_type" ("id") DEFERRABLE INITIALLY DEFERRED, "codename" varchar(100) NOT NULL);
CREATE TABLE "shop_order" ("id" char(32) NOT NULL PRIMARY KEY, "data" text NOT NULL CHECK ((JSON_VALID("data") OR "data" IS NULL)),
  "total" decimal NOT NULL, "is_paid" bool NOT NULL, "at" datetime NOT NULL, "big" bigint, "duration" bigint NULL);
CREATE UNIQUE INDEX "one_codename" ON "auth_permission" ("content_type_id", "codename");
{ROWS.format(30)} INSERT INTO django_content_type (model) SELECT 'model' || i FROM s;
{ROWS.format(120)} INSERT INTO auth_permission (content_type_id, codename) SELECT 1 + i % 30, 'add_' || i FROM s;
{ROWS.format(400)} INSERT INTO shop_order SELECT hex(randomblob(16)), json_object('a', i, 'q', '";'), i / 3.0, i % 2,
  '2026-01-01 00:00:00.000001', 9223372036854775807, -9223372036854775808 FROM s;
"""
# Texts that are none: a zero byte, bytes that are not UTF-8. Extreme numbers. Tables without rows or columns of note.
ODD = """
CREATE TABLE texts (id INTEGER PRIMARY KEY, t TEXT, b BLOB, n);
INSERT INTO texts VALUES (1, 'zero' || char(0) || 'byte', x'00ff27', 1e999), (2, CAST(x'ff80fe' AS TEXT), NULL, -1e999),
  (3, '', x'', 9007199254740993), (4, char(13, 10, 8232), 'text', 0.1), (5, replace(hex(zeroblob(50000)), '0', 'ab;'), NULL, '1');
CREATE TABLE "select" ("from" int, "a""b" int, [c d] int, `e``f` int, 'g''h' int);
INSERT INTO "select" VALUES (1, 2, 3, 4, 5);
CREATE TABLE "größe; 'x' 表" ("ключ" int);
CREATE TABLE empty (x);
CREATE TABLE "sqlitelike" (x);
CREATE INDEX "odd "" index" ON "select" ("a""b" DESC, lower("from"));
PRAGMA user_version = 7;
"""
VIRTUAL = """
CREATE VIRTUAL TABLE notes USING fts5(title, body, tokenize = 'porter');
INSERT INTO notes VALUES ('One', 'the first; note'), ('Two', 'it''s the second');
CREATE VIRTUAL TABLE places USING rtree(id, x0, x1, y0, y1);
INSERT INTO places VALUES (1, 0, 1, 0, 1), (2, 5, 6, 5, 6), (3, 7, 8, 7, 8);
CREATE TABLE plain (x);
INSERT INTO plain VALUES (1);
"""
SAKILA = f"""
CREATE TABLE language (language_id SMALLINT NOT NULL PRIMARY KEY, name CHAR(20) NOT NULL);
CREATE TABLE film (film_id int NOT NULL, title VARCHAR(255) NOT NULL, language_id SMALLINT NOT NULL, rating VARCHAR(10) DEFAULT 'G',
  last_update TIMESTAMP, PRIMARY KEY (film_id), CONSTRAINT CHECK_rating CHECK (rating IN ('G', 'PG-13', 'NC;17')),
  CONSTRAINT fk_film_language FOREIGN KEY (language_id) REFERENCES language (language_id) ON DELETE RESTRICT ON UPDATE CASCADE);
CREATE TABLE payment (payment_id INTEGER PRIMARY KEY, film_id INT REFERENCES film DEFERRABLE INITIALLY DEFERRED, amount DECIMAL(5,2));
CREATE TRIGGER film_ai AFTER INSERT ON film BEGIN UPDATE film SET last_update = DATETIME('NOW') WHERE rowid = new.rowid; END;
CREATE TRIGGER film_au AFTER UPDATE OF title ON film FOR EACH ROW WHEN OLD.title IS NOT NEW.title BEGIN
  SELECT RAISE(IGNORE) WHERE NEW.title = 'END; --'; UPDATE film SET last_update = DATETIME('NOW') WHERE rowid = new.rowid; END;
CREATE VIEW film_list AS SELECT film_id AS FID, title, name AS language FROM film LEFT JOIN language USING (language_id);
CREATE VIEW sales (language, total) AS
  SELECT language, SUM(amount) FROM film_list JOIN payment ON FID = film_id GROUP BY 1 HAVING COUNT(*) > 1;
{ROWS.format(6)} INSERT INTO language SELECT i, 'Language ' || i FROM s;
{ROWS.format(300)} INSERT INTO film (film_id, title, language_id) SELECT i, 'FILM; ' || i || char(13, 10), 1 + i % 6 FROM s;
{ROWS.format(900)} INSERT INTO payment SELECT i, 1 + i % 300, i % 97 / 10.0 FROM s;
"""
WORDPRESS = f"""
CREATE TABLE wp_posts ("ID" integer NOT NULL PRIMARY KEY AUTOINCREMENT, "post_author" integer NOT NULL DEFAULT '0',
  "post_date" text DEFAULT '0000-00-00 00:00:00', "post_content" text NOT NULL COLLATE NOCASE, "post_title" text COLLATE NOCASE);
CREATE TABLE wp_options ("option_id" integer PRIMARY KEY AUTOINCREMENT, "option_name" text UNIQUE ON CONFLICT REPLACE, "option_value" text);
CREATE TABLE _mysql_data_types_cache (`table` text NOT NULL, `column_or_index` text NOT NULL, PRIMARY KEY (`table`, `column_or_index`));
CREATE INDEX "wp_posts__type_status_date" ON "wp_posts" ("post_title", "post_date" DESC);
{ROWS.format(500)} INSERT INTO wp_posts (post_content, post_title)
  SELECT '<!-- wp:p -->' || char(13, 10) || replace(hex(zeroblob(i)), '00', 'Zoë’s 🎉 '), 'Post № ' || i FROM s;
{ROWS.format(120)} INSERT INTO wp_options (option_name, option_value) SELECT '_transient_' || i, 'a:1:{{s:1:"' || char(39, 92, 59) || '";}}' FROM s;
INSERT INTO _mysql_data_types_cache VALUES ('wp_posts', 'ID');
UPDATE sqlite_sequence SET seq = 9000 WHERE name = 'wp_posts';
"""
ODOO = f"""
CREATE TABLE res_partner (id INTEGER PRIMARY KEY, name JSON NOT NULL DEFAULT (json('{{}}')), parent_id INTEGER REFERENCES res_partner
  ON DELETE SET NULL, en TEXT GENERATED ALWAYS AS (json_extract(name, '$.en_US')) STORED, CHECK (id <> parent_id));
CREATE TABLE ir_attachment (id INTEGER PRIMARY KEY, datas BLOB, checksum VARCHAR(40) DEFAULT (lower(hex(randomblob(20)))));
CREATE TABLE res_groups_users_rel (gid INTEGER NOT NULL, uid INTEGER NOT NULL, PRIMARY KEY (gid, uid)) WITHOUT ROWID;
CREATE INDEX res_partner_en ON res_partner (lower(en)) WHERE parent_id IS NULL;
{ROWS.format(400)} INSERT INTO res_partner (id, name, parent_id)
  SELECT i, json_object('en_US', 'Partner; ' || i, 'fr_FR', 'nº "' || i), nullif(i - 1, 0) FROM s;
{ROWS.format(25)} INSERT INTO ir_attachment (datas) SELECT randomblob(i * 400) FROM s;
{ROWS.format(700)} INSERT INTO res_groups_users_rel SELECT i % 20, i FROM s;
CREATE VIEW tree AS WITH RECURSIVE t (id, depth) AS (SELECT id, 0 FROM res_partner WHERE parent_id IS NULL
  UNION ALL SELECT p.id, depth + 1 FROM res_partner p JOIN t ON p.parent_id = t.id WHERE depth < 9) SELECT * FROM t;
"""
# The history of a browser: keys by hashes, triggers that write other tables, settings without a row's number.
PLACES = f"""
CREATE TABLE moz_places (id INTEGER PRIMARY KEY, url LONGVARCHAR, url_hash INTEGER DEFAULT 0 NOT NULL, rev_host LONGVARCHAR,
  frecency INTEGER DEFAULT -1 NOT NULL);
CREATE TABLE moz_historyvisits (id INTEGER PRIMARY KEY, place_id INTEGER, visit_date INTEGER);
CREATE TABLE moz_origins (prefix TEXT NOT NULL, host TEXT NOT NULL, n INTEGER DEFAULT 0, UNIQUE (prefix, host) ON CONFLICT IGNORE);
CREATE TABLE moz_meta (key TEXT PRIMARY KEY, value NOT NULL) WITHOUT ROWID;
CREATE UNIQUE INDEX by_url ON moz_places (url_hash, url);
CREATE INDEX dates ON moz_historyvisits (visit_date DESC, place_id);
CREATE TRIGGER visits AFTER INSERT ON moz_historyvisits BEGIN
  UPDATE moz_places SET frecency = frecency + 1 WHERE id = NEW.place_id; END;
CREATE TRIGGER places AFTER INSERT ON moz_places BEGIN
  INSERT INTO moz_origins (prefix, host) VALUES ('https://', NEW.rev_host) ON CONFLICT (prefix, host) DO UPDATE SET n = n + 1; END;
{ROWS.format(800)} INSERT INTO moz_places (url, url_hash, rev_host)
  SELECT 'https://example.org/?q=;''' || i, i * 5000000000000000, 'gro.' || i % 90 FROM s;
{ROWS.format(2000)} INSERT INTO moz_historyvisits (place_id, visit_date) SELECT 1 + i % 800, 1790000000000000 + i FROM s;
INSERT INTO moz_meta VALUES ('origin_frecency_count', 1), ('sqlite', 1.5e300), ('blob', x'00');
PRAGMA application_id = 1234;
"""
# The books of a shop: strict types, collations, a table made of a query, checks that call functions.
LEDGER = f"""
CREATE TABLE account (code TEXT PRIMARY KEY COLLATE RTRIM, kind ANY,
  CHECK (length(code) BETWEEN 1 AND 9 AND code GLOB '[0-9]*')) STRICT, WITHOUT ROWID;
CREATE TABLE entry (id INTEGER PRIMARY KEY DESC, debit TEXT REFERENCES account (code) MATCH FULL, credit TEXT CONSTRAINT c
  REFERENCES account, cents INT NOT NULL ON CONFLICT ABORT DEFAULT (0), at DATE DEFAULT CURRENT_TIMESTAMP,
  note CLOB CHECK (note NOT LIKE '%;drop%'));
CREATE TABLE "entry;2026" AS SELECT 1 AS "a b", 'x' AS "c;d", NULL AS e, x'27' AS f;
CREATE UNIQUE INDEX "one""entry" ON entry (debit, credit, abs(cents) DESC, id) WHERE cents > 0 AND note IS NOT NULL;
{ROWS.format(60)} INSERT INTO account SELECT 100 + i, CASE i % 3 WHEN 0 THEN i WHEN 1 THEN 'k' || i ELSE x'0a' END FROM s;
{ROWS.format(1500)} INSERT INTO entry (id, debit, credit, cents, note)
  SELECT i, 101 + i % 60, 101 + i % 59, i, 'it''s; ' || i || char(10) FROM s;
CREATE VIEW balance AS SELECT code, (SELECT total(cents) FROM entry WHERE debit = code) AS cents FROM account;
CREATE VIEW running AS SELECT id, SUM(cents) OVER (PARTITION BY debit ORDER BY id ROWS UNBOUNDED PRECEDING) AS total FROM entry;
"""
SCHEMAS = {
    "chinook": CHINOOK,
    "northwind": NORTHWIND,
    "django": DJANGO,
    "sakila": SAKILA,
    "wordpress": WORDPRESS,
    "odoo": ODOO,
    "places": PLACES,
    "ledger": LEDGER,
    "odd": ODD,
    "virtual": VIRTUAL,
}
