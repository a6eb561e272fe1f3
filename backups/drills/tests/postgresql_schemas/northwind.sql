-- In the manner of Northwind: orders, with names that need quotes.
CREATE SCHEMA "North Wind";
CREATE TABLE "North Wind"."Employees" (
    "Employee ID" smallint PRIMARY KEY,
    "Last Name" varchar(20) NOT NULL,
    "Photo" bytea,
    "Reports To" smallint REFERENCES "North Wind"."Employees",
    "Größe" real CHECK ("Größe" > 0)
);
CREATE TABLE "North Wind"."Orders" (
    "Order ID" smallint PRIMARY KEY,
    "Employee ID" smallint REFERENCES "North Wind"."Employees",
    "Order Date" date,
    "Freight" money
);
CREATE TABLE "North Wind"."Order Details" (
    "Order ID" smallint NOT NULL REFERENCES "North Wind"."Orders" ON DELETE CASCADE,
    "Product; Name" text NOT NULL,
    "Quantity" smallint NOT NULL DEFAULT 1,
    PRIMARY KEY ("Order ID", "Product; Name")
);
CREATE TABLE "North Wind"."we.ird ""name"" $$ -- 'x'" ("a.b" integer, "select" text);
CREATE TABLE "North Wind"."漢字" ();
CREATE TABLE "North Wind".no_rows (x integer);
INSERT INTO "North Wind"."Employees"
    SELECT g, 'Name ' || g, decode(md5(g::text), 'hex'), nullif(g / 2, 0), 1.5 FROM generate_series(1, 50) g;
INSERT INTO "North Wind"."Orders" SELECT g, 1 + g % 50, date '2026-01-01' + g, g FROM generate_series(1, 800) g;
INSERT INTO "North Wind"."Order Details" SELECT 1 + g % 800, 'Product ' || g, g % 9 FROM generate_series(1, 2000) g;
INSERT INTO "North Wind"."we.ird ""name"" $$ -- 'x'" SELECT g, E'\\.' FROM generate_series(1, 7) g;
INSERT INTO "North Wind"."漢字" DEFAULT VALUES;
CREATE INDEX "Order Date; index" ON "North Wind"."Orders" ("Order Date") WHERE "Freight" > '1'::money;
CREATE VIEW "North Wind"."Order Subtotals" WITH (security_barrier = true) AS
    SELECT "Order ID", sum("Quantity") AS "Subtotal" FROM "North Wind"."Order Details" GROUP BY 1;
CREATE RULE "log; it" AS ON INSERT TO "North Wind".no_rows DO ALSO (
    UPDATE "North Wind"."Orders" SET "Freight" = '0' WHERE false; DELETE FROM "North Wind"."Orders" WHERE false;
);
COMMENT ON COLUMN "North Wind"."Orders"."Order Date" IS 'date; of order';
COMMENT ON SCHEMA public IS 'the public one';
