-- A warehouse of sales: a star of tables, partitions by month and region, materialized views that depend on each other.
CREATE TABLE dim_date (day date PRIMARY KEY, week integer GENERATED ALWAYS AS (extract(week FROM day)) STORED);
CREATE TABLE dim_product (
    product_id integer PRIMARY KEY, attributes jsonb, tags text[] DEFAULT ARRAY[]::text[], valid tstzrange DEFAULT tstzrange(now(), NULL)
);
CREATE TABLE fact_sale (
    day date NOT NULL REFERENCES dim_date, region text NOT NULL, product_id integer NOT NULL REFERENCES dim_product,
    quantity integer NOT NULL CHECK (quantity > 0), cents bigint
) PARTITION BY RANGE (day);
CREATE TABLE fact_sale_2026_01 PARTITION OF fact_sale FOR VALUES FROM ('2026-01-01') TO ('2026-02-01')
    PARTITION BY LIST (region);
CREATE TABLE fact_sale_2026_01_north PARTITION OF fact_sale_2026_01 FOR VALUES IN ('north', 'east');
CREATE TABLE fact_sale_2026_01_rest PARTITION OF fact_sale_2026_01 DEFAULT;
CREATE TABLE fact_sale_old (LIKE fact_sale INCLUDING ALL);
ALTER TABLE fact_sale_old ADD CHECK (day < '2026-01-01');
ALTER TABLE fact_sale ATTACH PARTITION fact_sale_old FOR VALUES FROM (MINVALUE) TO ('2026-01-01');
CREATE TABLE fact_sale_new PARTITION OF fact_sale FOR VALUES FROM ('2026-02-01') TO (MAXVALUE);
CREATE INDEX ON fact_sale USING brin (day) WITH (pages_per_range = 16);
CREATE INDEX ON fact_sale (region, day DESC) WHERE quantity > 1;
CREATE INDEX ON dim_product USING gin (tags);
CREATE INDEX ON dim_product USING spgist (valid);
CREATE INDEX ON dim_product USING hash (product_id);
INSERT INTO dim_date (day) SELECT date '2025-12-01' + g FROM generate_series(0, 99) g;
INSERT INTO dim_product (product_id, attributes, tags)
    SELECT g, jsonb_build_object('name', 'Produkt № ' || g, 'sizes', ARRAY[g, NULL]), ARRAY['a;b', 'c"d', '\', NULL]
    FROM generate_series(1, 300) g;
INSERT INTO fact_sale SELECT date '2025-12-01' + g % 100, (ARRAY['north', 'south', 'east'])[1 + g % 3], 1 + g % 300, 1 + g % 5,
    g * 100::bigint FROM generate_series(1, 4000) g;
CREATE MATERIALIZED VIEW by_week AS
    SELECT week, product_id, sum(cents) AS cents FROM fact_sale JOIN dim_date USING (day) GROUP BY GROUPING SETS ((1, 2), (1));
CREATE MATERIALIZED VIEW best AS
    SELECT DISTINCT ON (week) week, product_id, rank() OVER (PARTITION BY week ORDER BY cents DESC) FROM by_week ORDER BY week
    WITH NO DATA;
CREATE VIEW growth AS
    SELECT week, cents - lag(cents, 1, 0::numeric) OVER w AS more FROM by_week WHERE product_id IS NULL
    WINDOW w AS (ORDER BY week ROWS BETWEEN 1 PRECEDING AND CURRENT ROW);
CREATE TYPE quarter AS ENUM ('Q1', 'Q2', 'Q''3', 'Q;4');
CREATE FUNCTION quarter_of(day date, OUT quarter quarter) LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN quarter := (enum_range(NULL::quarter))[extract(quarter FROM day)]; END $$;
COMMENT ON MATERIALIZED VIEW best IS E'the best; \\. of $$ each week';
