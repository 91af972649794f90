"""The mathematics: no framework is imported here."""
