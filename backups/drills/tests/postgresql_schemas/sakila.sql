-- In the manner of Sakila: views on views and functions, keys in a circle, procedures with cursors.
CREATE SCHEMA staff;
CREATE TABLE staff.store (store_id integer PRIMARY KEY, manager_id integer NOT NULL);
CREATE TABLE staff.person (
    person_id integer PRIMARY KEY, store_id integer NOT NULL REFERENCES staff.store DEFERRABLE INITIALLY DEFERRED,
    picture oid, email text CHECK (email ~ '^[^@;]+@[^@]+$'), active boolean DEFAULT true NOT NULL
);
BEGIN;
SET CONSTRAINTS ALL DEFERRED;
INSERT INTO staff.store SELECT g, g FROM generate_series(1, 20) g;
INSERT INTO staff.person SELECT g, 1 + g % 20, CASE WHEN g % 10 = 0 THEN lo_from_bytea(0, sha512(g::text::bytea)) END,
    'person' || g || '@example.org' FROM generate_series(1, 200) g;
COMMIT;
ALTER TABLE staff.store ADD FOREIGN KEY (manager_id) REFERENCES staff.person DEFERRABLE INITIALLY DEFERRED;
CREATE TABLE inventory (inventory_id serial PRIMARY KEY, store_id integer REFERENCES staff.store, title varchar(255));
CREATE TABLE rental (
    rental_id serial PRIMARY KEY, inventory_id integer REFERENCES inventory ON DELETE CASCADE,
    rented daterange NOT NULL, UNIQUE NULLS DISTINCT (inventory_id, rented)
);
INSERT INTO inventory (store_id, title) SELECT 1 + g % 20, 'ACADEMY; DINOSAUR ' || g FROM generate_series(1, 600) g;
INSERT INTO rental (inventory_id, rented)
    SELECT 1 + g % 600, daterange(date '2026-01-01' + g, date '2026-01-01' + g + 3) FROM generate_series(1, 1500) g;
CREATE FUNCTION inventory_in_stock(p_inventory_id integer) RETURNS boolean LANGUAGE plpgsql STABLE PARALLEL SAFE COST 50
AS $function$
DECLARE
    v_out integer; c CURSOR FOR SELECT count(*) FROM rental WHERE inventory_id = p_inventory_id AND rented @> current_date;
BEGIN
    OPEN c; FETCH c INTO v_out; CLOSE c;
    RETURN CASE v_out WHEN 0 THEN true ELSE false END;
END $function$;
CREATE FUNCTION rewards(OUT person integer, OUT points bigint) RETURNS SETOF record LANGUAGE sql ROWS 20
    AS 'SELECT person_id, count(*) FROM staff.person JOIN inventory USING (store_id) GROUP BY 1';
CREATE VIEW in_stock AS SELECT inventory_id, title FROM inventory WHERE inventory_in_stock(inventory_id);
CREATE VIEW titles_in_stock (title, copies) AS SELECT title, count(*) FROM in_stock GROUP BY title;
CREATE VIEW rewarded AS SELECT r.*, p.email FROM rewards() r JOIN staff.person p ON p.person_id = r.person;
CREATE TRIGGER unchanged BEFORE UPDATE ON inventory FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger();
ALTER TABLE inventory DISABLE TRIGGER unchanged;
