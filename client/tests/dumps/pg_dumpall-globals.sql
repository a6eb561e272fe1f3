--
-- PostgreSQL database cluster dump
--

\restrict ZlJhNm7rL0vMku7q46PcCHQ8i8BSwWntROiO3IvGKQJacL1b3vmsdHsaFG3fX1m

SET default_transaction_read_only = off;

SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;

--
-- Roles
--

CREATE ROLE postgres;
ALTER ROLE postgres WITH SUPERUSER INHERIT CREATEROLE CREATEDB LOGIN REPLICATION BYPASSRLS;

--
-- User Configurations
--








\unrestrict ZlJhNm7rL0vMku7q46PcCHQ8i8BSwWntROiO3IvGKQJacL1b3vmsdHsaFG3fX1m

--
-- PostgreSQL database cluster dump complete
--

