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
# A music shop in mixed case: keys of several columns, decimals, national characters.
CHINOOK = """
CREATE TABLE `Artist` (`ArtistId` INT NOT NULL AUTO_INCREMENT, `Name` NVARCHAR(120), CONSTRAINT `PK` PRIMARY KEY (`ArtistId`));
CREATE TABLE `Album` (`AlbumId` INT NOT NULL, `Title` NVARCHAR(160) NOT NULL, `ArtistId` INT NOT NULL,
  CONSTRAINT `PK_Album` PRIMARY KEY (`AlbumId`), KEY `IFK_AlbumArtistId` (`ArtistId`));
ALTER TABLE `Album` ADD CONSTRAINT `FK_AlbumArtistId`
  FOREIGN KEY (`ArtistId`) REFERENCES `Artist` (`ArtistId`) ON DELETE NO ACTION;
CREATE TABLE `PlaylistTrack` (`PlaylistId` INT NOT NULL, `TrackId` INT NOT NULL, `UnitPrice` NUMERIC(10,2) NOT NULL,
  CONSTRAINT `PK_PlaylistTrack` PRIMARY KEY (`PlaylistId`, `TrackId`)) PARTITION BY KEY (`PlaylistId`) PARTITIONS 3;
INSERT INTO `Artist` (`Name`) SELECT CONCAT(N'Artist; ', seq, '\\n-- it''s') FROM seq_1_to_275;
INSERT INTO `Album` SELECT seq, 'Ünïcödé №', 1 + seq % 275 FROM seq_1_to_347;
INSERT INTO `PlaylistTrack` SELECT seq % 18, seq, seq / 7 FROM seq_1_to_3503;
CREATE VIEW `Album list` AS SELECT `Title`, `Name` FROM `Album` JOIN `Artist` USING (`ArtistId`);
"""
# Orders, with names that need quotes, keys to the same table and views with options.
NORTHWIND = """
CREATE TABLE `Employees` (`EmployeeID` int PRIMARY KEY AUTO_INCREMENT, `Last Name` varchar(20) NOT NULL, `Photo` longblob,
  `ReportsTo` int, FOREIGN KEY (`ReportsTo`) REFERENCES `Employees` (`EmployeeID`)) AUTO_INCREMENT=100;
CREATE TABLE `Order Details` (`OrderID` int, `Product; Name` varchar(40), `Unit``Price` decimal(10,4) NOT NULL DEFAULT 0.0,
  `Discount` double(8,0) DEFAULT 0 CHECK (`Discount` < 100), PRIMARY KEY (`OrderID`, `Product; Name`))
  COMMENT='a "table"; it''s';
CREATE TABLE `Territories` (`ID` varchar(20) CHARACTER SET latin1 PRIMARY KEY, `Größe` float UNSIGNED ZEROFILL);
INSERT INTO `Employees`
  SELECT seq, CONCAT('Name ', seq), UNHEX(REPEAT('00FF5C270A1A', seq)), NULLIF(seq DIV 2, 0) FROM seq_1_to_50;
INSERT INTO `Order Details` SELECT seq DIV 3, CONCAT('P;', seq), seq / 3, seq % 90 FROM seq_1_to_2000;
INSERT INTO `Territories` SELECT CONCAT('é', seq), seq / 3 FROM seq_1_to_53;
CREATE ALGORITHM=MERGE SQL SECURITY INVOKER VIEW `Order Subtotals` AS
  SELECT `OrderID`, `Unit``Price` * (1 - `Discount`) AS `Sub;total` FROM `Order Details` WHERE `Discount` < 50
  WITH CASCADED CHECK OPTION;
CREATE ALGORITHM=TEMPTABLE VIEW `Sales` AS SELECT SUM(`Sub;total`) AS total FROM `Order Subtotals`;
"""
# What Django's migrations make.
DJANGO = """
CREATE TABLE `django_content_type` (`id` integer AUTO_INCREMENT NOT NULL PRIMARY KEY, `model` varchar(100) NOT NULL);
ALTER TABLE `django_content_type` ADD CONSTRAINT `django_content_type_model_76bd3d3b_uniq` UNIQUE (`model`);
CREATE TABLE `auth_user` (`id` integer AUTO_INCREMENT NOT NULL PRIMARY KEY, `username` varchar(150) NOT NULL UNIQUE,
  `is_active` bool NOT NULL, `at` datetime(6) NULL, `data` json NOT NULL, `file` longblob, `took` bigint, `uuid` char(32),
  `position` smallint UNSIGNED NOT NULL CHECK (`position` >= 0));
CREATE TABLE `django_admin_log` (`id` integer AUTO_INCREMENT NOT NULL PRIMARY KEY, `user_id` integer NOT NULL,
  `object_repr` longtext NOT NULL);
ALTER TABLE `django_admin_log` ADD CONSTRAINT `django_admin_log_user_id_c564eba6_fk`
  FOREIGN KEY (`user_id`) REFERENCES `auth_user` (`id`);
INSERT INTO `django_content_type` (`model`) SELECT CONCAT('model', seq) FROM seq_1_to_40;
INSERT INTO `auth_user` (`username`, `is_active`, `at`, `data`, `file`, `took`, `uuid`, `position`)
  SELECT CONCAT('user', seq), seq % 2, '2026-03-29 02:30:00.000001', JSON_OBJECT('né', seq, 'n', 'a\\nb\\\\'),
  RANDOM_BYTES(64), -9223372036854775808, MD5(seq), 65535 FROM seq_1_to_300;
INSERT INTO `django_admin_log` (`user_id`, `object_repr`) SELECT 1 + seq % 300, CONCAT('object; ', seq) FROM seq_1_to_1500;
"""
# Employees: many narrow rows, partitions by year, functions that read, a view with windows.
EMPLOYEES = """
CREATE TABLE employees (emp_no int PRIMARY KEY, birth_date date NOT NULL, gender enum('M','F') NOT NULL);
CREATE TABLE salaries (emp_no int NOT NULL, salary int NOT NULL, from_date date NOT NULL, PRIMARY KEY (emp_no, from_date))
  PARTITION BY RANGE COLUMNS (from_date)
  (PARTITION p85 VALUES LESS THAN ('1985-12-31'), PARTITION p99 VALUES LESS THAN (MAXVALUE));
CREATE TABLE departments (dept_no char(4) PRIMARY KEY, dept_name varchar(40) NOT NULL UNIQUE);
CREATE TABLE dept_emp (emp_no int, dept_no char(4), PRIMARY KEY (emp_no, dept_no), KEY (dept_no),
  FOREIGN KEY (emp_no) REFERENCES employees (emp_no) ON DELETE CASCADE,
  FOREIGN KEY (dept_no) REFERENCES departments (dept_no) ON DELETE CASCADE);
INSERT INTO employees SELECT seq, '1953-09-02' + INTERVAL seq DAY, 1 + seq % 2 FROM seq_10001_to_11000;
INSERT INTO salaries SELECT 10001 + seq % 1000, seq, '1985-01-01' + INTERVAL seq DAY FROM seq_1_to_3000;
INSERT INTO departments SELECT CONCAT('d', LPAD(seq, 3, '0')), CONCAT('Dept ', seq) FROM seq_1_to_9;
INSERT INTO dept_emp SELECT seq, CONCAT('d', LPAD(1 + seq % 9, 3, '0')) FROM seq_10001_to_11000;
CREATE FUNCTION emp_dept_id(employee_id int) RETURNS char(4) READS SQL DATA
  RETURN (SELECT dept_no FROM dept_emp WHERE emp_no = employee_id LIMIT 1);
CREATE VIEW current_dept AS
  SELECT emp_no, emp_dept_id(emp_no) dept, ROW_NUMBER() OVER (ORDER BY birth_date) n FROM employees;
"""
# A wiki: binary texts, compressed pages, full text in a table of its own.
MEDIAWIKI = """
CREATE TABLE page (page_id int unsigned PRIMARY KEY AUTO_INCREMENT, page_title varbinary(255) NOT NULL,
  page_touched binary(14) NOT NULL, page_random double unsigned NOT NULL, UNIQUE KEY name_title (page_title),
  KEY page_random (page_random DESC));
CREATE TABLE text (old_id int unsigned PRIMARY KEY AUTO_INCREMENT, old_text mediumblob NOT NULL, old_flags tinyblob NOT NULL)
  ENGINE=InnoDB ROW_FORMAT=COMPRESSED KEY_BLOCK_SIZE=8 DEFAULT CHARSET=binary;
CREATE TABLE searchindex (si_page int unsigned NOT NULL, si_title varchar(255) DEFAULT '', si_text mediumtext NOT NULL,
  UNIQUE KEY si_page (si_page), FULLTEXT KEY (si_title), FULLTEXT KEY (si_text)) ENGINE=MyISAM DEFAULT CHARSET=utf8mb3;
CREATE TABLE objectcache (keyname varbinary(255) PRIMARY KEY, value mediumblob, exptime datetime) ENGINE=Aria TRANSACTIONAL=1;
INSERT INTO page (page_title, page_touched, page_random) SELECT CONCAT('Häuser_', seq), '20260101000000', seq / 700
  FROM seq_1_to_600;
INSERT INTO text (old_text, old_flags) SELECT COMPRESS(REPEAT(CONCAT('[[x]] '';', seq), 40)), 'gzip' FROM seq_1_to_600;
INSERT INTO searchindex SELECT seq, 'häuser', CONCAT('the "houses" -- ', seq) FROM seq_1_to_600;
INSERT INTO objectcache SELECT CONCAT('k', CHAR(0), seq), UNHEX(SHA2(seq, 256)), NOW() FROM seq_1_to_90;
"""
# A shop of attributes: two triggers on a table, a procedure with a cursor, prices of periods, a table of memory.
MAGENTO = """
CREATE TABLE attribute (attribute_id smallint unsigned PRIMARY KEY AUTO_INCREMENT, code varchar(255) NOT NULL) COMMENT='EAV';
CREATE TABLE product_decimal (value_id int PRIMARY KEY AUTO_INCREMENT, attribute_id smallint unsigned NOT NULL,
  value decimal(20,6), row_hash binary(20) AS (UNHEX(SHA1(CONCAT(attribute_id, '-', IFNULL(value, ''))))) PERSISTENT,
  CONSTRAINT `FK;1` FOREIGN KEY (attribute_id) REFERENCES attribute (attribute_id) ON DELETE CASCADE);
CREATE TABLE product_cl (version_id int unsigned PRIMARY KEY AUTO_INCREMENT, entity_id int NOT NULL);
CREATE TABLE price (id int, amount int, valid_from date, valid_to date, PERIOD FOR validity (valid_from, valid_to),
  PRIMARY KEY (id, valid_from));
CREATE TABLE index_tmp (id int PRIMARY KEY, price decimal(8,2)) ENGINE=MEMORY;
DELIMITER $$
CREATE TRIGGER trg_insert AFTER INSERT ON product_decimal FOR EACH ROW BEGIN
  IF NEW.value > 10 THEN INSERT IGNORE INTO product_cl (entity_id) VALUES (NEW.value_id); END IF; END$$
CREATE TRIGGER trg_second AFTER INSERT ON product_decimal FOR EACH ROW FOLLOWS trg_insert
  SET @seen = CONCAT('$', NEW.value_id)$$
CREATE PROCEDURE reindex(INOUT n int) MODIFIES SQL DATA SQL SECURITY INVOKER COMMENT 'it''s; slow' BEGIN
  DECLARE done bool DEFAULT FALSE; DECLARE c CURSOR FOR SELECT id FROM index_tmp;
  DECLARE CONTINUE HANDLER FOR NOT FOUND SET done = TRUE;
  OPEN c; one: LOOP FETCH c INTO n; IF done THEN LEAVE one; END IF; END LOOP; CLOSE c; END$$
DELIMITER ;
INSERT INTO attribute (code) SELECT CONCAT('attribute_', seq) FROM seq_1_to_80;
INSERT INTO product_decimal (attribute_id, value) SELECT 1 + seq % 80, NULLIF(seq % 30, 0) FROM seq_1_to_1200;
INSERT INTO price SELECT seq, seq, '2026-01-01', '2026-12-31' FROM seq_1_to_70;
INSERT INTO index_tmp SELECT seq, seq / 3 FROM seq_1_to_60;
"""
# A site of nodes: old character sets, hidden columns, values of every odd type, a sequence that goes down.
DRUPAL = """
CREATE TABLE d_node (nid int unsigned NOT NULL AUTO_INCREMENT, langcode varchar(12) CHARACTER SET ascii NOT NULL,
  uuid varchar(128) CHARACTER SET ascii, PRIMARY KEY (nid), UNIQUE KEY uuid_value (uuid), KEY type_id (langcode(4), nid))
  COLLATE utf8mb4_general_ci;
CREATE TABLE d_config (collection varchar(255) CHARACTER SET ascii COLLATE ascii_bin NOT NULL DEFAULT '',
  name varchar(191) NOT NULL, data longblob, PRIMARY KEY (collection, name));
CREATE TABLE d_flood (identifier varchar(128) INVISIBLE DEFAULT 'x', at year(4) NULL, ip inet6, wait time(6),
  one bit(1) DEFAULT b'1', big bit(64), kind set('a','b;','it''s') CHARACTER SET latin2, line linestring,
  doc json DEFAULT (json_array(1, 2)));
INSERT INTO d_node (langcode, uuid) SELECT 'zxx', UUID() FROM seq_1_to_400;
INSERT INTO d_config
  SELECT '', CONCAT('block.', seq), CONCAT('a:1:{s:4:"', CHAR(0), '*', CHAR(0), 'x";N;}') FROM seq_1_to_250;
INSERT INTO d_flood (at, ip, wait, big, kind, line) SELECT 1970 + seq % 100, '::ffff:192.0.2.1', '-838:59:59.000001',
  ~0 - seq, seq % 8, LineString(Point(seq, 0), Point(0, seq)) FROM seq_1_to_130;
CREATE SEQUENCE d_sequences START WITH 9223372036854775000 INCREMENT BY -5 MINVALUE 1 MAXVALUE 9223372036854775806
  CACHE 7 CYCLE;
CREATE VIEW d_union AS SELECT nid FROM d_node UNION ALL (SELECT COUNT(*) FROM d_flood) EXCEPT SELECT 0;
"""
SCHEMAS = {"sakila": SAKILA, "wordpress": WORDPRESS, "features": FEATURES}
# Dumped with all that belongs to a database.
FURTHER = {
    "chinook": CHINOOK,
    "northwind": NORTHWIND,
    "django": DJANGO,
    "employees": EMPLOYEES,
    "mediawiki": MEDIAWIKI,
    "magento": MAGENTO,
    "drupal": DRUPAL,
}
