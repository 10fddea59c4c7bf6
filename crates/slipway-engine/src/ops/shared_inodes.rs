//! May a file of another layer be linked into a new one?
//!
//! Two layers that share an inode are no trouble on their own. In one stack they are: a RUN sees two names of one file
//! there, and `tar` or `cp -a` make a hard link of what are two files of the image. So each layer with linked files
//! carries a fact, which says whose inodes it may have, and nothing that could share is put into one stack.
//!
//! What a file's link count says is enough for most: an inode with one name is in its own layer and nowhere else.

use std::collections::BTreeSet;

use slipway_store::{DbError, LayerId, Snapshot, Store};

use super::file::Sharing;

/// Facts by layer: a word of [`Origins::text`], then the layers that it has linked files of, and those that they have.
const KIND: &str = slipway_store::FACTS_OF_LAYERS;

/// Files of a layer that has them from this many others are copied, so that facts do not grow with every build of the
/// same `COPY`.
const MAX_ORIGINS: usize = 500;

/// Where the linked files of a layer come from.
#[derive(Clone, Debug, Default, PartialEq)]
struct Origins {
    layers: BTreeSet<String>,
    /// Some of the inodes had further names already, in layers that are not told here.
    is_second_hand: bool,
}

impl Origins {
    fn of(store: &Store, layers: &[LayerId]) -> Result<Vec<(String, Self)>, DbError> {
        let keys: Vec<&str> = layers.iter().map(LayerId::as_str).collect();
        let facts = store.facts(KIND, &keys)?;
        Ok(keys
            .into_iter()
            .map(str::to_owned)
            .zip(facts.into_iter().map(|fact| Self::parse(&fact.unwrap_or_default())))
            .collect())
    }

    fn parse(fact: &[u8]) -> Self {
        let text = String::from_utf8_lossy(fact);
        let mut words = text.split_ascii_whitespace();
        let is_second_hand = words.next() == Some("second");
        Self { is_second_hand, layers: words.map(str::to_owned).collect() }
    }

    fn text(&self) -> String {
        let hand = if self.is_second_hand { "second" } else { "first" };
        let layers: Vec<&str> = self.layers.iter().map(String::as_str).collect();
        format!("{hand} {}", layers.join(" "))
    }
}

/// What may be linked from each of `layers` into a new layer on top of `base`.
pub(super) fn sharing(store: &Store, base: &Snapshot, layers: &[LayerId]) -> Result<Vec<Sharing>, DbError> {
    let below = Origins::of(store, base.layers())?;
    let is_below = |id: &String| below.iter().any(|(layer, origins)| layer == id || origins.layers.contains(id));
    let of = |(id, origins): &(String, Origins)| {
        if below.iter().any(|(layer, _)| layer == id) || origins.layers.len() >= MAX_ORIGINS {
            return Sharing::Nothing;
        }
        // A layer that begins on nothing may be put on any stack later (`COPY --link`).
        let is_apart = !below.is_empty() && !is_below(id) && !origins.layers.iter().any(is_below);
        if is_apart { Sharing::Everything } else { Sharing::OnlyNames }
    };
    Ok(Origins::of(store, layers)?.iter().map(of).collect())
}

/// Remembers that the top layer of `made` has linked files of `sources`.
pub(super) fn remember(
    store: &Store,
    made: &Snapshot,
    sources: &[LayerId],
    is_second_hand: bool,
) -> Result<(), DbError> {
    let Some(layer) = made.layers().last() else { return Ok(()) };
    let mut all = Origins { is_second_hand, ..Origins::default() };
    for (id, origins) in Origins::of(store, sources)? {
        all.layers.insert(id);
        all.layers.extend(origins.layers);
    }
    store.set_fact(KIND, layer.as_str(), all.text().as_bytes())
}

/// Whether `layer` may have inodes that a layer of `base` has, too.
pub(super) fn may_meet(store: &Store, base: &Snapshot, layer: &LayerId) -> Result<bool, DbError> {
    let own = Origins::of(store, std::slice::from_ref(layer))?;
    let [(id, own)] = own.as_slice() else { return Ok(false) };
    Ok(Origins::of(store, base.layers())?.iter().any(|(below, origins)| {
        own.layers.contains(below)
            || origins.layers.contains(id)
            || (own.is_second_hand || origins.is_second_hand) && !own.layers.is_disjoint(&origins.layers)
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fact_is_read_as_it_was_written() {
        let origins = Origins { layers: ["a", "b"].map(str::to_owned).into(), is_second_hand: true };
        assert_eq!(Origins::parse(origins.text().as_bytes()), origins);
        assert_eq!(Origins::parse(b""), Origins::default());
    }
}
