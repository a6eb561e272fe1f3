--
-- PostgreSQL database dump
--

\restrict dOfhQ8VjsblJuIUFjTVvQBU7R4S5AEkTNPV2rIYfp8q9r0ndZgDdS4fJEh8hXi2

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

\unrestrict dOfhQ8VjsblJuIUFjTVvQBU7R4S5AEkTNPV2rIYfp8q9r0ndZgDdS4fJEh8hXi2

