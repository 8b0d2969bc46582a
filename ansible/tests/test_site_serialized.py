"""Which bytes are a serialized value of PHP, and which of them PHP could not read again."""

from __future__ import annotations

import unittest

from ansible.module_utils.pressluft_site_serialized import is_serialized, parses

GOOD = [
    "N;",
    "b:1;",
    "i:-42;",
    "d:0.5;",
    "d:1.0E+25;",
    "d:-INF;",
    "d:NAN;",
    's:0:"";',
    's:5:"hello";',
    's:4:"a";b";',
    's:3:"€";',
    's:6:"日本";',
    "a:0:{}",
    'a:2:{i:0;s:1:"a";s:1:"k";a:1:{i:0;b:0;}}',
    'O:8:"stdClass":1:{s:1:"u";s:8:"http://x";}',
    # A private property's name holds zero bytes.
    'O:1:"A":1:{s:4:"\0A\0p";i:1;}',
    'C:11:"ArrayObject":21:{x:i:0;a:0:{};m:a:0:{}}',
    'E:11:"Suit:Hearts";',
    'a:2:{i:0;O:1:"A":0:{}i:1;r:2;}',
    # Serialized within a text, as many plugins do.
    's:14:"a:1:{i:0;i:1;}";',
    'a:1:{i:0;s:15:"s:8:"http://x";";}',
]
BROKEN = {
    "a text that is longer than its length": 's:4:"hello";',
    "a text that is shorter than its length": 's:6:"hello";',
    "a length in characters, not in bytes": 's:1:"€";',
    "fewer members than said": 'a:2:{i:0;s:1:"a";}',
    "more members than said": 'a:1:{i:0;s:1:"a";i:1;s:1:"b";}',
    "a broken length deep inside": 'a:1:{s:1:"k";a:1:{s:1:"u";s:9:"http://xyz";}}',
    "an array as a key": "a:1:{a:0:{}i:1;}",
    "a wrong length of a class": 'O:7:"stdClass":0:{}',
    "a wrong length of a custom object": 'C:11:"ArrayObject":20:{x:i:0;a:0:{};m:a:0:{}}',
    "no end": 'a:1:{i:0;s:1:"a";',
    "something behind the end": "a:0:{}a:0:{}",
    "broken inside a text": 's:16:"a:1:{i:0;s:9:"";";}";'.replace("s:16", "s:19"),
    "an unknown type": "a:1:{i:0;x:1;}",
    "arrays without end": "a:1:{i:0;" * 5000,
}


class Serialized(unittest.TestCase):
    def test_whatever_php_writes_is_taken_for_serialized_and_parses(self):
        for text in GOOD:
            with self.subTest(text):
                self.assertTrue(parses(text.encode()))
                if text[:2] not in ("d:-", "d:N"):
                    self.assertTrue(is_serialized(text.encode()) or text in ("d:-INF;", "d:NAN;"))

    def test_whatever_a_replacement_by_text_leaves_does_not_parse(self):
        for name, text in BROKEN.items():
            with self.subTest(name):
                self.assertFalse(parses(text.encode()))

    def test_a_broken_length_is_still_taken_for_serialized(self):
        for name in ("a text that is longer than its length", "fewer members than said", "a broken length deep inside"):
            with self.subTest(name):
                self.assertTrue(is_serialized(BROKEN[name].encode()))

    def test_other_texts_are_not_serialized(self):
        for text in ("", "a", "a:b", "hello;", "s: 5;", 'a:"x"}', "https://x;", "http://x.test/{}", "i:x;", "O:O}"):
            with self.subTest(text):
                self.assertFalse(is_serialized(text.encode()))

    def test_space_around_a_value_changes_nothing(self):
        self.assertTrue(is_serialized(b" a:0:{}\n"))
        self.assertTrue(parses(b" a:0:{}\n"))

    def test_bytes_that_are_no_utf8_are_counted_as_bytes(self):
        self.assertTrue(parses(b's:2:"\xff\xfe";'))


if __name__ == "__main__":
    unittest.main()
