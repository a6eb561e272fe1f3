/*M!999999\- enable the sandbox mode */ 
-- MariaDB dump 10.19  Distrib 10.11.19-MariaDB, for debian-linux-gnu (x86_64)
--
-- Host: localhost    Database: site
-- ------------------------------------------------------
-- Server version	10.11.19-MariaDB-0+deb12u1

/*!40101 SET @OLD_CHARACTER_SET_CLIENT=@@CHARACTER_SET_CLIENT */;
/*!40101 SET @OLD_CHARACTER_SET_RESULTS=@@CHARACTER_SET_RESULTS */;
/*!40101 SET @OLD_COLLATION_CONNECTION=@@COLLATION_CONNECTION */;
/*!40101 SET NAMES utf8mb4 */;
/*!40103 SET @OLD_TIME_ZONE=@@TIME_ZONE */;
/*!40103 SET TIME_ZONE='+00:00' */;
/*!40014 SET @OLD_UNIQUE_CHECKS=@@UNIQUE_CHECKS, UNIQUE_CHECKS=0 */;
/*!40014 SET @OLD_FOREIGN_KEY_CHECKS=@@FOREIGN_KEY_CHECKS, FOREIGN_KEY_CHECKS=0 */;
/*!40101 SET @OLD_SQL_MODE=@@SQL_MODE, SQL_MODE='NO_AUTO_VALUE_ON_ZERO' */;
/*!40111 SET @OLD_SQL_NOTES=@@SQL_NOTES, SQL_NOTES=0 */;

--
-- Table structure for table `article`
--

DROP TABLE IF EXISTS `article`;
/*!40101 SET @saved_cs_client     = @@character_set_client */;
/*!40101 SET character_set_client = utf8mb4 */;
CREATE TABLE `article` (
  `id` int(11) NOT NULL AUTO_INCREMENT,
  `title` varchar(80) NOT NULL,
  `published_at` datetime NOT NULL,
  PRIMARY KEY (`id`)
) ENGINE=InnoDB AUTO_INCREMENT=32 DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci;
/*!40101 SET character_set_client = @saved_cs_client */;

--
-- Dumping data for table `article`
--

LOCK TABLES `article` WRITE;
/*!40000 ALTER TABLE `article` DISABLE KEYS */;
INSERT INTO `article` VALUES
(1,'Article 1','2025-06-01 09:00:00'),
(2,'Article 2','2025-06-01 10:00:00'),
(3,'Article 3','2025-06-01 11:00:00'),
(4,'Article 4','2025-06-01 12:00:00'),
(5,'Article 5','2025-06-01 13:00:00'),
(6,'Article 6','2025-06-01 14:00:00'),
(7,'Article 7','2025-06-01 15:00:00'),
(8,'Article 8','2025-06-01 16:00:00'),
(9,'Article 9','2025-06-01 17:00:00'),
(10,'Article 10','2025-06-01 18:00:00'),
(11,'Article 11','2025-06-01 19:00:00'),
(12,'Article 12','2025-06-01 20:00:00'),
(13,'Article 13','2025-06-01 21:00:00'),
(14,'Article 14','2025-06-01 22:00:00'),
(15,'Article 15','2025-06-01 23:00:00'),
(16,'Article 16','2025-06-02 00:00:00'),
(17,'Article 17','2025-06-02 01:00:00'),
(18,'Article 18','2025-06-02 02:00:00'),
(19,'Article 19','2025-06-02 03:00:00'),
(20,'Article 20','2025-06-02 04:00:00'),
(21,'Article 21','2025-06-02 05:00:00'),
(22,'Article 22','2025-06-02 06:00:00'),
(23,'Article 23','2025-06-02 07:00:00'),
(24,'Article 24','2025-06-02 08:00:00'),
(25,'Article 25','2025-06-02 09:00:00');
/*!40000 ALTER TABLE `article` ENABLE KEYS */;
UNLOCK TABLES;

--
-- Temporary table structure for view `latest`
--

DROP TABLE IF EXISTS `latest`;
/*!50001 DROP VIEW IF EXISTS `latest`*/;
SET @saved_cs_client     = @@character_set_client;
SET character_set_client = utf8mb4;
/*!50001 CREATE VIEW `latest` AS SELECT
 NULL AS `title` */;
SET character_set_client = @saved_cs_client;

--
-- Table structure for table `remark`
--

DROP TABLE IF EXISTS `remark`;
/*!40101 SET @saved_cs_client     = @@character_set_client */;
/*!40101 SET character_set_client = utf8mb4 */;
CREATE TABLE `remark` (
  `id` int(11) NOT NULL AUTO_INCREMENT,
  `article_id` int(11) NOT NULL,
  `body` text NOT NULL,
  PRIMARY KEY (`id`),
  KEY `article_id` (`article_id`),
  CONSTRAINT `remark_ibfk_1` FOREIGN KEY (`article_id`) REFERENCES `article` (`id`)
) ENGINE=InnoDB AUTO_INCREMENT=128 DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci;
/*!40101 SET character_set_client = @saved_cs_client */;

--
-- Dumping data for table `remark`
--

LOCK TABLES `remark` WRITE;
/*!40000 ALTER TABLE `remark` DISABLE KEYS */;
INSERT INTO `remark` VALUES
(1,2,'Remark 1'),
(2,3,'Remark 2'),
(3,4,'Remark 3'),
(4,5,'Remark 4'),
(5,6,'Remark 5'),
(6,7,'Remark 6'),
(7,8,'Remark 7'),
(8,9,'Remark 8'),
(9,10,'Remark 9'),
(10,11,'Remark 10'),
(11,12,'Remark 11'),
(12,13,'Remark 12'),
(13,14,'Remark 13'),
(14,15,'Remark 14'),
(15,16,'Remark 15'),
(16,17,'Remark 16'),
(17,18,'Remark 17'),
(18,19,'Remark 18'),
(19,20,'Remark 19'),
(20,21,'Remark 20'),
(21,22,'Remark 21'),
(22,23,'Remark 22'),
(23,24,'Remark 23'),
(24,25,'Remark 24'),
(25,1,'Remark 25'),
(26,2,'Remark 26'),
(27,3,'Remark 27'),
(28,4,'Remark 28'),
(29,5,'Remark 29'),
(30,6,'Remark 30'),
(31,7,'Remark 31'),
(32,8,'Remark 32'),
(33,9,'Remark 33'),
(34,10,'Remark 34'),
(35,11,'Remark 35'),
(36,12,'Remark 36'),
(37,13,'Remark 37'),
(38,14,'Remark 38'),
(39,15,'Remark 39'),
(40,16,'Remark 40'),
(41,17,'Remark 41'),
(42,18,'Remark 42'),
(43,19,'Remark 43'),
(44,20,'Remark 44'),
(45,21,'Remark 45'),
(46,22,'Remark 46'),
(47,23,'Remark 47'),
(48,24,'Remark 48'),
(49,25,'Remark 49'),
(50,1,'Remark 50'),
(51,2,'Remark 51'),
(52,3,'Remark 52'),
(53,4,'Remark 53'),
(54,5,'Remark 54'),
(55,6,'Remark 55'),
(56,7,'Remark 56'),
(57,8,'Remark 57'),
(58,9,'Remark 58'),
(59,10,'Remark 59'),
(60,11,'Remark 60'),
(61,12,'Remark 61'),
(62,13,'Remark 62'),
(63,14,'Remark 63'),
(64,15,'Remark 64'),
(65,16,'Remark 65'),
(66,17,'Remark 66'),
(67,18,'Remark 67'),
(68,19,'Remark 68'),
(69,20,'Remark 69'),
(70,21,'Remark 70'),
(71,22,'Remark 71'),
(72,23,'Remark 72'),
(73,24,'Remark 73'),
(74,25,'Remark 74'),
(75,1,'Remark 75'),
(76,2,'Remark 76'),
(77,3,'Remark 77'),
(78,4,'Remark 78'),
(79,5,'Remark 79'),
(80,6,'Remark 80'),
(81,7,'Remark 81'),
(82,8,'Remark 82'),
(83,9,'Remark 83'),
(84,10,'Remark 84'),
(85,11,'Remark 85'),
(86,12,'Remark 86'),
(87,13,'Remark 87'),
(88,14,'Remark 88'),
(89,15,'Remark 89'),
(90,16,'Remark 90');
/*!40000 ALTER TABLE `remark` ENABLE KEYS */;
UNLOCK TABLES;

--
-- Final view structure for view `latest`
--

/*!50001 DROP VIEW IF EXISTS `latest`*/;
/*!50001 SET @saved_cs_client          = @@character_set_client */;
/*!50001 SET @saved_cs_results         = @@character_set_results */;
/*!50001 SET @saved_col_connection     = @@collation_connection */;
/*!50001 SET character_set_client      = utf8mb3 */;
/*!50001 SET character_set_results     = utf8mb3 */;
/*!50001 SET collation_connection      = utf8mb3_general_ci */;
/*!50001 CREATE ALGORITHM=UNDEFINED */
/*!50013 DEFINER=`root`@`localhost` SQL SECURITY DEFINER */
/*!50001 VIEW `latest` AS select `article`.`title` AS `title` from `article` order by `article`.`published_at` desc limit 10 */;
/*!50001 SET character_set_client      = @saved_cs_client */;
/*!50001 SET character_set_results     = @saved_cs_results */;
/*!50001 SET collation_connection      = @saved_col_connection */;
/*!40103 SET TIME_ZONE=@OLD_TIME_ZONE */;

/*!40101 SET SQL_MODE=@OLD_SQL_MODE */;
/*!40014 SET FOREIGN_KEY_CHECKS=@OLD_FOREIGN_KEY_CHECKS */;
/*!40014 SET UNIQUE_CHECKS=@OLD_UNIQUE_CHECKS */;
/*!40101 SET CHARACTER_SET_CLIENT=@OLD_CHARACTER_SET_CLIENT */;
/*!40101 SET CHARACTER_SET_RESULTS=@OLD_CHARACTER_SET_RESULTS */;
/*!40101 SET COLLATION_CONNECTION=@OLD_COLLATION_CONNECTION */;
/*!40111 SET SQL_NOTES=@OLD_SQL_NOTES */;

-- Dump completed on 2026-12-01  9:53:44
