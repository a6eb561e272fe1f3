"""Examples of the rule for machine names, for the tests of each language: a host name and its machine_id."""

MACHINE_NAMES = (
    ("PC-LYON-07", "PC-LYON-07"),
    ("desktop-lyon-comptabilite", "desktop-lyon-comptabilite"),
    ("srv_01.Example.ORG", "srv_01.Example.ORG"),
    ("PC-\u00c9ric 01", "PC-ric-01"),
    ("H\u00d4TE-\u00c9", "H-TE"),
    ("PC LYON/07", "PC-LYON-07"),
    ("pc:07", "pc-07"),
    ("_srv", "srv"),
    ("-_.a--b-", "a-b"),
    ("{0f8fad5b-d9cb-469f-a165-70867728950e}", "0f8fad5b-d9cb-469f-a165-70867728950e"),
    ("a" * 200, "a" * 128),
    ("\u65e5\u672c", ""),
    ("---", ""),
    ("", ""),
)
