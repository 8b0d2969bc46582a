"""How a dump is read, and what of it is refused. Run as `tests/__init__.py` says."""

import io
import random
import unittest

from ansible.module_utils import pressluft_sql
from ansible.module_utils.pressluft_sql import TOKEN, Reader, Unreadable
from ansible.module_utils.pressluft_sql_rules import Refused, checked

# As the dump of a node's MariaDB has them.
SETTINGS = rb"""/*M!999999\- enable the sandbox mode */
/*!40101 SET @OLD_CHARACTER_SET_CLIENT=@@CHARACTER_SET_CLIENT */;
/*!40101 SET NAMES utf8mb4 */;
/*!40103 SET TIME_ZONE='+00:00' */;
/*!40014 SET @OLD_FOREIGN_KEY_CHECKS=@@FOREIGN_KEY_CHECKS, FOREIGN_KEY_CHECKS=0 */;
/*!40101 SET @OLD_SQL_MODE=@@SQL_MODE, SQL_MODE='NO_AUTO_VALUE_ON_ZERO' */;
/*M!100616 SET @OLD_NOTE_VERBOSITY=@@NOTE_VERBOSITY, NOTE_VERBOSITY=0 */;
/*!40101 SET character_set_client = utf8mb4 */;
/*!40101 SET SQL_MODE=@OLD_SQL_MODE */;
"""
TABLE = r"""DROP TABLE IF EXISTS `wp_posts`;
CREATE TABLE `wp_posts` (
  `ID` bigint(20) unsigned NOT NULL AUTO_INCREMENT,
  `use` decimal(10,2) DEFAULT 1.50 COMMENT 'USE mysql; `other`.`t`',
  PRIMARY KEY (`ID`)
) ENGINE=InnoDB AUTO_INCREMENT=5 DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_520_ci;
LOCK TABLES `wp_posts` WRITE;
/*!40000 ALTER TABLE `wp_posts` DISABLE KEYS */;
INSERT INTO `wp_posts` VALUES
(1,'it''s \'USE mysql;\' \\',NULL,0xAB12,-1.5e-10),
(2,'DROP DATABASE x; -- /*!50000 USE y */ \n"é漢😀`',NULL,'',0);
UNLOCK TABLES;
""".encode()
VIEW = rb"""/*!50001 CREATE ALGORITHM=UNDEFINED */
/*!50013 DEFINER=`root`@`localhost` SQL SECURITY DEFINER */
/*!50001 VIEW `v` AS select `p`.`ID` AS `ID`,extract(year from `p`.`post_date`) AS `y` from (`wp_posts` `p` join `wp_x` `x` on(`p`.`ID` = `x`.`ID`)) */;
"""
TRIGGER = rb"""DELIMITER ;;
/*!50003 CREATE*/ /*!50017 DEFINER='root'@'localhost'*/ /*!50003 TRIGGER `t` AFTER INSERT ON `wp_posts` FOR EACH ROW BEGIN
  /* a comment; */ INSERT INTO wp_log VALUES (NEW.ID, 'a;b'); -- another;
END */;;
CREATE DEFINER=`root`@`localhost` PROCEDURE `p`() BEGIN UPDATE wp_posts SET wp_posts.ID = 1; END;;
DELIMITER ;
"""
DUMP = SETTINGS + TABLE + VIEW + TRIGGER


class Slowly(io.BytesIO):
    """A stream that gives a few bytes at a time, whatever is asked for."""

    def __init__(self, text: bytes, step: int):
        super().__init__(text)
        self.step = step

    def read(self, size=-1):
        return super().read(self.step)


def read(text: bytes, step: int = 1 << 20) -> list[bytes]:
    return [statement.text for statement in Reader(Slowly(text, step), read_bytes=step).statements()]


def sent(text: bytes) -> list[bytes]:
    """What would be sent to the server. Raises where the dump is refused."""
    return [checked(statement) for statement in Reader(io.BytesIO(text)).statements()]


class Reading(unittest.TestCase):
    def test_the_dump_of_a_node_is_taken_whole(self):
        texts = sent(DUMP)
        self.assertEqual(len(texts), len(read(DUMP)))
        self.assertEqual(sum(text.startswith(b"INSERT") for text in texts), 1)
        self.assertIn(TABLE.split(b"INSERT")[1].split(b";\nUNLOCK")[0], texts[[t[:6] for t in texts].index(b"INSERT")])

    def test_it_is_read_the_same_in_pieces_of_any_size(self):
        whole = read(DUMP)
        for step in (1, 2, 3, 7, 64, 333):
            with self.subTest(step=step):
                self.assertEqual(read(DUMP, step), whole)

    def test_rows_are_passed_over_many_at_a_time_however_the_reads_cut_them(self):
        row = b"(7,'some \\'text\\' with; everything\\\\',NULL,0xFF,-1.5e-10)"
        text = b"INSERT INTO `t` VALUES " + b",".join([row] * 5000) + b";\n"
        for step in (1000, 4096, 1 << 20):
            with self.subTest(step=step):
                (statement,) = Reader(Slowly(text, step), read_bytes=step).statements()
                self.assertEqual(statement.text, text[:-2])
                self.assertLess(len(statement.tokens), 1000)
                self.assertEqual(checked(statement), text[:-2])

    def test_a_literal_of_many_reads_is_one_literal(self):
        text = b"INSERT INTO t VALUES ('" + b"it''s long; \\\\ " * 100_000 + b"');\nSET NAMES utf8;\n"
        self.assertEqual(len(read(text, 10_000)), 2)

    def test_where_a_literal_ends_is_what_a_reader_of_single_bytes_says(self):
        # The expressions are fast and easily wrong; this is slow and plain.
        def ends(text: bytes) -> int:
            place = 1
            while place < len(text) and text[place] != ord("'"):
                place += 2 if text[place] == ord("\\") else 1
            return place + 1 if place < len(text) else -1

        chance = random.Random(5)
        for _ in range(20_000):
            text = b"'" + bytes(chance.choice(b"''\\\\a;,(") for _ in range(chance.randrange(1, 14)))
            found = TOKEN.match(text)
            self.assertEqual(found.end() if found else -1, ends(text), text)

    def test_what_does_not_end_is_no_dump(self):
        for text in (
            b"SELECT 'a",
            b"INSERT INTO `a",
            b"SELECT 1 /* ",
            b"DROP TABLE a",
            b"/*!50003 DROP TABLE a ;",
            b'SET a="',
            b"/*!1 ",
        ):
            with self.subTest(text=text), self.assertRaises(Unreadable):
                read(text)

    def test_commands_for_the_client_are_no_statements(self):
        for text in (
            b"\\! id\n",
            b"DROP TABLE a\\g",
            b"/*M!999999\\- enable the sandbox mode */ \\! id;",
            b"/*!1 \\. /etc/passwd */;",
            b"DROP \0 a;",
        ):
            with self.subTest(text=text), self.assertRaises(Unreadable):
                read(text)

    def test_a_literal_cannot_end_a_versioned_comment(self):
        # A server that is older than the version skips to the first end; what a newer one reads as a literal would then run.
        for text in (b"/*!999999 SET @a=' */ USE x; -- ' */;", b"/*!999999 DROP TABLE `*/ USE x; -- ` */;"):
            with self.subTest(text=text), self.assertRaises(Unreadable):
                read(text)

    def test_a_statement_cannot_be_longer_than_memory_has_room_for(self):
        limit = pressluft_sql.MAX_STATEMENT_BYTES
        self.addCleanup(setattr, pressluft_sql, "MAX_STATEMENT_BYTES", limit)
        pressluft_sql.MAX_STATEMENT_BYTES = 10_000
        with self.assertRaisesRegex(Unreadable, "longer"):
            read(b"INSERT INTO t VALUES ('" + b"x" * 100_000 + b"');", 1000)


class Definers(unittest.TestCase):
    def test_the_importing_user_takes_the_place_of_every_definer(self):
        texts = b"\n".join(sent(DUMP))
        self.assertEqual(texts.count(b"DEFINER=CURRENT_USER"), 3)
        self.assertNotIn(b"root", texts)
        self.assertIn(b"SQL SECURITY DEFINER", texts)

    def test_a_text_about_a_definer_stays(self):
        text = b"INSERT INTO `t` VALUES ('DEFINER=`root`@`localhost`')"
        self.assertEqual(sent(text + b";"), [text])

    def test_a_definer_is_found_in_every_way_of_writing_it(self):
        for definer in (
            b"root@localhost",
            b"'a b'@'%'",
            b'"root" @ "localhost"',
            b"CURRENT_USER()",
            b"`ro``ot`@`x`",
            b"some_role",
        ):
            with self.subTest(definer=definer):
                (text,) = sent(b"create definer = " + definer + b" view v as select 1;")
                self.assertEqual(text, b"create definer = CURRENT_USER view v as select 1")


class Refusals(unittest.TestCase):
    def assert_refused(self, *texts: bytes):
        for text in texts:
            with self.subTest(text=text), self.assertRaises((Refused, Unreadable)):
                sent(SETTINGS + text + b"\n")

    def assert_taken(self, *texts: bytes):
        for text in texts:
            with self.subTest(text=text):
                self.assertTrue(sent(text + b"\n"))

    def test_another_database_cannot_be_chosen_however_it_is_written(self):
        self.assert_refused(
            b"USE mysql;",
            b"use `mysql`;",
            b"uSe\n\tmysql;",
            b"/*!40000 USE mysql */;",
            b"/*!USE mysql*/;",
            b"/*M!100100 USE mysql */;",
            b"/* */ USE mysql;",
            b"-- a comment\nUSE mysql;",
            b"# a comment '\nUSE mysql;",
            b"DELIMITER ;;\nUSE mysql;;\nDELIMITER ;",
            b"DELIMITER //\nSET NAMES utf8//\nUSE mysql//",
            b"SET NAMES utf8; USE mysql;",
            b"INSERT INTO t VALUES ('\\\\'); USE mysql; -- ');",
            b"INSERT INTO t VALUES ('a''');USE mysql;",
            b"INSERT INTO t VALUES (1) /*! ; USE mysql */;",
            b"--\nUSE mysql;",
            b"DELIMITER ;;\nCREATE PROCEDURE p() BEGIN USE mysql; END;;",
        )

    def test_a_post_that_talks_about_it_is_taken(self):
        self.assert_taken(
            b"INSERT INTO `wp_posts` VALUES (1,'USE mysql;\nDROP DATABASE x;'),(2,'\\'; USE mysql; -- ');",
            b"INSERT INTO `wp_posts` (`a`, b) VALUES ('/*! USE mysql */'), ('`other`.`table`');",
            b'INSERT INTO t VALUES ("GRANT ALL ON *.* TO x; \\" USE y;");',
            "INSERT INTO t VALUES ('漢字 LOAD DATA INFILE é');".encode(),
            b"-- USE mysql;\nSET NAMES utf8mb4;",
            b"/* USE mysql; */ SET NAMES utf8mb4;",
            b"# USE mysql;\nDROP TABLE IF EXISTS `use mysql;`;",
            b"CREATE TABLE t (a int COMMENT 'DATA DIRECTORY=x; USE y') ENGINE=InnoDB COMMENT='a.b';",
        )

    def test_databases_users_and_rights_are_out_of_reach(self):
        self.assert_refused(
            b"CREATE DATABASE x;",
            b"create schema if not exists `x`;",
            b"DROP DATABASE /*!32312 IF EXISTS*/ x;",
            b"/*!40000 DROP DATABASE x */;",
            b"ALTER DATABASE x CHARACTER SET utf8;",
            b"CREATE OR REPLACE DATABASE x;",
            b"CREATE USER a@b;",
            b"CREATE OR REPLACE USER a@b;",
            b"ALTER USER a@b IDENTIFIED BY 'x';",
            b"DROP ROLE x;",
            b"GRANT ALL ON *.* TO a@b;",
            b"REVOKE ALL ON x.* FROM a@b;",
            b"SET PASSWORD = PASSWORD('x');",
            b"SET ROLE x;",
            b"CREATE SERVER s FOREIGN DATA WRAPPER mysql OPTIONS (HOST 'x');",
            b"CREATE EVENT e ON SCHEDULE EVERY 1 HOUR DO DROP TABLE a;",
            b"INSTALL PLUGIN a SONAME 'b';",
            b"CREATE FUNCTION f RETURNS STRING SONAME 'udf.so';",
            b"DELIMITER ;;\nCREATE PROCEDURE p() BEGIN GRANT ALL ON *.* TO a@b; END;;",
            b"DELIMITER ;;\nCREATE PROCEDURE p() BEGIN DROP DATABASE x; END;;",
            b"DELIMITER ;;\nCREATE PROCEDURE p() BEGIN PREPARE s FROM 'USE x'; EXECUTE s; END;;",
        )

    def test_the_servers_files_are_out_of_reach(self):
        self.assert_refused(
            b"LOAD DATA INFILE '/etc/passwd' INTO TABLE t;",
            b"load data local infile 'x' into table t;",
            b"SELECT 1 INTO OUTFILE '/tmp/x';",
            b"CREATE VIEW v AS SELECT LOAD_FILE('/etc/passwd');",
            b"CREATE PROCEDURE p() SELECT * FROM t INTO DUMPFILE '/tmp/x';",
            b"CREATE TABLE t (a int) ENGINE=InnoDB DATA DIRECTORY='/tmp';",
            b"CREATE TABLE t (a int) ENGINE=CONNECT TABLE_TYPE=CSV FILE_NAME='/etc/passwd';",
            b"CREATE TABLE t (a int) ENGINE='FEDERATED' CONNECTION='mysql://x/y/z';",
            b"CREATE TABLE t (a int) ENGINE=MRG_MyISAM UNION=(`a`,`b`);",
            b"INSERT INTO t VALUES (LOAD_FILE('/etc/passwd'));",
        )

    def test_settings_of_the_server_and_ways_to_read_literals_differently_are_refused(self):
        self.assert_refused(
            b"SET GLOBAL sql_mode='';",
            b"SET @@global.sql_mode='';",
            b"SET SQL_MODE='ANSI_QUOTES';",
            b"SET SQL_MODE='NO_BACKSLASH_ESCAPES';",
            b"SET @a='no_backslash_escapes', SQL_MODE=@a;",
            b"SET SQL_MODE='ORACLE';",
            b"SET SQL_MODE=4;",
            b"SET SQL_MODE=CONCAT('AN','SI');",
            b"SET SQL_MODE=0x414e5349;",
            b"SET NAMES sjis;",
            b"SET NAMES gbk;",
            b"SET character_set_client = big5;",
            b"SET CHARACTER SET cp932;",
            b"SET PERSIST max_connections=1;",
            b"SET init_connect='x';",
            b"SET STATEMENT max_statement_time=1 FOR DROP TABLE t;",
            b"FLUSH PRIVILEGES;",
            b"KILL 1;",
            b"SHUTDOWN;",
            b"CHANGE MASTER TO MASTER_HOST='x';",
            b"SELECT SLEEP(1000);",
            b"CALL mysql.p();",
        )

    def test_a_table_of_another_database_cannot_be_named(self):
        self.assert_refused(
            b"INSERT INTO `other`.`t` VALUES (1);",
            b"INSERT INTO other . t VALUES (1);",
            b"INSERT INTO other/**/.t VALUES (1);",
            b"insert into `other`.`t` (a) values (1);",
            b"REPLACE INTO other.t VALUES (1);",
            b"INSERT INTO t SELECT * FROM other.t;",
            b"INSERT INTO t VALUES ((SELECT a FROM other.t));",
            b"DROP TABLE `other`.`t`;",
            b"DROP TABLE a, other.t;",
            b"DROP VIEW other.v;",
            b"DROP TABLE other.`5`;",
            b"DROP TABLE other.5a;",
            b"ALTER TABLE other.t DISABLE KEYS;",
            b"ALTER TABLE t RENAME TO other.t;",
            b"LOCK TABLES other.t WRITE;",
            b"CREATE TABLE other.t (a int);",
            b"CREATE TABLE t LIKE u;",
            b"CREATE TABLE t (a int REFERENCES other.t (a));",
            b"CREATE TABLE t SELECT 1;",
            b"CREATE VIEW v AS SELECT * FROM other.t;",
            b"CREATE VIEW v AS SELECT * FROM a, other.t;",
            b"CREATE VIEW v AS SELECT * FROM (a JOIN `other`.`t`);",
            b"CREATE VIEW v AS SELECT `mysql`.`user`.`host` FROM a;",
            b"CREATE VIEW v AS SELECT other.f(1);",
            b"CREATE VIEW other.v AS SELECT 1;",
            b"CREATE TRIGGER t AFTER INSERT ON other.t FOR EACH ROW SET @a=1;",
            b"CREATE TRIGGER t AFTER INSERT ON a FOR EACH ROW INSERT INTO other.t VALUES (1);",
            b"CREATE PROCEDURE p() UPDATE other.t SET a=1;",
            b"CREATE PROCEDURE p() DELETE FROM other.t;",
            b"CREATE PROCEDURE p() CALL other.p();",
            b"TRUNCATE TABLE other.t;",
            b"RENAME TABLE a TO other.b;",
            b"UPDATE other.t SET a=1;",
            b"DELETE FROM other.t;",
        )

    def test_columns_that_are_named_with_their_table_are_taken(self):
        self.assert_taken(
            b"CREATE VIEW v AS SELECT p.a, `q`.`b` FROM p JOIN q ON p.a = q.b WHERE p.a IN (1) ORDER BY p.a, q.b;",
            b"CREATE VIEW v AS SELECT EXTRACT(YEAR FROM p.a), TRIM(BOTH 'x' FROM p.b) FROM p;",
            b"CREATE TRIGGER t BEFORE UPDATE ON p FOR EACH ROW SET NEW.a = OLD.a, NEW.b = OLD.b;",
            b"CREATE PROCEDURE p() UPDATE p JOIN q ON p.a = q.a SET p.b = q.b WHERE p.c = 1.5;",
            b"DO SETVAL(`s`, 1, 0);",
            b"START TRANSACTION; INSERT INTO t VALUES (1.5,.5,-1e5,NULL,b'101',_binary 'x',x'00'); COMMIT;",
        )

    def test_a_refusal_quotes_no_literal(self):
        for text in (
            b"SELECT 'secretword';",
            b"USE `secretword`;",
            b"SET PASSWORD='secretword';",
            b"INSERT INTO t VALUES (f('secretword'));",
        ):
            with self.subTest(text=text), self.assertRaises(Refused) as raised:
                sent(text)
            self.assertNotIn("secretword", str(raised.exception).lower())


if __name__ == "__main__":
    unittest.main()
