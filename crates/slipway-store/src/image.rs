//! Which images are here, and under which names?
//!
//! An image that has lost its last name to another one, or never had any, is listed without one until something that it
//! consists of is taken away: it keeps nothing from that. Its row has the digest of its config in the place of a name,
//! which no name can be: these begin with a host and a slash.

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
    /// What a registry answered for this name, or was given under it: the digest of the manifest, or of the index that
    /// lists it. `None` for a name that no registry was asked about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub registry_digest: Option<Digest>,
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

    /// The digest that people name it by: a registry's, or that of its manifest.
    pub fn digest(&self) -> Option<&Digest> {
        self.registry_digest.as_ref().or(self.manifest.as_ref().map(|manifest| &manifest.digest))
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
    /// Its config has to be in the store. The other image, if it has no more names, is listed without one.
    pub fn name_image(&self, name: &Reference, image: &ImageRecord) -> Result<(), ImageError> {
        let name = key(name);
        // A build that has nothing to do gives its image the name that it has, and should write nothing.
        if self.database().run(|c| record_of(c, &name))?.is_some_and(|before| before == text_of(image)) {
            return Ok(());
        }
        let boot = self.database().boot();
        let before = self.database().write(|tx| {
            let before = tx.run(|c| record_of(c, &name))?.map(|record| parse(&name, &record)).transpose()?;
            tx.run(|c| {
                c.prepare_cached("INSERT OR REPLACE INTO images (name, config, record, boot) VALUES (?1, ?2, ?3, ?4)")?
                    .execute(params![name, image.config.as_str(), text_of(image), boot])?;
                c.prepare_cached("DELETE FROM images WHERE name = ?1")?.execute([image.config.as_str()])?;
                before.iter().try_for_each(|before| insert_unnamed(c, before, boot))
            })?;
            Ok::<_, ImageError>(before)
        })?;
        let is_listed = |image: &ImageRecord| image.manifest.is_some();
        if is_listed(image) || before.as_ref().is_some_and(is_listed) {
            self.write_layout_index()?;
        }
        Ok(())
    }

    /// Lists `image` without a name, unless it has one. Its config has to be in the store.
    pub fn list_unnamed(&self, image: &ImageRecord) -> Result<(), ImageError> {
        // As above: nothing to do is nothing to write.
        let known = "SELECT EXISTS (SELECT 1 FROM images WHERE config = ?1)";
        let is_known: bool =
            self.database().run(|c| c.prepare_cached(known)?.query_row([image.config.as_str()], |row| row.get(0)))?;
        if !is_known {
            let boot = self.database().boot();
            self.database().run(|c| insert_unnamed(c, image, boot))?;
        }
        Ok(())
    }

    /// The images without a name, the newest first.
    pub fn unnamed_images(&self) -> Result<Vec<ImageRecord>, ImageError> {
        let rows: Vec<(String, String)> = self.database().run(|c| {
            c.prepare_cached("SELECT name, record FROM images WHERE name = config ORDER BY seq DESC")?
                .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
                .collect()
        })?;
        rows.into_iter().map(|(config, record)| parse(&config, &record)).collect()
    }

    /// Lists the image with this config no longer, if it has no name; whether it was listed. Blobs and layers stay.
    pub fn forget_unnamed(&self, config: &Digest) -> Result<bool, ImageError> {
        let forget = "DELETE FROM images WHERE name = ?1";
        Ok(self.database().run(|c| c.prepare_cached(forget)?.execute([config.as_str()]))? > 0)
    }

    /// The image of that name. `latest` stands in for a missing tag.
    pub fn image(&self, name: &Reference) -> Result<Option<ImageRecord>, ImageError> {
        let name = key(name);
        let record = self.database().run(|c| record_of(c, &name))?;
        record.map(|record| parse(&name, &record)).transpose()
    }

    /// All names with their images, sorted by name.
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

/// All names and the records of their images, sorted by name.
pub(crate) fn rows(connection: &Connection) -> rusqlite::Result<Vec<(String, String)>> {
    connection
        .prepare_cached("SELECT name, record FROM images WHERE name <> config ORDER BY name")?
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

fn record_of(connection: &Connection, name: &str) -> rusqlite::Result<Option<String>> {
    connection
        .prepare_cached("SELECT record FROM images WHERE name = ?1")?
        .query_row([name], |row| row.get(0))
        .optional()
}

/// Lists `image` without a name, unless it is listed with or without.
fn insert_unnamed(connection: &Connection, image: &ImageRecord, boot: i64) -> rusqlite::Result<()> {
    // What a registry had under a name that is gone is nothing that the image can be had by.
    let image = ImageRecord { registry_digest: None, ..image.clone() };
    connection
        .prepare_cached(
            "INSERT INTO images (name, config, record, boot)
             SELECT ?1, ?1, ?2, ?3 WHERE NOT EXISTS (SELECT 1 FROM images WHERE config = ?1)",
        )?
        .execute(params![image.config.as_str(), text_of(&image), boot])
        .map(drop)
}

fn text_of(image: &ImageRecord) -> String {
    serde_json::to_string(image).expect("because an image record has only text keys")
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
    fn an_image_that_loses_its_last_name_is_listed_without() {
        let (_folder, store) = empty_store();
        let [old, new] = ["{}", "{ }"].map(|config| image(&store, config));
        store.name_image(&name("app"), &old).unwrap();
        store.name_image(&name("app:2"), &old).unwrap();
        store.name_image(&name("app"), &new).unwrap();
        assert_eq!(store.unnamed_images().unwrap(), [], "it has another name");
        store.name_image(&name("app:2"), &new).unwrap();
        assert_eq!(store.unnamed_images().unwrap(), std::slice::from_ref(&old));
        assert_eq!(store.images().unwrap().len(), 2);
        store.list_unnamed(&new).unwrap();
        store.list_unnamed(&old).unwrap();
        assert_eq!(store.unnamed_images().unwrap(), std::slice::from_ref(&old));
        store.name_image(&name("again"), &old).unwrap();
        assert_eq!(store.unnamed_images().unwrap(), [], "it has a name again");
        store.untag(&name("again")).unwrap();
        assert_eq!(store.unnamed_images().unwrap(), [], "its name was taken away on purpose");
        store.list_unnamed(&old).unwrap();
        assert!(store.forget_unnamed(&old.config).unwrap() && !store.forget_unnamed(&old.config).unwrap());
        assert!(!store.forget_unnamed(&new.config).unwrap());
        assert_eq!(store.images().unwrap().len(), 2);
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
            registry_digest: None,
            others: Vec::new(),
        }
    }
}
