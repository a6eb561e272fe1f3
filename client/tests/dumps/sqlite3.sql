PRAGMA foreign_keys=OFF;
BEGIN TRANSACTION;
CREATE TABLE item(id integer primary key, name text);
INSERT INTO item VALUES(1,'tea');
INSERT INTO item VALUES(2,'it''s');
CREATE INDEX i on item(name);
COMMIT;
