"""Notes of a search on the rows that it left out."""

from portal.desk.matching import Search


def test_note_that_is_added_twice_is_shown_once():
    search = Search("roof")
    search.add_note("Only new rows."), search.add_note("Older rows by a beginning."), search.add_note("Only new rows.")
    assert search.notes() == ["Only new rows.", "Older rows by a beginning."]
