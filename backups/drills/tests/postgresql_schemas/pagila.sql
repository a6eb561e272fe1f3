-- In the manner of Pagila: a film rental.
CREATE TYPE mpaa_rating AS ENUM ('G', 'PG', 'PG-13', 'R', 'NC-17');
CREATE DOMAIN year AS integer CONSTRAINT year_check CHECK (VALUE BETWEEN 1901 AND 2155);
CREATE DOMAIN bıgınt AS bigint;
CREATE SEQUENCE film_film_id_seq START 1000 INCREMENT 5;
CREATE FUNCTION last_updated() RETURNS trigger LANGUAGE plpgsql AS $_$
BEGIN
    NEW.last_update = CURRENT_TIMESTAMP; -- a comment; with a semicolon
    RETURN NEW;
END $_$;
CREATE TABLE language (language_id serial PRIMARY KEY, name character(20) NOT NULL);
CREATE TABLE film (
    film_id integer DEFAULT nextval('film_film_id_seq') PRIMARY KEY,
    title text NOT NULL,
    description text,
    release_year year,
    language_id integer NOT NULL REFERENCES language ON UPDATE CASCADE ON DELETE RESTRICT,
    rental_rate numeric(4,2) DEFAULT 4.99 NOT NULL,
    rating mpaa_rating DEFAULT 'G',
    special_features text[],
    fulltext tsvector NOT NULL,
    last_update timestamptz DEFAULT now() NOT NULL
);
COMMENT ON TABLE film IS 'What is rented; it''s a "film"
on two lines \. and more';
COMMENT ON COLUMN film.title IS $$It costs $1$$;
CREATE INDEX film_fulltext_idx ON film USING gist (fulltext);
CREATE TRIGGER film_fulltext BEFORE INSERT OR UPDATE ON film FOR EACH ROW
    EXECUTE FUNCTION tsvector_update_trigger('fulltext', 'pg_catalog.english', 'title', 'description');
CREATE TRIGGER last_updated BEFORE UPDATE ON film FOR EACH ROW EXECUTE FUNCTION last_updated();
CREATE TABLE payment (
    payment_id bigint GENERATED ALWAYS AS IDENTITY,
    film_id integer NOT NULL REFERENCES film,
    amount numeric(5,2) NOT NULL,
    payment_date timestamptz NOT NULL,
    PRIMARY KEY (payment_date, payment_id)
) PARTITION BY RANGE (payment_date);
CREATE TABLE payment_p2026_01 PARTITION OF payment FOR VALUES FROM ('2026-01-01') TO ('2026-02-01');
CREATE TABLE payment_p2026_02 PARTITION OF payment FOR VALUES FROM ('2026-02-01') TO ('2026-03-01');
CREATE TABLE payment_rest PARTITION OF payment DEFAULT;
INSERT INTO language (name) SELECT 'Language ' || g FROM generate_series(1, 6) g;
INSERT INTO film (title, description, release_year, language_id, rating, special_features)
    SELECT 'Film ' || g || E'\twith\\tabs\nand lines', CASE WHEN g % 3 = 0 THEN NULL ELSE '\N \. é 漢字 ' || g END,
        1950 + g % 70, 1 + g % 6, (enum_range(NULL::mpaa_rating))[1 + g % 5], ARRAY['a, b', 'c "d"', NULL]
    FROM generate_series(1, 1000) g;
INSERT INTO payment (film_id, amount, payment_date)
    SELECT 1000 + 5 * (g % 1000), g % 100, timestamptz '2026-01-01' + g * interval '1 hour' FROM generate_series(1, 3000) g;
CREATE VIEW film_list AS
    SELECT f.film_id AS fid, f.title, l.name AS language FROM film f JOIN language l USING (language_id);
CREATE MATERIALIZED VIEW sales_by_language AS
    SELECT l.name, sum(p.amount) AS total FROM payment p JOIN film USING (film_id) JOIN language l USING (language_id)
    GROUP BY l.name;
CREATE UNIQUE INDEX ON sales_by_language (name);
CREATE FUNCTION films_in(code integer) RETURNS SETOF film LANGUAGE sql STABLE
    BEGIN ATOMIC
        SELECT * FROM film WHERE film.language_id = code;
        SELECT f.* FROM film f WHERE f.language_id = CASE WHEN code > 0 THEN code ELSE 1 END;
    END;
CREATE FUNCTION _group_concat(text, text) RETURNS text LANGUAGE sql IMMUTABLE AS
    $$SELECT CASE WHEN $2 IS NULL THEN $1 WHEN $1 IS NULL THEN $2 ELSE $1 || ', ' || $2 END$$;
CREATE AGGREGATE group_concat(text) (SFUNC = _group_concat, STYPE = text);
