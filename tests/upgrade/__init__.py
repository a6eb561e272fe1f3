"""An installation of an earlier commit, stored as a dump of each database, and what makes and loads such dumps."""
