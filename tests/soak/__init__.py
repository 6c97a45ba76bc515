"""Everything that sessions do, for a long time: nothing may be left of it, and nothing that was answered be lost."""
