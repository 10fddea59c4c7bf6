require "bundler/setup"
require "minitest/autorun"
$LOAD_PATH.unshift File.expand_path("../lib", __dir__)
require "notes"

class NotesTest < Minitest::Test
  def test_distance_counts_edits
    assert_equal 3, Distance.between("kitten", "sitting")
    assert_equal 4, Distance.between("", "four")
  end

  def test_a_note_is_found_by_a_misspelt_word
    notes = Notes.new("sqlite:/")
    notes.add("Buy some bread")
    notes.add("Call the plumber")
    assert_equal "Call the plumber", notes.find("plummer")
    assert_equal ["Buy some bread", "Call the plumber"], notes.all
  end

  def test_nothing_is_found_among_no_notes
    assert_nil Notes.new("sqlite:/").find("anything")
  end
end
