"""Schemas in the manner of well-known ones, with rows, as scripts for the client `mariadb`."""

from __future__ import annotations

# Films, rentals and payments: keys between tables, views, routines, triggers, an event, sets, years and blobs.
SAKILA = """
CREATE TABLE language (language_id tinyint unsigned PRIMARY KEY AUTO_INCREMENT, name char(20) NOT NULL);
CREATE TABLE film (
  film_id smallint unsigned PRIMARY KEY AUTO_INCREMENT, title varchar(128) NOT NULL, description text,
  release_year year, language_id tinyint unsigned NOT NULL, rental_rate decimal(4,2) NOT NULL DEFAULT 4.99,
  rating enum('G','PG','PG-13','R') DEFAULT 'G', special_features set('Trailers','Deleted Scenes') DEFAULT NULL,
  cover blob, last_update timestamp NOT NULL DEFAULT current_timestamp() ON UPDATE current_timestamp(),
  KEY idx_title (title), FOREIGN KEY (language_id) REFERENCES language (language_id) ON UPDATE CASCADE);
CREATE TABLE film_text (film_id smallint unsigned PRIMARY KEY, title varchar(255), description text,
  FULLTEXT KEY idx_text (title, description)) ENGINE=InnoDB;
CREATE TABLE address (address_id int PRIMARY KEY, location geometry NOT NULL, SPATIAL KEY idx_location (location));
CREATE TABLE payment (payment_id int PRIMARY KEY AUTO_INCREMENT, film_id smallint unsigned, amount decimal(5,2),
  paid_at datetime(6), FOREIGN KEY (film_id) REFERENCES film (film_id) ON DELETE SET NULL);
DELIMITER //
CREATE TRIGGER ins_film AFTER INSERT ON film FOR EACH ROW
BEGIN
  -- keep the text's copy; don't forget the description
  INSERT INTO film_text (film_id, title, description) VALUES (NEW.film_id, NEW.title, NEW.description);
END//
CREATE FUNCTION film_income(p_film int) RETURNS decimal(9,2) READS SQL DATA
BEGIN
  DECLARE total decimal(9,2); /* ; */
  SELECT COALESCE(SUM(amount), 0) INTO total FROM payment WHERE film_id = p_film;
  RETURN total;
END//
CREATE PROCEDURE film_in_stock(IN p_film int, OUT p_count int)
BEGIN SELECT COUNT(*) INTO p_count FROM payment WHERE film_id = p_film; SELECT 'a;b//c'; END//
CREATE EVENT forget ON SCHEDULE EVERY 1 DAY DO BEGIN DELETE FROM payment WHERE amount < 0; END//
DELIMITER ;
CREATE VIEW film_list AS SELECT f.film_id AS FID, f.title, l.name AS language, film_income(f.film_id) AS income
  FROM film f JOIN language l USING (language_id);
INSERT INTO language (name) VALUES ('English'), ('Deutsch');
INSERT INTO film (title, description, release_year, language_id, special_features, cover)
  SELECT CONCAT('FILM ', seq), CONCAT('It\\'s; a \\\\ "tale" -- of # ', seq, '\\n/* ', seq), 1950 + seq % 70, 1 + seq % 2,
  IF(seq % 3, 'Trailers,Deleted Scenes', NULL), IF(seq % 5, UNHEX(SHA2(seq, 512)), NULL) FROM seq_1_to_300;
INSERT INTO address SELECT seq, POINT(seq, -seq) FROM seq_1_to_40;
INSERT INTO payment (film_id, amount, paid_at) SELECT 1 + seq % 300, seq % 97 / 10, '2026-01-01' + INTERVAL seq HOUR
  FROM seq_1_to_2000;
"""
# Posts and their data: keys on prefixes, zero dates, serialized values, long texts, emoji.
WORDPRESS = """
SET sql_mode = '';
CREATE TABLE wp_users (ID bigint(20) unsigned NOT NULL AUTO_INCREMENT, user_login varchar(60) NOT NULL DEFAULT '',
  user_registered datetime NOT NULL DEFAULT '0000-00-00 00:00:00', PRIMARY KEY (ID), KEY user_login_key (user_login))
  ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_520_ci;
CREATE TABLE wp_posts (ID bigint(20) unsigned NOT NULL AUTO_INCREMENT, post_author bigint(20) unsigned NOT NULL DEFAULT 0,
  post_date datetime NOT NULL DEFAULT '0000-00-00 00:00:00', post_content longtext NOT NULL, post_title text NOT NULL,
  post_status varchar(20) NOT NULL DEFAULT 'publish', PRIMARY KEY (ID), KEY type_status_date (post_status,post_date,ID))
  ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_520_ci;
CREATE TABLE wp_postmeta (meta_id bigint(20) unsigned NOT NULL AUTO_INCREMENT, post_id bigint(20) unsigned NOT NULL,
  meta_key varchar(255) DEFAULT NULL, meta_value longtext, PRIMARY KEY (meta_id), KEY meta_key (meta_key(191)))
  ENGINE=MyISAM DEFAULT CHARSET=utf8mb4;
CREATE TABLE wp_options (option_id bigint(20) unsigned NOT NULL AUTO_INCREMENT, option_name varchar(191) NOT NULL,
  option_value longtext NOT NULL, autoload varchar(20) NOT NULL DEFAULT 'yes', PRIMARY KEY (option_id),
  UNIQUE KEY option_name (option_name)) ENGINE=Aria;
INSERT INTO wp_users (user_login) SELECT CONCAT('user', seq) FROM seq_1_to_50;
INSERT INTO wp_posts (post_author, post_content, post_title) SELECT seq % 50, CONCAT('<!-- wp:paragraph -->\\r\\n<p>',
  REPEAT('Zoë’s 🎉 ', seq % 400), '</p>'), CONCAT('Post № ', seq) FROM seq_1_to_700;
INSERT INTO wp_postmeta (post_id, meta_key, meta_value) SELECT seq, '_edit_lock', CONCAT('a:1:{s:3:"x";s:2:"',seq,'\\0";}')
  FROM seq_1_to_900;
INSERT INTO wp_options (option_name, option_value) SELECT CONCAT('_transient_', seq), REPEAT(CHAR(39, 92, 59), seq)
  FROM seq_1_to_120;
"""
# What servers have beyond that: partitions, generated columns, JSON, checks, sequences, history, names of all kinds.
FEATURES = """
CREATE TABLE `größe ``x``; 表` (`ключ` int PRIMARY KEY, `select` varchar(20), `a.b` int COMMENT 'it''s; --');
CREATE TABLE parted (id int, y int, PRIMARY KEY (id, y)) PARTITION BY RANGE (y)
  (PARTITION p0 VALUES LESS THAN (2000), PARTITION p1 VALUES LESS THAN (2010), PARTITION pm VALUES LESS THAN MAXVALUE);
CREATE TABLE hashed (id int PRIMARY KEY, data json CHECK (json_valid(data)), n int AS (json_value(data, '$.n')) VIRTUAL,
  s varchar(40) AS (CONCAT('#', id)) STORED, KEY (n)) PARTITION BY HASH (id) PARTITIONS 4;
CREATE TABLE tree (id int PRIMARY KEY, parent int, FOREIGN KEY (parent) REFERENCES tree (id),
  CONSTRAINT not_itself CHECK (id <> parent));
CREATE TABLE versioned (id int PRIMARY KEY, price int) WITH SYSTEM VERSIONING;
CREATE TABLE bits (id int PRIMARY KEY, b bit(9), u uuid, i inet6, v varbinary(300), d double, t time(3), KEY (v(20)));
CREATE TABLE empty (id int);
CREATE SEQUENCE numbers START WITH 100;
CREATE VIEW v1 AS SELECT id, y FROM parted WHERE y > 2000;
CREATE VIEW v2 AS SELECT v1.id, t.parent FROM v1 JOIN tree t USING (id);
CREATE VIEW `a view of views` AS SELECT COUNT(*) n FROM v2 WHERE id IN (SELECT id FROM v1);
INSERT INTO `größe ``x``; 表` SELECT seq, 'Ünïcödé 😀', seq FROM seq_1_to_30;
INSERT INTO parted SELECT seq, 1990 + seq % 40 FROM seq_1_to_500;
INSERT INTO hashed (id, data) SELECT seq, JSON_OBJECT('n', seq, 's', '"\\\\;') FROM seq_1_to_200;
INSERT INTO tree SELECT seq, NULLIF(seq - 1, 0) FROM seq_1_to_100;
INSERT INTO versioned SELECT seq, seq FROM seq_1_to_10;
INSERT INTO bits SELECT seq, seq, UUID(), '::1', UNHEX(REPEAT(HEX(CHAR(seq % 256)), 200)), seq / 3, '12:34:56.789'
  FROM seq_1_to_256;
DO NEXTVAL(numbers);
"""
SCHEMAS = {"sakila": SAKILA, "wordpress": WORDPRESS, "features": FEATURES}
