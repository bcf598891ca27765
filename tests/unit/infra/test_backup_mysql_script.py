"""Reading scripts of mysqldump and mariadb-dump: rows, their end, and where events begin."""

from pathlib import Path

import pytest

from horae.errors import InvalidSettings
from infra._backup import databases, mysql
from infra._backup.mysql_script import EVENTS, Counter, before_events, for_drill, portable


def counted(script: bytes) -> Counter:
    counter = Counter()
    for line in script.splitlines(keepends=True):
        counter.read(line)
    return counter


def test_rows_are_counted_as_both_families_write_them() -> None:
    mysqldump = b"CREATE TABLE `a` (\n  `n` int\n);\nINSERT INTO `a` VALUES (1,'x'),(2,NULL),(3,_binary 'y');\n"
    mariadb = b"CREATE TABLE `a` (\nINSERT INTO `a` VALUES\n(1,'x'),\n(2,NULL),\n(3,0x00);\n-- Dump completed\n"
    assert counted(mysqldump).tables == {"a": 3}
    assert not counted(mysqldump).complete
    assert counted(mariadb).tables == {"a": 3}
    assert counted(mariadb).complete


@pytest.mark.parametrize(
    "value", [b"'(1),(2);'", b"'it''s (\\' '", b"'\\\\'", b"'\\n('", b"''", b"'a),(b'", b"0x28", b"-1.5e10"]
)
def test_text_in_a_value_is_no_row(value: bytes) -> None:
    script = b"INSERT INTO `a` VALUES\n(1," + value + b"),\n(" + value + b",2);\nINSERT INTO `b` VALUES (1);\n"
    assert counted(script).tables == {"a": 2, "b": 1}


def test_names_and_lists_of_columns_are_no_rows() -> None:
    script = b"CREATE TABLE `o``d (t)` (\nINSERT INTO `o``d (t)` (`a (`, `b`) VALUES\n(1,2);\n"
    assert counted(script).tables == {"o`d (t)": 1}


def test_statements_of_triggers_and_routines_are_no_rows() -> None:
    body = (
        b"DELIMITER ;;\nCREATE TRIGGER t BEGIN\nINSERT INTO `a` VALUES (1),(2);\n"
        b"CREATE TABLE `z` (\nEND ;;\nDELIMITER ;\n"
    )
    assert counted(b"CREATE TABLE `a` (\n" + body + b"INSERT INTO `a` VALUES (1);\n").tables == {"a": 1}


def test_a_drill_leaves_events_out() -> None:
    assert list(before_events([b"one\n", EVENTS, b"CREATE EVENT\n"])) == [b"one\n"]
    view, row = (
        b"/*!50013 DEFINER=`o``d`@`%` SQL SECURITY DEFINER */\n",
        b"INSERT INTO `a` VALUES ('DEFINER=`a`@`b`');\n",
    )
    assert list(for_drill([view, row, EVENTS, b"CREATE EVENT\n"])) == [b"/*!50013  SQL SECURITY DEFINER */\n", row]


def test_a_restore_elsewhere_does_not_touch_the_database_that_was_dumped() -> None:
    change = b"ALTER DATABASE `sh``op` CHARACTER SET latin1 COLLATE latin1_swedish_ci ;\n"
    data = b"INSERT INTO `a` VALUES ('\nALTER DATABASE `x` ');\n"
    event = b"DELIMITER ;;\n" + change.replace(b";", b";;") + b"DELIMITER ;\n"
    script = (change + data + event).splitlines(keepends=True)
    assert b"".join(portable(script, Counter())) == (change + data + event).replace(b"`sh``op` ", b"")


def test_a_url_of_mysql(tmp_path: Path) -> None:
    project = tmp_path
    (project / "pw").write_text("p/w\n")
    found = databases.parse("mariadb+pymysql://us%40er@db:3307/shop?password_file=pw&socket=/run/s", project)
    assert isinstance(found, databases.MySQL)
    assert (found.user, found.host, found.port, found.schema, found.socket) == ("us@er", "db", 3307, "shop", "/run/s")
    assert found.password == "p/w"
    assert str(found) == "mysql://us%40er@db:3307/shop"
    assert "p/w" not in repr(found)
    same = databases.parse("mysql://us%40er:other@db:3307/shop?socket=/run/s", project)
    assert same.name == found.name
    assert found.named("other").schema == "other"


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("mysql://u@h", "names no database; write mysql://USER@HOST/DATABASE"),
        ("mysql://u@h/d?sslmode=require", "unknown option 'sslmode'.*option file"),
        ("mysql://u@h/d?password_file=absent", "its password_file .*absent cannot be read: No such file"),
        ("postgresql://u@h/d?password_file=empty", "its password_file .*empty is empty"),
    ],
)
def test_a_url_that_cannot_be_used_is_explained(tmp_path: Path, url: str, reason: str) -> None:
    project = tmp_path
    (project / "empty").touch()
    with pytest.raises(InvalidSettings, match=reason):
        databases.parse(url, project)


def test_a_password_keeps_its_characters_in_an_option_file() -> None:
    database = databases.MySQL(
        name="", host="", port=None, socket=None, user="", schema="d", password='a"b\\c#d', option_file=None
    )
    assert mysql.options(database) == '[client]\npassword="a\\"b\\\\c#d"\n'
