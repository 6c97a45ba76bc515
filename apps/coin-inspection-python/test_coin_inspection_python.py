import sys
import unittest
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "coin-inspection"))

import test_coin_inspection


class CoinInspectionPython(test_coin_inspection.Facts, unittest.TestCase):
    app = HERE


if __name__ == "__main__":
    unittest.main()
