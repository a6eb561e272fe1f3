--
-- PostgreSQL database cluster dump
--

\restrict QVqlceTPX0tcBv4LIcXJ97iIyczxSKcw2AbkEa42O8nQ9jsc31AQtHuaMFn2Gv3

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








\unrestrict QVqlceTPX0tcBv4LIcXJ97iIyczxSKcw2AbkEa42O8nQ9jsc31AQtHuaMFn2Gv3

--
-- Databases
--

--
-- Database "template1" dump
--

\connect template1

--
-- PostgreSQL database dump
--

\restrict d0dXt6RYnEaI1ib8V1hss16j9SaLyf3Rp2gkQzxeXvtFeP1u1MMYu7oiLOEaaKO

-- Dumped from database version 18.4
-- Dumped by pg_dump version 18.4

SET statement_timeout = 0;
SET lock_timeout = 0;
SET idle_in_transaction_session_timeout = 0;
SET transaction_timeout = 0;
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);
SET check_function_bodies = false;
SET xmloption = content;
SET client_min_messages = warning;
SET row_security = off;

--
-- PostgreSQL database dump complete
--

\unrestrict d0dXt6RYnEaI1ib8V1hss16j9SaLyf3Rp2gkQzxeXvtFeP1u1MMYu7oiLOEaaKO

--
-- Database "empty_db" dump
--

--
-- PostgreSQL database dump
--

\restrict 4Fvyg6Qi5AOEL1Hn1AOMWVIRqJfzpotsoqG4du9VHgSnT9Enj84lpy3qi9IZo5v

-- Dumped from database version 18.4
-- Dumped by pg_dump version 18.4

SET statement_timeout = 0;
SET lock_timeout = 0;
SET idle_in_transaction_session_timeout = 0;
SET transaction_timeout = 0;
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);
SET check_function_bodies = false;
SET xmloption = content;
SET client_min_messages = warning;
SET row_security = off;

--
-- Name: empty_db; Type: DATABASE; Schema: -; Owner: postgres
--

CREATE DATABASE empty_db WITH TEMPLATE = template0 ENCODING = 'UTF8' LOCALE_PROVIDER = libc LOCALE = 'C.UTF-8';


ALTER DATABASE empty_db OWNER TO postgres;

\unrestrict 4Fvyg6Qi5AOEL1Hn1AOMWVIRqJfzpotsoqG4du9VHgSnT9Enj84lpy3qi9IZo5v
\connect empty_db
\restrict 4Fvyg6Qi5AOEL1Hn1AOMWVIRqJfzpotsoqG4du9VHgSnT9Enj84lpy3qi9IZo5v

SET statement_timeout = 0;
SET lock_timeout = 0;
SET idle_in_transaction_session_timeout = 0;
SET transaction_timeout = 0;
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);
SET check_function_bodies = false;
SET xmloption = content;
SET client_min_messages = warning;
SET row_security = off;

--
-- PostgreSQL database dump complete
--

\unrestrict 4Fvyg6Qi5AOEL1Hn1AOMWVIRqJfzpotsoqG4du9VHgSnT9Enj84lpy3qi9IZo5v

--
-- Database "postgres" dump
--

\connect postgres

--
-- PostgreSQL database dump
--

\restrict NHY0dEpgZ0wr199ajY8EZSxPMD05HHhYMYlxF5FXpRtaA8aVkgD1dmKT5SylQYP

-- Dumped from database version 18.4
-- Dumped by pg_dump version 18.4

SET statement_timeout = 0;
SET lock_timeout = 0;
SET idle_in_transaction_session_timeout = 0;
SET transaction_timeout = 0;
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);
SET check_function_bodies = false;
SET xmloption = content;
SET client_min_messages = warning;
SET row_security = off;

--
-- PostgreSQL database dump complete
--

\unrestrict NHY0dEpgZ0wr199ajY8EZSxPMD05HHhYMYlxF5FXpRtaA8aVkgD1dmKT5SylQYP

--
-- Database "shop" dump
--

--
-- PostgreSQL database dump
--

\restrict caokKwqFA7sGfuzCdjjalwG6vjL3TbnbEhS8eUZA0MayOhrvIXtdHnSvT4vPVID

-- Dumped from database version 18.4
-- Dumped by pg_dump version 18.4

SET statement_timeout = 0;
SET lock_timeout = 0;
SET idle_in_transaction_session_timeout = 0;
SET transaction_timeout = 0;
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);
SET check_function_bodies = false;
SET xmloption = content;
SET client_min_messages = warning;
SET row_security = off;

--
-- Name: shop; Type: DATABASE; Schema: -; Owner: postgres
--

CREATE DATABASE shop WITH TEMPLATE = template0 ENCODING = 'UTF8' LOCALE_PROVIDER = libc LOCALE = 'C.UTF-8';


ALTER DATABASE shop OWNER TO postgres;

\unrestrict caokKwqFA7sGfuzCdjjalwG6vjL3TbnbEhS8eUZA0MayOhrvIXtdHnSvT4vPVID
\connect shop
\restrict caokKwqFA7sGfuzCdjjalwG6vjL3TbnbEhS8eUZA0MayOhrvIXtdHnSvT4vPVID

SET statement_timeout = 0;
SET lock_timeout = 0;
SET idle_in_transaction_session_timeout = 0;
SET transaction_timeout = 0;
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);
SET check_function_bodies = false;
SET xmloption = content;
SET client_min_messages = warning;
SET row_security = off;

SET default_tablespace = '';

SET default_table_access_method = heap;

--
-- Name: item; Type: TABLE; Schema: public; Owner: postgres
--

CREATE TABLE public.item (
    id integer NOT NULL,
    name text
);


ALTER TABLE public.item OWNER TO postgres;

--
-- Data for Name: item; Type: TABLE DATA; Schema: public; Owner: postgres
--

COPY public.item (id, name) FROM stdin;
1	tea
2	it's
\.


--
-- Name: item item_pkey; Type: CONSTRAINT; Schema: public; Owner: postgres
--

ALTER TABLE ONLY public.item
    ADD CONSTRAINT item_pkey PRIMARY KEY (id);


--
-- PostgreSQL database dump complete
--

\unrestrict caokKwqFA7sGfuzCdjjalwG6vjL3TbnbEhS8eUZA0MayOhrvIXtdHnSvT4vPVID

--
-- PostgreSQL database cluster dump complete
--

