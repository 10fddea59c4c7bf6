//! Which images have names here?

use rusqlite::{Connection, OptionalExtension, params};
use serde::{Deserialize, Serialize};
use slipway_oci::{Descriptor, DiffId, Digest, Platform, Reference, ReferenceParseError};

use crate::{DbError, FsError, Store};

/// What a name stands for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageRecord {
    /// The manifest or index, a blob of this store; `None` for an image that was never in a compressed form.
    pub manifest: Option<Descriptor>,
    /// The image config, a blob of this store; for an index, that of the image which this machine can run.
    pub config: Digest,
    /// The layers, bottom first.
    pub layers: Vec<DiffId>,
    /// As in the image config: RFC 3339.
    pub created: Option<String>,
    pub platform: Platform,
    /// For an index, the images for other platforms; these have a manifest and no others.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub others: Vec<ImageRecord>,
}

impl ImageRecord {
    /// The image for `platform`, or for one whose programs run there as well.
    pub fn for_platform(&self, platform: &Platform) -> Option<&ImageRecord> {
        let find =
            |wanted: &Platform| std::iter::once(self).chain(&self.others).find(|image| image.platform.matches(wanted));
        platform.and_older_variants().iter().find_map(find)
    }
}

/// Why an image cannot be named or found.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    #[error("cannot look up the image")]
    Db(#[from] DbError),
    #[error("the record of image `{name}` cannot be read")]
    Record { name: String, source: serde_json::Error },
    #[error("the image name `{name}` cannot be read")]
    Name { name: String, source: ReferenceParseError },
    #[error("cannot list the image in index.json")]
    Layout(#[from] FsError),
}

impl Store {
    /// Gives `image` a name, taking it from another image if need be. `latest` stands in for a missing tag.
    ///
    /// Its config has to be in the store.
    pub fn name_image(&self, name: &Reference, image: &ImageRecord) -> Result<(), ImageError> {
        let record = serde_json::to_string(image).expect("because an image record has only text keys");
        let boot = self.database().boot();
        // A build that has nothing to do gives its image the name that it has, and should write nothing.
        let before = self.image(name)?;
        if before.as_ref() == Some(image) {
            return Ok(());
        }
        self.database().run(|c| {
            c.prepare_cached("INSERT OR REPLACE INTO images (name, config, record, boot) VALUES (?1, ?2, ?3, ?4)")?
                .execute(params![key(name), image.config.as_str(), record, boot])
        })?;
        let is_listed = |image: &ImageRecord| image.manifest.is_some();
        if is_listed(image) || before.as_ref().is_some_and(is_listed) {
            self.write_layout_index()?;
        }
        Ok(())
    }

    /// The image of that name. `latest` stands in for a missing tag.
    pub fn image(&self, name: &Reference) -> Result<Option<ImageRecord>, ImageError> {
        let name = key(name);
        let record: Option<String> = self.database().run(|c| {
            c.prepare_cached("SELECT record FROM images WHERE name = ?1")?
                .query_row([&name], |row| row.get(0))
                .optional()
        })?;
        record.map(|record| parse(&name, &record)).transpose()
    }

    /// All images, sorted by name.
    pub fn images(&self) -> Result<Vec<(Reference, ImageRecord)>, ImageError> {
        parse_all(self.database().run(rows)?)
    }

    /// Takes the name away; whether it was there. Blobs and layers stay.
    pub fn untag(&self, name: &Reference) -> Result<bool, ImageError> {
        let n_removed =
            self.database().run(|c| c.prepare_cached("DELETE FROM images WHERE name = ?1")?.execute([key(name)]))?;
        if n_removed > 0 {
            self.write_layout_index()?;
        }
        Ok(n_removed > 0)
    }
}

/// Names and records of all images, sorted by name.
pub(crate) fn rows(connection: &Connection) -> rusqlite::Result<Vec<(String, String)>> {
    connection
        .prepare_cached("SELECT name, record FROM images ORDER BY name")?
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect()
}

pub(crate) fn parse_all(rows: Vec<(String, String)>) -> Result<Vec<(Reference, ImageRecord)>, ImageError> {
    let read = |(name, record): (String, String)| {
        let reference = name.parse().map_err(|source| ImageError::Name { name: name.clone(), source })?;
        Ok((reference, parse(&name, &record)?))
    };
    rows.into_iter().map(read).collect()
}

fn key(name: &Reference) -> String {
    name.with_default_tag().to_string()
}

fn parse(name: &str, record: &str) -> Result<ImageRecord, ImageError> {
    serde_json::from_str(record).map_err(|source| ImageError::Record { name: name.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{digest, empty_store};

    #[test]
    fn a_name_without_tag_is_latest() {
        let (_folder, store) = empty_store();
        let image = image(&store, "{}");
        store.name_image(&name("app"), &image).unwrap();
        store.name_image(&name("app:1"), &image).unwrap();
        assert_eq!(store.image(&name("app:latest")).unwrap(), Some(image));
        assert_eq!(store.image(&name("app:2")).unwrap(), None);
        let names: Vec<String> = store.images().unwrap().iter().map(|(name, _)| name.familiar()).collect();
        assert_eq!(names, ["app:1", "app:latest"]);
    }

    #[test]
    fn a_name_moves_and_goes() {
        let (_folder, store) = empty_store();
        let [old, new] = ["{}", "{ }"].map(|config| image(&store, config));
        store.name_image(&name("app"), &old).unwrap();
        store.name_image(&name("app"), &new).unwrap();
        assert_eq!(store.image(&name("app")).unwrap(), Some(new));
        assert!(store.untag(&name("app")).unwrap());
        assert!(!store.untag(&name("app")).unwrap());
        assert_eq!(store.images().unwrap(), []);
        assert!(store.has_blob(&old.config).unwrap());
    }

    #[test]
    fn a_name_may_stand_for_several_platforms() {
        let (_folder, store) = empty_store();
        let platform = |text: &str| text.parse::<Platform>().unwrap();
        let other = ImageRecord { platform: platform("linux/arm/v6"), ..image(&store, "{ }") };
        let both = ImageRecord { others: vec![other.clone()], ..image(&store, "{}") };
        store.name_image(&name("app"), &both).unwrap();
        let found = store.image(&name("app")).unwrap().unwrap();
        assert_eq!(found.for_platform(&platform("linux/amd64")), Some(&both));
        // A processor for v7 runs programs for v6 as well, but not the other way round.
        assert_eq!(found.for_platform(&platform("linux/arm/v7")), Some(&other));
        assert_eq!(found.for_platform(&platform("linux/arm/v5")), None);
    }

    #[test]
    fn no_name_for_an_image_whose_config_is_missing() {
        let (_folder, store) = empty_store();
        let image = ImageRecord { config: digest("not stored"), ..image(&store, "{}") };
        assert!(store.name_image(&name("app"), &image).is_err());
        assert_eq!(store.image(&name("app")).unwrap(), None);
    }

    fn name(text: &str) -> Reference {
        text.parse().unwrap()
    }

    fn image(store: &Store, config: &str) -> ImageRecord {
        ImageRecord {
            manifest: None,
            config: store.put_blob(config.as_bytes()).unwrap().digest,
            layers: Vec::new(),
            created: None,
            platform: Platform::new("linux", "amd64", None),
            others: Vec::new(),
        }
    }
}
