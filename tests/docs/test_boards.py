"""The page about boards, run on the board that it names."""

import pathlib
import unittest

import pages
import test_pages

FIRMWARE = pathlib.Path("/usr/share/firmware-microbit-micropython/firmware.hex")


class Boards(test_pages.PageRunner):
    def test_the_page_does_what_it_says(self):
        if not FIRMWARE.exists():
            self.skipTest(f"*** NO BOARD, SO docs/guide/boards.md WAS NOT TESTED: {FIRMWARE} is not installed")
        with pages.temporary_folder() as folder:
            self.run_page(pages.ROOT / "docs/guide/boards.md", folder)


if __name__ == "__main__":
    unittest.main()
