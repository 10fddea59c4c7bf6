require "sequel"
require "distance"

# Notes in a database, found again by any word that is nearly right.
class Notes
  VERSION = "1.0.0"

  def initialize(url)
    @database = Sequel.connect(url)
    @database.create_table?(:notes) do
      primary_key :id
      String :text, null: false
    end
  end

  def add(text)
    @database[:notes].insert(text: text)
  end

  def all
    @database[:notes].order(:id).select_map(:text)
  end

  # The note that has the word nearest to `word`, or nil if there are no notes.
  def find(word)
    all.min_by { |note| note.downcase.split.map { |other| Distance.between(word.downcase, other) }.min || Float::INFINITY }
  end
end
