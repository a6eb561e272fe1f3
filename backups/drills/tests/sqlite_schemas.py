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
SCHEMAS = {"chinook": CHINOOK, "northwind": NORTHWIND, "django": DJANGO, "odd": ODD, "virtual": VIRTUAL}
