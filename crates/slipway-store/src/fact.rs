//! What small things are worth remembering between builds?
//!
//! A fact is a value that its finder can check or find again: digests of context files with the inode data they were
//! found under, the image config that a tag resolved to, the `ETag` of a URL. The store does not look into it.

use rusqlite::{Connection, OptionalExtension, params};

use crate::{DbError, Store};

/// Facts of this kind have layers as keys: a word, then the names of the older layers that it may share files with, also by
/// way of others. They are no memory that may be lost: each goes when its layer goes.
pub const FACTS_OF_LAYERS: &str = "linked from";

impl Store {
    /// The value of `key` among the facts of one `kind`.
    pub fn fact(&self, kind: &str, key: &str) -> Result<Option<Vec<u8>>, DbError> {
        self.database().run(|c| find(c, kind, key))
    }

    /// [`Store::fact`] for several keys; the answers are in their order.
    pub fn facts(&self, kind: &str, keys: &[&str]) -> Result<Vec<Option<Vec<u8>>>, DbError> {
        self.database().read(|c| keys.iter().map(|key| find(c, kind, key)).collect())
    }

    /// All facts of one `kind` whose key starts with `prefix`, sorted by key. The quick way to many of them.
    pub fn facts_under(&self, kind: &str, prefix: &str) -> Result<Vec<(String, Vec<u8>)>, DbError> {
        self.database().run(|c| {
            c.prepare_cached("SELECT key, value FROM facts WHERE kind = ?1 AND key >= ?2 AND key < ?3 ORDER BY key")?
                .query_map(params![kind, prefix, format!("{prefix}{}", char::MAX)], |row| {
                    Ok((row.get(0)?, row.get(1)?))
                })?
                .collect()
        })
    }

    /// Remembers one fact, whatever was known under its key before.
    pub fn set_fact(&self, kind: &str, key: &str, value: &[u8]) -> Result<(), DbError> {
        self.set_facts(kind, &[(key, value)])
    }

    /// [`Store::set_fact`] for several keys in one transaction.
    pub fn set_facts(&self, kind: &str, facts: &[(&str, &[u8])]) -> Result<(), DbError> {
        self.database().write(|tx| {
            tx.run(|c| {
                let mut insert =
                    c.prepare_cached("INSERT OR REPLACE INTO facts (kind, key, value) VALUES (?1, ?2, ?3)")?;
                facts.iter().try_for_each(|(key, value)| insert.execute(params![kind, key, value]).map(drop))
            })
        })
    }

    /// Forgets facts; keys that are not known are fine.
    pub fn remove_facts(&self, kind: &str, keys: &[&str]) -> Result<(), DbError> {
        self.database().write(|tx| {
            tx.run(|c| {
                let mut delete = c.prepare_cached("DELETE FROM facts WHERE kind = ?1 AND key = ?2")?;
                keys.iter().try_for_each(|key| delete.execute(params![kind, key]).map(drop))
            })
        })
    }
}

fn find(connection: &Connection, kind: &str, key: &str) -> rusqlite::Result<Option<Vec<u8>>> {
    connection
        .prepare_cached("SELECT value FROM facts WHERE kind = ?1 AND key = ?2")?
        .query_row([kind, key], |row| row.get(0))
        .optional()
}

#[cfg(test)]
mod tests {
    use crate::testing::empty_store;

    #[test]
    fn facts_come_back_in_the_order_of_the_question() {
        let (_folder, store) = empty_store();
        store.set_facts("etag", &[("a", b"1"), ("b", b"2")]).unwrap();
        store.set_fact("etag", "b", b"3").unwrap();
        let found = store.facts("etag", &["b", "missing", "a"]).unwrap();
        assert_eq!(found, [Some(b"3".to_vec()), None, Some(b"1".to_vec())]);
        assert_eq!(store.fact("another kind", "a").unwrap(), None);
        store.remove_facts("etag", &["a", "missing"]).unwrap();
        assert_eq!(store.fact("etag", "a").unwrap(), None);
    }

    #[test]
    fn facts_under_a_prefix() {
        let (_folder, store) = empty_store();
        let facts = ["/src", "/src/", "/src/ä/b", "/src/a", "/srd"].map(|key| (key, b"".as_slice()));
        store.set_facts("dir", &facts).unwrap();
        store.set_fact("other", "/src/x", b"").unwrap();
        let keys: Vec<String> = store.facts_under("dir", "/src/").unwrap().into_iter().map(|(key, _)| key).collect();
        assert_eq!(keys, ["/src/", "/src/a", "/src/ä/b"]);
    }
}
