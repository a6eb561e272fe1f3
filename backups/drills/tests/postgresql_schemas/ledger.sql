-- What else pg_dump writes: composite types, operators, casts, nested partitions, publications.
CREATE SCHEMA book;
CREATE TYPE book.amount AS (value numeric, currency character(3));
CREATE TYPE book.floatrange AS RANGE (subtype = float8, subtype_diff = float8mi);
CREATE FUNCTION book.add(book.amount, book.amount) RETURNS book.amount LANGUAGE sql IMMUTABLE
    RETURN ROW(($1).value + ($2).value, ($1).currency)::book.amount;
CREATE OPERATOR book.+ (FUNCTION = book.add, LEFTARG = book.amount, RIGHTARG = book.amount, COMMUTATOR = OPERATOR(book.+));
CREATE FUNCTION book.to_number(book.amount) RETURNS numeric LANGUAGE sql IMMUTABLE RETURN ($1).value;
CREATE CAST (book.amount AS numeric) WITH FUNCTION book.to_number(book.amount) AS ASSIGNMENT;
CREATE COLLATION book.plain FROM "C";
CREATE TEXT SEARCH CONFIGURATION book.simple (COPY = simple);
CREATE TABLE book.entry (
    id bigint GENERATED ALWAYS AS IDENTITY, year integer NOT NULL, side text NOT NULL COLLATE book.plain,
    amount book.amount, spread book.floatrange, ids uuid[], address inet, flags bit(4), document xml, spans int4multirange,
    PRIMARY KEY (id, year, side)
) PARTITION BY LIST (year);
CREATE TABLE book.entry_2025 PARTITION OF book.entry FOR VALUES IN (2025) PARTITION BY LIST (side);
CREATE TABLE book.entry_2025_debit PARTITION OF book.entry_2025 FOR VALUES IN ('debit');
CREATE TABLE book.entry_2025_other PARTITION OF book.entry_2025 DEFAULT;
CREATE TABLE book.entry_rest PARTITION OF book.entry DEFAULT;
INSERT INTO book.entry (year, side, amount, spread, ids, address, flags, spans)
    SELECT 2024 + g % 3, CASE g % 2 WHEN 0 THEN 'debit' ELSE 'credit' END, ROW(g, 'EUR')::book.amount, '[1.5,2.5)',
        ARRAY[md5(g::text)::uuid], '192.0.2.1/24', B'1010', '{[1,3),[5,7)}'
    FROM generate_series(1, 2200) g;
CREATE FUNCTION book.check_sum() RETURNS trigger LANGUAGE plpgsql AS $f$
DECLARE text_ text := $in$ ; $f $in$;
BEGIN
    IF (SELECT count(*) FROM book.entry) < 0 THEN RAISE EXCEPTION 'no; sum'; END IF;
    RETURN NULL;
END $f$;
CREATE CONSTRAINT TRIGGER sums AFTER INSERT ON book.entry_rest DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION book.check_sum();
CREATE PUBLICATION entries FOR TABLE book.entry;
CREATE VIEW book.totals AS SELECT year, sum(amount::numeric) AS total FROM book.entry GROUP BY ROLLUP (year);
CREATE VIEW book.years AS WITH RECURSIVE y (n) AS (VALUES (2025) UNION ALL SELECT n + 1 FROM y WHERE n < 2030) SELECT n FROM y;
